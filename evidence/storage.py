"""Durable files, spelled out step by step, with what each step does not promise.

POSIX gives: after `fdatasync` returned, the data of a file and the size needed to read it are on storage; a
name is on storage only after its *directory* was synced; `rename` replaces a name atomically. It doesn't give:
that a card honours a flush (cheap ones lie), or that unsynced data come in the order written.
"""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from evidence.errors import EvidenceError
from evidence.steps import Operation, step

__all__ = [
    "AppendFile",
    "CardBehaviour",
    "PosixAppendFile",
    "SlowCardFile",
    "StorageError",
    "create_file",
    "cut_file",
    "make_directory",
    "publish_file",
    "remove_file",
    "rename",
    "sync_directory",
    "sync_file",
]

_MODE = 0o600


class StorageError(EvidenceError):
    """A write, sync or rename failed; `full` tells a full storage from a broken one."""

    def __init__(self, what: str, error: OSError) -> None:
        self.errno = error.errno or 0
        self.full = self.errno in (errno.ENOSPC, errno.EDQUOT)
        self.read_only = self.errno == errno.EROFS
        remedy = "make space" if self.full else "check the storage card and its mount"
        super().__init__(what, found=error.strerror or type(error).__name__, remedy=remedy)


class AppendFile(Protocol):
    """A file that only grows; the seam where tests put a slow, full or failing card.

    `append` may raise `StorageError` after a part was written; `size_bytes` then says how much of the file is
    there, and the caller goes on from that byte.
    """

    @property
    def size_bytes(self) -> int:
        """Bytes written so far (not: on storage)."""

    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data` behind what is there; a full storage raises with `size_bytes` at what fitted."""

    def sync(self) -> None:
        """Return once everything appended is on storage (`fdatasync`)."""

    def close(self) -> None:
        """Release the file; promises nothing about storage."""


class PosixAppendFile:
    """An `AppendFile` on a real file system; creates the file exclusively, mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        step(Operation.CREATE, path)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise StorageError(f"cannot create {path.name}", error) from error

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._size

    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data`."""
        step(Operation.APPEND, self._path)
        view = memoryview(data)
        while view:
            try:
                count = os.write(self._fd, view)
            except OSError as error:
                raise StorageError(f"cannot write {self._path.name}", error) from error
            self._size += count
            view = view[count:]

    def sync(self) -> None:
        """`fdatasync`."""
        step(Operation.SYNC, self._path)
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise StorageError(f"cannot sync {self._path.name}", error) from error

    def close(self) -> None:
        """Close the descriptor (once)."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class CardBehaviour(msgspec.Struct, frozen=True):
    """How a slow card behaves: sequential rate, and a stall at every n-th sync."""

    rate_bytes_per_s: int = 10_000_000
    stall_ns: int = 200_000_000
    stall_every_syncs: int = 8


class SlowCardFile:
    """An `AppendFile` with the speed of a bad card: a sync takes as long as the card needs for the bytes."""

    def __init__(
        self, inner: AppendFile, card: CardBehaviour, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._inner = inner
        self._card = card
        self._sleep = sleep
        self._unsynced = 0
        self._syncs = 0

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._inner.size_bytes

    def append(self, data: bytes | memoryview) -> None:
        """Write at once, as into a page cache; the card is paid at the sync."""
        self._inner.append(data)
        self._unsynced += len(data)

    def sync(self) -> None:
        """Sync, and take the time that the card would take."""
        seconds = self._unsynced / self._card.rate_bytes_per_s
        self._unsynced = 0
        self._syncs += 1
        if self._syncs % self._card.stall_every_syncs == 0:
            seconds += self._card.stall_ns / 1e9
        self._sleep(seconds)
        self._inner.sync()

    def close(self) -> None:
        """Close the file below."""
        self._inner.close()


def sync_directory(path: Path) -> None:
    """Put the names in a directory on storage.

    Raises:
        StorageError: the directory cannot be opened or synced.
    """
    step(Operation.SYNC_DIRECTORY, path)
    _sync(path, os.O_RDONLY | os.O_DIRECTORY, f"cannot sync the directory {path.name}")


def sync_file(path: Path) -> None:
    """Put what a file holds on storage, whoever wrote it.

    Raises:
        StorageError: the file cannot be opened or synced.
    """
    step(Operation.SYNC, path)
    _sync(path, os.O_RDONLY, f"cannot sync {path.name}")


def cut_file(path: Path, size_bytes: int) -> None:
    """Cut a file off behind its first `size_bytes`; on storage only after `sync_file`.

    Raises:
        StorageError: the file cannot be cut.
    """
    step(Operation.CUT, path)
    try:
        os.truncate(path, size_bytes)
    except OSError as error:
        raise StorageError(f"cannot cut {path.name}", error) from error


def remove_file(path: Path) -> None:
    """Remove a file; on storage only after `sync_directory` of its directory.

    Raises:
        StorageError: it cannot be removed.
    """
    step(Operation.REMOVE, path)
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f"cannot remove {path.name}", error) from error


def rename(path: Path, target: Path) -> None:
    """Give a file or directory another name, atomically; on storage only after `sync_directory`.

    Raises:
        StorageError: it cannot be renamed.
    """
    step(Operation.RENAME, path)
    try:
        path.rename(target)
    except OSError as error:
        raise StorageError(f"cannot rename {path.name}", error) from error


def make_directory(path: Path) -> None:
    """Make a directory, mode 0700; on storage only after `sync_directory` of the one above.

    Raises:
        FileExistsError: it exists.
        StorageError: it cannot be made.
    """
    step(Operation.MAKE_DIRECTORY, path)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        raise
    except OSError as error:
        raise StorageError(f"cannot make the directory {path.name}", error) from error


def _sync(path: Path, flags: int, what: str) -> None:
    try:
        fd = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise StorageError(what, error) from error


def create_file(path: Path, data: bytes) -> None:
    """Create a file that must not exist, with its bytes on storage; its name needs `sync_directory`.

    Raises:
        StorageError: it exists, or cannot be written.
    """
    file = PosixAppendFile(path)
    try:
        file.append(data)
        file.sync()
    finally:
        file.close()


def publish_file(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name in the same directory, sync, rename into place, sync the directory.

    After a crash either the old file, the new one, or no file is there, never a part; a `.NAME.tmp` may be left
    over and is overwritten by the next try.

    Raises:
        StorageError: any step failed; the old file, if any, is untouched.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot replace {path.name}", error) from error
    create_file(temporary, data)
    rename(temporary, path)
    sync_directory(path.parent)
