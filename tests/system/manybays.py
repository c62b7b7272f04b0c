"""A dock with many bays: the real agent and cameras, each a process of its own, and what they used."""

import dataclasses
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from docklink.simulated_process import Listening, Usage
from evidence.agency import SubjectKind, create_agency, issue_new
from host.agent import socket_path
from host.bays import BayStatus
from host.config import load_config
from host.control import AskStatus, DockStatus, NoAgentError, ask
from tests.host.store.conftest import ClipFactory, Pki

MIB = 1 << 20
_PATIENCE_S = 600.0  # only how long a test that has failed takes to say so
_AGENT = "import sys; from preroll.cli import main; sys.argv[0] = 'preroll'; main()"
_CHUNKS = 4
"""A sync point for each 256 KiB."""


@dataclasses.dataclass
class Camera:
    """One camera's process."""

    device: str
    conduct: str
    size_bytes: int
    clips: int
    process: "subprocess.Popen[str]"
    port: int

    def usage(self) -> Usage:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("usage\n")
        self.process.stdin.flush()
        return msgspec.json.decode(self.process.stdout.readline(), type=Usage)


class Fleet:
    """Cameras, and an agent with a bay for each; what was started ends with `stack`."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self.place = place
        self.cameras: list[Camera] = []
        self.rogues: list[Camera] = []
        self._stack = stack
        place.mkdir()
        agency = create_agency("Test Trust", place / "agency", now=datetime.now(UTC))
        self._pki = Pki(place, agency)
        self._factory = ClipFactory(self._pki, agency.recipient)
        issue_new(SubjectKind.DOCK, "dock7", place / "agency", place / "dock7")
        self.config = place / "dock.toml"
        self.agent: subprocess.Popen[bytes] | None = None

    def add(self, *, clips: int, mebibytes: int, conduct: str = "") -> Camera:
        """Start a camera with so many clips of so many MiB; a rogue if it has a conduct."""
        device = f"{conduct or 'cam'}-{len(self.cameras) + len(self.rogues):02}"
        issue_new(SubjectKind.CAMERA, device, self.place / "agency", self.place / device)
        directory = self.place / f"{device}-clips"
        size = sum(self._clip(directory, device, number, mebibytes) for number in range(1, clips + 1))
        words = ["docklink.simulated_process"] if not conduct else ["tests.system.roguecamera", conduct]
        words += ["--device", device, "--clips", str(directory), "--keys", str(self.place / device)]
        words += ["--root", str(self._pki.agency.root_certificate)]
        process = subprocess.Popen(
            [sys.executable, "-m", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._stack.callback(_end, process)
        camera = Camera(device, conduct, size, clips, process, 0)
        (self.rogues if conduct else self.cameras).append(camera)
        return camera

    def start(self, **timeouts: float) -> None:
        """Start the agent: rogues have the first bays."""
        self.configure(timeouts)
        with (self.place / "agent.log").open("wb") as log:
            words = [sys.executable, "-c", _AGENT, "dock", "run", "--config", str(self.config)]
            self.agent = subprocess.Popen(words, stderr=log)
        self._stack.callback(self.stop)

    def configure(self, timeouts: dict[str, float], more: str = "") -> None:
        """Write the agent's configuration, with other sections behind it."""
        bays = ""
        for camera in (*self.rogues, *self.cameras):
            assert camera.process.stdout is not None
            camera.port = msgspec.json.decode(camera.process.stdout.readline(), type=Listening).port or 0
            bays += f'[[bay]]\nname = "{camera.device}"\ntcp = "127.0.0.1:{camera.port}"\n'
        waits = "".join(f"{name} = {value}\n" for name, value in timeouts.items())
        self.config.write_text(
            '[dock]\nid = "dock7"\nkeys = "dock7"\nroot = "agency/root/root.pem"\nstate = "state"\n'
            f'[store]\npath = "store"\nid = "dock7-a"\nreserve_mib = 0\n[timeouts]\n{waits}{bays}{more}'
        )

    def stop(self) -> None:
        """End the agent."""
        if self.agent is not None and self.agent.poll() is None:
            self.agent.terminate()
            assert self.agent.wait(60) == 0

    def wait(self, condition: Callable[[], object], what: str) -> None:
        give_up, pause = time.monotonic() + _PATIENCE_S, threading.Event()
        while not condition():
            assert self.agent is not None
            assert self.agent.poll() is None, (self.place / "agent.log").read_text()
            assert time.monotonic() < give_up, f"waited in vain: {what}; {self.status()}"
            pause.wait(0.1)

    def wait_all(self) -> None:
        """Wait until all good cameras have all their receipts."""
        for camera in self.cameras:
            self.wait(partial(_done, camera), f"receipts of {camera.device}")

    def status(self) -> DockStatus | None:
        try:
            return ask(socket_path(load_config(self.config)), AskStatus()).status
        except NoAgentError:
            return None

    def bay(self, camera: Camera) -> BayStatus:
        status = self.status()
        assert status is not None
        return next(each for each in status.bays if each.bay == camera.device)

    def agent_memory(self) -> int:
        """Peak resident memory of the agent, bytes."""
        assert self.agent is not None
        lines = Path(f"/proc/{self.agent.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    def _clip(self, directory: Path, device: str, number: int, mebibytes: int) -> int:
        points = mebibytes * MIB // (_CHUNKS * 65_536)
        made = self._factory.make(number, device=device, points=points, chunks=_CHUNKS)
        place = directory / made.key.clip
        place.mkdir(parents=True)
        for name, data in made.files.items():
            (place / name).write_bytes(data)
        return made.size


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a run came to: bytes of all bays, seconds from the first byte to the last receipt, fairness."""

    bays: int
    size_bytes: int
    wall_s: float
    agent_bytes: int
    halfway: tuple[int, ...]
    """Bytes that each bay had been given when all together had been given half."""
    done_s: tuple[float, ...]
    """When each camera had its last receipt, from the first byte of any."""
    refetched_bytes: int
    broken_sessions: int

    @property
    def rate(self) -> float:
        """MB/s of all bays."""
        return self.size_bytes / self.wall_s / 1e6

    @classmethod
    def of(cls, fleet: Fleet) -> "Figures":
        """Take them once all is done."""
        usages = [camera.usage() for camera in fleet.cameras]
        marks = [[(ns, given) for ns, given in usage.marks[:-1]] for usage in usages]
        begin = min(each[0][0] for each in marks)
        end = max(each[-1][0] for each in marks)
        size = sum(camera.size_bytes for camera in fleet.cameras)
        return cls(
            bays=len(usages),
            size_bytes=size,
            wall_s=(end - begin) / 1e9,
            agent_bytes=fleet.agent_memory(),
            halfway=halfway(marks),
            done_s=tuple((each[-1][0] - begin) / 1e9 for each in marks),
            refetched_bytes=sum(usage.served_bytes for usage in usages) - size,
            broken_sessions=sum(usage.broken for usage in usages),
        )


def halfway(marks: list[list[tuple[int, int]]]) -> tuple[int, ...]:
    """Return what each had been given when all together had been given half, from time stamps and counts."""
    given = [0] * len(marks)
    total = sum(each[-1][1] for each in marks)
    events = sorted((ns, bay, count) for bay, each in enumerate(marks) for ns, count in each)
    for _, bay, count in events:
        given[bay] = count
        if sum(given) * 2 >= total:
            break
    return tuple(given)


def spread(values: tuple[float, ...]) -> str:
    """Write least, median and greatest."""
    return f"{min(values):.1f} / {statistics.median(values):.1f} / {max(values):.1f}"


def _done(camera: Camera) -> bool:
    return len(camera.usage().receipts) == camera.clips


def _end(process: "subprocess.Popen[str]") -> None:
    process.communicate()
