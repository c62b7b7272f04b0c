"""What a report says of a clip and of what was exported from it: `preroll-export-v1` (docs/formats.md).

Times are nanoseconds from the clip's first frame, so that they can be found in the footage. A report is not
signed: it repeats what signed documents say, and how to check them.
"""

import msgspec

from evidence.clock import ClockSource, format_utc
from evidence.documents import Delivered, Ended, Manifest, MediaFacts, NamedBlob
from evidence.export.footage import Footage
from evidence.export.moments import utc_mapping
from evidence.export.repeat import Command
from evidence.findings import Finding, Outcome
from evidence.frames import Span

__all__ = [
    "CheckFacts",
    "ClockFacts",
    "CustodyEntry",
    "ExcerptFacts",
    "ExportReport",
    "Mark",
    "RecordingFacts",
    "Stretch",
    "recording_facts",
    "stretch",
]


class Stretch(msgspec.Struct, frozen=True):
    """A stretch of the clip, and what it is on the clock, if that is known."""

    start_ns: int
    end_ns: int
    start_utc: str | None
    end_utc: str | None


class Mark(msgspec.Struct, frozen=True):
    """An instant with what caused it."""

    source: str
    at_ns: int
    utc: str | None


class ClockFacts(msgspec.Struct, frozen=True):
    """Who vouched for UTC, how far off it can be, and how long before the press it had been set."""

    source: ClockSource
    error_ns: int | None
    set_before_ns: int | None


class RecordingFacts(msgspec.Struct, frozen=True):
    """What was recorded."""

    whole: Stretch
    clock: ClockFacts
    trigger: Mark
    preevent: Delivered
    stop_ns: int | None
    ended: Ended
    complete: bool
    frames: int
    media: MediaFacts
    gaps: tuple[Span, ...]
    silences: tuple[Span, ...]
    bookmarks: tuple[int, ...]
    triggers: tuple[Mark, ...]


class ExcerptFacts(msgspec.Struct, frozen=True):
    """What was asked for, in the words of who asked."""

    asked_from: str | None
    asked_to: str | None


class CheckFacts(msgspec.Struct, frozen=True):
    """One check with its result and the commands that repeat it without Preroll."""

    name: str
    question: str
    outcome: Outcome
    detail: str
    repeat: tuple[Command, ...]


class CustodyEntry(msgspec.Struct, frozen=True):
    """A step of the clip's way, with the signed document that says so."""

    what: str
    by: str
    utc: str
    document: str
    detail: str


class ExportReport(msgspec.Struct, frozen=True, tag_field="type", tag="preroll-export-v1"):
    """Everything that the report holds; the HTML shows just this."""

    made_utc: str
    software: str
    clip: str
    device: str
    epoch: str
    generation: int
    number: int
    wearer: str | None
    firmware: str
    config_version: int
    manifest_sha256: str
    output: NamedBlob
    covered: Stretch
    covered_frames: int
    excerpt: ExcerptFacts | None
    recording: RecordingFacts
    finding: Finding
    checks: tuple[CheckFacts, ...]
    revocation_checked: bool
    custody: tuple[CustodyEntry, ...]
    limits: tuple[str, ...]


def recording_facts(manifest: Manifest) -> RecordingFacts:
    """Say of a manifest what a report needs, with times from the first frame."""
    start, zero = manifest.start, manifest.first_pts_ns
    set_ns = start.clock.set_ns
    return RecordingFacts(
        whole=stretch(manifest, Footage(0, manifest.duration_ns, manifest.frames)),
        clock=ClockFacts(
            source=start.clock.source,
            error_ns=start.clock.error_ns,
            set_before_ns=None if set_ns is None else start.trigger.edge_ns - set_ns,
        ),
        trigger=_mark(manifest, start.trigger.source, start.trigger.edge_ns),
        preevent=manifest.preevent,
        stop_ns=None if manifest.stop_ns is None else manifest.stop_ns - zero,
        ended=manifest.ended,
        complete=manifest.complete,
        frames=manifest.frames,
        media=manifest.media,
        gaps=_moved(manifest.gaps, zero),
        silences=_moved(manifest.silences, zero),
        bookmarks=tuple(at_ns - zero for at_ns in manifest.bookmarks),
        triggers=tuple(_mark(manifest, each.source, each.edge_ns) for each in manifest.triggers),
    )


def stretch(manifest: Manifest, footage: Footage) -> Stretch:
    """Say when a stretch of the clip was."""
    return Stretch(
        start_ns=footage.start_ns,
        end_ns=footage.end_ns,
        start_utc=_utc(manifest, manifest.first_pts_ns + footage.start_ns),
        end_utc=_utc(manifest, manifest.first_pts_ns + footage.end_ns),
    )


def _mark(manifest: Manifest, source: str, at_ns: int) -> Mark:
    return Mark(source=source, at_ns=at_ns - manifest.first_pts_ns, utc=_utc(manifest, at_ns))


def _utc(manifest: Manifest, at_ns: int) -> str | None:
    utc_ns = utc_mapping(manifest.start).utc_at(at_ns)
    return None if utc_ns is None else format_utc(utc_ns)


def _moved(spans: tuple[Span, ...], zero_ns: int) -> tuple[Span, ...]:
    return tuple(Span(span.start_ns - zero_ns, span.end_ns - zero_ns, span.cause) for span in spans)
