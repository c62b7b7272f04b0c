"""Turns: so many bays move footage at once, first come, first served, and a slow one holds nobody up."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Turn", "Turns"]


class Turn:
    """One bay's turn; `tick` while it goes on, so that one that takes too long gives its place away."""

    def __init__(self, turns: "Turns", deadline_s: float) -> None:
        self._turns = turns
        self._deadline_s = deadline_s
        self._held = True

    def tick(self) -> None:
        """Give the place to who waits, once this turn has lasted too long: one that slow loads little."""
        if self._held and self._turns.wanted and self._turns.now_s() >= self._deadline_s:
            self.end()

    def end(self) -> None:
        """Give the place back (once)."""
        if self._held:
            self._held = False
            self._turns.give_back()


class Turns:
    """`limit` places. Thread-safe; who waits is served in order."""

    def __init__(self, limit: int, *, patience_s: float, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self._patience_s = patience_s
        self._free = limit
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait for a place and hold it; each place is given back in bounded time, so this ends."""
        with self._lock:
            called = None
            if self._free:
                self._free -= 1
            else:
                called = threading.Event()
                self._waiting.append(called)
        if called:
            called.wait()
        turn = Turn(self, self.now_s() + self._patience_s)
        try:
            yield turn
        finally:
            turn.end()

    def give_back(self) -> None:
        """Hand the place to the first who waits."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
