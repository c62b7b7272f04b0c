"""The ring between threads: one appender at full speed, several cursors opened, read and closed beside it."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from device.buffer.cursor import Cursor
from device.buffer.ring import Ring
from device.buffer.timedlock import TimedLock
from evidence.frames import EncodedFrame, GapCause, Span

S = 1_000_000_000
MakeFrame = Callable[..., EncodedFrame]
MakeGops = Callable[..., list[EncodedFrame]]


@pytest.fixture
def ring() -> Ring:
    return Ring(3 * S, 1_000_000, margin_ns=S)


def started(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


class Sleeping:
    """A reader in a thread of its own, known to be asleep."""

    def __init__(self, cursor: Cursor, **options: Any) -> None:
        self.got: list[EncodedFrame | Span] | None = None
        asleep = threading.Event()
        wake = cursor._wake

        class Noted:
            def acquire(self, timeout: float = -1) -> bool:
                asleep.set()
                return wake.acquire(timeout=timeout)

            def release(self) -> None:
                wake.release()

        cursor._wake = Noted()  # type: ignore[assignment]  # a lock that says when it is slept on
        self._thread = started(lambda: self._read(cursor, options))
        asleep.wait()

    def _read(self, cursor: Cursor, options: dict[str, Any]) -> None:
        self.got = cursor.read(**options)

    def result(self) -> list[EncodedFrame | Span] | None:
        self._thread.join()
        return self.got


def test_a_sleeping_reader_is_woken_by_a_frame(ring: Ring, make_gops: MakeGops) -> None:
    frames = make_gops(0, 2)
    ring.frame(frames[0])
    cursor = ring.open_cursor(0)
    assert cursor.read(timeout_s=0) == frames[:1]
    reader = Sleeping(cursor)
    ring.frame(frames[1])
    assert reader.result() == frames[1:]


def test_a_sleeping_reader_is_woken_by_a_gap(ring: Ring, make_gops: MakeGops) -> None:
    ring.frame(make_gops(0, 1)[0])
    cursor = ring.open_cursor(0)
    cursor.read_nowait()
    reader = Sleeping(cursor, timeout_s=60)
    gap = Span(1, 2, GapCause.CAMERA_DROPPED)
    ring.gap(gap)
    assert reader.result() == [gap]


def test_a_reader_that_waits_for_the_first_keyframe_sleeps_through_the_rest(
    ring: Ring, make_frame: MakeFrame
) -> None:
    reader = Sleeping(ring.open_cursor(0))
    ring.frame(make_frame(0))
    key = make_frame(1, key=True)
    ring.frame(key)
    assert reader.result() == [key]


def test_closing_wakes_a_sleeping_reader(ring: Ring) -> None:
    cursor = ring.open_cursor(0)
    reader = Sleeping(cursor)
    cursor.close()
    assert reader.result() == []


def test_all_sleeping_readers_are_woken(ring: Ring, make_frame: MakeFrame) -> None:
    readers = [Sleeping(ring.open_cursor(0)) for _ in range(4)]
    key = make_frame(0, key=True)
    ring.frame(key)
    assert [reader.result() for reader in readers] == [[key]] * 4


def test_time_over_leaves_nobody_on_the_list(ring: Ring, make_frame: MakeFrame) -> None:
    cursor = ring.open_cursor(0)
    assert cursor.read(timeout_s=0.001) == []
    assert cursor.read(timeout_s=0) == []
    assert ring._shared.sleepers == []
    key = make_frame(0, key=True)
    ring.frame(key)
    assert cursor.read(timeout_s=0) == [key]


def test_a_release_that_comes_with_the_end_of_the_time_is_used_up(ring: Ring, make_frame: MakeFrame) -> None:
    cursor = ring.open_cursor(0)
    wake = cursor._wake
    frames = [make_frame(0, key=True), make_frame(1)]

    class Late:
        """The first sleep ends without a release; the frame comes before the reader is off the list."""

        slept = 0

        def acquire(self, timeout: float = -1) -> bool:
            self.slept += 1
            if self.slept == 1:
                ring.frame(frames[0])
                return False
            return wake.acquire(timeout=timeout)

        def release(self) -> None:
            wake.release()

    cursor._wake = Late()  # type: ignore[assignment]  # a lock whose time-out meets the release
    assert cursor.read(timeout_s=60) == frames[:1]
    assert wake.locked(), "a release that is left over would wake the next sleep for nothing"
    ring.frame(frames[1])
    assert cursor.read(timeout_s=60) == frames[1:]


def test_readers_at_full_speed_never_disturb_the_appender(make_gops: MakeGops) -> None:
    """Each reader sees a run without a hole from a keyframe on; what the ring refused it says."""
    ring = Ring(3 * S, 4_000, margin_ns=S)
    frames = make_gops(0, 20_000)
    ended = threading.Event()
    wrong: list[str] = []

    def read_some(seed: int) -> None:
        while not ended.is_set():
            newest_ns = ring.stats().newest_pts_ns or 0
            with ring.open_cursor(newest_ns) as cursor:
                items: list[EncodedFrame | Span] = []
                for batch in range(20):
                    items += cursor.read(1 + (seed * 7 + batch) % 50, timeout_s=0.01)
                wrong.extend(holes(items))

    readers = [started(partial(read_some, seed)) for seed in range(4)]
    held = []
    for frame in frames:
        ring.frame(frame)
        held.append(ring.stats().held_bytes)
    ended.set()
    for reader in readers:
        reader.join()
    stats = ring.stats()
    assert wrong == []
    assert max(held) <= 4_000
    assert stats.cursors == 0
    assert stats.frames_taken + stats.frames_refused == len(frames)


def holes(items: list[EncodedFrame | Span]) -> list[str]:
    if not items:
        return []
    first = items[0]
    if not (isinstance(first, EncodedFrame) and first.keyframe):
        return ["begins without a keyframe"]
    found = []
    at_ns = first.pts_ns
    for item in items:
        start_ns, end_ns = (
            (item.start_ns, item.end_ns)
            if isinstance(item, Span)
            else (item.pts_ns, item.pts_ns + item.duration_ns)
        )
        if start_ns != at_ns:
            found.append(f"hole at {at_ns}")
        at_ns = end_ns
    return found


def test_the_timed_lock_takes_the_time_of_every_hold(make_gops: MakeGops) -> None:
    holds: list[int] = []
    ring = Ring(lock=TimedLock(holds.append))
    for frame in make_gops(0, 10):
        ring.frame(frame)
    assert len(holds) == 10
    assert min(holds) > 0


def test_the_timed_lock_tells_computing_from_waiting() -> None:
    holds: list[int] = []
    owns: list[int] = []
    with TimedLock(holds.append, owns.append):
        threading.Event().wait(0.05)
    assert holds[0] >= 50_000_000
    assert 0 <= owns[0] < holds[0]
