"""The journal of a clip: line 0, sync points, last line (docs/formats.md, "Journal").

Writing builds lines and holds no file; reading verifies each signature, the chain, and that every figure only
grows.
"""

from collections.abc import Iterator
from typing import BinaryIO

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.documents import (
    ClipEnd,
    ClipStart,
    DocumentError,
    JournalFigures,
    SyncPoint,
    decode,
    encode,
)
from evidence.errors import EvidenceError
from evidence.lines import LineChain, LineReader, SignedLine, TamperedError
from evidence.signer import Signer

__all__ = ["JOURNAL_PREFIX", "JournalBuilder", "JournalLine", "JournalReader"]

JOURNAL_PREFIX = b"preroll-journal-v1"
_END_STARTS = b'{"type":"preroll-end-v1",'


class JournalBuilder:
    """Builds the lines of one journal, each signed; the caller appends them to storage in order.

    `next_line` and `previous` are what the next sync point has to carry.
    """

    def __init__(self, signer: Signer) -> None:
        self._chain = LineChain(JOURNAL_PREFIX, signer)
        self._last: ClipStart | SyncPoint | ClipEnd | None = None

    @property
    def next_line(self) -> int:
        """Number of the next line; 0 before line 0."""
        return self._chain.lines

    @property
    def previous(self) -> str:
        """Digest of the last line; after line 0 alone this is the clip's `start_sha256`.

        Raises:
            EvidenceError: there is no line yet.
        """
        if self._chain.previous is None:
            raise EvidenceError("the journal has no line yet", expected="line 0 first")
        return self._chain.previous

    @property
    def figures(self) -> JournalFigures:
        """Size, digest and lines so far, as the manifest of a clip without a torn line gives them."""
        return JournalFigures(
            bytes=self._chain.size_bytes, sha256=self._chain.sha256, lines=self._chain.lines, torn_bytes=0
        )

    def line(self, document: ClipStart | SyncPoint | ClipEnd) -> bytes:
        """Sign the next line and return its bytes, newline included.

        Raises:
            EvidenceError: the document does not follow the line before, and a reader would refuse it.
        """
        reason = _defect(self._last, self._chain.previous, self._chain.lines, document)
        if reason:
            raise EvidenceError("not the next line of this journal", found=reason)
        line = self._chain.sign(encode(document))
        self._last = document
        return line


class JournalLine(msgspec.Struct, frozen=True):
    """A verified line of a journal: what it says, its digest, and where it lies in the file."""

    number: int
    document: ClipStart | SyncPoint | ClipEnd
    sha256: str
    start: int
    end: int


class JournalReader:
    """Reads a journal and yields its verified lines; memory is bounded by one line.

    Iterating ends at the end of the stream; `torn_bytes` and `figures` hold from then on.
    """

    def __init__(self, stream: BinaryIO, public_key: ec.EllipticCurvePublicKey) -> None:
        self._reader = LineReader(stream, JOURNAL_PREFIX, public_key)

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last whole line: what a power cut left of the next."""
        return self._reader.torn_bytes

    @property
    def figures(self) -> JournalFigures:
        """The manifest's figures of the whole file.

        Raises:
            TamperedError: the file holds no whole line.
        """
        if not self._reader.lines:
            raise TamperedError(0, "no whole line")
        return JournalFigures(
            bytes=self._reader.size_bytes,
            sha256=self._reader.sha256,
            lines=self._reader.lines,
            torn_bytes=self._reader.torn_bytes,
        )

    def __iter__(self) -> Iterator[JournalLine]:
        """Yield verified lines, line 0 first.

        Raises:
            TamperedError: at the first line that is not good, with its number and the reason.
        """
        last: ClipStart | SyncPoint | ClipEnd | None = None
        previous: str | None = None
        for line in self._reader:
            document = _document(line)
            reason = _defect(last, previous, line.number, document)
            if reason:
                raise TamperedError(line.number, reason)
            yield JournalLine(
                number=line.number, document=document, sha256=line.sha256, start=line.start, end=line.end
            )
            last, previous = document, line.sha256


def _document(line: SignedLine) -> ClipStart | SyncPoint | ClipEnd:
    try:
        if line.number == 0:
            return decode(line.value, ClipStart)
        if line.value.startswith(_END_STARTS):
            return decode(line.value, ClipEnd)
        return decode(line.value, SyncPoint)
    except DocumentError as error:
        raise TamperedError(line.number, str(error)) from error


def _defect(
    last: ClipStart | SyncPoint | ClipEnd | None,
    previous: str | None,
    number: int,
    document: ClipStart | SyncPoint | ClipEnd,
) -> str | None:
    """Say why a document cannot be line `number` after `last`, whose digest is `previous`; `None` if it can."""
    if isinstance(document, ClipStart):
        return None if last is None else "line 0 a second time"
    if last is None:
        return "the first line is not line 0"
    if isinstance(last, ClipEnd):
        return "a line after the last line"
    checks = (
        (document.line != number, f"it says that it is line {document.line}"),
        (document.previous != previous, "it does not follow the line before"),
        (document.monotonic_ns < last.monotonic_ns, "`monotonic_ns` runs backwards"),
        (isinstance(last, SyncPoint) and _shrinks(last, document), "a figure is less than in the line before"),
    )
    return next((reason for defective, reason in checks if defective), None)


def _shrinks(last: SyncPoint, document: SyncPoint | ClipEnd) -> bool:
    return (
        document.ciphertext_bytes < last.ciphertext_bytes
        or document.plaintext_bytes < last.plaintext_bytes
        or document.frames < last.frames
        or (
            last.last_pts_ns is not None
            and document.last_pts_ns is not None
            and document.last_pts_ns < last.last_pts_ns
        )
    )
