"""A clip that was handed over to another agency: the same payload under a new age header (docs/formats.md).

The original is the bytes of `header.orig` followed by those of `clip.mp4.age` from the payload's nonce on; what
camera and journal signed is checked against that.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

from evidence.age import parse_recipient, read_header
from evidence.documents import Blob, Handover, Manifest
from evidence.errors import EvidenceError

__all__ = ["HANDOVER", "ORIGINAL_HEADER", "HandoverError", "OriginalBytes", "check_handover", "is_handed_over"]

HANDOVER, ORIGINAL_HEADER = "handover.json", "header.orig"
_HEADER_LIMIT_BYTES = 1 << 20


class HandoverError(EvidenceError):
    """A handed-over clip is not the one that was handed over, or not as its record says."""


class OriginalBytes:
    """The original ciphertext of a handed-over clip, as one source; unbuffered, read once."""

    def __init__(self, directory: Path, name: str) -> None:
        """Open `header.orig`, and the file `name` behind its own header.

        Raises:
            AgeHeaderError: the file does not start with an age header.
            OSError: one of the two cannot be read.
        """
        self._pieces: list[BinaryIO] = []
        self._open(directory / ORIGINAL_HEADER)
        payload = self._open(directory / name)
        try:
            read_header(payload)  # it stands after the header then
        except EvidenceError:
            self.close()
            raise

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start; returns how many bytes, 0 at the end."""
        while self._pieces:
            size = self._pieces[0].readinto(buffer)  # type: ignore[attr-defined]  # an unbuffered file has it
            if size:
                return int(size)
            self._pieces.pop(0).close()
        return 0

    def close(self) -> None:
        """Close both files."""
        while self._pieces:
            self._pieces.pop().close()

    def _open(self, path: Path) -> BinaryIO:
        try:
            file = path.open("rb", buffering=0)
        except OSError:
            self.close()
            raise
        self._pieces.append(file)
        return file


def is_handed_over(directory: Path) -> bool:
    """Whether a clip's directory says that it was handed over; one file of the two is enough to say so."""
    return any((directory / name).exists() for name in (HANDOVER, ORIGINAL_HEADER))


def check_handover(
    record: Handover, operator: str, ciphertext: Path, manifest: Manifest, manifest_bytes: bytes
) -> str:
    """Hold a signed handover record against the files of the clip; returns a sentence for people.

    Args:
        record: the record, whose signature is good.
        operator: who signed it.
        ciphertext: the encrypted file, beside which `header.orig` lies.
        manifest: the clip's manifest.
        manifest_bytes: the same as it is stored.

    Raises:
        HandoverError: something is not as the record says.
        AgeHeaderError: the file does not start with an age header.
        OSError: a file cannot be read.
    """
    place = (record.clip, record.device, record.epoch, record.generation, record.number)
    with ciphertext.with_name(ORIGINAL_HEADER).open("rb") as file:
        original = _blob(file.read(_HEADER_LIMIT_BYTES + 1))
    with ciphertext.open("rb") as file:
        header = read_header(file)
    kinds = [stanza.kind for stanza in header.stanzas]
    checks = (
        (record.operator == operator, "it is signed by another person than it names"),
        (
            place == (manifest.clip, manifest.device, manifest.epoch, manifest.generation, manifest.number),
            "it is of another clip",
        ),
        (record.manifest_sha256 == hashlib.sha256(manifest_bytes).hexdigest(), "it is of another manifest"),
        (original == record.original_header == manifest.header, "the original header is not the one it names"),
        (_blob(header.raw) == record.new_header, "the new header is not the one it names"),
        (
            kinds == [parse_recipient(recipient).kind for recipient in record.recipients],
            "the new header is not for the recipients that it names",
        ),
    )
    for good, defect in checks:
        if not good:
            raise HandoverError("the handover record does not fit the clip", found=defect)
    return f"handed over by {operator} at {record.utc}, for {len(kinds)} recipients ({kinds[0]})"


def _blob(data: bytes) -> Blob:
    return Blob(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
