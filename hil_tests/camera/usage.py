"""What this process uses, from /proc/self."""

import time
from pathlib import Path

import msgspec

__all__ = ["Usage", "read_usage"]


class Usage(msgspec.Struct, frozen=True):
    """Resident memory, open descriptors, threads, and CPU time since the start."""

    rss_kib: int
    descriptors: int
    threads: int
    cpu_s: float


def read_usage() -> Usage:
    """Read it now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return Usage(
        rss_kib=int(fields["VmRSS"].split()[0]),
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        threads=int(fields["Threads"]),
        cpu_s=time.process_time(),
    )
