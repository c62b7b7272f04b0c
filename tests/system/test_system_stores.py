"""A dock's store on real file systems that fill up, turn read-only, vanish and come back; and other troubles.

Each test wants: it says so, nothing is lost, and it goes on by itself once it is mended. Root mounts small file
systems of its own; another user runs the same tests once more, in a user namespace where it may mount.
"""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.check import Finding, check_sealed_clip
from host.agent import DockAgent
from host.bays import BayState, BayStatus
from host.catalogue import Catalogue
from host.config import load_config
from host.custody import read_checkpoints, verify_custody
from host.offload import Notice
from tests.host.bays.test_dock_agent import write_config
from tests.host.offload.fakecamera import CameraServer, FakeCamera
from tests.host.store.conftest import ClipFactory, MadeClip, Pki, clips, pki

if TYPE_CHECKING:
    from host.agent import Change

__all__ = ["clips", "pki"]

MIB = 1024 * 1024
HOUR_NS = 3600 * 1_000_000_000


def may_mount(place: Path) -> bool:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], check=False, capture_output=True
    )
    return done.returncode == 0 and subprocess.run(["umount", str(place)], check=False).returncode == 0


@pytest.fixture
def mounts(tmp_path: Path) -> "Iterator[Mounts]":
    probe = tmp_path / "probe"
    probe.mkdir()
    if os.geteuid() != 0:
        pytest.skip("run by test_as_an_ordinary_user, where this user may mount")
    if not may_mount(probe):
        pytest.skip("mounting a tmpfs is not allowed here")
    made = Mounts()
    yield made
    made.close()


class Mounts:
    """Mounts, and takes away again what is left."""

    def __init__(self) -> None:
        self._places: list[Path] = []

    def tmpfs(self, place: Path, size_mib: int) -> None:
        place.mkdir(exist_ok=True)
        self._mount(place, "-t", "tmpfs", "-o", f"size={size_mib}m", "none")

    def bind(self, source: Path, place: Path) -> None:
        place.mkdir(exist_ok=True)
        self._mount(place, "--bind", str(source))

    def read_only(self, place: Path) -> None:
        """Lay a read-only view of what is there over it: the same file system, the same inodes."""
        self.bind(place, place)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)

    def unplug(self, place: Path) -> None:
        """Take away the topmost mount, whoever uses it."""
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        self._places.remove(place)

    def close(self) -> None:
        for place in reversed(self._places):
            subprocess.run(["umount", "--lazy", str(place)], check=True)

    def _mount(self, place: Path, *arguments: str) -> None:
        subprocess.run(["mount", *arguments, str(place)], check=True)
        self._places.append(place)


class Bench:
    """A dock with one bay, one camera in it, and all that the dock said."""

    def __init__(self, place: Path, pki: Pki, clips: ClipFactory) -> None:
        self.place = place
        self.store = place / "store"
        self.pki = pki
        self.clips = clips
        self.camera = FakeCamera(pki, [])
        self.server = CameraServer(self.camera)
        self.config = write_config(place, pki, [self.server.listen()])
        self.said: list[Notice] = []
        self.shown: list[BayStatus] = []

    def more(self, lines: str) -> None:
        with self.config.open("a") as file:
            file.write(lines)

    def give(self, *numbers: int, **shape: int) -> list[MadeClip]:
        """Let the camera have clips."""
        made = [self.clips.make(number, **shape) for number in numbers]  # type: ignore[arg-type]  # by name
        before = list(self.camera.clips_here.values())
        fresh = FakeCamera(self.pki, [*before, *made])
        fresh.receipts, fresh.states = self.camera.receipts, fresh.states | self.camera.states
        self.camera.__dict__.update(
            clips_here=fresh.clips_here, files=fresh.files, states=fresh.states, _digests={}
        )
        return made

    @contextlib.contextmanager
    def running(self, **options: Callable[[], int]) -> Iterator[DockAgent]:
        agent = DockAgent(load_config(self.config), **options)  # type: ignore[arg-type]  # by name
        agent.listen(self._hear)
        thread = threading.Thread(target=agent.run)
        thread.start()
        try:
            yield agent
        finally:
            agent.stop()
            thread.join(60)
            assert not thread.is_alive()

    def _hear(self, change: "Change") -> None:
        if isinstance(change, Notice):
            self.said.append(change)
        else:
            self.shown.append(change)

    def told(self, words: str) -> bool:
        return any(words in f"{each.kind} {each.detail}" for each in self.said)

    def check(self, made: list[MadeClip]) -> None:
        """One verified copy of each, one trail, one receipt that the camera has; the log whole."""
        entries = [json.loads(line) for line in (self.store / "custody.jsonl").read_bytes().splitlines()]
        for clip in made:
            (place,) = self.store.glob(f"clips/*/{clip.key.clip}")
            assert check_sealed_clip(place, self.pki.trust.roots).finding is Finding.AUTHENTIC
            kinds = [entry["kind"] for entry in entries if entry["clip"] == clip.key.clip]
            assert kinds == ["clip_stored", "receipt_accepted"]
            assert self.camera.receipts[clip.key.clip].verdict == "stored"
        assert not [path for path in (self.store / "partial").iterdir() if not path.name.startswith(".trash")]
        kept = read_checkpoints(self.store / "checkpoints", self.pki.trust.roots, "dock7-a")
        assert verify_custody(self.store / "custody.jsonl", "dock7-a", kept).checkpoints == len(kept) > 0


def wait(condition: Callable[[], object], what: Callable[[], object]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, what()
        threading.Event().wait(0.02)


def has(bench: Bench, made: list[MadeClip]) -> bool:
    return all(clip.key.clip in bench.camera.receipts for clip in made)


def ready(agent: DockAgent) -> bool:
    return agent.bays[0].status.state is BayState.READY


@pytest.fixture
def bench(tmp_path: Path, pki: Pki, clips: ClipFactory) -> Iterator[Bench]:
    made = Bench(tmp_path, pki, clips)
    yield made
    made.server.close()


def fill(place: Path) -> Path:
    ballast = place / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):  # until there is no room for one byte
        while True:
            file.write(bytes(65_536))
            file.flush()
    return ballast


def test_a_store_that_is_full_takes_what_fits_and_the_rest_once_there_is_room(
    bench: Bench, mounts: Mounts
) -> None:
    mounts.tmpfs(bench.store, 8)
    small, large = bench.give(1)[0], bench.give(2, points=40, chunks=1)[0]
    with bench.running() as agent:
        wait(lambda: has(bench, [small, large]), agent.status)
        wait(lambda: ready(agent), agent.status)
        ballast = bench.store / "ballast"
        free = os.statvfs(bench.store).f_bavail * os.statvfs(bench.store).f_frsize
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - MIB)
        third, fourth = bench.give(3, points=40, chunks=1)[0], bench.give(4)[0]
        wait(lambda: "no room" in agent.status().bays[0].detail, agent.status)
        wait(lambda: has(bench, [fourth]), agent.status)
        assert third.key.clip not in bench.camera.receipts
        assert bench.told("no room for")
        ballast.unlink()
        wait(lambda: has(bench, [third]), agent.status)
        wait(lambda: ready(agent), agent.status)
        assert agent.status().store.state == "ready"
    bench.check([small, large, third, fourth])


def test_a_store_that_fills_up_in_the_middle_stops_and_goes_on(bench: Bench, mounts: Mounts) -> None:
    mounts.tmpfs(bench.store, 12)
    (clip,) = bench.give(1, points=60, chunks=1)
    full = threading.Event()

    def fill_once(name: str) -> None:
        if name == "file clip.mp4.age" and not full.is_set():
            full.set()
            fill(bench.store)

    bench.camera.before = fill_once
    with bench.running() as agent:
        wait(lambda: bench.told("the store is full"), agent.status)
        wait(lambda: agent.status().bays[0].state is BayState.FAULT, agent.status)
        assert agent.status().store.state == "full"
        assert bench.camera.receipts == {}
        (bench.store / "ballast").unlink()
        wait(lambda: has(bench, [clip]), agent.status)
        wait(lambda: ready(agent), agent.status)
        wait(lambda: bench.told("store_ready"), agent.status)
    bench.check([clip])


@pytest.mark.parametrize("moment", ["device", "file clip.mp4.age"])
def test_a_store_that_turns_read_only(bench: Bench, mounts: Mounts, moment: str) -> None:
    mounts.tmpfs(bench.store, 16)
    first = bench.give(1)
    with bench.running() as agent:
        wait(lambda: has(bench, first) and ready(agent), agent.status)
        turned = threading.Event()

        def turn_once(name: str) -> None:
            if name == moment and not turned.is_set():
                mounts.read_only(bench.store)
                turned.set()

        bench.camera.before = turn_once
        second = bench.give(2)
        wait(lambda: bench.told("read_only"), agent.status)
        wait(lambda: agent.status().bays[0].state is BayState.FAULT, agent.status)
        assert "read-only" in agent.status().store.detail
        assert not has(bench, second)
        mounts.unplug(bench.store)
        wait(lambda: has(bench, second) and ready(agent), agent.status)
        assert agent.status().store.state == "ready"
    bench.check([*first, *second])


def test_a_store_that_is_unplugged_in_the_middle_and_plugged_in_again(bench: Bench, mounts: Mounts) -> None:
    disk = bench.place / "disk"
    mounts.tmpfs(disk, 16)
    mounts.bind(disk, bench.store)
    first = bench.give(1)
    with bench.running() as agent:
        wait(lambda: has(bench, first) and ready(agent), agent.status)
        pulled = threading.Event()

        def pull_once(name: str) -> None:
            if name == "file clip.mp4.age" and not pulled.is_set():
                mounts.unplug(bench.store)
                pulled.set()

        bench.camera.before = pull_once
        second = bench.give(2)
        wait(lambda: bench.told("the store is gone"), agent.status)
        wait(lambda: agent.status().bays[0].state is BayState.FAULT, agent.status)
        assert not has(bench, second)
        assert list(bench.store.iterdir()) == []  # nothing was written where the disk is not
        mounts.bind(disk, bench.store)
        wait(lambda: has(bench, second) and ready(agent), agent.status)
        assert agent.status().store.state == "ready"
    bench.check([*first, *second])


def test_a_disk_that_comes_back_as_another_device_is_opened_anew(bench: Bench, mounts: Mounts) -> None:
    mounts.tmpfs(bench.store, 16)
    first = bench.give(1)
    with bench.running() as agent:
        wait(lambda: has(bench, first) and ready(agent), agent.status)
        station = agent.station
        copy = bench.place / "copy"
        shutil.copytree(bench.store, copy)
        mounts.unplug(bench.store)
        wait(lambda: bench.told("the store is gone"), agent.status)
        second = bench.give(2)
        mounts.tmpfs(bench.store, 16)
        shutil.copytree(copy, bench.store, dirs_exist_ok=True)
        wait(lambda: has(bench, second) and ready(agent), agent.status)
        assert agent.station is not station
        assert bench.told("back on another device")
        assert agent.status().store.state == "ready"
    bench.check([*first, *second])


def test_another_disk_in_its_place_gets_nothing_and_an_older_copy_is_told_of(
    bench: Bench, mounts: Mounts
) -> None:
    mounts.tmpfs(bench.store, 16)
    first = bench.give(1)
    with bench.running() as agent:
        wait(lambda: has(bench, first) and ready(agent), agent.status)
        old = bench.place / "old"
        shutil.copytree(bench.store, old)
        second = bench.give(2)
        wait(lambda: has(bench, second) and ready(agent), agent.status)
        mounts.tmpfs(bench.store, 16)
        (bench.store / "store.json").write_text('{"format":1,"store":"dock9-z"}')
        third = bench.give(3)
        wait(lambda: bench.told("another store lies where"), agent.status)
        wait(lambda: agent.status().bays[0].state is BayState.FAULT, agent.status)
        assert [path.name for path in bench.store.iterdir()] == ["store.json"]
        assert not has(bench, third)
        mounts.tmpfs(bench.store, 16)
        shutil.copytree(old, bench.store, dirs_exist_ok=True)  # restored from a backup
        wait(lambda: bench.told("lacks entry"), agent.status)
        wait(lambda: has(bench, third), agent.status)
        assert any(each.kind == "fork" for each in agent.status().notices)


def test_a_catalogue_that_is_damaged_while_it_is_used_is_made_anew(bench: Bench) -> None:
    first = bench.give(1)
    path = bench.place / "state" / "catalogue.db"
    with bench.running() as agent:
        wait(lambda: has(bench, first) and ready(agent) and not agent.status().store.catalogue, agent.status)
    path.write_bytes(b"not a database, but as long as a header of one would have to be" * 200)
    with bench.running() as agent:
        second = bench.give(2)
        wait(lambda: has(bench, second) and ready(agent), agent.status)
        agent._works._caught_up_ns = None  # a minute is over
        wait(lambda: not agent.status().store.catalogue, agent.status)
    bench.check([*first, *second])
    assert path.with_name("catalogue.db.broken").read_bytes().startswith(b"not a database")
    catalogue = Catalogue(path)
    assert [row.number for row in catalogue.clips_of("cam0042")] == [1, 2]
    catalogue.close()


def test_a_locked_catalogue_shows_and_is_caught_up(bench: Bench) -> None:
    first = bench.give(1)
    with bench.running() as agent:
        wait(lambda: has(bench, first) and ready(agent) and not agent.status().store.catalogue, agent.status)
        with contextlib.closing(sqlite3.connect(bench.place / "state" / "catalogue.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            second = bench.give(2)
            wait(lambda: has(bench, second) and ready(agent), agent.status)
            wait(lambda: "locked" in agent.status().store.catalogue, agent.status)
            other.rollback()
        agent._works._caught_up_ns = None
        wait(lambda: not agent.status().store.catalogue, agent.status)
    bench.check([*first, *second])


@pytest.mark.parametrize("hours", [-7, 9])
def test_a_clock_that_jumps_by_hours_in_the_middle(bench: Bench, hours: int) -> None:
    ahead_ns = 0
    jumped = threading.Event()

    def now_utc_ns() -> int:
        return time.time_ns() + ahead_ns

    def jump_once(name: str) -> None:
        nonlocal ahead_ns
        if name == "file clip.mp4.age" and not jumped.is_set():
            ahead_ns = hours * HOUR_NS
            jumped.set()

    bench.camera.before = jump_once
    made = bench.give(1, 2, points=20)
    with bench.running(now_utc_ns=now_utc_ns) as agent:
        wait(lambda: has(bench, made[:1]), agent.status)
        wait(lambda: bench.told("clock_jumped"), agent.status)
        ahead_ns = 0
        wait(lambda: has(bench, made) and ready(agent), agent.status)
        wait(lambda: len([each for each in bench.said if each.kind == "clock_jumped"]) == 2, agent.status)
    bench.check(made)


def test_a_second_agent_ends_with_its_reason_and_the_first_goes_on(bench: Bench) -> None:
    code = "import sys; from preroll.cli import main; sys.argv[0] = 'preroll'; main()"
    command = [sys.executable, "-c", code, "dock", "run", "--config", str(bench.config)]
    with bench.running() as agent:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert "in use" in done.stderr
        assert "stop the other agent" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        made = bench.give(1)
        wait(lambda: has(bench, made) and ready(agent), agent.status)
    bench.check(made)
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait((bench.place / "state" / "agent.sock").exists, process.poll)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_as_an_ordinary_user() -> None:
    """The tests above that mount, in a user namespace."""
    if os.geteuid() == 0:
        pytest.skip("root mounts by itself")
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode != 0:
        pytest.skip("no user namespace may be made here")
    command = [
        unshare,
        "-rm",
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "store",
        __file__,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
    assert "skipped" not in done.stdout
