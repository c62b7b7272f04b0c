"""Reading and verifying a custody log: each entry in its one form, each naming the one before."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from evidence.custody.entries import ENTRY_LIMIT_BYTES, CustodyEntry, CustodyError, CustodyTamperedError
from evidence.decoding import json_decoder
from evidence.documents import Checkpoint, CustodyHead, decode
from evidence.errors import EvidenceError
from evidence.paths import verify_signed
from evidence.roles import Role
from evidence.storage import StorageError

if TYPE_CHECKING:
    from cryptography import x509

__all__ = [
    "CustodyReader",
    "CustodyReport",
    "ReadEntry",
    "ReadLink",
    "link_of",
    "read_checkpoint",
    "verify_custody",
]

_READ_BYTES = 256 * 1024


class ReadEntry(msgspec.Struct, frozen=True):
    """A good entry, its digest, and where its line lies."""

    entry: CustodyEntry
    sha256: str
    start: int
    end: int


class ReadLink(msgspec.Struct, frozen=True):
    """What the chain itself needs of an entry, and what is looked for; where its line lies."""

    index: int
    kind: str
    manifest_sha256: str | None
    sha256: str
    start: int
    end: int


class _Link(msgspec.Struct, frozen=True, tag_field="type", tag="preroll-custody-v1"):
    store: str
    index: int
    previous: str | None
    kind: str
    manifest_sha256: str | None


_link_decoder = json_decoder(_Link)


class CustodyReader:
    """Yields the entries of a log, each held against the one before; holds one line in memory.

    From the end of the iteration on, `torn_bytes` counts what follows the last newline, or a final run of
    zero bytes: the mark of a power cut. Every other defect raises.
    """

    def __init__(self, stream: BinaryIO, store: str | None = None) -> None:
        """Read from the start of a log; of this store, if one is given."""
        self._stream = stream
        self._store = store
        self.head: CustodyHead | None = None
        self.size_bytes = 0
        self.torn_bytes = 0
        self._read_bytes = 0

    def __iter__(self) -> Iterator[ReadEntry]:
        """Yield entries.

        Raises:
            CustodyTamperedError: at the first that is not good.
        """
        for line in self._lines():
            entry = self._checked(line)
            digest = hashlib.sha256(line).hexdigest()
            self.head = CustodyHead(entries=entry.index, head=digest)
            self._store = entry.store
            start = self.size_bytes
            self.size_bytes += len(line)
            yield ReadEntry(entry, digest, start, self.size_bytes)

    def links(self) -> Iterator[ReadLink]:
        """Yield the links of the chain: each names the digest of the one before, counts on, is of the store.

        Some five times as fast as the entries, whose fields and spelling are not looked at. A line that was
        altered shows in the one behind it; the last has nobody behind it.

        Raises:
            CustodyTamperedError: at the first that does not follow.
        """
        for line in self._lines():
            try:
                link = _link_decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise CustodyTamperedError(self._next, "not a custody entry") from error
            self._follows(link)
            digest = hashlib.sha256(line).hexdigest()
            self.head = CustodyHead(entries=link.index, head=digest)
            self._store = link.store
            start = self.size_bytes
            self.size_bytes += len(line)
            yield ReadLink(link.index, link.kind, link.manifest_sha256, digest, start, self.size_bytes)

    def _lines(self) -> Iterator[bytes]:
        pending = b""
        while chunk := self._stream.read(_READ_BYTES):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                yield line + b"\n"
            self._read_bytes += len(chunk)
            if len(pending) > ENTRY_LIMIT_BYTES:
                kept = pending.rstrip(b"\0")
                if len(kept) > ENTRY_LIMIT_BYTES:
                    raise CustodyTamperedError(self._next, f"longer than {ENTRY_LIMIT_BYTES} bytes")
                pending = kept + b"\0"  # one for all of them: no good line has any
        self.torn_bytes = self._read_bytes - self.size_bytes

    @property
    def _next(self) -> int:
        return self.head.entries + 1 if self.head else 1

    def _checked(self, line: bytes) -> CustodyEntry:
        try:
            entry = decode(line[:-1], CustodyEntry)
        except EvidenceError as error:
            raise CustodyTamperedError(self._next, str(error)) from error
        self._follows(entry)
        return entry

    def _follows(self, entry: CustodyEntry | _Link) -> None:
        checks = (
            (entry.index != self._next, f"it says that it is entry {entry.index}"),
            (entry.previous != (self.head.head if self.head else None), "it does not follow the one before"),
            (self._store not in (None, entry.store), f"it is of the store {entry.store}"),
        )
        for defective, reason in checks:
            if defective:
                raise CustodyTamperedError(self._next, reason)


class CustodyReport(msgspec.Struct, frozen=True):
    """What a whole log came to; `checkpoints` counts those that it agrees with."""

    head: CustodyHead | None
    torn_bytes: int
    checkpoints: int


def link_of(line: bytes) -> ReadLink:
    """Read one line of a log whose chain was followed before; where it lies is not known here.

    Raises:
        CustodyError: it has changed since.
    """
    try:
        link = _link_decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CustodyError("the custody log was altered since it was opened") from error
    return ReadLink(link.index, link.kind, link.manifest_sha256, "", 0, len(line))


def verify_custody(
    path: Path, store: str | None = None, checkpoints: Iterable[Checkpoint] = ()
) -> CustodyReport:
    """Verify a log from its first entry to its last, and hold it against checkpoints, wherever they were kept.

    Memory grows with the checkpoints, not with the log.

    Raises:
        CustodyTamperedError: an entry is not good.
        CustodyError: a checkpoint names an entry that is another one here, or is not here.
        StorageError: the log cannot be read.
    """
    expected: dict[int, set[str]] = {}
    for checkpoint in checkpoints:
        expected.setdefault(checkpoint.entries, set()).add(checkpoint.head)
    count = sum(len(heads) for heads in expected.values())
    try:
        with path.open("rb") as file:
            reader = CustodyReader(file, store)
            for read in reader:
                wanted = expected.pop(read.entry.index, {read.sha256})
                if wanted != {read.sha256}:
                    raise CustodyError(
                        f"the custody log is not the one of the checkpoint at entry {read.entry.index}",
                        expected=min(wanted - {read.sha256}),
                        found=read.sha256,
                    )
    except OSError as error:
        raise StorageError("cannot read the custody log", error) from error
    if expected:
        raise CustodyError(
            "the custody log ends before a checkpoint",
            expected=f"entry {max(expected)}",
            found=f"{reader.head.entries if reader.head else 0} entries",
        )
    return CustodyReport(head=reader.head, torn_bytes=reader.torn_bytes, checkpoints=count)


def read_checkpoint(
    document: bytes, cms: bytes, roots: "tuple[x509.Certificate, ...]", store: str | None = None
) -> Checkpoint:
    """Verify a signed checkpoint.

    Raises:
        EvidenceError: it is not good, or of another store.
    """
    verify_signed(document, cms, roots, Role.DOCK_RECEIPT, None)
    checkpoint = decode(document, Checkpoint)
    if store is not None and checkpoint.store != store:
        raise CustodyError("the checkpoint is of another store", expected=store, found=checkpoint.store)
    return checkpoint
