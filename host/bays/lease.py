"""A bay lent to somebody else for a while: its port is free until then, or until it is given back."""

import threading

__all__ = ["Lease"]

_NS_PER_S = 1_000_000_000


class Lease:
    """Until when a bay is lent, and whether its worker has let go of the port. Thread-safe."""

    def __init__(self) -> None:
        self._until_ns = 0
        self._free = threading.Event()

    def begin(self, until_ns: int) -> None:
        """Lend until then, CLOCK_MONOTONIC."""
        self._free.clear()
        self._until_ns = until_ns

    def end(self) -> None:
        """Take it back."""
        self._until_ns = 0
        self._free.clear()

    def left_s(self, now_ns: int) -> float:
        """Return for how long it is still lent; 0 if it is not."""
        return max(0, self._until_ns - now_ns) / _NS_PER_S

    def let_go(self) -> None:
        """Say, as the worker, that nothing of the port is open."""
        if self._until_ns:
            self._free.set()

    def wait_free(self, timeout_s: float) -> bool:
        """Wait until the worker has let go of the port; returns whether it has."""
        return self._free.wait(timeout_s)
