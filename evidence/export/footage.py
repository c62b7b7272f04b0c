"""From a verified clip to a file that plays: all of it as it is, or an excerpt."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from evidence.age import AgePlaintext, Identity, salvage_file
from evidence.check import CIPHERTEXT
from evidence.documents import Manifest
from evidence.errors import EvidenceError
from evidence.export.excerpt import cut_excerpt
from evidence.export.gate import UnauthenticClipError
from evidence.export.target import OutputFile

__all__ = ["EmptyClipError", "Footage", "write_excerpt", "write_whole"]

Advance = Callable[[int], object]
"""Hears how many bytes were just written."""


class EmptyClipError(EvidenceError):
    """The clip holds nothing that could be exported."""


class Footage(msgspec.Struct, frozen=True):
    """What was written: times from the clip's first frame, and how many pictures.

    Of an interrupted clip that is written whole it is what the journal attests; there may be more.
    """

    start_ns: int
    end_ns: int
    frames: int


class _Counted:
    """Passes bytes on to the output, and says how many."""

    def __init__(self, output: OutputFile, advance: Advance) -> None:
        self._output = output
        self._advance = advance

    def write(self, data: bytes | memoryview) -> None:
        self._output.write(data)
        self._advance(len(data))


def write_whole(
    clip: Path, manifest: Manifest, identities: Sequence[Identity], output: OutputFile, advance: Advance
) -> Footage:
    """Write the plaintext of a clip, byte for byte; of an interrupted one up to its last whole authentic chunk.

    Raises:
        EmptyClipError: there is none.
        UnauthenticClipError: it is not what the manifest names.
        AgeNoIdentityError: no identity opens it.
        AgeError: a chunk fails authentication.
        StorageError: the output cannot be written.
        OSError: the clip cannot be read.
    """
    _refuse_empty(manifest)
    target = _Counted(output, advance)
    with (clip / CIPHERTEXT).open("rb") as source:
        result = salvage_file(source, target, identities)
    found = (output.size_bytes, output.sha256)
    if result.complete != manifest.complete:
        raise UnauthenticClipError("the encrypted file is not the one that was checked")
    if manifest.plaintext is not None and found != (manifest.plaintext.bytes, manifest.plaintext.sha256):
        raise UnauthenticClipError(
            "the plaintext is not the one that the manifest names",
            expected=f"{manifest.plaintext.bytes} bytes, SHA-256 {manifest.plaintext.sha256}",
            found=f"{found[0]} bytes, SHA-256 {found[1]}",
        )
    if output.size_bytes < manifest.attested.plaintext_bytes:
        raise UnauthenticClipError(
            "fewer bytes decrypt than the journal attests",
            expected=f"{manifest.attested.plaintext_bytes} bytes",
            found=f"{output.size_bytes} bytes",
        )
    return Footage(0, manifest.duration_ns, manifest.frames)


def write_excerpt(
    clip: Path,
    manifest: Manifest,
    identities: Sequence[Identity],
    between_ns: tuple[int, int | None],
    *,
    output: OutputFile,
    advance: Advance,
) -> Footage:
    """Write the groups of pictures that touch a stretch of the clip; only what is read is decrypted.

    Args:
        clip: the clip's directory.
        manifest: its manifest.
        identities: one of them opens it.
        between_ns: from and to, from the first frame on; no `to` means the end.
        output: takes the MP4.
        advance: hears of what is written.

    Raises:
        ExcerptError: nothing of the clip lies there.
        EmptyClipError, AgeError, StorageError, OSError: as `write_whole`.
    """
    _refuse_empty(manifest)
    from_ns, to_ns = between_ns
    with (clip / CIPHERTEXT).open("rb") as source:
        plaintext = _open(source, manifest, identities)
        end_ns = _END_NS if to_ns is None else to_ns
        cut = cut_excerpt(plaintext, max(0, from_ns), end_ns, _Counted(output, advance).write)
    return Footage(cut.start_ns, cut.end_ns, cut.frames)


_END_NS = 2**62
"""Beyond every clip."""


def _open(source: BinaryIO, manifest: Manifest, identities: Sequence[Identity]) -> AgePlaintext:
    return AgePlaintext(source, identities, interrupted=not manifest.complete)


def _refuse_empty(manifest: Manifest) -> None:
    if manifest.ciphertext is None or manifest.header is None or not manifest.frames:
        raise EmptyClipError("the clip holds no picture", found=f"ended by {manifest.ended.value}")
