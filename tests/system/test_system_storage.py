"""Points 3 and 9: slow, full, read-only and failing storage under a real camera."""

import errno
import itertools
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device.capture.stamp import FrameStamp
from device.controls.patterns import IndicatorState, Signal
from device.recording.machine import State
from device.service import ServiceParts
from evidence.storage import AppendFile, CardBehaviour, PosixAppendFile, SlowCardFile, StorageError

if TYPE_CHECKING:
    from device.capture.synthetic import SyntheticSource
    from tests.system.conftest import Camera, MakeCamera, Opened

    SoundClip = Callable[..., Opened]
    NoisySource = Callable[[int], SyntheticSource]

NS_PER_S = 1_000_000_000
FRAME_NS = 40_000_000
MIB = 1024 * 1024


class Card:
    """The opener of a camera's files, with whatever is wrong with the card."""

    def __init__(self, wrap: Callable[[Path, AppendFile], AppendFile]) -> None:
        self._wrap = wrap

    def __call__(self, path: Path) -> AppendFile:
        return self._wrap(path, PosixAppendFile(path))


class FaultyFile:
    """An `AppendFile` that asks before each byte and each sync; what it may not write raises."""

    def __init__(self, inner: AppendFile, room: Callable[[int], tuple[int, int]]) -> None:
        self._inner = inner
        self._room = room

    @property
    def size_bytes(self) -> int:
        return self._inner.size_bytes

    def append(self, data: bytes | memoryview) -> None:
        fits, error = self._room(len(data))
        self._inner.append(memoryview(data)[:fits])
        if fits < len(data):
            raise StorageError("cannot write", OSError(error, os.strerror(error)))

    def sync(self) -> None:
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


class Space:
    """Bytes left for the media of clips; giving up the reserve makes some."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.refused = threading.Event()

    def take(self, size: int) -> tuple[int, int]:
        fits = min(size, self.left)
        self.left -= fits
        if fits < size:
            self.refused.set()
        return fits, errno.ENOSPC


def media_only(room: Callable[[int], tuple[int, int]]) -> Card:
    return Card(lambda path, file: FaultyFile(file, room) if path.name == "clip.mp4.age" else file)


def stop_presses(camera: "Camera") -> None:
    """Put the hands away, whatever the camera is doing."""
    camera.board.release()
    camera.run_for(0.1)


def test_a_slow_card_costs_no_frame(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", noisy_source: "NoisySource"
) -> None:
    card = CardBehaviour(rate_bytes_per_s=10_000_000, stall_ns=200_000_000, stall_every_syncs=2)
    parts = ServiceParts(
        source=noisy_source(2_000_000), open_file=Card(lambda _, file: SlowCardFile(file, card))
    )
    camera = make_camera(3.0, parts=parts)
    camera.wait_filled(3.8)
    camera.start()
    camera.run_for(1.0)
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    opened, manifest = assert_sound_clip(clip), clip.manifest
    assert opened.stamps[0].monotonic_ns <= manifest.start.trigger.edge_ns - 3 * NS_PER_S
    assert manifest.stop_ns is not None
    assert opened.stamps[-1].monotonic_ns + FRAME_NS > manifest.stop_ns


def test_a_stop_during_the_flush_ends_the_clip_where_the_hand_said(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", noisy_source: "NoisySource"
) -> None:
    """The card takes some seconds for the window; the stop and a second clip come long before it is done."""
    card = CardBehaviour(rate_bytes_per_s=300_000, stall_ns=0)
    slow = Card(lambda path, file: SlowCardFile(file, card) if path.name == "clip.mp4.age" else file)
    camera = make_camera(3.0, parts=ServiceParts(source=noisy_source(2_000_000), open_file=slow))
    camera.wait_filled(3.6)
    camera.start()
    camera.hold()
    camera.wait_state(State.READY)
    assert camera.service.recorder.status.clips_ended == 0  # it is still being flushed
    camera.start()
    camera.stop()
    camera.wait_ended(2)
    camera.shut_down()
    first, second = camera.clips()
    for clip in (first, second):
        opened, manifest = assert_sound_clip(clip), clip.manifest
        assert str(manifest.ended) == "stopped"
        assert manifest.stop_ns is not None
        last_ns = opened.stamps[-1].monotonic_ns
        assert manifest.stop_ns - FRAME_NS < last_ns < manifest.stop_ns + NS_PER_S
        if clip is first:  # its stop was known long before the card had taken what came before it
            assert last_ns <= manifest.stop_ns
    # Two writers told their progress in turn: each clip began once, and the wearer was told so twice.
    starts = [event.detail["clip"] for event in camera.log_events("start")]
    assert starts == [first.manifest.clip, second.manifest.clip]
    assert camera.witness.kinds().count(Signal.STARTED) <= 2


def missing_between(stamps: tuple[FrameStamp, ...]) -> list[tuple[int, int]]:
    """Return the holes in the numbers, as (end of the picture before, begin of the picture after)."""
    return [
        (before.monotonic_ns + FRAME_NS, after.monotonic_ns)
        for before, after in itertools.pairwise(stamps)
        if after.number != before.number + 1
    ]


def test_what_a_card_far_too_slow_loses_is_exactly_the_gaps_that_are_signed(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", noisy_source: "NoisySource"
) -> None:
    go = threading.Event()

    def stall(_seconds: float) -> None:
        assert go.wait(60)

    card = CardBehaviour()
    slow = Card(lambda path, file: SlowCardFile(file, card, stall) if path.name == "clip.mp4.age" else file)
    camera = make_camera(0.8, parts=ServiceParts(source=noisy_source(6_000_000), open_file=slow), limit_mib="1")
    camera.wait_filled(1.1)
    camera.start()
    camera.wait(lambda: camera.ring.stats().stalled, "the ring's limit to be hit")
    refused = camera.ring.stats().frames_refused
    camera.wait(lambda: camera.ring.stats().frames_refused >= refused + 20, "a gap of more than a GOP")
    assert Signal.STARTED not in camera.witness.kinds()  # nothing is on storage yet, so no light says so
    go.set()
    camera.wait(lambda: not camera.ring.stats().stalled, "room again")
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    manifest = clip.manifest
    assert manifest.gaps
    assert {str(gap.cause) for gap in manifest.gaps} == {"storage_stall"}
    opened = assert_sound_clip(clip, gaps=len(manifest.gaps))
    assert (
        opened.stamps[0].monotonic_ns <= manifest.start.trigger.edge_ns - 800_000_000
    )  # what came first is kept
    assert manifest.stop_ns is not None
    holes = missing_between(opened.stamps)
    last_end_ns = opened.stamps[-1].monotonic_ns + FRAME_NS
    if last_end_ns <= manifest.stop_ns:
        holes.append((last_end_ns, manifest.stop_ns))
    assert [(gap.start_ns, gap.end_ns) for gap in manifest.gaps] == holes


def test_a_full_disk_ends_the_clip_well_and_the_next_press_is_refused_until_there_is_space(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(200_000)
    blocked = threading.Event()
    camera = make_camera(1.0, parts=ServiceParts(open_file=media_only(space.take)))

    def give_up() -> None:
        blocked.set()
        space.left = MIB

    monkeypatch.setattr(camera.service.vault.reserve, "give_up", give_up)
    _let_health_say_full(camera, blocked, monkeypatch)
    camera.wait_filled(1.5)
    camera.start()
    camera.wait_ended(1)
    camera.wait_state(State.BLOCKED)
    stop_presses(camera)
    camera.tap()
    camera.wait(lambda: Signal.REFUSED in camera.witness.kinds(), "a refusal")
    assert camera.witness.states[-1] is IndicatorState.CANNOT_RECORD
    blocked.clear()  # somebody docked it
    space.left = 1 << 40
    camera.wait_state(State.READY)
    camera.start()
    camera.stop()
    camera.shut_down()
    full, well = camera.clips()
    assert str(full.manifest.ended) == "storage_full"
    assert full.manifest.complete
    assert_sound_clip(full)
    assert str(well.manifest.ended) == "stopped"
    assert_sound_clip(well)
    (refusal,) = camera.log_events("refusal")
    assert refusal.detail["reason"] == "storage is full"


def _let_health_say_full(camera: "Camera", blocked: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file system of its own the test has to say itself what the health watch would find."""
    from device.recording.events import StorageLevel

    post = camera.service.recorder.post

    def judged(event: object) -> None:
        if isinstance(event, StorageLevel):
            full = blocked.is_set()
            event = StorageLevel(10 * MIB, 0 if full else MIB, full, "storage is full" if full else "")
        post(event)  # type: ignore[arg-type]  # what came is what goes

    monkeypatch.setattr(camera.service.health._parts.storage, "_post", judged)


def test_an_error_while_writing_leaves_the_clip_for_recovery_and_the_next_one_is_well(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    broken = threading.Event()
    card = media_only(lambda size: (0, errno.EIO) if broken.is_set() else (size, 0))
    camera = make_camera(1.0, parts=ServiceParts(open_file=card))
    camera.wait_filled(1.5)
    camera.start()
    camera.run_for(0.6)
    broken.set()
    camera.wait(lambda: IndicatorState.CANNOT_RECORD in camera.witness.states, "the light that says so")
    broken.clear()
    camera.wait_state(State.READY)
    camera.start()
    camera.stop()
    camera.shut_down()
    left, well = camera.clips()
    assert not left.sealed
    assert {path.name for path in left.directory.iterdir()} == {"journal.jsonl", "clip.mp4.age"}
    assert well.manifest.number == 2
    assert_sound_clip(well)
    events = camera.log_events("storage")
    assert any(event.detail.get("state") == "error" for event in events)


def test_a_card_that_takes_no_number_at_first_gets_the_clip_from_the_ring_even_after_the_stop(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    broken = threading.Event()
    asked = threading.Semaphore(0)

    def open_file(path: Path) -> AppendFile:
        if broken.is_set() and path.name == "journal.jsonl":
            asked.release()
            raise StorageError("cannot create journal.jsonl", OSError(errno.EIO, os.strerror(errno.EIO)))
        return PosixAppendFile(path)

    camera = make_camera(1.0, parts=ServiceParts(open_file=open_file))
    camera.wait_filled(1.5)
    broken.set()
    camera.start()
    camera.hold()
    camera.wait_state(State.READY)
    for _ in range(3):
        assert asked.acquire(timeout=30)
    broken.clear()
    camera.wait_ended(1)
    camera.shut_down()
    (clip,) = camera.clips()
    assert clip.manifest.number == 1
    assert_sound_clip(clip)


def test_a_read_only_card_refuses_in_light_and_films_again_when_it_can(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    read_only = threading.Event()

    def open_file(path: Path) -> AppendFile:
        if read_only.is_set():
            raise StorageError(f"cannot create {path.name}", OSError(errno.EROFS, os.strerror(errno.EROFS)))
        return PosixAppendFile(path)

    camera = make_camera(1.0, parts=ServiceParts(open_file=open_file))
    camera.wait_filled(1.2)
    read_only.set()
    camera.tap()
    camera.wait(lambda: IndicatorState.CANNOT_RECORD in camera.witness.states, "the light that says so")
    assert Signal.STARTED not in camera.witness.kinds()  # nothing was on storage, so no light said so
    assert camera.witness.renewals == []
    read_only.clear()
    camera.wait_state(State.READY)
    camera.start()
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    assert clip.manifest.number == 1
    assert_sound_clip(clip)


@pytest.fixture
def small_disk(camera_place: Path) -> Iterator[Path]:
    """A file system of 48 MiB for the vault, where the test may mount one."""
    vault = camera_place / "vault"
    vault.mkdir()
    image = camera_place / "card.img"
    image.write_bytes(b"")
    os.truncate(image, 48 * MIB)
    made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=False, capture_output=True)
    mounted = made.returncode == 0 and _mount("-o", "loop", str(image), str(vault))
    if not mounted:
        pytest.skip("this test may not mount a file system")
    (vault / "lost+found").rmdir()
    yield vault
    subprocess.run(["umount", str(vault)], check=True)


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


def fill(vault: Path, leave_bytes: int) -> Path:
    space = os.statvfs(vault)
    ballast = vault / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - leave_bytes)
    return ballast


def test_a_disk_that_is_really_full_seals_on_the_reserve_and_recovers(
    small_disk: Path, make_camera: "MakeCamera", assert_sound_clip: "SoundClip", noisy_source: "NoisySource"
) -> None:
    camera = make_camera(1.0, parts=ServiceParts(source=noisy_source(4_000_000)))
    camera.wait_filled(1.5)
    camera.start()
    camera.wait(lambda: camera.service.vault.reserve.held, "the reserve")
    ballast = fill(small_disk, MIB)
    camera.wait_ended(1)
    stop_presses(camera)
    camera.wait_state(State.BLOCKED)
    camera.tap()
    camera.wait(lambda: Signal.REFUSED in camera.witness.kinds(), "a refusal")
    ballast.unlink()
    camera.wait_state(State.READY)
    camera.start()
    camera.stop()
    camera.shut_down()
    full, well = camera.clips()
    assert str(full.manifest.ended) == "storage_full"
    assert_sound_clip(full)
    assert_sound_clip(well)
    assert [event.detail["reason"] for event in camera.log_events("refusal")] == ["storage is full"]


def test_a_disk_that_is_really_read_only_refuses_every_press_and_keeps_the_camera_on(
    small_disk: Path, make_camera: "MakeCamera"
) -> None:
    make_camera(1.0).shut_down()  # formats the vault
    assert _mount("-o", "remount,ro", str(small_disk))
    camera = make_camera(1.0)
    camera.wait_state(State.BLOCKED)
    camera.tap()
    camera.wait(lambda: Signal.REFUSED in camera.witness.kinds(), "a refusal")
    assert camera.witness.states[-1] is IndicatorState.CANNOT_RECORD
    assert camera.ring.stats().held_ns > 0  # the picture goes on
    assert _mount("-o", "remount,rw", str(small_disk))
    camera.wait_state(State.READY)
    camera.start()
    camera.stop()
    camera.shut_down()
    assert [clip.manifest.number for clip in camera.clips()] == [1]
    assert "cannot write" in str(camera.log_events("refusal")[0].detail["reason"])
