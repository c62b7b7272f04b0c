"""The watch over a camera: table, limits, gaps."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture.source import StateKind
from device.capture.stall import TABLE, CameraCall, Step, Watch, WatchEvent, WatchLimits, WatchState
from evidence.frames import GapCause, Span

S = 1_000_000_000
FRAME = S // 30


def running(first_pts: int = 0) -> Watch:
    watch = Watch(FRAME)
    watch.begin(first_pts)
    assert watch.picture(first_pts, True, first_pts).deliver
    return watch


def test_a_camera_that_delivers_is_left_alone() -> None:
    watch = Watch(FRAME)
    assert watch.begin(0).call is CameraCall.OPEN
    first = watch.picture(S, True, S)
    assert first.deliver
    assert first.report is not None
    assert first.report.kind is StateKind.RUNNING
    for n in range(1, 300):
        assert watch.picture(S + n * FRAME, n % 30 == 0, S + n * FRAME) == Step(deliver=True)
        assert watch.tick(S + n * FRAME) == Step()
    assert (watch.restarts, watch.discarded) == (0, 0)


def test_frames_before_the_first_keyframe_are_discarded() -> None:
    watch = Watch(FRAME)
    watch.begin(0)
    assert watch.picture(0, False, 0) == Step()
    assert watch.discarded == 1
    step = watch.picture(FRAME, True, FRAME)
    assert step.deliver
    assert step.gap is None


@pytest.mark.parametrize(
    ("late", "gap"), [(0, False), (FRAME * 4 // 10, False), (FRAME * 6 // 10, True), (FRAME, True)]
)
def test_a_hole_of_more_than_one_and_a_half_frames_is_a_dropped_frame(late: int, gap: bool) -> None:
    watch = running()
    step = watch.picture(FRAME + late, False, FRAME + late)
    assert step.deliver
    assert step.gap == (Span(FRAME, FRAME + late, GapCause.CAMERA_DROPPED) if gap else None)


def test_a_stall_closes_waits_opens_and_is_one_gap() -> None:
    watch = running()
    assert watch.due_ns == 2 * S
    assert watch.tick(2 * S - 1) == Step()
    stalled = watch.tick(2 * S)
    assert stalled.call is CameraCall.CLOSE
    assert stalled.report is not None
    assert stalled.report.kind is StateKind.STALLED
    assert stalled.report.detail == "no picture for 2.0 s"
    late = watch.picture(2 * S, True, 2 * S)
    assert late == Step(), "a frame of a camera already closed"
    due = watch.due_ns
    assert due is not None
    again = watch.tick(due)
    assert again.call is CameraCall.OPEN
    assert again.report is not None
    assert again.report.kind is StateKind.RESTARTING
    back = watch.picture(3 * S, True, 3 * S)
    assert back.gap == Span(FRAME, 3 * S, GapCause.CAMERA_STALLED)
    assert back.deliver
    assert (watch.restarts, watch.discarded) == (1, 1)


def test_back_off_doubles_up_to_its_limit_and_starts_anew_after_steady_running() -> None:
    limits = WatchLimits(backoff_first_ns=S, backoff_most_ns=6 * S, steady_ns=10 * S)
    watch = Watch(FRAME, limits)
    watch.begin(0)
    now, waits = 0, []
    for _ in range(5):
        watch.broke(now, "no camera")
        due = watch.due_ns
        assert due is not None
        waits.append((due - now) // S)
        now = due
        assert watch.tick(now).call is CameraCall.OPEN
    assert waits == [1, 2, 4, 6, 6]
    watch.picture(now, True, now)
    watch.picture(now + 10 * S, True, now + 10 * S)
    watch.broke(now + 10 * S, "gone")
    assert watch.due_ns == now + 11 * S


def test_a_camera_that_opens_but_never_delivers_is_opened_again() -> None:
    watch = Watch(FRAME)
    watch.begin(0)
    watch.picture(0, False, 4 * S)
    step = watch.tick(5 * S)
    assert step.call is CameraCall.CLOSE
    assert step.report is not None
    assert step.report.detail == "no picture for 5.0 s"


def test_truncation_is_a_gap_up_to_the_next_keyframe() -> None:
    watch = running()
    assert watch.truncated(FRAME).call is CameraCall.FORCE_KEYFRAME
    assert watch.picture(2 * FRAME, False, 2 * FRAME) == Step()
    back = watch.picture(3 * FRAME, True, 3 * FRAME)
    assert back.deliver
    assert back.gap == Span(FRAME, 3 * FRAME, GapCause.TRUNCATED)


def test_an_error_is_a_gap_of_a_restarted_camera_and_a_stall_outdoes_a_truncation() -> None:
    watch = running()
    assert watch.broke(FRAME, "I/O error").call is CameraCall.CLOSE
    watch.tick(S)
    assert watch.picture(S, True, S).gap == Span(FRAME, S, GapCause.CAMERA_RESTARTED)
    watch.truncated(S + FRAME)
    watch.tick(4 * S)
    watch.tick(5 * S)
    assert watch.picture(6 * S, True, 6 * S).gap == Span(S + FRAME, 6 * S, GapCause.CAMERA_STALLED)


def test_a_long_hole_that_nobody_looked_at_is_still_called_a_stall() -> None:
    gap = running().picture(3 * S, True, 3 * S).gap
    assert gap == Span(FRAME, 3 * S, GapCause.CAMERA_STALLED)


def test_halting_while_the_camera_is_away_records_the_gap_so_far() -> None:
    watch = running()
    watch.tick(2 * S)
    step = watch.halt(3 * S)
    assert step.gap == Span(FRAME, 3 * S, GapCause.CAMERA_STALLED)
    assert step.report is not None
    assert step.report.kind is StateKind.ENDED
    assert watch.halt(3 * S) == Step()
    assert watch.begin(4 * S).call is CameraCall.OPEN


def test_a_frame_that_does_not_advance_is_discarded() -> None:
    watch = running(S)
    assert watch.picture(S, True, S + 1) == Step()
    assert watch.discarded == 1


def _in_state(state: WatchState) -> Watch:
    watch = Watch(FRAME)
    if state is not WatchState.IDLE:
        watch.begin(0)
    if state in {WatchState.RUNNING, WatchState.RESYNC}:
        watch.picture(0, True, 0)
    if state is WatchState.RESYNC:
        watch.truncated(1)
    if state is WatchState.WAITING:
        watch.broke(1, "gone")
    assert watch.state is state
    return watch


@pytest.mark.parametrize(("state", "event"), list(product(WatchState, WatchEvent)))
def test_every_state_with_every_event(state: WatchState, event: WatchEvent) -> None:
    watch = _in_state(state)
    now = watch.due_ns or 1
    step = {
        WatchEvent.BEGIN: lambda: watch.begin(now),
        WatchEvent.KEYFRAME: lambda: watch.picture(FRAME, True, now),
        WatchEvent.PICTURE: lambda: watch.picture(FRAME, False, now),
        WatchEvent.TRUNCATED: lambda: watch.truncated(now),
        WatchEvent.OVERDUE: lambda: watch.tick(now if state is not WatchState.WAITING else now - 1),
        WatchEvent.BROKE: lambda: watch.broke(now, "gone"),
        WatchEvent.DUE: lambda: watch.tick(now if state is WatchState.WAITING else now - 1),
        WatchEvent.HALT: lambda: watch.halt(now),
    }[event]()
    row = TABLE.get((state, event))
    assert watch.state is (state if row is None else row.state)
    assert step.call is (None if row is None else row.call)
    assert step.deliver is (row is not None and row.deliver)
    assert (None if step.report is None else step.report.kind) is (None if row is None else row.report)


@given(st.lists(st.tuples(st.sampled_from(WatchEvent), st.integers(1, 5 * S)), max_size=60))
def test_delivered_frames_and_gaps_cover_the_time_without_overlap(events: list[tuple[WatchEvent, int]]) -> None:
    watch, now, end = Watch(FRAME), 0, None
    for event, step_ns in events:
        now += step_ns
        if event is WatchEvent.BEGIN and watch.state is WatchState.IDLE:
            watch.begin(now)
            end = None
        elif event in {WatchEvent.KEYFRAME, WatchEvent.PICTURE}:
            was = watch.state
            step = watch.picture(now, event is WatchEvent.KEYFRAME, now)
            if step.deliver:
                assert event is WatchEvent.KEYFRAME or was is WatchState.RUNNING
                if end is not None and now - end > FRAME // 2:
                    assert step.gap is not None
                    assert (step.gap.start_ns, step.gap.end_ns) == (end, now)
                end = now + FRAME
        elif event is WatchEvent.TRUNCATED:
            watch.truncated(now)
        elif event is WatchEvent.BROKE:
            watch.broke(now, "gone")
        else:
            watch.tick(now)
