"""One pass over a clip's ciphertext, in step with its journal: intervals, chunk figures, and the whole."""

import hashlib
from typing import BinaryIO

from evidence.age import CHUNK_BYTES
from evidence.documents import Blob, ClipEnd, SyncPoint, Unattested
from evidence.errors import EvidenceError

__all__ = ["CiphertextPass"]

_READ_BYTES = 1024 * 1024
_NONCE_BYTES = 16
_TAG_BYTES = 16


class CiphertextPass:
    """Reads the ciphertext once; each line of the journal takes the stretch since the line before."""

    def __init__(self, file: BinaryIO, header: Blob | None) -> None:
        """Take an open file, which it closes, and the age header's figures as the manifest gives them."""
        self._file = file
        self._payload_start = None if header is None else header.bytes + _NONCE_BYTES
        self._whole = hashlib.sha256()
        self._position = 0

    def defect(self, point: SyncPoint | ClipEnd) -> EvidenceError | None:
        """Say what is wrong with the stretch that a line takes; `None` if nothing is."""
        start = self._position
        digest = self._take(point.ciphertext_bytes - start)
        if self._position != point.ciphertext_bytes:
            return EvidenceError(
                f"the ciphertext ends inside the interval of line {point.line}",
                expected=f"{point.ciphertext_bytes} bytes",
                found=f"{self._position} bytes",
            )
        if digest != point.interval:
            return EvidenceError(
                f"the ciphertext is altered in the interval of line {point.line}",
                found=f"other bytes between {start} and {self._position}",
            )
        return self._figures_defect(point)

    def finish(self) -> tuple[Blob, Unattested | None]:
        """Read the rest; return the figures of the whole file, and of what no line took."""
        start = self._position
        digest = self._take(None)
        rest = self._position - start
        whole = Blob(bytes=self._position, sha256=self._whole.hexdigest())
        return whole, Unattested(start=start, bytes=rest, sha256=digest) if rest else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, count: int | None) -> str:
        """Read `count` bytes, or all that is left, and return their digest."""
        digest = hashlib.sha256()
        left = count
        while data := self._file.read(_READ_BYTES if left is None else min(left, _READ_BYTES)):
            digest.update(data)
            self._whole.update(data)
            self._position += len(data)
            if left is not None:
                left -= len(data)
        return digest.hexdigest()

    def _figures_defect(self, point: SyncPoint | ClipEnd) -> EvidenceError | None:
        """Hold the two byte counts of a line against each other: whole chunks, but for the last of the clip."""
        if self._payload_start is None:
            return None
        chunks, rest = divmod(point.plaintext_bytes, CHUNK_BYTES)
        if isinstance(point, ClipEnd):
            chunks += 1 if rest or not chunks else 0
            whole = True
        else:
            whole = rest == 0
        expected = self._payload_start + point.plaintext_bytes + chunks * _TAG_BYTES
        if whole and point.ciphertext_bytes == expected:
            return None
        return EvidenceError(
            f"the byte counts of line {point.line} do not belong together",
            expected=f"whole chunks, and {expected} bytes of ciphertext",
            found=f"{point.ciphertext_bytes} bytes for {point.plaintext_bytes} of plaintext",
        )
