"""A soak: one camera process records hours of footage, many times as fast; what does it hold meanwhile?

The camera replays a file whose frames come `speed` times as fast as a camera's: as many frames, bytes, clips,
presses, offloads and deletions as in real time, in less of it. In each round a dock comes, takes every clip
that is recorded, signs receipts, and goes; the camera deletes what it has a receipt for. Then it is looked at
while it rests, its vault empty: whatever it holds more than the round before, it has kept.
"""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from evidence.agency import SubjectKind, issue_new
from evidence.check import Finding, check_sealed_clip
from evidence.documents import Manifest, decode
from host.agent import DockAgent
from host.config import load_config
from tests.campaign.kills import ROOT
from tests.campaign.stage import CAMERA_ID, Keys, Picture, make_footage, write_config

__all__ = ["RATE", "Look", "Plan", "Soak", "fitted_growth", "run_soak"]

RATE = 30
"""Frames a second of the camera that is stood in for."""
_LOOP_S = 10
_PATIENCE_S = 180.0
_POLL_S = 0.05
_QUIET_S = 0.5
_REST_S = 30.0
_DOCK = """\
[dock]
id = "dock-soak"
keys = "dock"
root = "{root}"
state = "state"
[store]
path = "store"
id = "soak"
reserve_mib = 0
[timeouts]
look_s = 0.1
retry_s = 0.2
[[bay]]
name = "1"
tcp = "127.0.0.1:{port}"
"""
_PORT = """
keep_released_hours = 0

[dockport]
listen = "127.0.0.1:0"
anchors = "{root}"
"""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded: `footage_s` or some more, in clips of `shortest_s` to `longest_s` after the press."""

    seed: int
    speed: int
    picture: Picture
    footage_s: float
    window_s: float
    shortest_s: float
    longest_s: float
    clips_a_round: int


class Look(msgspec.Struct, frozen=True):
    """What the camera's process held at a moment: memory of its own (RssAnon), descriptors, threads."""

    wall_s: float
    footage_s: float
    memory_bytes: int
    descriptors: int
    threads: int


class Soak(msgspec.Struct, frozen=True):
    """A soak that is over. `resting` has a look after every round, `working` one each second in between."""

    plan: Plan
    wall_s: float
    clips: int
    frames: int
    stored_bytes: int
    resting: tuple[Look, ...]
    working: tuple[Look, ...]

    @property
    def footage_s(self) -> float:
        """How much was recorded, as the camera that is stood in for would count it."""
        return self.frames / RATE


def fitted_growth(looks: Sequence[Look], of: Callable[[Look], float]) -> float:
    """Return by how much a straight line through the second half of the looks rises from its end to end."""
    half = looks[len(looks) // 2 :]
    points = [(look.footage_s, of(look)) for look in half]
    middle = sum(x for x, _ in points) / len(points)
    mean = sum(y for _, y in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    if not spread:
        raise ValueError(f"no slope in {len(looks)} looks; record for longer")
    slope = sum((x - middle) * (y - mean) for x, y in points) / spread
    return slope * (points[-1][0] - points[0][0])


class _CameraProcess:
    """The camera and the orders to it."""

    def __init__(self, config: Path, log: Path) -> None:
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.campaign.soak_camera", str(config)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log

    def answer(self) -> str:
        """Wait for the answer to the last order."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, f"the camera has ended:\n{self._log.read_text()[-3000:]}"
        return line

    def order(self, text: str) -> str:
        """Give an order and wait until it is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        return self.answer()

    def look(self, began_s: float, footage_s: float) -> Look:
        """Look at what the process holds now."""
        pid = self.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return Look(
            wall_s=time.monotonic() - began_s,
            footage_s=footage_s,
            memory_bytes=int(fields["RssAnon"].split()[0]) * 1024,
            descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
            threads=int(fields["Threads"]),
        )

    def close(self) -> None:
        """End it, in order if it still can."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class _Run:
    """One soak at work."""

    def __init__(self, plan: Plan, directory: Path, keys: Keys) -> None:
        self.plan = plan
        self.directory = directory
        self.keys = keys
        self.random = random.Random(plan.seed)
        self.store = directory / "store" / "clips" / CAMERA_ID
        self.clips = self.frames = self.stored_bytes = 0
        self.resting: list[Look] = []
        self.working: list[Look] = []
        self.began_s = time.monotonic()

    def do(self) -> Soak:
        """Record, round after round."""
        plan, directory = self.plan, self.directory
        issue_new(SubjectKind.DOCK, "dock-soak", self.keys.directory / "agency", directory / "dock")
        footage = make_footage(directory / "footage.mp4", plan.picture, _LOOP_S, speed=plan.speed)
        picture = msgspec.structs.replace(plan.picture, footage=footage)
        config = write_config(directory, self.keys, picture, plan.window_s / plan.speed)
        root = self.keys.directory / "agency" / "root" / "root.pem"
        config.write_text(config.read_text() + _PORT.format(root=root))
        camera = _CameraProcess(config, directory / "camera.log")
        try:
            port = camera.answer().split()[1]
            dock = directory / "dock.toml"
            dock.write_text(_DOCK.format(root=root, port=port))
            self.began_s = time.monotonic()
            with self._watched(camera):
                while self.frames / RATE < plan.footage_s:
                    self._round(camera, dock)
            assert camera.order("end") == "over"
            assert camera.process.wait(_PATIENCE_S) == 0
        finally:
            camera.close()
        return Soak(
            plan=plan,
            wall_s=time.monotonic() - self.began_s,
            clips=self.clips,
            frames=self.frames,
            stored_bytes=self.stored_bytes,
            resting=tuple(self.resting),
            working=tuple(self.working),
        )

    def _round(self, camera: _CameraProcess, dock: Path) -> None:
        plan = self.plan
        with _docked(dock):
            for _ in range(plan.clips_a_round):
                after_s = self.random.uniform(plan.shortest_s, plan.longest_s)
                frames = int((plan.window_s + after_s) * RATE)
                assert camera.order(f"record {frames} {self.random.randrange(3)}") == "recorded"
                self.clips += 1
                self._take_stored()
            stones = self.directory / "vault" / "tombstones"
            self._wait(lambda: sum(1 for _ in stones.iterdir()) == self.clips, "all clips released")
            self._wait(lambda: not any((self.directory / "vault" / "clips").iterdir()), "an empty vault")
        self._take_stored()
        self.resting.append(self._look_at_rest(camera))

    def _look_at_rest(self, camera: _CameraProcess) -> Look:
        """Look at the camera once it has put away what the docking needed, or would have had the time to."""
        descriptors = min((look.descriptors for look in self.resting), default=0)
        threads = min((look.threads for look in self.resting), default=0)
        give_up = time.monotonic() + _REST_S
        while True:
            assert camera.order(f"idle {_QUIET_S}") == "idle"
            look = camera.look(self.began_s, self.frames / RATE)
            is_lean = look.descriptors <= descriptors and look.threads <= threads
            if not self.resting or is_lean or time.monotonic() > give_up:
                return look

    def _take_stored(self) -> None:
        """Count what the store has by now, check it in full, and make room, as an archive behind it would."""
        roots = self.keys.roots
        for receipt in sorted(self.store.glob("*/receipt.json")):
            place, media = receipt.parent, receipt.parent / "clip.mp4.age"
            if media.exists() and (self.store.parents[1] / "tombstones" / CAMERA_ID / place.name).is_dir():
                report = check_sealed_clip(place, roots)
                assert report.finding is Finding.AUTHENTIC, report
                self.frames += decode((place / "manifest.json").read_bytes(), Manifest).frames
                self.stored_bytes += media.stat().st_size
                media.unlink()

    @contextmanager
    def _watched(self, camera: _CameraProcess) -> Iterator[None]:
        """Look at the camera each second."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(1.0) and camera.process.poll() is None:
                self.working.append(camera.look(self.began_s, self.frames / RATE))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @staticmethod
    def _wait(condition: Callable[[], object], what: str) -> None:
        give_up = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up, f"waited in vain: {what}"
            time.sleep(_POLL_S)


@contextmanager
def _docked(config: Path) -> Iterator[None]:
    """Let a dock work for a while, in this process."""
    agent = DockAgent(load_config(config))
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield
    finally:
        agent.stop()
        thread.join()


def run_soak(plan: Plan, directory: Path, keys: Keys) -> Soak:
    """Run one to its end; every clip is checked in the dock's store."""
    return _Run(plan, directory, keys).do()
