"""The ring's window changes while it runs: a pushed configuration may ask for more seconds, or fewer."""

import pytest

from device.buffer.ring import Ring
from device.errors import DeviceError
from evidence.frames import EncodedFrame, Shortfall, Track

FRAME_NS = 100_000_000


def fill(ring: Ring, first: int, count: int) -> int:
    for number in range(first, first + count):
        at_ns = number * FRAME_NS
        ring.frame(EncodedFrame(Track.VIDEO, bytes(100), at_ns, at_ns, FRAME_NS, number % 5 == 0))
    return (first + count - 1) * FRAME_NS


def look(ring: Ring, at_ns: int) -> tuple[int, int, Shortfall | None]:
    """Open a cursor as a press does: seconds asked for, seconds there, and why fewer."""
    cursor = ring.open_cursor(at_ns)
    try:
        return cursor.window_ns, cursor.available_ns, cursor.shortfall
    finally:
        cursor.close()


def test_a_shorter_window_lets_go_and_a_longer_one_says_what_is_still_lacking() -> None:
    ring = Ring(4_000_000_000, 1 << 20, margin_ns=0)
    assert look(ring, fill(ring, 0, 100))[1] >= 4_000_000_000
    ring.set_window(1_000_000_000)
    assert look(ring, fill(ring, 100, 10))[0] == 1_000_000_000
    assert ring.stats().held_ns < 2_500_000_000
    ring.set_window(8_000_000_000)
    asked_ns, available_ns, shortfall = look(ring, fill(ring, 110, 10))
    assert asked_ns == 8_000_000_000
    assert available_ns < asked_ns
    assert shortfall is Shortfall.JUST_STARTED
    assert look(ring, fill(ring, 120, 100))[2] is None


def test_a_window_out_of_range_changes_nothing() -> None:
    ring = Ring(4_000_000_000, 1 << 20)
    with pytest.raises(DeviceError, match="window"):
        ring.set_window(121_000_000_000)
    assert ring.window_ns == 4_000_000_000
