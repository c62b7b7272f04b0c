"""Clocks that pace a source: the real one, a faster one, and one moved by hand."""

import threading
import time
from typing import Protocol

__all__ = ["CaptureClock", "ManualClock", "MonotonicClock", "ScaledClock"]

_NS_PER_S = 1_000_000_000
_STOP_POLL_S = 0.005  # a stop event cannot wake a condition: how often a hand-moved clock looks at it


class CaptureClock(Protocol):
    """What a source that makes its own time needs to know about it."""

    def now_ns(self) -> int:
        """Return the time."""

    def wait_until(self, instant_ns: int, stop: threading.Event) -> bool:
        """Wait for an instant; `False` if `stop` was set before it came."""


class MonotonicClock:
    """CLOCK_MONOTONIC."""

    def now_ns(self) -> int:
        """Return CLOCK_MONOTONIC in nanoseconds."""
        return time.monotonic_ns()

    def wait_until(self, instant_ns: int, stop: threading.Event) -> bool:
        """Sleep until the instant has come; `False` if `stop` was set before."""
        while (left_ns := instant_ns - self.now_ns()) > 0:
            if stop.wait(left_ns / _NS_PER_S):
                return False
        return not stop.is_set()


class ScaledClock:
    """CLOCK_MONOTONIC run `speed` times as fast from the moment that it is made; starts at the real time."""

    def __init__(self, speed: float) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self._speed = speed
        self._origin_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """Return the scaled time."""
        return self._origin_ns + int((time.monotonic_ns() - self._origin_ns) * self._speed)

    def wait_until(self, instant_ns: int, stop: threading.Event) -> bool:
        """Sleep until the instant has come on this clock; `False` if `stop` was set before."""
        while (left_ns := instant_ns - self.now_ns()) > 0:
            if stop.wait(max(left_ns / self._speed / _NS_PER_S, 1e-4)):
                return False
        return not stop.is_set()


class ManualClock:
    """A clock that stands still until it is moved: sources run as fast as they can up to that instant.

    `advance` moves it; `settle` waits until a number of threads all wait for a later instant, that is until
    everything due has been handed over.
    """

    def __init__(self, start_ns: int = 1_000 * _NS_PER_S) -> None:
        self._now_ns = start_ns
        self._waiting: dict[object, int] = {}
        self._changed = threading.Condition()

    def now_ns(self) -> int:
        """Return the instant that the clock was last moved to."""
        with self._changed:
            return self._now_ns

    def advance(self, duration_ns: int) -> int:
        """Move the clock forward; return the new time."""
        if duration_ns < 0:
            raise ValueError("a monotonic clock never goes back")
        with self._changed:
            self._now_ns += duration_ns
            self._changed.notify_all()
            return self._now_ns

    def settle(self, waiters: int = 1, timeout_s: float = 60.0) -> bool:
        """Wait until `waiters` threads wait for an instant that has not come; `False` after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ahead() >= waiters, timeout_s)

    def wait_until(self, instant_ns: int, stop: threading.Event) -> bool:
        """Wait until the clock has been moved to the instant; `False` if `stop` was set before."""
        ticket = object()
        with self._changed:
            self._waiting[ticket] = instant_ns
            self._changed.notify_all()
            while self._now_ns < instant_ns and not stop.is_set():
                self._changed.wait(_STOP_POLL_S)
            del self._waiting[ticket]
        return not stop.is_set()

    def _ahead(self) -> int:
        return sum(instant_ns > self._now_ns for instant_ns in self._waiting.values())
