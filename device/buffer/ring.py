"""The pre-event ring: the sink of the capture's threads, and where cursors are opened.

The encoder's thread takes one short lock, appends, and goes on: a few microseconds. Nothing that takes longer
happens under that lock: readers are handed references and copy later; evicted frames are let go of after it;
sleeping readers are woken after it. A backlog is freed in the readers' threads; an append frees at most one GOP
for its age.
"""

import threading
from contextlib import AbstractContextManager
from typing import Any

from device.buffer.cursor import Cursor, SharedGops
from device.buffer.gops import Gop, Gops
from device.buffer.stats import RingStats
from device.errors import DeviceError
from evidence.frames import EncodedFrame, Span

__all__ = ["DEFAULT_LIMIT_BYTES", "DEFAULT_MARGIN_NS", "DEFAULT_WINDOW_NS", "MAX_WINDOW_NS", "Ring"]

_NS_PER_S = 1_000_000_000
DEFAULT_WINDOW_NS = 30 * _NS_PER_S
MAX_WINDOW_NS = 120 * _NS_PER_S
DEFAULT_MARGIN_NS = 2 * _NS_PER_S
"""From an edge to the opening of its cursor: a card's stall of a second meanwhile, and some."""
DEFAULT_LIMIT_BYTES = 64 * 1024 * 1024
"""Window and margin at 10 Mbit/s take 40 MiB; the rest bridges 20 s in which storage takes nothing."""


class Ring:
    """The last seconds of encoded video and sound, bounded in time and in bytes (rules: `gops.py`).

    Args:
        window_ns: the seconds that a cursor can ask for, 0 to 120 s.
        limit_bytes: payload bytes (`len(frame.data)`) that are never exceeded. Must hold window, margin and one
            GOP at the stream's rate, and beyond that the seconds of a storage stall that are to be bridged.
        margin_ns: how long after its edge a cursor may be opened without loss, at least (the encoder's latency
            comes on top).
        lock: another lock; the bench passes one that takes the time.

    Raises:
        DeviceError: a bound out of range.
    """

    def __init__(
        self,
        window_ns: int = DEFAULT_WINDOW_NS,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        *,
        margin_ns: int = DEFAULT_MARGIN_NS,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        _check("window", window_ns, 0, MAX_WINDOW_NS)
        _check("byte limit", limit_bytes, 1, None)
        _check("margin", margin_ns, 0, None)
        self._window_ns = window_ns
        self._margin_ns = margin_ns
        self._gops = Gops(window_ns, margin_ns, limit_bytes)
        self._shared = SharedGops(self._gops, threading.Lock() if lock is None else lock)

    @property
    def window_ns(self) -> int:
        """The seconds that a cursor can ask for."""
        return self._window_ns

    def set_window(self, window_ns: int) -> None:
        """Keep more or fewer seconds from now on; cursors that are open keep what they have.

        Raises:
            DeviceError: out of range.
        """
        _check("window", window_ns, 0, MAX_WINDOW_NS)
        with self._shared.lock:
            self._window_ns = window_ns
            self._gops.set_kept(window_ns + self._margin_ns)

    def frame(self, frame: EncodedFrame) -> None:
        """Append one frame; from any thread, video in decode order. Never raises, never waits for a reader.

        What is not kept (before the first keyframe, or for want of room) is counted in `stats`.
        """
        shared = self._shared
        gops = self._gops
        sleepers: list[threading.Lock] | None = None
        dropped: list[Gop] | None = None
        with shared.lock:
            if gops.frame(frame) and shared.sleepers:
                sleepers, shared.sleepers = shared.sleepers, []
            if gops.dropped:
                dropped, gops.dropped = gops.dropped, []
        if sleepers:
            for sleeper in sleepers:
                sleeper.release()
        del dropped  # frees a GOP's frames, without the lock and after the readers were woken

    def gap(self, gap: Span) -> None:
        """Append a gap, in order with the frames; from any thread."""
        shared = self._shared
        sleepers: list[threading.Lock] = []
        with shared.lock:
            if self._gops.gap(gap):
                sleepers, shared.sleepers = shared.sleepers, sleepers
        for sleeper in sleepers:
            sleeper.release()

    def open_cursor(self, at_ns: int, window_ns: int | None = None) -> Cursor:
        """Open a cursor at the last keyframe at or before `at_ns - window_ns`, or at the oldest there is.

        Cheap and safe from any thread: open it first, then claim a number and make files, because `at_ns`
        must not lie further back than the margin. `at_ns` may be ahead of the newest frame, as it is for a
        press handled at once. Without a keyframe the cursor waits for the first one.

        Args:
            at_ns: the time of the press (CLOCK_MONOTONIC).
            window_ns: seconds before it, at most the ring's window, which is the default.

        Raises:
            DeviceError: more seconds asked for than the ring keeps.
        """
        wanted_ns = self._window_ns if window_ns is None else window_ns
        _check("seconds asked for", wanted_ns, 0, self._window_ns)
        with self._shared.lock:
            place = self._gops.open(at_ns, wanted_ns)
        return Cursor(self._shared, place)

    def stats(self) -> RingStats:
        """Return a snapshot."""
        with self._shared.lock:
            return self._gops.stats()


def _check(what: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        expected = f"at least {least}" if most is None else f"{least} to {most}"
        raise DeviceError(
            f"the ring's {what} is out of range",
            expected=expected,
            found=str(value),
            remedy="correct the configuration",
        )
