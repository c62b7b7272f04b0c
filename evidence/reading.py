"""Reading a clip's journal and, in step with it, its ciphertext: what is signed, and what really lies there."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.cipherpass import ByteSource, CiphertextFigures, CiphertextPass
from evidence.documents import ClipStart, JournalFigures, Manifest, NamedBlob
from evidence.handover import OriginalBytes, is_handed_over
from evidence.journal import JournalReader
from evidence.manifest import BytesPresent, JournalSummary

__all__ = ["CIPHERTEXT", "JOURNAL", "ClipReading", "bytes_present", "read_clip"]

CIPHERTEXT, JOURNAL = "clip.mp4.age", "journal.jsonl"
_READ_BYTES = 1024 * 1024
_THREADS_FROM_BYTES = 4 * 1024 * 1024
"""Below this a thread costs more than it saves."""


class ClipReading(msgspec.Struct, frozen=True):
    """What was found: the folded journal, its figures, and those of the ciphertext; `absent` names its file."""

    summary: JournalSummary
    figures: JournalFigures
    ciphertext: CiphertextFigures | None
    absent: str | None


def read_clip(
    directory: Path,
    key: ec.EllipticCurvePublicKey,
    manifest: Manifest,
    advance: Callable[[int], object] = lambda _: None,
) -> ClipReading:
    """Read the journal, each line verified, and hash the ciphertext by its lines; each byte is read once.

    Raises:
        TamperedError: a line of the journal is not good.
        AgeHeaderError: a handed-over clip has no age header.
        OSError: a file cannot be read; `FileNotFoundError` if that is the journal.
    """
    absent: str | None = None
    ciphertext: CiphertextPass | None = None
    with (directory / JOURNAL).open("rb") as file:
        try:
            source, size = _open_ciphertext(directory)
            threads = size >= _THREADS_FROM_BYTES
            ciphertext = CiphertextPass(source, manifest.header, threads=threads, advance=advance)
        except FileNotFoundError as error:
            absent = Path(str(error.filename)).name
        try:
            return _fold(JournalReader(file, key), ciphertext, absent)
        finally:
            if ciphertext:
                ciphertext.close()


def bytes_present(reading: ClipReading, manifest: Manifest, directory: Path) -> BytesPresent:
    """Return what lies there, as `build_manifest` takes it; the age header's figures are the manifest's.

    Raises:
        OSError: the tail that the manifest names cannot be read.
    """
    found = reading.ciphertext
    return BytesPresent(
        journal=reading.figures,
        ciphertext=found.whole if found else None,
        header=manifest.header,
        unattested=found.unattested if found else None,
        tail=_tail(manifest, directory),
    )


def _fold(reader: JournalReader, ciphertext: CiphertextPass | None, absent: str | None) -> ClipReading:
    summary: JournalSummary | None = None
    for line in reader:
        if isinstance(line.document, ClipStart):
            summary = JournalSummary(line.document, line.sha256)
            continue
        assert summary is not None  # the reader yields line 0 first
        summary.add(line.document)
        if ciphertext:
            ciphertext.take(line.document)
    figures = reader.figures  # raises if there is no whole line
    assert summary is not None
    return ClipReading(summary, figures, ciphertext.finish() if ciphertext else None, absent)


def _open_ciphertext(directory: Path) -> tuple[ByteSource, int]:
    path = directory / CIPHERTEXT
    size = path.stat().st_size
    return (OriginalBytes(directory, CIPHERTEXT) if is_handed_over(directory) else path.open("rb", 0)), size


def _tail(manifest: Manifest, directory: Path) -> NamedBlob | None:
    if manifest.tail is None:
        return None
    path = directory / manifest.tail.name
    with path.open("rb") as file:
        return NamedBlob(name=manifest.tail.name, bytes=path.stat().st_size, sha256=_digest(file))


def _digest(file: BinaryIO) -> str:
    whole = hashlib.sha256()
    while data := file.read(_READ_BYTES):
        whole.update(data)
    return whole.hexdigest()
