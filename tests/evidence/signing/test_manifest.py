"""The manifest as a function of journal and bytes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.documents import (
    Blob,
    ClipEnd,
    ClipStart,
    Ended,
    JournalFigures,
    Manifest,
    SyncPoint,
    Unattested,
    decode,
    encode,
)
from evidence.errors import EvidenceError
from evidence.frames import Span
from evidence.manifest import BytesPresent, JournalSummary, build_manifest, join_spans

DIGEST = "ab" * 32
JOURNAL = JournalFigures(bytes=1000, sha256=DIGEST, lines=2, torn_bytes=0)
FRAME_NS = 33_333_333


def summary(start: ClipStart, *points: SyncPoint | ClipEnd) -> JournalSummary:
    folded = JournalSummary(start, DIGEST)
    for point in points:
        folded.add(point)
    return folded


def present(end: ClipEnd) -> BytesPresent:
    return BytesPresent(journal=JOURNAL, ciphertext=end.ciphertext, header=end.header)


def test_a_complete_clip(start: ClipStart, sync: SyncPoint, end: ClipEnd) -> None:
    manifest = build_manifest(summary(start, sync, end), present(end))
    assert (manifest.complete, manifest.ended, manifest.stop_ns) == (True, Ended.STOPPED, end.stop_ns)
    assert (manifest.plaintext, manifest.frames, manifest.duration_ns) == (end.plaintext, 1200, 40_000_000_000)
    assert manifest.preevent.delivered_ns == start.preevent.available_ns
    assert manifest.attested.line == 92
    assert decode(encode(manifest), Manifest) == manifest


def test_an_interrupted_clip_counts_up_to_its_last_good_line(start: ClipStart, sync: SyncPoint) -> None:
    unattested = Unattested(start=656_040, bytes=10, sha256=DIGEST)
    whole = Blob(bytes=656_050, sha256=DIGEST)
    manifest = build_manifest(
        summary(start, sync), BytesPresent(JOURNAL, whole, Blob(bytes=200, sha256=DIGEST), unattested)
    )
    assert (manifest.complete, manifest.ended) == (False, Ended.UNKNOWN)
    assert (manifest.plaintext, manifest.stop_ns) == (None, None)
    assert manifest.duration_ns == 466_000_000 + FRAME_NS  # the last frame at the nominal rate
    assert manifest.preevent.delivered_ns == manifest.duration_ns  # 30.5 s were there, these are kept
    assert manifest.unattested == unattested


def test_power_loss_is_said_where_a_record_supports_it(start: ClipStart, sync: SyncPoint) -> None:
    found = build_manifest(
        summary(start, sync), BytesPresent(JOURNAL, Blob(bytes=1, sha256=DIGEST), None), Ended.POWER_LOSS
    )
    assert found.ended is Ended.POWER_LOSS
    with pytest.raises(EvidenceError, match="interruption"):
        build_manifest(summary(start, sync), BytesPresent(JOURNAL, None, None), Ended.STOPPED)


def test_a_claimed_number_that_holds_nothing(start: ClipStart) -> None:
    manifest = build_manifest(summary(start), BytesPresent(JOURNAL, None, None))
    assert manifest.ended is Ended.NOTHING_RECORDED
    assert (manifest.attested.line, manifest.frames, manifest.duration_ns, manifest.last_pts_ns) == (
        0,
        0,
        0,
        None,
    )
    assert manifest.preevent.delivered_ns == 0
    assert decode(encode(manifest), Manifest) == manifest


@pytest.mark.parametrize("field", ["ciphertext", "header"])
def test_a_last_line_whose_bytes_are_not_there_is_not_complete(
    field: str, start: ClipStart, end: ClipEnd
) -> None:
    altered = msgspec.structs.replace(present(end), **{field: Blob(bytes=1, sha256=DIGEST)})
    manifest = build_manifest(summary(start, end), altered)
    assert (manifest.complete, manifest.plaintext, manifest.ended) == (False, None, Ended.STOPPED)


def test_spans_that_go_on_from_line_to_line_are_joined(start: ClipStart, sync: SyncPoint) -> None:
    def point(*spans: tuple[int, int, str]) -> SyncPoint:
        return msgspec.structs.replace(sync, silences=tuple(Span(*span) for span in spans))

    folded = summary(
        start,
        point((0, 10, "late")),
        point((10, 20, "late"), (20, 30, "policy_off")),
        point((40, 50, "policy_off")),
    )
    assert folded.silences == (Span(0, 20, "late"), Span(20, 30, "policy_off"), Span(40, 50, "policy_off"))


@given(
    st.lists(
        st.builds(
            lambda begin, length, cause: Span(begin, begin + length, cause),
            st.integers(0, 50),
            st.integers(1, 10),
            st.sampled_from(["late", "policy_off"]),
        ),
        max_size=12,
    )
)
def test_joining_neither_loses_nor_adds_time(spans: list[Span]) -> None:
    spans.sort(key=lambda span: span.start_ns)
    joined = join_spans(spans)

    def covered(some: list[Span] | tuple[Span, ...]) -> set[tuple[str, int]]:
        return {(span.cause, at) for span in some for at in range(span.start_ns, span.end_ns)}

    assert covered(joined) == covered(spans)
    assert join_spans(joined) == joined
