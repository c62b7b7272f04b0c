"""A lock that says how long it was held: what the bench gives to the ring in place of a plain one."""

import threading
import time
from collections.abc import Callable
from types import TracebackType

__all__ = ["TimedLock"]


class TimedLock:
    """A `threading.Lock` for `with` alone; reports each hold in nanoseconds, after the release.

    Args:
        report: called in the thread that held the lock; cheap and safe from any thread, such as `list.append`.
        report_own: called likewise with the CPU time of that thread while it held the lock: what is missing
            to `report`'s figure it spent without a processor, or without the interpreter's lock.
    """

    def __init__(
        self, report: Callable[[int], object], report_own: Callable[[int], object] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._report = report
        self._report_own = report_own
        self._taken_ns = 0
        self._own_ns = 0

    def __enter__(self) -> None:
        """Wait for the lock; the time runs from when it is held."""
        self._lock.acquire()
        if self._report_own is not None:
            self._own_ns = time.thread_time_ns()
        self._taken_ns = time.perf_counter_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it, then report."""
        held_ns = time.perf_counter_ns() - self._taken_ns
        if self._report_own is None:
            self._lock.release()
        else:
            own_ns = time.thread_time_ns() - self._own_ns
            self._lock.release()
            self._report_own(own_ns)
        self._report(held_ns)
