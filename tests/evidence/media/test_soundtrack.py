"""The sound track: continuous whatever arrives, real frames at their own time, silence with its cause."""

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.frames import EncodedFrame, SilenceCause, Span, Track
from evidence.media.aac import silence
from evidence.media.soundtrack import Soundtrack

Sound = Callable[[int, int], list[EncodedFrame]]
MS = 1_000_000
SECOND = 1000 * MS
FRAME = 21_333_333
BASE = 7 * SECOND + 123_457
QUIET = silence().frame


class Run:
    """A picture of 30 frames a second that goes past, and sound that arrives some time behind it."""

    def __init__(self, track: Soundtrack, frames: list[EncodedFrame], *, delay_ns: int = 60 * MS) -> None:
        self.track = track
        self.waiting = list(frames)
        self.delay_ns = delay_ns
        self.out: list[EncodedFrame] = []
        self.spans: list[Span] = []
        self.now = BASE

    def until(self, end_ns: int) -> None:
        while self.now + 33 * MS < end_ns:
            while self.waiting and self.waiting[0].pts_ns + self.delay_ns <= self.now:
                self.track.add(self.waiting.pop(0))
            self.out += self.track.advance(self.now)
            self.now += 33_333_333

    def finish(self, end_ns: int) -> None:
        self.until(end_ns)
        self.out += self.track.finish(end_ns)
        self.spans += self.track.take_silences()
        assert_continuous(self.out, end_ns)
        assert self.spans == silent_spans(self.out, self.spans)

    @property
    def sound(self) -> list[EncodedFrame]:
        return [frame for frame in self.out if frame.data != QUIET]

    def causes(self) -> list[str]:
        return [span.cause for span in self.spans]


def assert_continuous(frames: list[EncodedFrame], end_ns: int) -> None:
    assert frames[0].pts_ns == BASE
    for before, after in pairwise(frames):
        assert before.pts_ns + before.duration_ns == after.pts_ns
        assert before.pts_ns < after.pts_ns
        assert after.dts_ns == after.pts_ns
    assert end_ns <= frames[-1].pts_ns + frames[-1].duration_ns < end_ns + 2 * FRAME


def silent_spans(frames: list[EncodedFrame], spans: list[Span]) -> list[Span]:
    """Cut the silence in `frames` where the spans change their cause: equal to spans that cover it."""
    starts = {span.start_ns: span.cause for span in spans}
    expected: list[Span] = []
    for frame in frames:
        if frame.data != QUIET:
            continue
        cuts = [start for start in starts if frame.pts_ns < start < frame.pts_ns + frame.duration_ns]
        edges = [frame.pts_ns, *sorted(cuts), frame.pts_ns + frame.duration_ns]
        for start, end in pairwise(edges):
            if expected and expected[-1].end_ns == start and start not in starts:
                expected[-1] = msgspec.structs.replace(expected[-1], end_ns=end)
            else:
                expected.append(Span(start, end, starts.get(start, "not listed")))
    return expected


def test_sound_all_the_way_is_passed_through(sound: Sound) -> None:
    frames = sound(BASE, BASE + 2 * SECOND)
    run = Run(Soundtrack(BASE, sound_from_ns=BASE), frames)
    run.until(BASE + 2 * SECOND + 100 * MS)
    run.finish(BASE + 2 * SECOND)
    assert [(frame.pts_ns, frame.data) for frame in run.out] == [(frame.pts_ns, frame.data) for frame in frames]
    assert run.spans == []


def test_before_the_press_there_is_silence_up_to_the_first_frame_after_it(sound: Sound) -> None:
    press = BASE + SECOND
    frames = sound(BASE + 5 * MS, BASE + 2 * SECOND)
    run = Run(Soundtrack(BASE, sound_from_ns=press), frames)
    run.until(press)
    assert run.now - run.out[-1].pts_ns < 3 * FRAME + 34 * MS  # silence by policy waits for nothing
    run.finish(BASE + 2 * SECOND)
    first = next(frame for frame in frames if frame.pts_ns >= press)
    assert run.sound[0].pts_ns == first.pts_ns
    assert run.spans[0] == Span(BASE, first.pts_ns, SilenceCause.POLICY_BEFORE_PRESS)
    assert run.causes()[1:] in ([], [SilenceCause.LATE])  # what was under way when the clip ended


def test_sound_switched_off_is_silence_that_keeps_up_with_the_picture(sound: Sound) -> None:
    run = Run(Soundtrack(BASE, sound_from_ns=None), sound(BASE, BASE + SECOND))
    run.finish(BASE + SECOND)
    assert run.spans == [Span(BASE, BASE + SECOND, SilenceCause.POLICY_OFF)]


def test_no_microphone_is_silence_at_the_lag() -> None:
    run = Run(Soundtrack(BASE, sound_from_ns=BASE, lag_ns=300 * MS), [])
    run.until(BASE + SECOND)
    assert 300 * MS - 34 * MS <= run.now - run.track.end_ns <= 300 * MS + FRAME + 34 * MS
    run.finish(BASE + SECOND)
    assert run.spans == [Span(BASE, BASE + SECOND, SilenceCause.NO_MICROPHONE)]


def test_a_microphone_pulled_at_second_20_is_lost_from_its_last_sample_on(sound: Sound) -> None:
    frames = sound(BASE, BASE + 20 * SECOND)
    run = Run(Soundtrack(BASE, sound_from_ns=BASE), frames)
    run.finish(BASE + 30 * SECOND)
    end = frames[-1].pts_ns + frames[-1].duration_ns
    assert run.spans == [Span(end, BASE + 30 * SECOND, SilenceCause.MICROPHONE_LOST)]
    assert len(run.sound) == len(frames)


def test_sound_comes_back_with_the_microphone(sound: Sound) -> None:
    before, after = sound(BASE, BASE + SECOND), sound(BASE + 3 * SECOND + 7 * MS, BASE + 4 * SECOND)
    run = Run(Soundtrack(BASE, sound_from_ns=BASE), before + after)
    run.until(BASE + 4 * SECOND + 100 * MS)
    run.finish(BASE + 4 * SECOND)
    assert [frame.pts_ns for frame in run.sound] == [frame.pts_ns for frame in before + after]
    lost = Span(before[-1].pts_ns + before[-1].duration_ns, after[0].pts_ns, SilenceCause.MICROPHONE_LOST)
    assert run.spans == [lost]


def test_frames_that_come_too_late_are_counted_and_their_time_is_listed_as_late(sound: Sound) -> None:
    frames = sound(BASE, BASE + 2 * SECOND)
    run = Run(Soundtrack(BASE, sound_from_ns=BASE, lag_ns=300 * MS), frames, delay_ns=500 * MS)
    run.finish(BASE + 2 * SECOND)
    assert run.sound == []
    assert run.track.late_frames > 60
    assert run.spans[0].cause == SilenceCause.LATE
    assert run.spans[0].end_ns - run.spans[0].start_ns > SECOND


def test_a_hole_between_two_frames_needs_no_waiting(sound: Sound) -> None:
    frames = sound(BASE, BASE + 400 * MS)
    del frames[5:8]
    track = Soundtrack(BASE, sound_from_ns=BASE)
    for frame in frames:
        track.add(frame)
    out = track.advance(BASE + 400 * MS)
    assert [frame.data == QUIET for frame in out].count(True) == 3
    spans = track.take_silences()
    hole = Span(frames[4].pts_ns + FRAME, frames[5].pts_ns, SilenceCause.MICROPHONE_LOST)
    assert spans == [hole]


def test_jitter_of_the_sound_card_is_absorbed_without_silence(sound: Sound) -> None:
    frames = []
    for index, frame in enumerate(sound(BASE, BASE + SECOND)):
        shifted = frame.pts_ns + (3 * MS if index % 3 == 1 else 0)
        frames.append(msgspec.structs.replace(frame, pts_ns=shifted, dts_ns=shifted))
    run = Run(Soundtrack(BASE, sound_from_ns=BASE), frames)
    run.until(BASE + SECOND + 100 * MS)
    run.finish(BASE + SECOND)
    assert [frame.pts_ns for frame in run.out] == [frame.pts_ns for frame in frames]
    assert run.spans == []


def test_a_frame_twice_or_out_of_order_is_dropped_and_counted(sound: Sound) -> None:
    frames = sound(BASE, BASE + 200 * MS)
    track = Soundtrack(BASE, sound_from_ns=BASE)
    for frame in [*frames[:4], frames[3], frames[1], *frames[4:]]:
        track.add(frame)
    out = track.advance(BASE + SECOND)
    assert track.disordered_frames == 2
    assert [frame.pts_ns for frame in out[:8]] == [frame.pts_ns for frame in frames[:8]]


def test_a_clip_shorter_than_one_frame_of_sound_still_has_sound_track() -> None:
    track = Soundtrack(BASE, sound_from_ns=BASE)
    assert track.advance(BASE) == []
    out = track.finish(BASE + 5 * MS)
    assert [(frame.pts_ns, frame.duration_ns) for frame in out] == [(BASE, 5 * MS)]
    assert track.take_silences() == [Span(BASE, BASE + 5 * MS, SilenceCause.NO_MICROPHONE)]


@pytest.mark.parametrize("offset_ns", [1, 20_000, 5 * MS])
def test_a_first_frame_just_after_the_beginning_leaves_a_frame_at_time_zero(
    sound: Sound, offset_ns: int
) -> None:
    run = Run(Soundtrack(BASE, sound_from_ns=BASE), sound(BASE + offset_ns, BASE + SECOND))
    run.finish(BASE + SECOND)
    assert run.out[0].pts_ns == BASE
    assert run.sound[0].pts_ns - BASE <= offset_ns + FRAME


def test_silences_taken_piece_by_piece_add_up(sound: Sound) -> None:
    track = Soundtrack(BASE, sound_from_ns=BASE + 500 * MS)
    run = Run(track, sound(BASE + 700 * MS, BASE + SECOND))
    for step in range(1, 10):
        run.until(BASE + step * 200 * MS)
        run.spans += track.take_silences()
    run.until(BASE + 2 * SECOND)
    run.out += track.finish(BASE + 2 * SECOND)
    run.spans += track.take_silences()
    assert run.spans[0].start_ns == BASE
    silent = sum(frame.duration_ns for frame in run.out if frame.data == QUIET)
    assert sum(span.end_ns - span.start_ns for span in run.spans) == silent
    expected = {SilenceCause.POLICY_BEFORE_PRESS, SilenceCause.NO_MICROPHONE, SilenceCause.MICROPHONE_LOST}
    assert set(run.causes()) == expected


ARRIVALS = st.lists(
    st.tuples(
        st.booleans(),  # does the frame exist
        st.integers(-4 * MS, 4 * MS),  # jitter of its time
        st.integers(0, 600 * MS),  # how long after its time it arrives
    ),
    max_size=120,
)


@given(ARRIVALS, st.one_of(st.none(), st.integers(-100 * MS, 1500 * MS)), st.integers(50 * MS, 400 * MS))
def test_whatever_arrives_the_track_is_continuous_and_its_silences_are_the_exact_complement(
    arrivals: list[tuple[bool, int, int]], sound_from: int | None, lag_ns: int
) -> None:
    sound_from_ns = None if sound_from is None else BASE + sound_from
    track = Soundtrack(BASE, sound_from_ns=sound_from_ns, lag_ns=lag_ns)
    queue: list[tuple[int, EncodedFrame]] = []
    arrives_ns = BASE
    for index, (exists, jitter_ns, delay_ns) in enumerate(arrivals):
        if not exists:
            continue
        time = BASE + index * FRAME + jitter_ns
        arrives_ns = max(arrives_ns, time + delay_ns)  # in order
        queue.append((arrives_ns, EncodedFrame(Track.AUDIO, QUIET + b"\0", time, time, FRAME, keyframe=True)))
    given_frames = {frame.pts_ns for _, frame in queue}
    end_ns = BASE + 2500 * MS
    out: list[EncodedFrame] = []
    for now in range(BASE, end_ns, 33_333_333):
        while queue and queue[0][0] <= now:
            track.add(queue.pop(0)[1])
        out += track.advance(now)
        assert track.end_ns <= now + FRAME + FRAME // 2
        assert now - track.end_ns <= lag_ns + FRAME
    out += track.finish(end_ns)
    spans = track.take_silences()
    assert_continuous(out, end_ns)
    assert spans == silent_spans(out, spans)
    real = [frame.pts_ns for frame in out if frame.data != QUIET]
    assert set(real) <= given_frames
    assert all(sound_from_ns is not None and time >= max(BASE, sound_from_ns) for time in real)
    assert len(set(spans)) == len(spans)


@given(press=st.integers(0, 200 * MS), phase=st.integers(0, FRAME - 1))
def test_the_part_of_a_frame_after_the_press_is_never_laid_at_the_microphones_door(
    press: int, phase: int
) -> None:
    """The frame in which the press lies began before it; whatever grid the microphone has, that is policy."""
    edge_ns = BASE + 400 * MS + press
    frames = [
        EncodedFrame(
            Track.AUDIO, QUIET + b"\0", edge_ns + phase + at, edge_ns + phase + at, FRAME, keyframe=True
        )
        for at in range(0, 2 * SECOND, FRAME)
    ]
    run = Run(Soundtrack(BASE, sound_from_ns=edge_ns), frames)
    run.until(BASE + SECOND)
    run.spans = run.track.take_silences()
    assert run.causes() == [SilenceCause.POLICY_BEFORE_PRESS]
    assert 0 <= run.spans[0].end_ns - edge_ns <= FRAME
