"""A webcam that stalls, breaks, or has another clock: a scripted input in place of the device."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device.capture.drawing import SyntheticPicture
from device.capture.pacing import ManualClock
from device.capture.source import CaptureError, FrameSource, SourceOptions, StateKind
from device.capture.stamp import FrameStamp
from device.capture.v4l2 import V4l2Source
from device.capture.video_input import LibavInput, PacedInput, open_v4l2
from evidence.frames import GapCause, Span

if TYPE_CHECKING:
    from av import VideoFrame

    from tests.device.capture.conftest import Driven

S = 1_000_000_000
FRAME = S // 25
Drive = Callable[[Callable[[ManualClock], FrameSource]], "Driven"]


class ScriptedCamera:
    """Opens again and again; gives a frame each 40 ms while `alive`, its time moved by `shift_ns`."""

    def __init__(self, clock: ManualClock, small: SourceOptions) -> None:
        self.alive = True
        self.broken = False
        self.present = True
        self.shift_ns = 0
        self.opened = 0
        self.closed = 0
        self._clock = clock
        self._next_ns = clock.now_ns()
        self._picture = SyntheticPicture(small.width, small.height)

    def open(self, _device: str, _options: SourceOptions) -> "ScriptedCamera":
        if not self.present:
            raise CaptureError("cannot open /dev/video0", found="No such file or directory")
        self.opened += 1
        self._next_ns = self._clock.now_ns()
        return self

    def read(self) -> "tuple[VideoFrame, int] | None":
        if self.broken:
            raise CaptureError("/dev/video0 failed", found="No such device")
        if not self.alive or self._next_ns > self._clock.now_ns():
            return None
        at_ns = self._next_ns
        self._next_ns += FRAME
        return self._picture.draw(FrameStamp(0, at_ns)), at_ns + self.shift_ns

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def webcam(drive: Drive, small: SourceOptions) -> "tuple[Driven, ScriptedCamera]":
    cameras: list[ScriptedCamera] = []

    def make(clock: ManualClock) -> FrameSource:
        cameras.append(ScriptedCamera(clock, small))
        return V4l2Source("/dev/video0", small, clock=clock, opener=cameras[0].open)

    driven = drive(make)
    return driven, cameras[0]


def test_a_stall_restarts_the_camera_and_is_one_gap(webcam: "tuple[Driven, ScriptedCamera]") -> None:
    driven, camera = webcam
    began = driven.clock.now_ns()
    driven.start()
    driven.run(S)
    camera.alive = False
    driven.run(2 * S)
    assert (camera.opened, camera.closed) == (1, 1)
    camera.alive = True
    driven.run(S)
    driven.run(S)
    driven.source.stop()
    assert camera.opened == 2
    assert [state.kind for state in driven.sink.states] == [
        StateKind.RUNNING,
        StateKind.STALLED,
        StateKind.RESTARTING,
        StateKind.RUNNING,
        StateKind.ENDED,
    ]
    after = driven.sink.frames[26]
    assert driven.sink.gaps == [Span(began + S + FRAME, after.pts_ns, GapCause.CAMERA_STALLED)]
    assert after.keyframe
    assert after.pts_ns > began + 3 * S


def test_a_camera_pulled_and_put_back_goes_on(webcam: "tuple[Driven, ScriptedCamera]") -> None:
    driven, camera = webcam
    driven.start()
    driven.run(S)
    camera.broken, camera.present = True, False
    driven.run(S)
    for _ in range(4):
        driven.run(S)
    assert driven.sink.states[-1].kind is StateKind.FAILED
    assert "No such file" in driven.sink.states[-1].detail
    camera.broken, camera.present = False, True
    for _ in range(10):
        driven.run(S)
    driven.source.stop()
    assert [gap.cause for gap in driven.sink.gaps] == [GapCause.CAMERA_RESTARTED]
    assert driven.sink.states[-2].kind is StateKind.RUNNING


def test_a_camera_opened_again_begins_with_a_keyframe_and_is_closed_in_the_end(
    webcam: "tuple[Driven, ScriptedCamera]",
) -> None:
    driven, camera = webcam
    driven.start()
    driven.run(S + 2 * FRAME)
    camera.broken = True
    driven.run(0)
    driven.run(FRAME)
    camera.broken = False
    driven.run(S // 4)
    driven.run(FRAME)
    driven.source.stop()
    again = driven.sink.frames[28]
    assert again.pts_ns - driven.sink.frames[27].pts_ns < S // 2, "before its keyframe would have been due"
    assert again.keyframe
    assert (camera.opened, camera.closed) == (2, 2)


def test_stopping_while_the_camera_is_away_leaves_the_gap(webcam: "tuple[Driven, ScriptedCamera]") -> None:
    driven, camera = webcam
    began = driven.clock.now_ns()
    driven.start()
    driven.run(S)
    camera.alive = False
    driven.run(2 * S)
    driven.source.stop()
    assert driven.sink.gaps == [Span(began + S + FRAME, began + 3 * S, GapCause.CAMERA_STALLED)]
    assert camera.closed == 1


@pytest.mark.parametrize("shift_ns", [1_700_000_000 * S, -900 * S])
def test_a_driver_on_another_clock_is_shifted_to_ours(
    webcam: "tuple[Driven, ScriptedCamera]", shift_ns: int
) -> None:
    driven, camera = webcam
    camera.shift_ns = shift_ns
    began = driven.clock.now_ns()
    driven.start()
    driven.run(0)
    driven.run(S)
    driven.source.stop()
    assert [frame.pts_ns for frame in driven.sink.frames] == [began + n * FRAME for n in range(26)]


def test_frames_that_the_camera_dropped_are_a_gap(webcam: "tuple[Driven, ScriptedCamera]") -> None:
    driven, camera = webcam
    driven.start()
    driven.run(S)
    camera._next_ns += 5 * FRAME
    driven.run(S)
    driven.source.stop()
    (gap,) = driven.sink.gaps
    assert gap.end_ns - gap.start_ns == 5 * FRAME
    assert gap.cause == GapCause.CAMERA_DROPPED


def test_a_device_that_is_not_there_or_no_camera_is_refused_at_once(
    small: SourceOptions, tmp_path: Path
) -> None:
    with pytest.raises(CaptureError, match=r"cannot open .*absent, expected a camera, found No such file"):
        open_v4l2(str(tmp_path / "absent"), small)
    with pytest.raises(CaptureError, match="cannot open /dev/null, expected a camera, found "):
        open_v4l2("/dev/null", small)
    source = V4l2Source(str(tmp_path / "absent"), small)
    with pytest.raises(CaptureError, match="expected a camera"):
        source.start(None, None)  # type: ignore[arg-type]  # refused before either is used


def test_an_input_that_ends_or_cannot_be_opened_says_so(plain_footage: Path) -> None:
    source = LibavInput(str(plain_footage), "mp4", {})
    assert all(source.read() is not None for _ in range(50))
    with pytest.raises(CaptureError, match="ended"):
        source.read()
    source.close()


def test_a_paced_input_holds_pictures_back_until_their_time(plain_footage: Path) -> None:
    clock = ManualClock()
    began = clock.now_ns()
    source = PacedInput(LibavInput(str(plain_footage), "mp4", {}), clock)
    first = source.read()
    assert first is not None
    assert first[1] == began
    assert source.read() is None
    clock.advance(FRAME)
    second = source.read()
    assert second is not None
    assert second[1] == began + FRAME
    source.close()
