"""Large blocks go back to the system as soon as they are free (mallopt(3), M_MMAP_THRESHOLD).

A bay works with a few buffers of 512 KiB and 1 MiB. glibc maps such a block by itself, but takes its first
`free` as a sign to keep all up to that size in the heaps of the threads from then on: with forty bays those
come to most of the agent's memory. A threshold that was set stays as it is.
"""

import ctypes

__all__ = ["return_large_blocks"]

_M_MMAP_THRESHOLD = -3
_THRESHOLD_BYTES = 256 * 1024


def return_large_blocks() -> bool:
    """Set it for this process; returns whether this C library has such a setting (musl needs none)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES) == 1
