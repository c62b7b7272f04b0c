"""Wall and CPU time of a stretch of code, of this process or of the children that ended in it."""

import resource
import time

import msgspec

__all__ = ["Spent", "Stopwatch"]


class Spent(msgspec.Struct, frozen=True):
    """Seconds; CPU is user and system time of all threads."""

    wall_s: float
    cpu_s: float


class Stopwatch:
    """Runs from its construction on."""

    def __init__(self, *, children: bool = False) -> None:
        self._who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
        self._cpu_s = self._cpu()
        self._wall_s = time.perf_counter()

    def spent(self) -> Spent:
        """Return what has been spent so far."""
        return Spent(time.perf_counter() - self._wall_s, self._cpu() - self._cpu_s)

    def _cpu(self) -> float:
        usage = resource.getrusage(self._who)
        return usage.ru_utime + usage.ru_stime
