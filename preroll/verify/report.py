"""The report of `preroll clip verify`: a table for people, JSON for programs (docs/verify.md)."""

from collections.abc import Iterator

import msgspec

from evidence.clock import format_utc
from evidence.findings import Check, Finding, Outcome
from evidence.numbering import Account, Range, absent_generations
from evidence.revocation import Revocations
from evidence.survey import ClipVerdict, Survey
from preroll.exits import Exit

__all__ = ["exit_status", "report_json", "report_lines"]

_STATUS = {
    Finding.AUTHENTIC: Exit.DONE,
    Finding.NOT_AUTHENTIC: Exit.NOT_AUTHENTIC,
    Finding.CANNOT_TELL: Exit.CANNOT_TELL,
    Finding.INCOMPLETE: Exit.INCOMPLETE,
}
_WORDS = {
    Finding.AUTHENTIC: "authentic",
    Finding.NOT_AUTHENTIC: "NOT AUTHENTIC",
    Finding.CANNOT_TELL: "cannot tell",
    Finding.INCOMPLETE: "incomplete",
}
_SUMMARY = {
    Finding.AUTHENTIC: "authentic and complete",
    Finding.NOT_AUTHENTIC: "NOT AUTHENTIC",
    Finding.CANNOT_TELL: "cannot tell: something that is needed is missing",
    Finding.INCOMPLETE: "authentic, but interrupted or incomplete",
}
_TELLING = {
    Finding.NOT_AUTHENTIC: (Outcome.FAILED,),
    Finding.CANNOT_TELL: (Outcome.MISSING, Outcome.SKIPPED),
    Finding.INCOMPLETE: (Outcome.INCOMPLETE,),
}
_SCHEMA_VERSION = 1


def exit_status(found: Survey) -> Exit:
    """Return the exit status that belongs to a survey."""
    return _STATUS[found.finding]


def report_lines(found: Survey, revocations: Revocations) -> Iterator[str]:
    """Yield the report for people: all checks of a clip that stands alone, one line for each of many."""
    if len(found.clips) == 1:
        yield from _one_clip(found.clips[0])
    else:
        for clip in found.clips:
            reason = _reason(clip)
            yield f"{clip.clip:<52} {_WORDS[clip.finding]:<14}{f' {reason}' if reason else ''}".rstrip()
    for document in found.documents:
        place = "/".join(document.path.parts[-3:])
        yield f"{document.kind:<10} {place}: {_WORDS[document.finding]}; {document.detail}"
    for account in found.accounts:
        yield from _account_lines(account)
    for device, absent in absent_generations(found.accounts).items():
        yield f"{device}: nothing here of epoch {_shown(absent)}"
    yield from _revocation_lines(revocations)
    count = f"{len(found.clips)} clip{'' if len(found.clips) == 1 else 's'}"
    yield f"{count}: {_SUMMARY[found.finding]}"


def report_json(found: Survey, revocations: Revocations) -> str:
    """Return the report for programs; the fields are those of docs/verify.md, and stay."""
    report = {
        "schema": _SCHEMA_VERSION,
        "exit_status": int(exit_status(found)),
        "finding": found.finding,
        "revocation": {
            "checked": revocations.given,
            "lists": [
                {"issuer": each.issuer, "number": each.number, "utc": format_utc(each.utc_ns)}
                for each in revocations.facts
            ],
        },
        "clips": [_clip_row(clip) for clip in found.clips],
        "documents": [
            {"path": str(each.path), "kind": each.kind, "finding": each.finding, "detail": each.detail}
            for each in found.documents
        ],
        "numbering": [_account_row(account) for account in found.accounts],
        "absent_generations": absent_generations(found.accounts),
    }
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def _one_clip(clip: ClipVerdict) -> Iterator[str]:
    yield clip.clip
    for check in clip.checks:
        yield f"  {check.name:<13} {check.outcome.value.replace('_', ' '):<11} {check.detail}"


def _reason(clip: ClipVerdict) -> str:
    """Return the first check that made the finding what it is."""
    telling = _TELLING.get(clip.finding, ())
    first: Check | None = next((check for check in clip.checks if check.outcome in telling), None)
    return f"{first.name}: {first.detail}" if first else ""


def _account_lines(account: Account) -> Iterator[str]:
    place = account.place
    if account.head:
        upper = f"known from a head of {account.head.utc or 'an unknown time'} (number {account.head.number})"
    else:
        upper = "unknown"
    numbers = _shown(((1, account.last),)) if account.last else "none"
    yield f"{place.device}, epoch {place.generation} ({place.epoch[:8]}…): numbers {numbers}"
    for name, ranges in (
        ("held here", account.here),
        ("held elsewhere", account.elsewhere),
        ("disposed", account.disposed),
        ("not proven", account.unproven),
        ("MISSING" if account.missing else "missing", account.missing),
    ):
        if ranges or name == "missing":
            yield f"  {name:<15} {_shown(ranges)}"
    yield f"  {'upper end':<15} {upper}"
    for fork in account.forks:
        yield f"  FORK: number {fork.number}, {fork.what}: {' and '.join(fork.sources)}"


def _revocation_lines(revocations: Revocations) -> Iterator[str]:
    if not revocations.given:
        yield "revocation was not checked: no --crl was given"
    for each in revocations.facts:
        yield f"revocation list {each.number} of {each.issuer}, of {format_utc(each.utc_ns)}"


def _shown(ranges: tuple[Range, ...]) -> str:
    return ", ".join(f"{low}" if low == high else f"{low}..{high}" for low, high in ranges) or "none"


def _clip_row(clip: ClipVerdict) -> dict[str, object]:
    return {
        "path": str(clip.path),
        "clip": clip.clip,
        "device": clip.place.device if clip.place else None,
        "epoch": clip.place.epoch if clip.place else None,
        "generation": clip.place.generation if clip.place else None,
        "number": clip.number,
        "finding": clip.finding,
        "checks": [{"name": c.name, "outcome": c.outcome, "detail": c.detail} for c in clip.checks],
    }


def _account_row(account: Account) -> dict[str, object]:
    head = account.head
    return {
        "device": account.place.device,
        "epoch": account.place.epoch,
        "generation": account.place.generation,
        "first": 1,
        "last": account.last,
        "upper_end": {"number": head.number, "utc": head.utc} if head else None,
        "here": account.here,
        "elsewhere": account.elsewhere,
        "disposed": account.disposed,
        "unproven": account.unproven,
        "missing": account.missing,
        "forks": [
            {"number": fork.number, "what": fork.what, "sources": fork.sources} for fork in account.forks
        ],
    }
