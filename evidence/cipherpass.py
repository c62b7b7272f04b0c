"""One pass over a clip's ciphertext, in step with its journal: intervals, chunk figures, and the whole.

Each byte is read once and hashed twice: for its interval and for the whole file. Both run in threads of their
own (hashlib lets go of the interpreter's lock), so on three cores a clip is read as fast as one core hashes.
"""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Protocol

import msgspec

from evidence.age import CHUNK_BYTES
from evidence.documents import Blob, ClipEnd, SyncPoint, Unattested
from evidence.errors import EvidenceError

__all__ = ["ByteSource", "CiphertextFigures", "CiphertextPass"]

_BUFFER_BYTES = 1024 * 1024
_BUFFERS = 6
_NONCE_BYTES = 16
_TAG_BYTES = 16


class ByteSource(Protocol):
    """What a pass reads from: an unbuffered file, or several pieces as one."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the buffer from its start; returns how many bytes, 0 at the end."""

    def close(self) -> None:
        """Let go of what is open."""


class CiphertextFigures(msgspec.Struct, frozen=True):
    """What a whole pass found: the file, what no line took, the first defect of an interval, how many more."""

    whole: Blob
    unattested: Unattested | None
    defect: EvidenceError | None
    further_defects: int


class _Lane:
    """Work that is done in the order given, in a thread of its own."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)

    def submit(self, work: Callable[[], object]) -> "Future[object]":
        return self._executor.submit(work)

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)


class _AtOnce:
    """Work that is done where it is given: small files are not worth a thread."""

    def submit(self, work: Callable[[], object]) -> None:
        work()

    def close(self) -> None:
        """Nothing runs."""


class CiphertextPass:
    """Reads the ciphertext once; each line of the journal takes the stretch since the line before.

    Memory is bounded: a few buffers, one without threads. Defects are collected; `finish` returns them.
    """

    def __init__(
        self,
        source: ByteSource,
        header: Blob | None,
        *,
        threads: bool,
        buffer_bytes: int = _BUFFER_BYTES,
        advance: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Take an open source, which it closes, and the age header's figures as the manifest gives them.

        `advance` is called with the number of bytes just read.
        """
        self._source = source
        self._payload_start = None if header is None else header.bytes + _NONCE_BYTES
        self._advance = advance
        self._whole = hashlib.sha256()
        self._whole_lane: _Lane | _AtOnce = _Lane() if threads else _AtOnce()
        self._interval_lane: _Lane | _AtOnce = _Lane() if threads else _AtOnce()
        self._buffer_bytes = buffer_bytes
        self._most_buffers = _BUFFERS if threads else 1
        self._buffers: list[tuple[memoryview, list[Future[object]]]] = []
        self._turn = 0
        self._position = 0
        self._closed = False
        self._notes = threading.Lock()
        self._defects = 0
        self._first: tuple[int, EvidenceError] | None = None

    def take(self, point: SyncPoint | ClipEnd) -> None:
        """Read the stretch that a line takes, and hold it against the line."""
        start = self._position
        digest = self._read(point.ciphertext_bytes - start)
        if self._position != point.ciphertext_bytes:
            self._note(
                point.line,
                EvidenceError(
                    f"the ciphertext ends inside the interval of line {point.line}",
                    expected=f"{point.ciphertext_bytes} bytes",
                    found=f"{self._position} bytes",
                ),
            )
            return
        self._interval_lane.submit(lambda: self._compare(point, digest.hexdigest(), start))
        self._check_figures(point)

    def finish(self) -> CiphertextFigures:
        """Read the rest; return the figures of the whole file, and what was found on the way."""
        start = self._position
        digest = self._read(None)
        self.close()
        rest = self._position - start
        return CiphertextFigures(
            whole=Blob(bytes=self._position, sha256=self._whole.hexdigest()),
            unattested=Unattested(start=start, bytes=rest, sha256=digest.hexdigest()) if rest else None,
            defect=self._first[1] if self._first else None,
            further_defects=max(0, self._defects - 1),
        )

    def close(self) -> None:
        """Let work that runs come to its end, and close the source; once is enough, twice does no harm."""
        if self._closed:
            return
        self._closed = True
        for _, pending in self._buffers:
            wait(pending)
        marker = self._interval_lane.submit(lambda: None)
        if marker:
            marker.result()
        self._whole_lane.close()
        self._interval_lane.close()
        self._source.close()

    def _read(self, count: int | None) -> "hashlib._Hash":
        """Read `count` bytes, or all that is left; return their hash, which is whole once its lane is."""
        digest = hashlib.sha256()
        left = count
        while left is None or left > 0:
            buffer, pending = self._buffer()
            size = self._source.readinto(buffer if left is None else buffer[:left])
            if not size:
                break
            data = buffer[:size]
            for lane, target in ((self._whole_lane, self._whole), (self._interval_lane, digest)):
                work = lane.submit(partial(target.update, data))
                if work:
                    pending.append(work)
            self._position += size
            self._advance(size)
            left = None if left is None else left - size
        if count is None:
            for _, pending in self._buffers:
                wait(pending)
        return digest

    def _buffer(self) -> "tuple[memoryview, list[Future[object]]]":
        """Return the next buffer that nobody reads from any more."""
        if len(self._buffers) < self._most_buffers:
            self._buffers.append((memoryview(bytearray(self._buffer_bytes)), []))
        buffer, pending = self._buffers[self._turn % self._most_buffers]
        self._turn += 1
        wait(pending)
        pending.clear()
        return buffer, pending

    def _compare(self, point: SyncPoint | ClipEnd, digest: str, start: int) -> None:
        if digest != point.interval:
            self._note(
                point.line,
                EvidenceError(
                    f"the ciphertext is altered in the interval of line {point.line}",
                    found=f"other bytes between {start} and {point.ciphertext_bytes}",
                ),
            )

    def _note(self, line: int, defect: EvidenceError) -> None:
        with self._notes:
            self._defects += 1
            if self._first is None or line < self._first[0]:
                self._first = (line, defect)

    def _check_figures(self, point: SyncPoint | ClipEnd) -> None:
        """Hold the two byte counts of a line against each other: whole chunks, but for the last of the clip."""
        if self._payload_start is None:
            return
        chunks, rest = divmod(point.plaintext_bytes, CHUNK_BYTES)
        if isinstance(point, ClipEnd):
            chunks += 1 if rest or not chunks else 0
            whole = True
        else:
            whole = rest == 0
        expected = self._payload_start + point.plaintext_bytes + chunks * _TAG_BYTES
        if whole and point.ciphertext_bytes == expected:
            return
        self._note(
            point.line,
            EvidenceError(
                f"the byte counts of line {point.line} do not belong together",
                expected=f"whole chunks, and {expected} bytes of ciphertext",
                found=f"{point.ciphertext_bytes} bytes for {point.plaintext_bytes} of plaintext",
            ),
        )
