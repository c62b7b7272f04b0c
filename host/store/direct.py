"""Reading from storage, not from memory: what a receipt rests on (open(2), O_DIRECT; posix_fadvise(2)).

After `fdatasync` a file's pages in the cache are clean; O_DIRECT then reads past the cache. Where a file system
refuses O_DIRECT, the pages are dropped (`POSIX_FADV_DONTNEED`) and read again. The receipt says which it was;
a drive's own cache lies below both.
"""

import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path

from evidence.documents import Reread
from evidence.storage import StorageError

__all__ = ["BLOCK_BYTES", "BUFFER_BYTES", "Bound", "DirectFile", "OpenFile", "open_file"]

BLOCK_BYTES = 4096
"""Alignment of offset, length and memory: enough for any drive with sectors up to 4 KiB."""
BUFFER_BYTES = 1024 * 1024
_REFUSALS = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)

OpenFile = Callable[[Path, int], int]
"""Opens a path with the flags of open(2); the seam at which a test sees flags, or refuses them."""
Bound = Callable[[int], int]
"""Of a file that still grows: given an offset, waits until more is on storage, and returns up to where one may
read: a multiple of `BLOCK_BYTES` above the offset, or, once the file has ended, its size."""


def open_file(path: Path, flags: int) -> int:
    """Open a file, never through a link at its end.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


class DirectFile:
    """A file read from storage, sequentially; `way` says how. It should have been synced before.

    Memory: one buffer, of 1 MiB. With `bound` the file may still grow; what was synced last is read last.
    Errors of storage are `StorageError`.
    """

    def __init__(
        self,
        path: Path,
        opener: OpenFile = open_file,
        *,
        bound: Bound | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._name = path.name
        self._bound = bound
        self._buffer = mmap.mmap(-1, buffer_bytes)  # anonymous memory is aligned to pages
        self._view = memoryview(self._buffer)
        self._held = self._view[:0]
        self._offset = 0
        self._fd = -1
        try:
            self._fd, self.way = _open_direct(path, opener)
        except OSError as error:
            self.close()
            if isinstance(error, FileNotFoundError):
                raise
            raise StorageError(f"cannot open {path.name}", error) from error

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start; returns how many bytes, 0 at the end.

        Raises:
            StorageError: storage does not give them.
        """
        filled = 0
        while filled < len(buffer) and (self._held or self._fill()):
            count = min(len(buffer) - filled, len(self._held))
            buffer[filled : filled + count] = self._held[:count]
            self._held = self._held[count:]
            filled += count
        return filled

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes, or all that is left."""
        if size < 0:
            pieces = []
            while piece := self.read(BUFFER_BYTES):
                pieces.append(piece)
            return b"".join(pieces)
        data = bytearray(size)
        return bytes(memoryview(data)[: self.readinto(memoryview(data))])

    def close(self) -> None:
        """Close the file; nothing may be read from then on."""
        self._held.release()
        self._view.release()
        self._buffer.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fill(self) -> bool:
        """Read the next stretch; with O_DIRECT only the read that ends the file leaves an unaligned offset."""
        if self.way is Reread.DIRECT and self._offset % BLOCK_BYTES:
            return False
        view = self._view if self._bound is None else self._allowed(self._bound(self._offset))
        try:
            if self._bound is not None and self.way is Reread.CACHE_DROPPED:
                os.posix_fadvise(self._fd, self._offset, len(view), os.POSIX_FADV_DONTNEED)
            count = os.preadv(self._fd, [view], self._offset)
        except OSError as error:
            raise StorageError(f"cannot read {self._name}", error) from error
        self._offset += count
        self._held = self._view[:count]
        return count > 0

    def _allowed(self, stop: int) -> memoryview:
        """Return as much of the buffer as may be filled; what ends inside a block is the end of the file."""
        blocks = -(-(stop - self._offset) // BLOCK_BYTES)
        return self._view[: min(len(self._view), blocks * BLOCK_BYTES)]

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of what was opened."""
        found = os.fstat(self._fd)
        return found.st_dev, found.st_ino


def _open_direct(path: Path, opener: OpenFile) -> tuple[int, Reread]:
    fd = -1
    try:
        fd = opener(path, os.O_RDONLY | os.O_DIRECT)
        if os.fstat(fd).st_size:
            os.preadv(fd, [memoryview(mmap.mmap(-1, BLOCK_BYTES))], 0)  # some refuse only here
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        if error.errno not in _REFUSALS:
            raise
    else:
        return fd, Reread.DIRECT
    fd = opener(path, os.O_RDONLY)
    try:
        os.fdatasync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        os.close(fd)
        raise
    return fd, Reread.CACHE_DROPPED
