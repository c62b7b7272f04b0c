"""What waits for a thread: put from anywhere, taken by one.

`queue.SimpleQueue.get(timeout=…)` of CPython 3.11 can wait for ever: where its lock is free though the queue is
empty and the time runs out before it looks again, what is left of the time is below zero, which its lock takes
for "no limit" (Modules/_queuemodule.c). A button's hold would then be noticed with the next edge, and lights
would stand still. `queue.Queue` has no such fault, but a signal handler that puts can block itself on it.
"""

import contextlib
import queue
import threading
import time
from typing import Generic, TypeVar

__all__ = ["Inbox"]

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """A queue without limit: `put` from any thread and signal handler, `get` from one thread at a time."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[_T] = queue.SimpleQueue()
        self._bell = threading.Lock()  # free: something was put since somebody last waited
        self._bell.acquire()

    def put(self, item: _T) -> None:
        """Add an item; never blocks."""
        self._items.put(item)
        with contextlib.suppress(RuntimeError):  # it rings already
            self._bell.release()

    def get(self, timeout_s: float | None = None) -> _T:
        """Return the oldest item; waits for one, at most so long.

        Raises:
            queue.Empty: none came.
        """
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(queue.Empty):
                return self._items.get_nowait()
            left_s = -1 if end_s is None else max(0.0, end_s - time.monotonic())
            if not self._bell.acquire(timeout=left_s):
                return self._items.get_nowait()

    def empty(self) -> bool:
        """Whether nothing waits now."""
        return self._items.empty()
