"""Frames that nobody recorded must never reach storage: memory is locked, and the process leaves no core dump.

`MemorySwapMax=` has no effect on a Pi, whose memory cgroup is off; `mlockall` has. MCL_ONFAULT locks a page
when it is first used, so that the stacks of threads do not take their full size at once.
"""

import ctypes
import os
import resource
from pathlib import Path

import msgspec

__all__ = ["MemoryGuard", "guard_memory", "read_locked_bytes", "try_locking"]

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_PR_SET_DUMPABLE = 4
_STATUS = Path("/proc/self/status")
_KIB = 1024


class MemoryGuard(msgspec.Struct, frozen=True):
    """What was reached; `reason` is one line for a person, or empty if all was."""

    locked: bool
    dumps_off: bool
    reason: str

    @property
    def good(self) -> bool:
        """Whether no frame can reach storage by way of swap or a core dump of this process."""
        return self.locked and self.dumps_off


def guard_memory() -> MemoryGuard:
    """Lock the memory of this process, now and for the future, and forbid core dumps; then check both."""
    libc = ctypes.CDLL(None, use_errno=True)
    reasons = []
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A core_pattern that is a pipe ignores the limit; a process that is not dumpable it does not.
    dumps_off = libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    if not dumps_off:
        reasons.append(f"core dumps: {os.strerror(ctypes.get_errno())}")
    locked = libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0
    if not locked:
        reasons.append(f"mlockall: {os.strerror(ctypes.get_errno())} (the unit sets LimitMEMLOCK=infinity)")
    elif not read_locked_bytes():
        locked = False
        reasons.append("mlockall: the kernel reports no locked memory")
    return MemoryGuard(locked, dumps_off, "; ".join(reasons))


def try_locking() -> str:
    """Lock the memory of this process and let it go again; why it cannot be, in one line, or empty.

    For a selftest: what `guard_memory` would reach, without a lasting effect on the process.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
        locked = read_locked_bytes()
        libc.munlockall()
        return "" if locked else "mlockall: the kernel reports no locked memory"
    why = os.strerror(ctypes.get_errno())
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return f"mlockall: {why}, limit {'none' if limit == resource.RLIM_INFINITY else f'{limit // _KIB} KiB'}"


def read_locked_bytes(status: Path = _STATUS) -> int | None:
    """Read how much memory of this process the kernel has locked; `None` if it does not tell."""
    try:
        lines = status.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmLck:"):
            return int(line.split()[1]) * _KIB
    return None
