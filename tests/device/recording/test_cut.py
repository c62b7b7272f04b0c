"""Where a clip ends: no hole, nothing before the stop left out, and always an end."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from device.recording.cut import Cut, Verdict
from evidence.frames import EncodedFrame, Span, Track

FRAME_NS = 40_000_000
LAG_NS = 300_000_000
BASE_NS = 5_000_000_000


def picture(shown: int, decoded: int) -> EncodedFrame:
    return EncodedFrame(
        Track.VIDEO,
        b"",
        BASE_NS + shown * FRAME_NS,
        BASE_NS + decoded * FRAME_NS,
        FRAME_NS,
        keyframe=shown == 0,
    )


def sound(at_ns: int) -> EncodedFrame:
    return EncodedFrame(Track.AUDIO, b"", at_ns, at_ns, 21_333_333, keyframe=True)


def in_decode_order(groups: Sequence[int]) -> list[EncodedFrame]:
    """Return pictures of GOPs like libx264's: each reference comes before the B-frames shown before it.

    `groups` gives the number of B-frames in front of each reference; the middle one of three or more is a
    reference of the others (a pyramid). Decode times lag two frames behind, so that none is after its picture.
    """
    order = [0]
    shown = 1
    for count in groups:
        between = list(range(shown, shown + count))
        order.append(shown + count)
        if count >= 3:
            between.insert(0, between.pop(count // 2))
        order += between
        shown += count + 1
    return [picture(number, decoded - 2) for decoded, number in enumerate(order)]


def judged(
    frames: Sequence[EncodedFrame | Span], stop_ns: int, known_at: int
) -> tuple[list[EncodedFrame], bool]:
    """Return what is written, and whether the end was seen; the stop is told before item `known_at`."""
    cut = Cut(LAG_NS)
    written: list[EncodedFrame] = []
    for index, frame in enumerate(frames):
        if index == known_at:
            cut.stop(stop_ns)
        verdict = cut.judge(frame)
        if verdict is Verdict.END:
            return written, True
        if verdict is Verdict.WRITE and isinstance(frame, EncodedFrame):
            written.append(frame)
    return written, False


@given(
    groups=st.lists(st.integers(0, 3), min_size=6, max_size=30),
    stop=st.floats(0, 15, exclude_max=True),
    known_at=st.integers(0, 40),
)
def test_whatever_the_order_there_is_no_hole_and_all_up_to_the_stop(
    groups: list[int], stop: float, known_at: int
) -> None:
    frames = in_decode_order([*groups, *([0] * 30)])
    stop_ns = BASE_NS + int(stop * FRAME_NS)
    written, ended = judged(frames, stop_ns, min(known_at, 30))
    shown = sorted(frame.pts_ns for frame in written)
    assert ended
    assert shown == [BASE_NS + index * FRAME_NS for index in range(len(shown))]
    assert {frame.pts_ns for frame in frames if frame.pts_ns <= stop_ns} <= set(shown)
    # Beyond the stop there is only what had been decoded by then, or written before the stop was known.
    taken_early = {frame.pts_ns for frame in frames[: min(known_at, 30)]}
    latest_ns = max((frame.pts_ns for frame in frames if frame.dts_ns <= stop_ns), default=stop_ns)
    assert all(pts <= max(latest_ns, stop_ns) or pts <= max(taken_early, default=0) for pts in shown)


@given(
    groups=st.lists(st.integers(0, 3), min_size=3, max_size=10),
    stop=st.integers(1, 10),
    late_ns=st.integers(0, LAG_NS - FRAME_NS),
)
def test_sound_follows_to_the_end_of_the_last_picture(groups: list[int], stop: int, late_ns: int) -> None:
    pictures = in_decode_order([*groups, *([0] * 40)])
    track = [sound(BASE_NS + index * 21_333_333) for index in range(120)]
    arrivals = [(frame.dts_ns, frame) for frame in pictures]
    arrivals += [(frame.pts_ns + late_ns, frame) for frame in track]
    frames = [frame for _, frame in sorted(arrivals, key=lambda arrival: arrival[0])]
    stop_ns = BASE_NS + stop * FRAME_NS + 1
    written, ended = judged(frames, stop_ns, 0)
    end_ns = max(frame.pts_ns for frame in written if frame.track is Track.VIDEO) + FRAME_NS
    heard = [frame.pts_ns for frame in written if frame.track is Track.AUDIO]
    assert ended
    assert heard == [frame.pts_ns for frame in track if frame.pts_ns < end_ns]


def test_the_first_sound_of_a_clip_may_come_after_its_stop() -> None:
    cut = Cut(LAG_NS)
    cut.stop(BASE_NS + 1)
    assert cut.judge(picture(0, 0)) is Verdict.WRITE
    assert [cut.judge(picture(index, index)) for index in (1, 2, 3)] == [Verdict.SKIP] * 3
    assert cut.judge(sound(BASE_NS)) is Verdict.WRITE
    assert cut.judge(sound(BASE_NS + FRAME_NS)) is Verdict.END


def test_sound_that_stopped_coming_holds_the_end_up_for_its_lag_and_no_longer() -> None:
    cut = Cut(LAG_NS)
    cut.judge(picture(0, 0))
    cut.judge(sound(BASE_NS))
    cut.stop(BASE_NS + 1)
    verdicts = [cut.judge(picture(index, index)) for index in range(1, 20)]
    assert verdicts.index(Verdict.END) == LAG_NS // FRAME_NS + 1
    assert set(verdicts[: verdicts.index(Verdict.END)]) == {Verdict.SKIP}


def test_gaps_that_begin_after_the_stop_are_no_part_of_the_clip() -> None:
    cut = Cut(LAG_NS)
    assert cut.judge(Span(BASE_NS, BASE_NS + 1, "camera_dropped")) is Verdict.WRITE
    cut.stop(BASE_NS + 10)
    assert cut.judge(Span(BASE_NS + 9, BASE_NS + 50, "camera_dropped")) is Verdict.WRITE
    assert cut.judge(Span(BASE_NS + 10, BASE_NS + 50, "camera_dropped")) is Verdict.SKIP


def test_the_earliest_stop_counts() -> None:
    cut = Cut(LAG_NS)
    cut.stop(BASE_NS + 5)
    cut.stop(BASE_NS + 9)
    cut.stop(BASE_NS + 3)
    assert cut.stop_ns == BASE_NS + 3


def test_sound_alone_does_not_keep_a_clip_open_whose_camera_died() -> None:
    cut = Cut(LAG_NS)
    assert cut.judge(picture(0, 0)) is Verdict.WRITE
    cut.stop(BASE_NS + 10 * FRAME_NS)
    verdicts = {
        after_ns: cut.judge(sound(BASE_NS + 10 * FRAME_NS + after_ns))
        for after_ns in (-FRAME_NS, LAG_NS, LAG_NS + 1, 2_000_000_000, 2_000_000_001)
    }
    assert list(verdicts.values()) == [
        Verdict.WRITE,
        Verdict.WRITE,
        Verdict.SKIP,
        Verdict.SKIP,
        Verdict.END,
    ]
