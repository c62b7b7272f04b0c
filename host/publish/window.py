"""Which events are on the way: a bounded window from the oldest unacknowledged. No I/O, no clock.

Events go out in the order of their numbers over one connection, so first occurrences are in order. After a
refusal the window is one event wide until the broker takes it, and an event longer than any that the broker has
taken goes alone: no later event overtakes it.
"""

from collections import deque
from collections.abc import Sequence

from host.publish.outbox import StoredEvent

__all__ = ["EventWindow"]

_PAGE = 64


class EventWindow:
    """Events between the outbox and the broker; the outbox is read in pages."""

    def __init__(self, width: int, retry_ns: int) -> None:
        self._width = width
        self._retry_ns = retry_ns
        self._narrow = self._alone = False
        self._in_flight: set[int] = set()
        self._ready: deque[StoredEvent] = deque()
        self._cursor = 0
        self._fresh = False
        self._loading = False
        self._exhausted = False
        self._resume_ns = 0

    @property
    def in_flight(self) -> int:
        """How many the broker has not acknowledged."""
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        """Whether nothing is on the way or known to wait."""
        return self._exhausted and not self._in_flight and not self._ready

    def connected(self) -> None:
        """Begin at the oldest unacknowledged again."""
        self._in_flight.clear()
        self._rewind()
        self._resume_ns = 0
        self._narrow = False

    def written(self) -> None:
        """Note that the outbox holds another event."""
        self._fresh = True
        self._exhausted = False

    def wanted(self, now_ns: int) -> tuple[int, int] | None:
        """Say what to read from the outbox: events after a number, at most so many; `None` for nothing."""
        if self._loading or self._ready or self._exhausted or now_ns < self._resume_ns:
            return None
        self._loading, self._fresh = True, False
        return self._cursor, _PAGE

    def loaded(self, after: int, events: Sequence[StoredEvent]) -> None:
        """Take what the outbox held."""
        self._loading = False
        if after != self._cursor:
            return  # read before the window began anew
        self._ready.extend(each for each in events if each.number not in self._in_flight)
        if events:
            self._cursor = events[-1].number
        self._exhausted = len(events) < _PAGE and not self._fresh

    def next(self, now_ns: int, proven_bytes: int | None = None) -> StoredEvent | None:
        """Take the next event that may go out.

        One longer than the broker is known to take goes alone: if it is too long, none behind it has arrived.
        """
        width = 1 if self._narrow else self._width
        if not self._ready or len(self._in_flight) >= width or now_ns < self._resume_ns:
            return None
        long = proven_bytes is not None and len(self._ready[0].payload) > proven_bytes
        if self._in_flight and (long or self._alone):
            return None
        event = self._ready.popleft()
        self._alone = long
        self._in_flight.add(event.number)
        return event

    def acknowledged(self, number: int) -> None:
        """Note that the broker has it."""
        self._in_flight.discard(number)
        if not self._in_flight and not self._resume_ns:
            self._narrow = False

    def refused(self, number: int, now_ns: int) -> None:
        """Note that the broker did not take it: wait, then begin at it again, one at a time."""
        self._in_flight.discard(number)
        self._narrow = True
        self._resume_ns = now_ns + self._retry_ns
        self._rewind()

    def resumes_ns(self) -> int | None:
        """Say when to go on after a refusal."""
        return self._resume_ns or None

    def tick(self, now_ns: int) -> None:
        """End the pause after a refusal."""
        if self._resume_ns and now_ns >= self._resume_ns:
            self._resume_ns = 0

    def _rewind(self) -> None:
        self._ready.clear()
        self._cursor = 0
        self._exhausted = False
