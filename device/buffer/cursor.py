"""A cursor: one reader's way through the ring, at its own pace."""

import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from device.buffer.gops import Gop, Gops, Item, Part, Place
from evidence.frames import Shortfall, Span

__all__ = ["Cursor", "Item", "SharedGops"]

_LIMIT_ITEMS = 4096
_LIMIT_BYTES = 4 * 1024 * 1024  # what may be flushed between two sync points


class SharedGops:
    """What the ring and its cursors share: the GOPs, the lock around them, and who sleeps until more comes."""

    __slots__ = ("gops", "lock", "sleepers")

    def __init__(self, gops: Gops, lock: AbstractContextManager[Any]) -> None:
        self.gops = gops
        self.lock = lock
        self.sleepers: list[threading.Lock] = []  # each is released once, by whoever takes it off the list


class Cursor:
    """A reader's place in the ring. One thread reads it; any thread may open, close or ask.

    What it has yet to read stays in the ring, whatever the window says, so it must be closed. What it handed
    out is the reader's own and counts no more. A context manager that closes.
    """

    def __init__(self, shared: SharedGops, place: Place) -> None:
        self._shared = shared
        self._place = place
        self._closed = False
        self._wake = threading.Lock()
        self._wake.acquire()

    def __enter__(self) -> Self:
        """Return the cursor."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def at_ns(self) -> int:
        """The time it was opened for, such as that of a button's edge."""
        return self._place.at_ns

    @property
    def window_ns(self) -> int:
        """The seconds before `at_ns` that were asked for."""
        return self._place.window_ns

    @property
    def first_pts_ns(self) -> int | None:
        """Presentation time of its first frame, a keyframe; `None` while it waits for one."""
        return self._place.first_pts_ns

    @property
    def available_ns(self) -> int:
        """From its first frame to `at_ns`; 0 while it waits for one, or if that came after `at_ns`."""
        return self._place.available_ns

    @property
    def shortfall(self) -> Shortfall | None:
        """Why `available_ns` is less than `window_ns`, `None` if it isn't; final once there is a first frame.

        `byte_limit` stands for the ring's own bounds: also where a cursor was opened so long after `at_ns`, by
        more than the ring's margin, that the ring had moved on (counted in `RingStats.opened_late`).
        """
        return self._place.shortfall

    @property
    def closed(self) -> bool:
        """Whether it was closed; it then hands out nothing more."""
        return self._closed

    @property
    def lag_ns(self) -> int:
        """How far it is behind: from its next item to the end of the newest picture; 0 if all is read."""
        with self._shared.lock:
            return 0 if self._closed else self._shared.gops.lag_ns(self._place)

    @property
    def pending_bytes(self) -> int:
        """Payload bytes that it has yet to read."""
        with self._shared.lock:
            return 0 if self._closed else self._shared.gops.pending_bytes(self._place)

    @property
    def open_gap(self) -> Span | None:
        """Picture refused since the newest frame in the ring.

        It comes as a gap, with its exact end, in front of the next keyframe. A reader that stops before that
        one takes it from here, cut at its stop.
        """
        with self._shared.lock:
            return self._shared.gops.open_gap

    def read(
        self,
        limit_items: int = _LIMIT_ITEMS,
        limit_bytes: int = _LIMIT_BYTES,
        timeout_s: float | None = None,
    ) -> list[Item]:
        """Return what comes next, in order; wait for it if there is nothing.

        Args:
            limit_items: at most so many frames and gaps, at least 1.
            limit_bytes: at most so many payload bytes, but always one item if there is one.
            timeout_s: how long to wait; `None` for ever.

        Returns:
            Frames and gaps; empty if the time is over, or the cursor was closed (before or meanwhile).
        """
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            parts, closed = self._take(limit_items, limit_bytes, sleep=True)
            if parts or closed:
                return _joined(parts)
            if not self._slept(give_up):
                return self.read_nowait(limit_items, limit_bytes)

    def read_nowait(self, limit_items: int = _LIMIT_ITEMS, limit_bytes: int = _LIMIT_BYTES) -> list[Item]:
        """Return what comes next, in order, without waiting; empty if there is nothing."""
        return _joined(self._take(limit_items, limit_bytes, sleep=False)[0])

    def close(self) -> None:
        """Give the place up; wakes a reader. More than once is harmless."""
        shared = self._shared
        with shared.lock:
            if self._closed:
                return
            self._closed = True
            shared.gops.close(self._place)
            dropped, shared.gops.dropped = shared.gops.dropped, []
            asleep = self._wake in shared.sleepers
            if asleep:
                shared.sleepers.remove(self._wake)
        if asleep:
            self._wake.release()
        dropped.clear()

    def _take(self, limit_items: int, limit_bytes: int, *, sleep: bool) -> tuple[list[Part], bool]:
        shared = self._shared
        dropped: list[Gop] = []
        with shared.lock:
            if self._closed:
                return [], True
            parts = shared.gops.take(self._place, limit_items, limit_bytes)
            if shared.gops.dropped:
                dropped, shared.gops.dropped = shared.gops.dropped, dropped
            if sleep and not parts:
                shared.sleepers.append(self._wake)
        dropped.clear()  # frees what the ring let go of: here, in the reader's time, and without the lock
        return parts, False

    def _slept(self, give_up: float | None) -> bool:
        """Sleep until woken; return whether that was so, and not that the time was over."""
        left = -1.0 if give_up is None else max(0.0, give_up - time.monotonic())
        if self._wake.acquire(timeout=min(left, threading.TIMEOUT_MAX)):
            return True
        with self._shared.lock:
            asleep = self._wake in self._shared.sleepers
            if asleep:
                self._shared.sleepers.remove(self._wake)
        if not asleep:  # taken off the list already: the release is on its way, and belongs to this sleep
            self._wake.acquire()
        return not asleep


def _joined(parts: list[Part]) -> list[Item]:
    """Copy what was handed out; the lists only ever grow at their end, so no lock is needed."""
    joined: list[Item] = []
    for items, start, end in parts:
        joined += items[start:end]
    return joined
