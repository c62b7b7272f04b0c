"""The sensor's clock, turned into CLOCK_MONOTONIC.

libcamera documents `SensorTimestamp` as CLOCK_BOOTTIME. The Raspberry Pi pipelines pass on the kernel's V4L2
buffer times, which are CLOCK_MONOTONIC, and the virtual pipeline reads C++'s `steady_clock`, which is the same.
The two differ by the time that the machine was suspended, which a Pi never is and a laptop often. So the clock
is found out, not assumed: the sensor's time of a frame that has arrived lies in the past. If it is ahead of
CLOCK_MONOTONIC, it can only be CLOCK_BOOTTIME, and the difference of the two clocks is taken off, measured
when the camera starts and again every second, because the machine may be suspended at any time.
"""

import enum
import time
from collections.abc import Callable

__all__ = ["SensorClock", "SensorTimebase", "measure_suspended_ns"]

_NS_PER_S = 1_000_000_000
_READINGS = 5
_NOISE_NS = 1_000_000  # nobody is suspended for less; below it the two clocks are one
_OLDEST_NS = 10 * _NS_PER_S  # no frame is under way for longer


class SensorTimebase(enum.StrEnum):
    """Which clock the sensor's times are read from."""

    MONOTONIC = "CLOCK_MONOTONIC"
    BOOTTIME = "CLOCK_BOOTTIME"
    UNKNOWN = "unknown"  # neither: the first frame's arrival stands for its time


def measure_suspended_ns() -> int:
    """Return by how much CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, from the tightest of a few readings."""
    tightest_ns, difference_ns = _NS_PER_S, 0
    for _ in range(_READINGS):
        before_ns = time.monotonic_ns()
        boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        width_ns = time.monotonic_ns() - before_ns
        if width_ns < tightest_ns:
            tightest_ns, difference_ns = width_ns, boottime_ns - before_ns - width_ns // 2
    return difference_ns if difference_ns >= _NOISE_NS else 0


class SensorClock:
    """Maps one camera run's sensor times to CLOCK_MONOTONIC; `timebase` is `None` before its first frame."""

    def __init__(self, suspended_ns: Callable[[], int] = measure_suspended_ns) -> None:
        self.timebase: SensorTimebase | None = None
        self._measure = suspended_ns
        self._suspended_ns = suspended_ns()
        self._ahead_ns = 0

    def anchor(self, sensor_ns: int, now_ns: int) -> SensorTimebase:
        """Find out the clock from the first frame of a run, which arrived at `now_ns` of CLOCK_MONOTONIC."""
        if 0 <= now_ns - sensor_ns <= _OLDEST_NS:
            self.timebase, self._ahead_ns = SensorTimebase.MONOTONIC, 0
        elif 0 <= now_ns + self._suspended_ns - sensor_ns <= _OLDEST_NS:
            self.timebase, self._ahead_ns = SensorTimebase.BOOTTIME, self._suspended_ns
        else:
            self.timebase, self._ahead_ns = SensorTimebase.UNKNOWN, sensor_ns - now_ns
        return self.timebase

    def to_monotonic(self, sensor_ns: int) -> int:
        """Return the sensor's time on CLOCK_MONOTONIC, nanoseconds."""
        return sensor_ns - self._ahead_ns

    def measure_again(self) -> None:
        """Read the two clocks again; what moved by less than 1 ms is noise and changes no time stamp."""
        measured_ns = self._measure()
        if abs(measured_ns - self._suspended_ns) < _NOISE_NS:
            return
        self._suspended_ns = measured_ns
        if self.timebase is SensorTimebase.BOOTTIME:
            self._ahead_ns = measured_ns
