"""Sealing a clip that was interrupted, on storage: measure, set apart, sync, sign (evidence/interrupted.py).

Nothing is touched before line 0 has proved to be this camera's; nothing is signed that contradicts its journal.
Killed at any step and started again, it ends with the same `clip.mp4.age`, `journal.jsonl` and `manifest.json`.
"""

import contextlib
import enum
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.documents import Blob, ClipStart, Ended, Manifest
from evidence.interrupted import plan_recovery
from evidence.journal import JournalReader
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.measure import (
    AttestedBytes,
    DamagedClipError,
    Pace,
    PacedFile,
    measure_file,
    measure_rest,
    read_header_figures,
)
from evidence.seal import seal_clip
from evidence.sealstate import SealState, open_regular, read_seal_state
from evidence.signer import Signer
from evidence.storage import (
    PosixAppendFile,
    StorageError,
    cut_file,
    make_directory,
    remove_file,
    rename,
    sync_directory,
    sync_file,
)

__all__ = ["Outcome", "Recovered", "read_start", "recover_clip"]

CIPHERTEXT, JOURNAL, TAIL = "clip.mp4.age", "journal.jsonl", "tail.bin"
_SEAL = ("manifest.json", "manifest.p7s")


class Outcome(enum.StrEnum):
    """What recovery came to."""

    ALREADY_SEALED = "already_sealed"
    SEALED = "sealed"


class Recovered(msgspec.Struct, frozen=True):
    """A clip after recovery; `rejected` are the names under which unsigned files were set aside."""

    clip: str
    outcome: Outcome
    manifest: Manifest | None = None
    rejected: tuple[str, ...] = ()


class _Clip(msgspec.Struct, frozen=True):
    """What recovery needs to know of the clip that it reads."""

    directory: Path
    public_key: ec.EllipticCurvePublicKey
    pace: Pace


def recover_clip(
    directory: Path,
    *,
    signer: Signer,
    rejected: Path,
    cause: Callable[[ClipStart], Ended],
    pace: Pace = lambda _: None,
) -> Recovered:
    """Seal a clip that nobody writes any more; one that is sealed is left alone.

    `cause` is asked why a clip without a last line ended (`interrupted.interruption_cause`). A manifest that
    this camera did not sign is moved to the directory `rejected`. Memory does not grow with the clip.

    Raises:
        EvidenceError: (`DamagedClipError`, `TamperedError`) the clip is not what its signed lines say. Nothing
            was altered, but for an unsigned manifest that was set aside.
        StorageError: storage refuses; nothing is lost, and recovery may be tried again.
    """
    state = read_seal_state(directory, signer.public_key)
    if state is SealState.SEALED:
        return Recovered(directory.name, Outcome.ALREADY_SEALED)
    clip = _Clip(directory, signer.public_key, pace)
    with _reading():
        _read_start(clip)
        aside = _set_aside(directory, rejected) if state is SealState.UNSIGNED else ()
        summary, present = _measure(clip)
    interrupted = Ended.UNKNOWN
    if summary.end is None and present.ciphertext is not None:
        interrupted = cause(summary.start)
    manifest = build_manifest(summary, present, interrupted)
    if present.ciphertext is not None:
        sync_file(directory / CIPHERTEXT)  # a process that was killed leaves bytes that are not on storage
    sync_file(directory / JOURNAL)
    seal_clip(directory, manifest, signer)
    return Recovered(directory.name, Outcome.SEALED, manifest, aside)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError("cannot read a clip", error) from error


def _open_journal(clip: _Clip) -> BinaryIO:
    file = open_regular(clip.directory / JOURNAL)
    if file is None:
        raise DamagedClipError("a clip without its journal", expected=JOURNAL, found="none")
    return file


def read_start(directory: Path, public_key: ec.EllipticCurvePublicKey) -> ClipStart:
    """Return line 0 of a clip.

    Raises:
        EvidenceError: there is none, it is not signed by this key, or it is another clip's.
        StorageError: it cannot be read.
    """
    with _reading():
        return _read_start(_Clip(directory, public_key, lambda _: None))


def _read_start(clip: _Clip) -> ClipStart:
    with _open_journal(clip) as file:
        line = next(iter(JournalReader(file, clip.public_key)), None)
    if line is None or not isinstance(line.document, ClipStart):
        raise DamagedClipError("a clip without line 0", expected="a whole line", found="none")
    if line.document.clip != clip.directory.name:
        raise DamagedClipError("the journal is another clip's", expected=clip.directory.name)
    return line.document


def _set_aside(directory: Path, rejected: Path) -> tuple[str, ...]:
    """Move an unsigned manifest, and what pretends to sign it, out of the clip."""
    with contextlib.suppress(FileExistsError):
        make_directory(rejected)
        sync_directory(rejected.parent)
    names: list[str] = []
    for name in _SEAL:
        if os.path.lexists(directory / name):
            target = _free_name(rejected, f"{directory.name}.{name}")
            rename(directory / name, target)
            names.append(target.name)
    sync_directory(rejected)
    sync_directory(directory)
    return tuple(names)


def _free_name(directory: Path, name: str) -> Path:
    count = 1
    path = directory / name
    while os.path.lexists(path):
        count += 1
        path = directory / f"{name}.{count}"
    return path


def _measure(clip: _Clip) -> tuple[JournalSummary, BytesPresent]:
    """Measure a clip, and bring its ciphertext into the form that is sealed."""
    file = open_regular(clip.directory / CIPHERTEXT)
    if file is not None:
        with file:
            return _measure_ciphertext(clip, file)
    with _open_journal(clip) as journal:
        reader = JournalReader(journal, clip.public_key)
        summary = _fold(reader, None, clip.pace)
    tail = measure_file(clip.directory / TAIL, clip.pace)
    return summary, BytesPresent(journal=reader.figures, ciphertext=None, header=None, tail=tail)


def _measure_ciphertext(clip: _Clip, file: BinaryIO) -> tuple[JournalSummary, BytesPresent]:
    header, header_cut = read_header_figures(file)
    paced = PacedFile(file, clip.pace)
    attested = AttestedBytes(paced)
    with _open_journal(clip) as journal:
        reader = JournalReader(journal, clip.public_key)
        summary = _fold(reader, attested, clip.pace)
    size = paced.size_bytes
    plan = plan_recovery(summary, size, header, header_cut=header_cut)
    whole: Blob | None = None
    unattested = None
    if plan.keep_bytes is None:
        remove_file(clip.directory / CIPHERTEXT)
        sync_directory(clip.directory)
        header = None
    else:
        whole, unattested = attested.finish(plan.keep_bytes)
        if size > plan.keep_bytes:
            _set_tail_apart(clip, paced)
    return summary, BytesPresent(
        journal=reader.figures,
        ciphertext=whole,
        header=header,
        unattested=unattested,
        tail=measure_file(clip.directory / TAIL, clip.pace),
    )


def _fold(reader: JournalReader, ciphertext: AttestedBytes | None, pace: Pace) -> JournalSummary:
    """Read the journal and, in step with it, the ciphertext that its lines attest."""
    summary: JournalSummary | None = None
    for line in reader:
        pace(line.end - line.start)
        if isinstance(line.document, ClipStart):
            summary = JournalSummary(line.document, line.sha256)
            continue
        assert summary is not None  # the reader yields line 0 first
        summary.add(line.document)
        if ciphertext is None:
            raise DamagedClipError(
                f"line {line.number} attests a ciphertext", expected=CIPHERTEXT, found="none"
            )
        ciphertext.require(line.document)
    if summary is None:
        raise DamagedClipError("a clip without line 0", expected="a whole line", found="none")
    return summary


def _set_tail_apart(clip: _Clip, file: PacedFile) -> None:
    """Copy what follows to `tail.bin`, then cut it off: at each moment one of the two holds it."""
    keep_bytes = file.position
    existing = measure_file(clip.directory / TAIL, clip.pace)
    if existing is None:
        _copy_tail(clip.directory, file)
    elif existing != measure_rest(file, TAIL):
        raise DamagedClipError("a tail was set apart, and the ciphertext has another behind its limit")
    cut_file(clip.directory / CIPHERTEXT, keep_bytes)


def _copy_tail(directory: Path, source: PacedFile) -> None:
    temporary = directory / f".{TAIL}.tmp"
    if os.path.lexists(temporary):
        remove_file(temporary)
    copy = PosixAppendFile(temporary)
    try:
        while data := source.read():
            copy.append(data)
        copy.sync()
    finally:
        copy.close()
    rename(temporary, directory / TAIL)
    sync_directory(directory)
