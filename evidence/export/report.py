"""Exporting a clip: verify it, write footage, and a report in two forms beside it."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from evidence.age import Identity, read_header
from evidence.check import CIPHERTEXT, MANIFEST, RECEIPT, CheckReport
from evidence.custody.ofclip import entries_of, log_beside
from evidence.documents import Handover, Manifest, NamedBlob, Receipt, decode
from evidence.export.facts import (
    CheckFacts,
    CustodyEntry,
    ExcerptFacts,
    ExportReport,
    recording_facts,
    stretch,
)
from evidence.export.footage import Footage, write_excerpt, write_whole
from evidence.export.gate import CheckClip, DoubtfulClipError, require_authentic
from evidence.export.moments import Moment
from evidence.export.page import page
from evidence.export.repeat import question, repeat
from evidence.export.target import OutputFile, publish_together
from evidence.export.words import limits
from evidence.findings import Check, Finding, Outcome
from evidence.handover import HANDOVER, is_handed_over

__all__ = ["ExportRequest", "Exported", "export_clip"]

_DOCUMENT_LIMIT_BYTES = 1 << 24


class ExportRequest(msgspec.Struct, frozen=True):
    """What is wanted: of which clip, where to, and the times of an excerpt."""

    clip: Path
    output: Path
    start: Moment | None = None
    end: Moment | None = None

    @property
    def excerpt(self) -> bool:
        """Whether it is a part of the clip."""
        return self.start is not None or self.end is not None


class Exported(msgspec.Struct, frozen=True):
    """What was written: the files, and what the report says."""

    output: Path
    html: Path
    json: Path
    report: ExportReport

    @property
    def complete(self) -> bool:
        """Whether the clip that it comes from is complete."""
        return self.report.finding is Finding.AUTHENTIC


def export_clip(
    request: ExportRequest,
    *,
    check: CheckClip,
    identities: Sequence[Identity],
    made_utc: str,
    software: str,
    advance: Callable[[int], object] = lambda _: None,
) -> Exported:
    """Export a clip; all three files appear, or none.

    Args:
        request: what is wanted.
        check: verifies the clip before anything is decrypted.
        identities: one of them opens it.
        made_utc: now, as in signed documents; for the report.
        software: name and version, for the report.
        advance: hears how many bytes of footage were just written.

    Raises:
        OutputExistsError: one of the files is there already.
        UnauthenticClipError, DoubtfulClipError: the clip failed a check, or it cannot be told.
        EmptyClipError, ExcerptError, MomentError: there is nothing of it to be had, or not at these times.
        AgeNoIdentityError: no identity opens it.
        AgeError: a chunk fails authentication.
        StorageError: an output cannot be written.
        OSError: the clip cannot be read.
    """
    outputs: list[OutputFile] = []
    try:
        for suffix in ("", ".html", ".json"):
            path = request.output.with_name(request.output.name + suffix)
            outputs.append(OutputFile(path))  # one by one: what is open already is closed if the next one fails
        checked, manifest = require_authentic(request.clip, check)
        _same_manifest(request.clip, checked)
        footage = _write(request, manifest, identities, outputs[0], advance)
        facts = _report(request, checked, manifest, footage=footage, output=outputs[0])
        report = msgspec.structs.replace(facts, made_utc=made_utc, software=software)
        outputs[1].write(page(report).encode())
        outputs[2].write(_json(report))
        publish_together([outputs[2], outputs[1], outputs[0]])
    finally:
        for output in outputs:
            output.close()
    return Exported(output=outputs[0].path, html=outputs[1].path, json=outputs[2].path, report=report)


def _write(
    request: ExportRequest,
    manifest: Manifest,
    identities: Sequence[Identity],
    output: OutputFile,
    advance: Callable[[int], object],
) -> Footage:
    if not request.excerpt:
        return write_whole(request.clip, manifest, identities, output, advance)
    from_ns = request.start.in_clip(manifest.start) if request.start else 0
    to_ns = request.end.in_clip(manifest.start) if request.end else None
    return write_excerpt(request.clip, manifest, identities, (from_ns, to_ns), output=output, advance=advance)


def _report(
    request: ExportRequest,
    checked: CheckReport,
    manifest: Manifest,
    *,
    footage: Footage,
    output: OutputFile,
) -> ExportReport:
    checks = _with_plaintext(checked.checks, manifest, output, excerpt=request.excerpt)
    revocation = next((each for each in checks if each.name == "revocation"), None)
    revocation_checked = revocation is not None and revocation.outcome is not Outcome.NOT_CHECKED
    header_bytes = _new_header_bytes(request.clip)
    return ExportReport(
        made_utc="",
        software="",
        clip=manifest.clip,
        device=manifest.device,
        epoch=manifest.epoch,
        generation=manifest.generation,
        number=manifest.number,
        wearer=manifest.start.wearer,
        firmware=manifest.start.firmware,
        config_version=manifest.start.config.version,
        manifest_sha256=checked.manifest_sha256 or "",
        output=NamedBlob(name=output.path.name, bytes=output.size_bytes, sha256=output.sha256),
        covered=stretch(manifest, footage),
        covered_frames=footage.frames,
        excerpt=_asked(request),
        recording=recording_facts(manifest),
        finding=checked.finding,
        checks=tuple(_check_facts(each, manifest, header_bytes) for each in checks),
        revocation_checked=revocation_checked,
        custody=_custody(request.clip, checked),
        limits=limits(manifest, excerpt=request.excerpt, revocation_checked=revocation_checked),
    )


def _same_manifest(clip: Path, checked: CheckReport) -> None:
    """Make sure that the digest in the report is that of the manifest that was checked."""
    found = hashlib.sha256((clip / MANIFEST).read_bytes()).hexdigest()
    if checked.manifest_sha256 != found:
        raise DoubtfulClipError("the manifest changed while the clip was checked")


def _with_plaintext(
    checks: tuple[Check, ...], manifest: Manifest, output: OutputFile, *, excerpt: bool
) -> tuple[Check, ...]:
    """Put in what the export itself found out about the plaintext."""
    if excerpt:
        words = "an excerpt was decrypted, each chunk of it authentic; the digest is of the whole"
        plaintext = Check("plaintext", Outcome.NOT_CHECKED, words)
    elif manifest.plaintext is None:
        words = f"{output.size_bytes} bytes decrypt, each chunk authentic; the end is missing"
        plaintext = Check("plaintext", Outcome.INCOMPLETE, words)
    else:
        words = f"{output.size_bytes} bytes, SHA-256 as the manifest says"
        plaintext = Check("plaintext", Outcome.PASSED, words)
    media = Check(
        "media", Outcome.NOT_CHECKED, "an export decodes nothing; `preroll clip verify --identity` does"
    )
    answers = {each.name: each for each in (plaintext, media)}
    return tuple(answers.get(each.name, each) for each in checks)


def _check_facts(check: Check, manifest: Manifest, header_bytes: int | None) -> CheckFacts:
    asked = check.outcome is not Outcome.NOT_CHECKED or check.name == "plaintext"
    return CheckFacts(
        name=check.name,
        question=question(check.name),
        outcome=check.outcome,
        detail=check.detail,
        repeat=repeat(check.name, manifest, header_bytes) if asked else (),
    )


def _custody(clip: Path, checked: CheckReport) -> tuple[CustodyEntry, ...]:
    """List the signed steps that lie with the clip and passed their check, in the order of their times."""
    good = {check.name: check.detail for check in checked.checks if check.outcome is Outcome.PASSED}
    entries = []
    if "receipt" in good:
        receipt = decode(_read(clip / RECEIPT), Receipt)
        entries.append(
            CustodyEntry(receipt.verdict.value, receipt.store, receipt.utc, RECEIPT, good["receipt"])
        )
    if "handover" in good:
        record = decode(_read(clip / HANDOVER), Handover)
        entries.append(CustodyEntry("handed over", record.operator, record.utc, HANDOVER, record.reason))
    entries.sort(key=lambda entry: entry.utc)
    return (*entries, *_logged(clip, checked.manifest_sha256))


def _logged(clip: Path, manifest_sha256: str | None) -> Iterator[CustodyEntry]:
    """List what the custody log of the store says of the clip, in its order: chained, signed by checkpoints."""
    log = log_beside(clip)
    if log is None or manifest_sha256 is None:
        return
    found, trouble = entries_of(log, manifest_sha256)
    for read in found:
        entry = read.entry
        said = ", ".join(f"{name} {value}" for name, value in entry.detail.items() if value is not None)
        detail = f"entry {entry.index} of the store's log, not signed by itself{': ' if said else ''}{said}"
        yield CustodyEntry(entry.kind.replace("_", " "), entry.store, entry.utc, log.name, detail)
    if trouble:
        yield CustodyEntry("the log is not good from here on", "", "", log.name, trouble)


def _new_header_bytes(clip: Path) -> int | None:
    if not is_handed_over(clip):
        return None
    with (clip / CIPHERTEXT).open("rb") as file:
        return len(read_header(file).raw)


def _asked(request: ExportRequest) -> ExcerptFacts | None:
    if not request.excerpt:
        return None
    return ExcerptFacts(
        asked_from=request.start.text if request.start else None,
        asked_to=request.end.text if request.end else None,
    )


def _json(report: ExportReport) -> bytes:
    return json.dumps(msgspec.to_builtins(report), indent=2, ensure_ascii=False).encode() + b"\n"


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_DOCUMENT_LIMIT_BYTES)
