"""Space left in the vault: in bytes, in minutes at the current rate, and the reserve that sealing lives on."""

import errno
import math
import os
from pathlib import Path

import msgspec

from evidence.age.stream import CHUNK_BYTES, SEALED_CHUNK_BYTES
from evidence.storage import StorageError, sync_directory

__all__ = ["RESERVE_BYTES", "SPARE_BYTES", "Reserve", "Space", "minutes_left", "read_space", "storage_rate"]

RESERVE_BYTES = 16 * 1024 * 1024
"""Kept allocated for sealing and logs, so that a full vault still ends its clip well."""
SPARE_BYTES = 4 * 1024 * 1024
"""Must be free beside the reserve before it is taken: a clip that ends on it must not lose it again at once."""

_SECONDS_PER_MINUTE = 60
_FRAGMENT_S = 0.45
"""Between two sync points, live; a little less than the longest fragment (`evidence.media.fmp4`)."""
_LINE_BYTES = 700
"""A line of the journal, generously."""


class Space(msgspec.Struct, frozen=True):
    """Bytes of the vault's file system; `free_bytes` is what an unprivileged writer can still use."""

    free_bytes: int
    total_bytes: int


def read_space(root: Path) -> Space:
    """Ask the file system.

    Raises:
        StorageError: it does not answer, or takes no writes at all.
    """
    try:
        figures = os.statvfs(root)
    except OSError as error:
        raise StorageError("cannot read the space left", error) from error
    if figures.f_flag & os.ST_RDONLY:
        raise StorageError("cannot write to the vault", OSError(errno.EROFS, os.strerror(errno.EROFS)))
    return Space(figures.f_bavail * figures.f_frsize, figures.f_blocks * figures.f_frsize)


def storage_rate(media_bytes_per_s: float) -> float:
    """Return what media of this rate take on storage, in bytes a second; 0 while it is unknown (0).

    What lies between two sync points is filled up to whole chunks of age: at a low bit rate that is most of it.
    """
    if media_bytes_per_s <= 0:
        return 0.0
    chunks = math.ceil(media_bytes_per_s * _FRAGMENT_S / CHUNK_BYTES)
    return (chunks * SEALED_CHUNK_BYTES + _LINE_BYTES) / _FRAGMENT_S


def minutes_left(free_bytes: int, rate_bytes_per_s: float) -> float | None:
    """Return how long recording can go on, in minutes; `None` while the rate is unknown (0)."""
    if rate_bytes_per_s <= 0:
        return None
    return free_bytes / rate_bytes_per_s / _SECONDS_PER_MINUTE


class Reserve:
    """A file that holds space and no content."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def held(self) -> bool:
        """Whether the space is held now."""
        try:
            return self._path.stat().st_blocks * 512 >= self._size_bytes
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError("cannot look at the reserve", error) from error

    def hold(self) -> None:
        """Allocate the space (again), all of it or nothing.

        Raises:
            StorageError: there is too little of it, or the file system is read-only.
        """
        if read_space(self._path.parent).free_bytes < self._size_bytes + SPARE_BYTES:
            raise StorageError("cannot hold the reserve", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        try:
            self._allocate()
        except OSError as error:
            # A file system may keep the part that it found room for; whoever needs that room now must have it.
            self._path.unlink(missing_ok=True)
            raise StorageError("cannot hold the reserve", error) from error
        sync_directory(self._path.parent)

    def _allocate(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._size_bytes)
            os.fsync(fd)
        finally:
            os.close(fd)

    def give_up(self) -> None:
        """Free the space, so that the clip that filled the vault can be ended and sealed.

        Raises:
            StorageError: the file system refuses.
        """
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError("cannot give up the reserve", error) from error
        sync_directory(self._path.parent)
