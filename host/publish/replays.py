"""Requests to send events again: checked, limited, worked off one by one. No I/O, no clock.

A request comes from whoever the broker lets write to `replay`. It costs at most `most` events; a few requests
wait, one begins at most every `pause_ns`; what is too much is refused and counted.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from host.publish.outbox import StoredEvent
from host.publish.payloads import ReplayRequest

__all__ = ["ReplayQueue"]

_WAITING = 8
_PAGE = 32


class _Range(msgspec.Struct):
    after: int
    last: int
    left: int


class ReplayQueue:
    """Ranges that subscribers asked for."""

    def __init__(self, *, most: int, pause_ns: int, width: int) -> None:
        self._most = most
        self._pause_ns = pause_ns
        self._width = width
        self._waiting: deque[tuple[int, int]] = deque()
        self._current: _Range | None = None
        self._ready: deque[StoredEvent] = deque()
        self._in_flight: set[int] = set()
        self._loading = False
        self._next_ns = 0
        self.refused = 0

    def ask(self, request: ReplayRequest, series: str) -> str:
        """Take a request; returns why not, or nothing."""
        asked = (request.first, request.last)
        if request.series != series:
            reason = "of another series"
        elif asked in self._waiting:
            return ""  # two subscribers saw the same gap: one answer serves both
        elif len(self._waiting) >= _WAITING:
            reason = f"more than {_WAITING} requests wait"
        else:
            self._waiting.append(asked)
            return ""
        self.refused += 1
        return reason

    def connected(self) -> None:
        """Forget what was asked over a connection that is gone: who still misses something asks again."""
        self._waiting.clear()
        self._current = None
        self._ready.clear()
        self._in_flight.clear()
        self._loading = False

    def wanted(self, now_ns: int) -> tuple[int, int, int] | None:
        """Say what to read from the outbox: first, last, at most so many."""
        if self._current is None and self._waiting and now_ns >= self._next_ns:
            first, last = self._waiting.popleft()
            self._current = _Range(first - 1, last, self._most)
            self._next_ns = now_ns + self._pause_ns
        if self._current is None or self._loading or self._ready:
            return None
        self._loading = True
        return self._current.after + 1, self._current.last, min(_PAGE, self._current.left)

    def loaded(self, first: int, events: Sequence[StoredEvent]) -> None:
        """Take what the outbox held; nothing more ends the request."""
        self._loading = False
        current = self._current
        if current is None or first != current.after + 1:
            return
        self._ready.extend(events)
        current.left -= len(events)
        if events:
            current.after = events[-1].number
        if not events or current.left <= 0 or current.after >= current.last:
            self._current = None

    def next(self) -> StoredEvent | None:
        """Take the next event that may go out again."""
        if not self._ready or len(self._in_flight) >= self._width:
            return None
        event = self._ready.popleft()
        self._in_flight.add(event.number)
        return event

    def settled(self, number: int) -> None:
        """Note that the broker has it, or refused it."""
        self._in_flight.discard(number)

    def due_ns(self) -> int | None:
        """Say when the next request may begin."""
        return self._next_ns if self._waiting and self._current is None else None
