"""Which frames a camera process handed to its ring, in a file that outlives the process.

The process maps the file and writes each frame's time, never its data; after a SIGKILL the pages are still
there. Layout, little-endian: two 64-bit counters (frames offered to the ring, frames that the ring has), then
16 bytes a frame: presentation time in nanoseconds, and 1 for a keyframe.
"""

import mmap
import os
import struct
from pathlib import Path

import msgspec

from evidence.frames import EncodedFrame, Span, Track

__all__ = ["OfferedFrame", "Tally", "TallyWriter", "read_tally"]

_COUNTERS = struct.Struct("<qq")
_ENTRY = struct.Struct("<qq")
_CAPACITY = 60_000  # half an hour at 30 frames a second


class OfferedFrame(msgspec.Struct, frozen=True):
    """One video frame on its way into the ring."""

    pts_ns: int
    keyframe: bool


class Tally(msgspec.Struct, frozen=True):
    """All video frames that were offered, and how many of them the ring had."""

    offered: tuple[OfferedFrame, ...]
    appended: int

    @property
    def newest_pts_ns(self) -> int | None:
        """The last frame that the ring had."""
        return self.offered[self.appended - 1].pts_ns if self.appended else None


class TallyWriter:
    """Counts video frames into a new file; audio and gaps are not counted."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, _COUNTERS.size + _CAPACITY * _ENTRY.size)
            self._map = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        self._count = 0

    def offered(self, item: EncodedFrame | Span) -> None:
        """Note a frame before the ring gets it."""
        if isinstance(item, EncodedFrame) and item.track is Track.VIDEO:
            position = _COUNTERS.size + self._count * _ENTRY.size
            _ENTRY.pack_into(self._map, position, item.pts_ns, item.keyframe)
            self._count += 1
            _COUNTERS.pack_into(self._map, 0, self._count, self._count - 1)

    def appended(self) -> None:
        """Note that the ring has all that was offered."""
        _COUNTERS.pack_into(self._map, 0, self._count, self._count)


def read_tally(path: Path) -> Tally:
    """Read the file of a process that has ended, however it ended."""
    data = path.read_bytes()
    offered, appended = _COUNTERS.unpack_from(data)
    entries = (_ENTRY.unpack_from(data, _COUNTERS.size + index * _ENTRY.size) for index in range(offered))
    return Tally(tuple(OfferedFrame(pts_ns, bool(key)) for pts_ns, key in entries), appended)
