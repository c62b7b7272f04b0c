"""What the camera knows about UTC: one reading of both clocks, who set it, and how far off it can be.

The kernel keeps a bound of its clock's error while something disciplines it (`adjtimex`(2), `maxerror`), and
says when nothing does. A camera that woke without a clock shows a year before the firmware was made: then UTC
is unknown, and stays `None` in everything that is signed.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from evidence.clock import ClockSource, UtcMapping

__all__ = ["BUILD_UTC_NS", "CameraClock", "read_boot_id", "read_mapping"]

BUILD_UTC_NS = 1_790_000_000_000_000_000
"""September 2026: no clock of a camera that runs this firmware can rightly be earlier."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_ERROR = 5  # adjtimex: the clock is not synchronised
_NS_PER_US = 1_000
_DRIFT_PPM = 100
"""What a board's oscillator may be off by; the bound of an error grows with it."""


class _Timex(ctypes.Structure):
    """`struct timex` of linux/timex.h, as far as it is read; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_char * 256),
    )


def _kernel_error_bound_ns() -> int | None:
    """Return the kernel's bound of the error of its clock, `None` while it is not synchronised."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0 or state == _TIME_ERROR:
        return None
    return int(timex.maxerror) * _NS_PER_US


def read_mapping() -> UtcMapping:
    """Read both clocks at one instant (within the time between two calls, some microseconds)."""
    before_ns = time.monotonic_ns()
    utc_ns = time.time_ns()
    monotonic_ns = (before_ns + time.monotonic_ns()) // 2
    if utc_ns < BUILD_UTC_NS:
        return UtcMapping(monotonic_ns=monotonic_ns, utc_ns=None, source=ClockSource.NONE)
    error_ns = _kernel_error_bound_ns()
    source = ClockSource.SYSTEM if error_ns is None else ClockSource.NTP
    return UtcMapping(monotonic_ns=monotonic_ns, utc_ns=utc_ns, source=source, error_ns=error_ns)


def read_boot_id() -> str:
    """Return the kernel's boot id, 32 hexadecimal digits.

    Raises:
        OSError: the kernel does not tell (no procfs).
    """
    return _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")


class CameraClock:
    """UTC as the camera has it: by the dock that set it in this boot, else by the kernel. Thread-safe.

    A dock's word outdoes the kernel's clock even where that one is synchronised: the dock proved who it is. The
    bound of its error grows by 100 ppm of the time since.
    """

    def __init__(self, read_system: Callable[[], UtcMapping] = read_mapping) -> None:
        self._read_system = read_system
        self._lock = threading.Lock()
        self._set: UtcMapping | None = None

    def read(self) -> UtcMapping:
        """Read both clocks at one instant."""
        system = self._read_system()
        with self._lock:
            known = self._set
        if known is None:
            return system
        now_ns = system.monotonic_ns
        drift_ns = abs(now_ns - known.monotonic_ns) * _DRIFT_PPM // 1_000_000
        error_ns = None if known.error_ns is None else known.error_ns + drift_ns
        return msgspec.structs.replace(
            known, monotonic_ns=now_ns, utc_ns=known.utc_at(now_ns), error_ns=error_ns
        )

    def set(self, mapping: UtcMapping) -> None:
        """Take what an authenticated source said; counts for all readings from now on."""
        with self._lock:
            self._set = mapping
