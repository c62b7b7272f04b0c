"""What holds for every source, whatever is behind it."""

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from device.capture.annexb import is_idr, nal_units, parameter_sets
from device.capture.pacing import ManualClock
from device.capture.source import CaptureError, FrameSource, StateKind
from device.capture.stamp import FrameStamp
from evidence.frames import EncodedFrame, Track

if TYPE_CHECKING:
    from tests.device.capture.conftest import Driven

S = 1_000_000_000
Drive = Callable[[Callable[[ManualClock], FrameSource]], "Driven"]
AnySource = Callable[[ManualClock], FrameSource]


def test_frames_are_decodable_ordered_and_contiguous(
    drive: Drive, any_source: AnySource, decode: Callable[[list[EncodedFrame]], list[FrameStamp | None]]
) -> None:
    driven = drive(any_source)
    began = driven.clock.now_ns()
    driven.start()
    driven.run(5 * S)
    driven.source.stop()
    frames = driven.sink.frames
    nominal = driven.source.nominal_format
    assert nominal is not None
    frame_ns = float(S / nominal.rate)

    assert frames[0].keyframe
    for frame in frames:
        assert frame.track is Track.VIDEO
        assert frame.keyframe == is_idr(frame.data)
        assert frame.dts_ns <= frame.pts_ns
        if frame.keyframe:
            assert {kind for kind, _, _ in nal_units(parameter_sets(frame.data))} == {7, 8}
    assert all(later.dts_ns > earlier.dts_ns for earlier, later in pairwise(frames))
    shown = sorted(frame.pts_ns for frame in frames)
    assert shown[0] == began
    # the last few may still wait for a frame to be shown after them
    assert began + 5 * S - 5 * frame_ns <= shown[-1] <= began + 5 * S
    steps = [later - earlier for earlier, later in pairwise(shown)]
    settled = steps[: -int(0.2 * S / frame_ns)]
    assert all(abs(step - frame_ns) < 0.1 * frame_ns for step in settled)
    assert driven.sink.early == []
    assert driven.sink.gaps == []
    assert len(decode(frames)) == len(frames)


def test_nothing_comes_before_its_time(drive: Drive, any_source: AnySource) -> None:
    driven = drive(any_source)
    driven.start()
    driven.run(0)
    assert len(driven.sink.frames) == 1
    driven.run(S)
    assert 20 <= len(driven.sink.frames) <= 26


def test_states_tell_running_and_ended_and_stop_may_be_repeated(drive: Drive, any_source: AnySource) -> None:
    driven = drive(any_source)
    driven.source.stop()
    driven.start()
    driven.run(S)
    driven.source.stop()
    driven.source.stop()
    assert [state.kind for state in driven.sink.states] == [StateKind.RUNNING, StateKind.ENDED]
    count = len(driven.sink.frames)
    driven.clock.advance(S)
    assert len(driven.sink.frames) == count


def test_a_second_start_is_refused_and_the_first_goes_on(drive: Drive, any_source: AnySource) -> None:
    driven = drive(any_source)
    driven.start()
    with pytest.raises(CaptureError, match="runs already"):
        driven.start()
    driven.run(S)
    assert len(driven.sink.frames) >= 20


def test_a_stopped_source_starts_again_with_a_keyframe_and_later_times(
    drive: Drive, any_source: AnySource
) -> None:
    driven = drive(any_source)
    driven.start()
    driven.run(S + S // 3)
    driven.source.stop()
    first = list(driven.sink.frames)
    driven.clock.advance(S)
    driven.start()
    driven.run(S)
    again = driven.sink.frames[len(first) :]
    assert again[0].keyframe
    assert again[0].pts_ns > max(frame.pts_ns for frame in first)
    assert len(again) >= 20


def test_an_error_of_the_sink_is_reported_and_reaches_the_excepthook(
    drive: Drive, any_source: AnySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_value))
    driven = drive(any_source)
    failed = threading.Event()

    class Broken:
        def frame(self, frame: EncodedFrame) -> None:
            raise MemoryError

        def gap(self, gap: object) -> None:
            raise MemoryError

    def on_state(state: object) -> None:
        driven.sink.states.append(state)  # type: ignore[arg-type]  # the list of the fixture is the place to look
        failed.set()

    driven.source.start(Broken(), on_state)
    assert failed.wait(30)
    driven.source.stop()
    assert [state.kind for state in driven.sink.states] == [StateKind.FAILED]
    assert [type(error) for error in seen] == [MemoryError]
