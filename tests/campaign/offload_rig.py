"""A camera and a dock's agent in processes of their own, a cable between them, and what must always hold.

One clip at a time is put into the camera's vault, and is delivered when the camera has nothing of it but a
tombstone, and the store one verified copy, its receipt, the tombstone, and one custody trail.
"""

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from evidence.attestations import read_tombstone
from evidence.check import Finding, check_sealed_clip
from evidence.custody.reading import CustodyReader
from host.custody import verify_custody
from host.store.partial import SYNC_EVERY_BYTES
from tests.campaign.offload_cable import Cable, Direction, Fault, Kind, LineCable, NetCable
from tests.campaign.offload_clips import MadeClip
from tests.campaign.offload_processes import AgentSpec, CameraSpec, Death, Fetched, read_told, start_process
from tests.device.dockport.dockbench import Agency
from tests.device.vault_recovery.rig import DEVICE

__all__ = ["TRAIL", "UNSYNCED_LIMIT_BYTES", "Delivery", "Rig", "open_rig"]

UNSYNCED_LIMIT_BYTES = 2 * SYNC_EVERY_BYTES
TRAIL = ("clip_stored", "receipt_accepted")
_PATIENCE_S = 120.0
_LOOK_S = 0.02
_CONFIG = """\
[dock]
id = "dock7"
keys = "{keys}"
root = "{root}"
state = "state"
[store]
path = "store"
id = "dock7-a"
reserve_mib = 0
[timeouts]
look_s = 0.1
retry_s = 0.2
handshake_s = 3.0
progress_s = 1.0
answer_s = 5.0
line_s = 20.0
[[bay]]
name = "1"
{way}
"""


class Delivery(msgspec.Struct, frozen=True):
    """What one clip came to: bytes of ciphertext fetched more than once, bytes on the wire to the
    dock, bytes that a power cut undid, processes that died.
    """

    clip: str
    again_bytes: int
    wire_bytes: int
    lost_bytes: int
    deaths: int
    seconds: float


class Rig:
    """One camera, one cable, one dock; a fault of the cable kills at once, `deliver` starts what died again."""

    def __init__(
        self, directory: Path, agency: Agency, *, serial: bool, seed: int = 0, patience_s: float = _PATIENCE_S
    ) -> None:
        self.directory = directory
        self.agency = agency
        self.random = random.Random(seed)
        self.vault = directory / "vault"
        self.store = directory / "store"
        self.told = directory / "agent.told"
        self._patience_s = patience_s
        self._lost_bytes = 0
        self._dying = 0
        self._port_file = directory / "camera.port"
        self._lock = threading.Lock()
        self._power_cut = threading.Event()
        self.cable: Cable
        if serial:
            line = LineCable(directory, self._strike)
            self.cable, way = line, f'serial = "{line.dock_path}"'
            self._serial = str(line.camera_path)
        else:
            net = NetCable(lambda: int(self._port_file.read_text()), self._strike)
            self.cable, way = net, f'tcp = "127.0.0.1:{net.port}"'
            self._serial = ""
        keys = agency.directory / "dock"
        text = _CONFIG.format(keys=keys, root=agency.root_file, way=way)
        (directory / "dock.toml").write_text(text, encoding="utf-8")
        self.camera = self.agent = None  # type: BaseProcess | None

    def start_camera(self, death: Death | None = None) -> None:
        """Start the camera, to die at a step; the one before must have ended."""
        keys = self.agency.directory / "camera"
        spec = CameraSpec(self.vault, keys, self.agency.root_file, self._port_file, self._serial, death)
        self._port_file.unlink(missing_ok=True)
        with self._lock:
            camera = self.camera = start_process(spec)
        # It may die while it starts, when it finishes what the one before it began.
        self._wait(lambda: self._port_file.exists() or not camera.is_alive(), "the camera's port")

    def start_agent(self, death: Death | None = None) -> None:
        """Start the agent, to die at a step."""
        with self._lock:
            self.agent = start_process(AgentSpec(self.directory / "dock.toml", self.told, death))

    def deliver(
        self,
        clip: MadeClip,
        fault: Fault | None = None,
        *,
        camera: Sequence[Death] = (),
        agent: Sequence[Death] = (),
    ) -> Delivery:
        """Put a clip into the vault and see it through, whatever strikes; what dies is started again."""
        camera_deaths, agent_deaths, died = list(camera), list(agent), 0
        began_s, self._lost_bytes = time.monotonic(), 0
        self.restart_for(camera_deaths, agent_deaths)
        self.cable.arm(fault)
        clip.directory.rename(self.vault / "clips" / clip.name)
        give_up = time.monotonic() + self._patience_s
        while not (self.is_delivered(clip) and (fault is None or self.cable.struck.is_set()) and self._alive()):
            assert time.monotonic() < give_up, self.story(clip)
            assert self.camera is not None
            assert self.agent is not None
            wait([self.camera.sentinel, self.agent.sentinel], _LOOK_S)
            if not self.agent.is_alive():
                self._power_comes_back(clip)
                self.check_kept(clip)
                died, self._dying = died + 1, 0
                self.start_agent(agent_deaths.pop(0) if agent_deaths else None)
            if not self.camera.is_alive():
                self.check_kept(clip)
                died, self._dying = died + 1, 0
                self.start_camera(camera_deaths.pop(0) if camera_deaths else None)
        self.check_kept(clip)
        self.check_delivered(clip)
        again = sum(each.count for each in self._fetched(clip) if not each.synced) - clip.size_bytes
        wire = self.cable.passed[Direction.TO_DOCK]
        return Delivery(clip.name, again, wire, self._lost_bytes, died, time.monotonic() - began_s)

    def restart_for(self, camera_deaths: list[Death], agent_deaths: list[Death]) -> None:
        """Let who is to die at a step begin anew."""
        if camera_deaths:
            self._kill(self.camera)
            self.start_camera(camera_deaths.pop(0))
        if agent_deaths:
            self._kill(self.agent)
            self.start_agent(agent_deaths.pop(0))

    def is_delivered(self, clip: MadeClip) -> bool:
        """Whether nothing more is to come."""
        remains = [self.vault / "clips" / f"{prefix}{clip.name}" for prefix in ("", ".released-")]
        if any(path.exists() for path in remains) or not (self.vault / "tombstones" / clip.name).is_dir():
            return False
        return (self.store / "tombstones" / DEVICE / clip.name).is_dir() and self.trail(clip)[-1:] == TRAIL[-1:]

    def check_kept(self, clip: MadeClip) -> None:
        """Hold what lies on both sides against the rules that no kill may break."""
        here, stone = self.vault / "clips" / clip.name, self.vault / "tombstones" / clip.name
        place = self.store / "clips" / DEVICE / clip.name
        released = not _is_whole(here, clip)
        if released:
            read_tombstone(stone, self.agency.roots)
        receipt = _read(here / "receipt.json") or _read(stone / "receipt.json")
        if receipt is not None or released:
            assert check_sealed_clip(place, self.agency.roots).finding is Finding.AUTHENTIC
            assert _read(place / "receipt.json") == receipt
        if (place / "receipt.json").exists():
            assert self.trail(clip)[:1] == TRAIL[:1]
        assert len(list((self.store / "clips").glob(f"*/{clip.name}"))) <= 1
        assert not list((self.store / "quarantine").glob("*/*"))

    def check_delivered(self, clip: MadeClip) -> None:
        """Hold the end against what was promised."""
        place = self.store / "clips" / DEVICE / clip.name
        assert check_sealed_clip(place, self.agency.roots).finding is Finding.AUTHENTIC
        assert self.trail(clip) == TRAIL
        assert not list((self.store / "partial").glob(f"{clip.name}*"))
        read_tombstone(self.store / "tombstones" / DEVICE / clip.name, self.agency.roots)

    def trail(self, clip: MadeClip) -> tuple[str, ...]:
        """What the custody log says was done with a clip."""
        path = self.store / "custody.jsonl"
        if not path.exists():
            return ()
        with path.open("rb") as file:
            entries = [read.entry for read in CustodyReader(file)]
        return tuple(each.kind for each in entries if each.manifest_sha256 == clip.manifest_sha256)

    def digest(self, clip: MadeClip) -> str:
        """Measure the ciphertext in the store."""
        with (self.store / "clips" / DEVICE / clip.name / "clip.mp4.age").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def story(self, clip: MadeClip) -> str:
        """Say how things stand, for a test that failed."""
        logs = [Path(f"{path}.log") for path in (self.told, self._port_file)]
        tails = "\n".join(path.read_text()[-3000:] for path in logs if path.exists())
        return f"{clip.name} is not delivered; trail {self.trail(clip)}; {self.cable.passed}\n{tails}"

    def close(self) -> None:
        for process in (self.agent, self.camera):
            if process is not None:
                process.terminate()
                process.join(30)
                if process.is_alive():
                    self._kill(process)
        self.cable.close()
        verify_custody(self.store / "custody.jsonl", "dock7-a")

    def _strike(self, fault: Fault) -> None:
        with self._lock:
            if fault.kind is Kind.CAMERA_KILLED and self.camera is not None:
                self._dying += 1
                _end(self.camera)
            elif fault.kind in (Kind.AGENT_KILLED, Kind.POWER_CUT) and self.agent is not None:
                if fault.kind is Kind.POWER_CUT:
                    self._power_cut.set()
                self._dying += 1
                _end(self.agent)

    def _power_comes_back(self, clip: MadeClip) -> None:
        """Undo what was never synced of the ciphertext: its length stays, its content does not."""
        if not self._power_cut.is_set():
            return
        self._power_cut.clear()
        synced = max((each.start + each.count for each in self._fetched(clip) if each.synced), default=0)
        for path in (self.store / "partial").glob(f"{clip.name}.*/clip.mp4.age"):
            lost = path.stat().st_size - synced
            assert lost <= UNSYNCED_LIMIT_BYTES
            if lost <= 0:
                continue
            self._lost_bytes += lost
            stale = self.random.choice((bytes(lost), self.random.randbytes(lost), None))
            with path.open("r+b") as file:
                file.truncate(synced)
                file.seek(synced)
                file.write(stale or b"")

    def _fetched(self, clip: MadeClip) -> list[Fetched]:
        return [each for each in read_told(self.told) if each.clip == clip.name]

    def _alive(self) -> bool:
        return not self._dying and all(
            each is not None and each.is_alive() for each in (self.camera, self.agent)
        )

    @staticmethod
    def _kill(process: BaseProcess | None) -> None:
        if process is not None:
            _end(process)
            process.join(30)

    @staticmethod
    def _wait(condition: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + _PATIENCE_S
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < give_up, f"waited in vain: {what}"
            pause.wait(_LOOK_S)


@contextlib.contextmanager
def open_rig(
    directory: Path, agency: Agency, *, serial: bool, seed: int = 0, patience_s: float = _PATIENCE_S
) -> Iterator[Rig]:
    """Start a rig on a vault that is there, and end it."""
    directory.mkdir(exist_ok=True)
    rig = Rig(directory, agency, serial=serial, seed=seed, patience_s=patience_s)
    try:
        rig.start_camera()
        rig.start_agent()
        yield rig
    finally:
        rig.close()


def _end(process: BaseProcess) -> None:
    """SIGKILL, if it is still there."""
    if process.pid is not None and process.is_alive():
        with contextlib.suppress(ProcessLookupError):  # it has just died by itself
            os.kill(process.pid, signal.SIGKILL)


def _is_whole(directory: Path, clip: MadeClip) -> bool:
    """Whether all files of a clip are on the camera with their sizes."""
    try:
        sizes = {path.name: path.stat().st_size for path in directory.iterdir()}
    except FileNotFoundError:
        return False
    manifest = clip.manifest
    assert manifest.ciphertext is not None
    expected = {"clip.mp4.age": manifest.ciphertext.bytes, "journal.jsonl": manifest.journal.bytes}
    return all(sizes.get(name) == size for name, size in expected.items()) and {
        "manifest.json",
        "manifest.p7s",
    } <= set(sizes)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
