"""Writing the custody log: an entry counts once it is on storage; until then it never was."""

import enum
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from evidence.clock import format_utc
from evidence.custody.entries import (
    ENTRY_LIMIT_BYTES,
    CustodyEntry,
    CustodyError,
    CustodyTamperedError,
    DetailValue,
)
from evidence.custody.reading import CustodyReader, ReadEntry, link_of
from evidence.documents import CustodyHead, DocumentError, decode, encode
from evidence.steps import Operation, step
from evidence.storage import StorageError, sync_directory

__all__ = ["CustodyLog", "HeadStanding", "OpenedTail"]

_MODE = 0o600
_STRIDE = 256
"""Every so many entries the log keeps in mind where one lies: 8 bytes for each 256, some 100 KB of lines."""


class HeadStanding(enum.StrEnum):
    """How a head that somebody shows stands to this log."""

    KNOWN = "known"
    FORK = "fork"  # this log has another entry in that place
    AHEAD = "ahead"  # this log ends before it: it was rolled back, or another one goes on elsewhere

    @property
    def alarm(self) -> bool:
        """Whether somebody has to be told: the log is not the one that made the head."""
        return self is not HeadStanding.KNOWN


class OpenedTail(msgspec.Struct, frozen=True):
    """What a power cut left behind the last entry; it never counted, and was cut off."""

    bytes: int
    sha256: str


class CustodyLog:
    """The open log of a store. Thread-safe; the store's lock keeps other processes out.

    Opening follows the whole chain, one line in memory at a time, and verifies the last entry in full;
    `verify_custody` does that with all of them.
    """

    def __init__(self, path: Path, store: str) -> None:
        """Open or begin a log; a torn tail is cut off, and noted by the caller (`tail`).

        Raises:
            CustodyTamperedError: an entry is not good; nothing is written then.
            StorageError: the log cannot be read or written.
        """
        self._path = path
        self._store = store
        self._lock = threading.Lock()
        self._offsets: list[int] = []
        self._head: CustodyHead | None = None
        self._size = 0
        self._dirty = False
        self.tail: OpenedTail | None = None
        try:
            self._fd = self._open()
        except OSError as error:
            raise StorageError("cannot open the custody log", error) from error
        try:
            self._read()
        except OSError as error:
            self.close()
            raise StorageError("cannot read the custody log", error) from error
        except (CustodyError, StorageError):
            self.close()
            raise

    @property
    def store(self) -> str:
        """Id of the store."""
        return self._store

    @property
    def head(self) -> CustodyHead | None:
        """Size and last digest, `None` for an empty log."""
        return self._head

    def append(
        self,
        kind: str,
        *,
        utc_ns: int,
        device: str | None = None,
        clip: str | None = None,
        manifest_sha256: str | None = None,
        detail: Mapping[str, DetailValue] | None = None,
    ) -> CustodyHead:
        """Append an entry and return the log's head once that is on storage.

        UTC is noted, never relied on: the order is that of the entries.

        Raises:
            CustodyError: the entry is not of the format.
            StorageError: storage refuses; the entry never was, and what was written of it is cut off.
        """
        with self._lock:
            try:
                entry = CustodyEntry(
                    store=self._store,
                    index=self._head.entries + 1 if self._head else 1,
                    previous=self._head.head if self._head else None,
                    utc=format_utc(utc_ns),
                    kind=kind,
                    device=device,
                    clip=clip,
                    manifest_sha256=manifest_sha256,
                    detail=dict(detail or {}),
                )
            except ValueError as error:
                raise CustodyError("not an entry of the custody log", found=str(error)) from error
            line = _line(entry)
            self._write(line)
            self._took(entry.index, hashlib.sha256(line).hexdigest(), self._size, self._size + len(line))
            assert self._head is not None  # just taken
            return self._head

    def look_up(self, shown: CustodyHead) -> HeadStanding:
        """Say whether a head that a receipt, a tombstone or a checkpoint carries is one of this log.

        Reads at most 256 lines.

        Raises:
            StorageError: the log cannot be read.
        """
        with self._lock:
            if self._head is None or shown.entries > self._head.entries:
                return HeadStanding.AHEAD
            start = self._offsets[(shown.entries - 1) // _STRIDE]
        skip = (shown.entries - 1) % _STRIDE
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                for _ in range(skip):
                    file.readline(ENTRY_LIMIT_BYTES)
                line = file.readline(ENTRY_LIMIT_BYTES)
        except OSError as error:
            raise StorageError("cannot read the custody log", error) from error
        return HeadStanding.KNOWN if hashlib.sha256(line).hexdigest() == shown.head else HeadStanding.FORK

    def after(self, index: int, most: int) -> tuple[ReadEntry, ...]:
        """Return the entries behind one (0: from the first), at most so many; reads at most 256 lines more.

        Raises:
            StorageError: the log cannot be read.
            CustodyError: it was altered since it was opened.
        """
        with self._lock:
            count = min(most, (self._head.entries if self._head else 0) - index)
            start = self._offsets[index // _STRIDE] if count > 0 else 0
        found: list[ReadEntry] = []
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                for _ in range(index % _STRIDE if count > 0 else 0):
                    start += len(file.readline(ENTRY_LIMIT_BYTES))
                for _ in range(count):
                    line = file.readline(ENTRY_LIMIT_BYTES)
                    entry = decode(line[:-1], CustodyEntry)
                    found.append(ReadEntry(entry, hashlib.sha256(line).hexdigest(), start, start + len(line)))
                    start += len(line)
        except OSError as error:
            raise StorageError("cannot read the custody log", error) from error
        except DocumentError as error:
            raise CustodyError("the custody log was altered since it was opened") from error
        return tuple(found)

    def entries(self, *, containing: str = "") -> Iterator[ReadEntry]:
        """Yield the entries whose line contains a word (a clip's name, a digest, a kind), or all.

        The chain is not verified again. Entries that are appended meanwhile may or may not come.

        Raises:
            StorageError: the log cannot be read.
        """
        word = containing.encode("utf-8")
        end = 0
        for line in self._raw_lines():
            start, end = end, end + len(line)
            if word in line:
                yield ReadEntry(decode(line[:-1], CustodyEntry), hashlib.sha256(line).hexdigest(), start, end)

    def manifests(self, kind: str) -> Iterator[str]:
        """Yield the digests of the manifests that entries of a kind are about.

        Raises:
            StorageError: the log cannot be read.
            CustodyError: it was altered since it was opened.
        """
        word = f'"kind":"{kind}"'.encode()
        for line in self._raw_lines():
            if word in line:
                link = link_of(line)
                if link.kind == kind and link.manifest_sha256 is not None:
                    yield link.manifest_sha256

    def find(self, kind: str, manifest_sha256: str) -> CustodyHead | None:
        """Return the head right after the first entry of a kind for a clip, if there is one."""
        for read in self.entries(containing=manifest_sha256):
            if (read.entry.kind, read.entry.manifest_sha256) == (kind, manifest_sha256):
                return CustodyHead(entries=read.entry.index, head=read.sha256)
        return None

    def close(self) -> None:
        """Close the file (once)."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _raw_lines(self) -> Iterator[bytes]:
        with self._lock:
            size = self._size
        try:
            with self._path.open("rb") as file:
                end = 0
                while end < size and (line := file.readline(ENTRY_LIMIT_BYTES)):
                    end += len(line)
                    yield line
        except OSError as error:
            raise StorageError("cannot read the custody log", error) from error

    def _open(self) -> int:
        new = not self._path.exists()
        if new:
            step(Operation.CREATE, self._path)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        if new:
            sync_directory(self._path.parent)
        return fd

    def _read(self) -> None:
        with self._path.open("rb") as file:
            try:
                last_start = self._follow(file)
            except CustodyTamperedError:
                file.seek(0)
                for _ in CustodyReader(file, self._store):
                    continue  # it names the entry itself, where the chain only shows the one behind it
                raise
            file.seek(last_start)
            self._require_entry(file.read(self._size - last_start))
            file.seek(self._size)
            torn = hashlib.sha256()
            count = 0
            while chunk := file.read(ENTRY_LIMIT_BYTES):
                torn.update(chunk)
                count += len(chunk)
        if count:
            self.tail = OpenedTail(bytes=count, sha256=torn.hexdigest())
            self._cut()

    def _follow(self, file: BinaryIO) -> int:
        """Follow the chain to its end; returns where the last line begins."""
        start = 0
        for link in CustodyReader(file, self._store).links():
            start = link.start
            self._took(link.index, link.sha256, link.start, link.end)
        return start

    def _require_entry(self, line: bytes) -> None:
        """Require that the last line, if there is one, is a good entry in every field."""
        if not line:
            return
        try:
            decode(line[:-1], CustodyEntry)
        except DocumentError as error:
            raise CustodyTamperedError(self._head.entries if self._head else 1, str(error)) from error

    def _took(self, index: int, sha256: str, start: int, end: int) -> None:
        if (index - 1) % _STRIDE == 0:
            self._offsets.append(start)
        self._head = CustodyHead(entries=index, head=sha256)
        self._size = end

    def _write(self, line: bytes) -> None:
        if self._fd < 0:
            raise CustodyError("the custody log is closed")
        if self._dirty:
            self._cut()
        self._dirty = True
        try:
            step(Operation.APPEND, self._path)
            view = memoryview(line)
            while view:
                view = view[os.pwrite(self._fd, view, self._size + len(line) - len(view)) :]
            step(Operation.SYNC, self._path)
            os.fdatasync(self._fd)
        except OSError as error:
            raise StorageError("cannot write the custody log", error) from error
        self._dirty = False

    def _cut(self) -> None:
        """Cut off what lies behind the last entry that counts."""
        try:
            step(Operation.CUT, self._path)
            os.ftruncate(self._fd, self._size)
            os.fsync(self._fd)
        except OSError as error:
            raise StorageError("cannot cut a torn entry off the custody log", error) from error
        self._dirty = False


def _line(entry: CustodyEntry) -> bytes:
    """Encode an entry as a reader will accept it."""
    data = encode(entry)
    try:
        decode(data, CustodyEntry)
    except DocumentError as error:
        raise CustodyError("not an entry of the custody log", found=str(error)) from error
    if len(data) >= ENTRY_LIMIT_BYTES:
        raise CustodyError("entry too long", expected=f"less than {ENTRY_LIMIT_BYTES} bytes")
    return data + b"\n"
