"""What an interrupted clip still shows: every whole authenticated chunk, and a word that the end is missing."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from evidence.age import AgeChunkError, Identity, salvage_file
from evidence.age.reader import BinaryTarget
from evidence.errors import EvidenceError
from evidence.sealstate import open_regular

__all__ = ["Salvaged", "salvage_clip"]


class Salvaged(msgspec.Struct, frozen=True):
    """What came out of a clip; `word` is for people."""

    plaintext_bytes: int
    complete: bool
    damaged: bool

    @property
    def word(self) -> str:
        """Say whether this is all of the recording."""
        if self.complete:
            return "complete"
        if self.damaged:
            return "the end is missing: behind these bytes is a chunk that is not authentic"
        return "the end is missing: the recording was interrupted"


def salvage_clip(directory: Path, target: BinaryTarget, identities: Sequence[Identity]) -> Salvaged:
    """Decrypt a clip up to its last whole authenticated chunk; `tail.bin` is not read.

    Needs neither journal nor manifest: what is written is authentic to the file key, and how much of it the
    camera attests, verification says.

    Raises:
        AgeError: no identity fits, or the header is malformed or not authentic.
        EvidenceError: there is no ciphertext.
    """
    file = open_regular(directory / "clip.mp4.age")
    if file is None:
        raise EvidenceError("nothing to salvage", expected="clip.mp4.age", found="none")
    with file:
        try:
            result = salvage_file(file, target, identities)
        except AgeChunkError as error:
            return Salvaged(plaintext_bytes=error.plaintext_bytes, complete=False, damaged=True)
    return Salvaged(plaintext_bytes=result.plaintext_bytes, complete=result.complete, damaged=False)
