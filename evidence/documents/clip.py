"""Line 0, sync points, last line and manifest of a clip (docs/formats.md, "Journal" and "Manifest")."""

import msgspec

from evidence.documents.fields import (
    AgeRecipient,
    Blob,
    BootId,
    ClipName,
    Clock,
    ConfigRef,
    Count,
    DeviceId,
    Digest,
    Ended,
    Epoch,
    LogHead,
    MediaFacts,
    NamedBlob,
    Positive,
    Shortfall,
    Text,
    TimeNs,
    Trigger,
    Utc,
    Wearer,
    check_clip_name,
    check_utc,
)
from evidence.frames import GapCause, SilenceCause, Span

__all__ = [
    "Attested",
    "ClipEnd",
    "ClipStart",
    "Delivered",
    "JournalFigures",
    "Manifest",
    "Requested",
    "SyncPoint",
    "Unattested",
]

_GAP_CAUSES = frozenset(str(cause) for cause in GapCause)
_SILENCE_CAUSES = frozenset(str(cause) for cause in SilenceCause)


class Requested(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`preevent` of line 0: what was asked for, and what the ring held from the first frame to the edge."""

    requested_ns: Count
    available_ns: Count
    shortfall: Shortfall | None


class Delivered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`preevent` of the manifest: what was asked for, and what the clip holds."""

    requested_ns: Count
    delivered_ns: Count
    shortfall: Shortfall | None


class ClipStart(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-clip-start-v1"
):
    """Line 0 of a journal: claims the number, and says all that is known at the start."""

    clip: ClipName
    device: DeviceId
    epoch: Epoch
    generation: Positive
    number: Positive
    previous_start: Digest | None
    log: LogHead | None
    trigger: Trigger
    preevent: Requested
    first_pts_ns: TimeNs
    boot: BootId
    monotonic_ns: TimeNs
    utc: Utc | None
    clock: Clock
    config: ConfigRef
    recipients: tuple[AgeRecipient, ...]
    wearer: Wearer | None
    media: MediaFacts
    firmware: Text

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        check_clip_name(self.clip, self.device, self.number)
        check_utc(self.utc)
        if self.clip.startswith("notime-") != (self.utc is None):
            raise ValueError("`clip` says `notime` exactly if `utc` is null")
        if (self.previous_start is None) != (self.number == 1):
            raise ValueError("`previous_start` is null exactly for number 1")
        if not self.recipients:
            raise ValueError("`recipients` is empty")


class _Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """What sync points and the last line share."""

    line: Positive
    previous: Digest
    ciphertext_bytes: Count
    plaintext_bytes: Count
    interval: Digest
    frames: Count
    last_pts_ns: TimeNs | None
    gaps: tuple[Span, ...]
    silences: tuple[Span, ...]
    bookmarks: tuple[TimeNs, ...]
    triggers: tuple[Trigger, ...]
    monotonic_ns: TimeNs

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        _check_spans(self.gaps, self.silences)
        _check_counts(self.frames, self.last_pts_ns)
        if self.plaintext_bytes > self.ciphertext_bytes:
            raise ValueError("`plaintext_bytes` is more than `ciphertext_bytes`")


class SyncPoint(_Point, frozen=True, tag="preroll-sync-v1"):
    """A line of the journal after line 0: so much of the ciphertext was on storage at this moment."""


class ClipEnd(_Point, frozen=True, tag="preroll-end-v1"):
    """The last line of a clip that ended in an orderly way; a sync point that reaches the end of the file."""

    ended: Ended
    stop_ns: TimeNs
    ciphertext: Blob
    plaintext: Blob
    header: Blob
    duration_ns: Count

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        super().__post_init__()
        if not self.ended.orderly:
            raise ValueError("`ended` is a cause that only a manifest can give")
        if self.ciphertext.bytes != self.ciphertext_bytes or self.plaintext.bytes != self.plaintext_bytes:
            raise ValueError("`ciphertext` and `plaintext` are not as long as the line's byte counts")


class JournalFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`journal` of the manifest: the whole file as it lies there; `lines` counts whole lines with line 0."""

    bytes: Count
    sha256: Digest
    lines: Positive
    torn_bytes: Count


class Attested(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`attested`: the last good line of the journal; `line` 0 means that no sync point was reached."""

    line: Count
    ciphertext_bytes: Count
    plaintext_bytes: Count
    frames: Count
    duration_ns: Count
    last_pts_ns: TimeNs | None


class Unattested(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`unattested`: what follows the last good line in the ciphertext."""

    start: Count
    bytes: Positive
    sha256: Digest


class Manifest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-manifest-v1"
):
    """The sealed description of a clip."""

    clip: ClipName
    device: DeviceId
    epoch: Epoch
    generation: Positive
    number: Positive
    start: ClipStart
    start_sha256: Digest
    ended: Ended
    complete: bool
    preevent: Delivered
    frames: Count
    duration_ns: Count
    first_pts_ns: TimeNs
    last_pts_ns: TimeNs | None
    stop_ns: TimeNs | None
    gaps: tuple[Span, ...]
    silences: tuple[Span, ...]
    bookmarks: tuple[TimeNs, ...]
    triggers: tuple[Trigger, ...]
    media: MediaFacts
    ciphertext: Blob | None
    header: Blob | None
    journal: JournalFigures
    plaintext: Blob | None
    attested: Attested
    unattested: Unattested | None
    tail: NamedBlob | None

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        start = self.start
        if (self.clip, self.device, self.epoch, self.generation, self.number) != (
            start.clip,
            start.device,
            start.epoch,
            start.generation,
            start.number,
        ):
            raise ValueError("the clip's place in the numbering is not that of `start`")
        _check_spans(self.gaps, self.silences)
        _check_counts(self.frames, self.last_pts_ns)
        if self.complete != (self.plaintext is not None):
            raise ValueError("`plaintext` is given exactly for a complete clip")


def _check_spans(gaps: tuple[Span, ...], silences: tuple[Span, ...]) -> None:
    for name, spans, causes in (("gaps", gaps, _GAP_CAUSES), ("silences", silences, _SILENCE_CAUSES)):
        for span in spans:
            if span.end_ns <= span.start_ns:
                raise ValueError(f"a span in `{name}` ends before it starts")
            if span.cause not in causes:
                raise ValueError(f"a span in `{name}` has an unknown cause")


def _check_counts(frames: int, last_pts_ns: int | None) -> None:
    if (frames == 0) != (last_pts_ns is None):
        raise ValueError("`last_pts_ns` is null exactly if there are no frames")
