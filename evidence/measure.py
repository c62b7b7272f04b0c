"""Measuring what lies in a clip's directory: bounded memory, at a pace, each byte read once.

Verification has a pass of its own, built for speed on several cores; this one is built to stand aside.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from evidence.age.errors import AgeHeaderError
from evidence.age.header import HeaderParser
from evidence.documents import Blob, ClipEnd, NamedBlob, SyncPoint, Unattested
from evidence.errors import EvidenceError
from evidence.sealstate import open_regular

__all__ = [
    "AttestedBytes",
    "DamagedClipError",
    "Pace",
    "PacedFile",
    "measure_file",
    "measure_rest",
    "read_header_figures",
]

READ_BYTES = 1024 * 1024
_HEADER_READ_BYTES = 4096

Pace = Callable[[int], None]
"""Called with the bytes of each piece of work just done, at most 1 MiB; may wait; raises to end the work."""


class DamagedClipError(EvidenceError):
    """A clip whose bytes contradict its signed journal: kept as it is, never sealed."""


class PacedFile:
    """Reads a file from `start` on, at the pace; leaves no pages behind in the system's cache."""

    def __init__(self, file: BinaryIO, pace: Pace, start: int = 0) -> None:
        self._file = file
        self._pace = pace
        self.position = start
        file.seek(start)

    @property
    def size_bytes(self) -> int:
        """Size of the whole file now."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, size: int = READ_BYTES) -> bytes:
        """Read at most `size` bytes; none at the end."""
        data = self._file.read(min(size, READ_BYTES))
        if data:
            os.posix_fadvise(self._file.fileno(), self.position, len(data), os.POSIX_FADV_DONTNEED)
            self.position += len(data)
            self._pace(len(data))
        return data


class AttestedBytes:
    """Reads a ciphertext in step with its journal."""

    def __init__(self, file: PacedFile) -> None:
        self._file = file
        self._whole = hashlib.sha256()

    def require(self, point: SyncPoint | ClipEnd) -> None:
        """Take the stretch that a line attests.

        Raises:
            DamagedClipError: the file ends within it, or holds other bytes there.
        """
        start = self._file.position
        digest = self._take(point.ciphertext_bytes)
        if self._file.position != point.ciphertext_bytes:
            raise DamagedClipError(
                f"the ciphertext ends inside the interval of line {point.line}",
                expected=f"{point.ciphertext_bytes} bytes",
                found=f"{self._file.position} bytes",
            )
        if digest != point.interval:
            raise DamagedClipError(
                f"the ciphertext is altered in the interval of line {point.line}",
                found=f"other bytes between {start} and {point.ciphertext_bytes}",
            )

    def finish(self, size_bytes: int) -> tuple[Blob, Unattested | None]:
        """Read on up to a size; return the figures of all up to there, and of what no line took."""
        start = self._file.position
        digest = self._take(size_bytes)
        rest = self._file.position - start
        whole = Blob(bytes=self._file.position, sha256=self._whole.hexdigest())
        return whole, Unattested(start=start, bytes=rest, sha256=digest) if rest else None

    def _take(self, end: int) -> str:
        digest = hashlib.sha256()
        while data := self._file.read(end - self._file.position):
            digest.update(data)
            self._whole.update(data)
        return digest.hexdigest()


def read_header_figures(file: BinaryIO) -> tuple[Blob | None, bool]:
    """Return the figures of an age header, or `None` and whether what there is begins one."""
    parser = HeaderParser()
    try:
        while not parser.complete and (data := file.read(_HEADER_READ_BYTES)):
            parser.feed(data)
        if not parser.complete:
            return None, True
        raw = parser.finish().raw
    except AgeHeaderError:
        return None, False
    return Blob(bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest()), False


def measure_file(path: Path, pace: Pace) -> NamedBlob | None:
    """Return the figures of a file, `None` if it is not there.

    Raises:
        EvidenceError: it is no plain file.
        StorageError: it cannot be opened.
        OSError: it cannot be read.
    """
    file = open_regular(path)
    if file is None:
        return None
    with file:
        return measure_rest(PacedFile(file, pace), path.name)


def measure_rest(file: PacedFile, name: str) -> NamedBlob:
    """Return the figures of what is left of a file."""
    digest = hashlib.sha256()
    start = file.position
    while data := file.read():
        digest.update(data)
    return NamedBlob(name=name, bytes=file.position - start, sha256=digest.hexdigest())
