"""What the source does when the camera stalls, dies, is absent, in use, or hangs: virtual clock throughout."""

import gc
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from device.capture import picamera as picamera_source
from device.capture import picamera_camera
from device.capture.picamera_bounded import call_bounded
from device.capture.source import CaptureError, StateKind
from device.capture.stall import WatchLimits
from evidence.frames import GapCause

# picamera2's threads are still made the way of Python 3.9.
pytestmark = pytest.mark.filterwarnings(r"ignore:setDaemon\(\) is deprecated:DeprecationWarning:picamera2")

NS_PER_S = 1_000_000_000


def open_descriptors() -> int:
    gc.collect()  # the cameras of tests before
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_closed_camera_leaves_nothing_for_the_garbage_collector_to_find(rig: Any) -> None:
    """picamera2 leaves two pollers of each camera, and the camera with its buffers, in reference cycles."""
    from picamera2 import Picamera2

    before = open_descriptors()
    gc.disable()
    try:
        for starts in (1, 2, 3):
            rig.start()
            rig.wait_started(starts)
            rig.expose(5)
            rig.source.stop()
            assert len(list(Path("/proc/self/fd").iterdir())) <= before
            assert not [each for each in gc.get_objects() if isinstance(each, Picamera2)]
    finally:
        gc.enable()


def test_a_stall_restarts_the_camera_and_is_a_gap(rig: Any) -> None:
    rig.start()
    rig.wait_started()
    rig.film(10)
    rig.pass_time(2 * NS_PER_S)
    rig.states.wait(StateKind.STALLED)
    assert rig.camera.stops == 1
    rig.pass_time(NS_PER_S // 4)
    rig.wait_started(2)
    rig.expose(10)
    rig.sink.wait_frames(20 - 2 * rig.HELD)
    rig.source.stop()

    (gap,) = rig.sink.gaps
    assert gap.cause is GapCause.CAMERA_STALLED
    index = rig.sink.calls.index("gap")
    assert rig.sink.frames[index].keyframe
    assert gap.start_ns == rig.sink.frames[index - 1].pts_ns + rig.FRAME_NS
    assert gap.end_ns == rig.sink.frames[index].pts_ns == rig.sensor_times[10] // 1000 * 1000
    assert rig.states.kinds == ["running", "stalled", "restarting", "running", "ended"]
    assert rig.source.restarts == 1


def test_the_stall_limit_is_an_argument(make_rig: Any) -> None:
    rig = make_rig(limits=WatchLimits(stall_ns=7 * NS_PER_S))
    rig.start()
    rig.wait_started()
    rig.film(10)
    rig.pass_time(6_900_000_000)
    assert rig.clock.settle()
    assert rig.states.kinds == ["running"]
    rig.pass_time(200_000_000)
    rig.states.wait(StateKind.STALLED)


def test_a_camera_that_stays_silent_is_left_alone_longer_each_time(make_rig: Any) -> None:
    rig = make_rig(
        limits=WatchLimits(start_ns=NS_PER_S, backoff_first_ns=NS_PER_S, backoff_most_ns=4 * NS_PER_S)
    )
    rig.start()
    waits = []
    for attempt in range(1, 6):
        rig.wait_started(attempt)
        rig.pass_time(NS_PER_S)
        stalled = rig.states.wait(StateKind.STALLED, attempt)
        while rig.states.kinds.count(StateKind.RESTARTING) < attempt:
            rig.pass_time(NS_PER_S // 2)
            assert rig.clock.settle()
        waits.append(rig.states.wait(StateKind.RESTARTING, attempt).monotonic_ns - stalled.monotonic_ns)
    assert waits == [seconds * NS_PER_S for seconds in (1, 2, 4, 4, 4)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the death that is tested
def test_an_event_loop_that_died_does_not_hold_up_the_restart(rig: Any, standin: Any) -> None:
    rig.start()
    rig.wait_started()
    rig.film(10)
    timestamp = standin.CONTROLS.SensorTimestamp
    standin.CONTROLS.SensorTimestamp = standin.ControlId("Other")  # picamera2 finds no time and raises
    rig.camera.deliver(0)
    standin.CONTROLS.SensorTimestamp = timestamp
    rig.pass_time(2 * NS_PER_S)
    rig.states.wait(StateKind.STALLED)
    rig.pass_time(NS_PER_S // 4)
    rig.wait_started(2)
    rig.expose(10)
    rig.sink.wait_frames(20 - 2 * rig.HELD)
    assert [gap.cause for gap in rig.sink.gaps] == [GapCause.CAMERA_STALLED]


def test_no_camera_is_reported_and_tried_again(rig: Any) -> None:
    rig.manager.cameras.remove(rig.camera)
    rig.start()
    failed = rig.states.wait(StateKind.FAILED)
    assert "no camera found" in failed.detail
    assert "\n" not in failed.detail
    rig.manager.cameras.append(rig.camera)
    rig.pass_time(NS_PER_S // 4)
    rig.wait_started()
    rig.film(10)
    rig.states.wait(StateKind.RUNNING)
    assert rig.states.kinds == ["failed", "restarting", "running"]
    assert rig.sink.gaps == []


def test_a_camera_in_use_is_tried_again_and_costs_no_descriptors(make_rig: Any) -> None:
    rig = make_rig(limits=WatchLimits(backoff_first_ns=NS_PER_S, backoff_most_ns=NS_PER_S))
    rig.camera.in_use = True
    rig.start()
    failed = rig.states.wait(StateKind.FAILED)
    assert "cannot be opened" in failed.detail
    assert "busy" in failed.detail
    descriptors = open_descriptors()
    for attempt in range(2, 6):
        rig.pass_time(NS_PER_S)
        rig.states.wait(StateKind.FAILED, attempt)
    assert open_descriptors() == descriptors
    rig.camera.in_use = False
    rig.pass_time(NS_PER_S)
    rig.wait_started()
    rig.film(10)
    rig.states.wait(StateKind.RUNNING)


def test_a_camera_that_does_not_start_is_let_go_again(rig: Any) -> None:
    rig.camera.start_error = RuntimeError("Failed to start camera: I/O error")
    rig.start()
    assert "I/O error" in rig.states.wait(StateKind.FAILED).detail
    assert not rig.camera.in_use
    rig.camera.start_error = None
    rig.pass_time(NS_PER_S // 4)
    rig.wait_started()
    rig.film(10)


def test_picamera2_without_libcamera_is_one_line(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "picamera2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libcamera", None)
    rig.start()
    failed = rig.states.wait(StateKind.FAILED)
    assert failed.detail.startswith("picamera2 cannot be used")
    assert "libcamera" in failed.detail
    assert "\n" not in failed.detail
    rig.source.stop()
    assert rig.states.kinds == ["failed", "ended"]


def test_a_second_start_is_refused(rig: Any) -> None:
    rig.start()
    with pytest.raises(CaptureError, match="runs already"):
        rig.start()


def test_what_a_camera_that_hung_hands_over_late_is_not_recorded(
    make_rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picamera_source, "_CLOSE_LIMIT_S", 0.05)
    hang, closed = threading.Event(), threading.Event()
    intakes = []

    def open_hanging(options: Any, intake: Any) -> Any:
        run = picamera_camera.open_picamera(options, intake)
        close = run.close

        def hanging_close() -> None:
            hang.wait(10)
            close()
            closed.set()

        monkeypatch.setattr(run, "close", hanging_close)
        intakes.append(intake)
        return run

    rig = make_rig(open_camera=open_hanging)
    rig.start()
    rig.wait_started()
    rig.film(10)
    rig.pass_time(2 * NS_PER_S)
    rig.pass_time(NS_PER_S // 4)
    assert "busy" in rig.states.wait(StateKind.FAILED).detail
    handed_over = len(rig.sink.frames)
    hang.set()
    assert closed.wait(10)
    assert len(rig.sink.frames) == handed_over
    assert intakes[0].counts.late == rig.HELD  # what libav held back


def test_a_call_that_hangs_is_given_up_and_its_result_not_lost() -> None:
    release, late = threading.Event(), threading.Event()

    def hang() -> Any:
        release.wait(10)
        return "camera"

    with pytest.raises(CaptureError, match="opening hangs"):
        call_bounded(hang, name="opening", limit_s=0.01, late=lambda result: late.set() if result else None)
    release.set()
    assert late.wait(10)


def test_a_call_in_time_gives_its_result_or_its_error() -> None:
    def fail() -> None:
        raise CaptureError("no camera")

    assert call_bounded(lambda: 7, name="opening", limit_s=10, late=print) == 7
    with pytest.raises(CaptureError, match="no camera"):
        call_bounded(fail, name="opening", limit_s=10, late=print)
