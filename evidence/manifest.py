"""The manifest as a pure function of line 0, the journal's lines, and the bytes present (docs/formats.md).

The writer of a clip folds each line into a `JournalSummary` as it signs it; recovery and verification fold what
they read. All three then call `build_manifest`, so that what is sealed after a power cut, and what a verifier
expects, cannot drift apart from what is sealed after a stop.
"""

from collections.abc import Iterable

import msgspec

from evidence.documents import (
    Attested,
    Blob,
    ClipEnd,
    ClipStart,
    Delivered,
    Ended,
    JournalFigures,
    Manifest,
    NamedBlob,
    SyncPoint,
    Trigger,
    Unattested,
)
from evidence.errors import EvidenceError
from evidence.frames import Span

__all__ = ["BytesPresent", "JournalSummary", "build_manifest", "join_spans"]

_NS_PER_S = 1_000_000_000


class BytesPresent(msgspec.Struct, frozen=True):
    """What lies in a clip's directory, measured from storage (or, by the writer, while writing).

    `ciphertext` and `header` are `None` where there is no ciphertext, or no whole header in it. `unattested` is
    what follows the last good line in the ciphertext, `tail` what was set apart from it.
    """

    journal: JournalFigures
    ciphertext: Blob | None
    header: Blob | None
    unattested: Unattested | None = None
    tail: NamedBlob | None = None


class JournalSummary:
    """Folds the good lines of a journal, in their order, into what the manifest says of them."""

    def __init__(self, start: ClipStart, start_sha256: str) -> None:
        """Begin with line 0 and the digest of that whole line as stored."""
        self.start = start
        self.start_sha256 = start_sha256
        self.last: SyncPoint | ClipEnd | None = None
        self._gaps: list[Span] = []
        self._silences: list[Span] = []
        self._bookmarks: list[int] = []
        self._triggers: list[Trigger] = []

    def add(self, point: SyncPoint | ClipEnd) -> None:
        """Take the next line."""
        self.last = point
        _extend(self._gaps, point.gaps)
        _extend(self._silences, point.silences)
        self._bookmarks.extend(point.bookmarks)
        self._triggers.extend(point.triggers)

    @property
    def end(self) -> ClipEnd | None:
        """The last line of a clip that ended in an orderly way."""
        return self.last if isinstance(self.last, ClipEnd) else None

    @property
    def gaps(self) -> tuple[Span, ...]:
        """All gaps so far, adjoining ones of one cause joined."""
        return tuple(self._gaps)

    @property
    def silences(self) -> tuple[Span, ...]:
        """All silences so far, adjoining ones of one cause joined."""
        return tuple(self._silences)

    @property
    def bookmarks(self) -> tuple[int, ...]:
        """Times of all bookmarks so far, in nanoseconds."""
        return tuple(self._bookmarks)

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """All further triggers so far."""
        return tuple(self._triggers)

    @property
    def duration_ns(self) -> int:
        """From the first frame to the end of the last that the lines account for.

        The last line says so; before it, the last frame is taken to be as long as the nominal rate has it.
        """
        if isinstance(self.last, ClipEnd):
            return self.last.duration_ns
        if self.last is None or self.last.last_pts_ns is None:
            return 0
        video = self.start.media.video
        frame_ns = _NS_PER_S * video.rate_den // video.rate_num
        return max(0, self.last.last_pts_ns - self.start.first_pts_ns) + frame_ns

    def attested(self) -> Attested:
        """Return the figures of the last good line."""
        last = self.last
        return Attested(
            line=last.line if last else 0,
            ciphertext_bytes=last.ciphertext_bytes if last else 0,
            plaintext_bytes=last.plaintext_bytes if last else 0,
            frames=last.frames if last else 0,
            duration_ns=self.duration_ns,
            last_pts_ns=last.last_pts_ns if last else None,
        )


def join_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Join spans of one cause where the next starts at, or before, the end of the one before."""
    joined: list[Span] = []
    _extend(joined, spans)
    return tuple(joined)


def build_manifest(
    summary: JournalSummary, present: BytesPresent, interrupted: Ended = Ended.UNKNOWN
) -> Manifest:
    """Return the manifest of a clip.

    A clip is complete if its journal has its last line and the bytes present are those which that line names.
    `interrupted` is the cause for a clip without a last line: `unknown`, or `power_loss` where a record
    supports it. Where no ciphertext is left either, the cause is `nothing_recorded`.

    Raises:
        EvidenceError: `interrupted` is a cause that only a last line can give.
    """
    if interrupted.orderly:
        raise EvidenceError(
            "not a cause of an interruption", expected="power_loss or unknown", found=interrupted.value
        )
    start, end, attested = summary.start, summary.end, summary.attested()
    complete = end is not None and present.ciphertext == end.ciphertext and present.header == end.header
    return Manifest(
        clip=start.clip,
        device=start.device,
        epoch=start.epoch,
        generation=start.generation,
        number=start.number,
        start=start,
        start_sha256=summary.start_sha256,
        ended=_ended(end, present, interrupted),
        complete=complete,
        preevent=Delivered(
            requested_ns=start.preevent.requested_ns,
            delivered_ns=min(start.preevent.available_ns, attested.duration_ns),
            shortfall=start.preevent.shortfall,
        ),
        frames=attested.frames,
        duration_ns=attested.duration_ns,
        first_pts_ns=start.first_pts_ns,
        last_pts_ns=attested.last_pts_ns,
        stop_ns=end.stop_ns if end else None,
        gaps=summary.gaps,
        silences=summary.silences,
        bookmarks=summary.bookmarks,
        triggers=summary.triggers,
        media=start.media,
        ciphertext=present.ciphertext,
        header=present.header,
        journal=present.journal,
        plaintext=end.plaintext if end and complete else None,
        attested=attested,
        unattested=present.unattested,
        tail=present.tail,
    )


def _ended(end: ClipEnd | None, present: BytesPresent, interrupted: Ended) -> Ended:
    if end is not None:
        return end.ended
    return Ended.NOTHING_RECORDED if present.ciphertext is None else interrupted


def _extend(joined: list[Span], spans: Iterable[Span]) -> None:
    for span in spans:
        before = joined[-1] if joined else None
        if before and before.cause == span.cause and before.start_ns <= span.start_ns <= before.end_ns:
            joined[-1] = msgspec.structs.replace(before, end_ns=max(before.end_ns, span.end_ns))
        else:
            joined.append(span)
