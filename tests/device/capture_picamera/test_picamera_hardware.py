"""The source on picamera2's own V4L2 encoder, with a stand-in for the kernel's /dev/video11."""

from pathlib import Path
from typing import Any

import pytest
import videodev2  # type: ignore[import-untyped]  # a table of constants, no types

from device.capture import picamera_camera
from evidence.frames import GapCause, Span

# picamera2's threads are still made the way of Python 3.9.
pytestmark = pytest.mark.filterwarnings(r"ignore:setDaemon\(\) is deprecated:DeprecationWarning:picamera2")

BUFFER_BYTES = 512 << 10


@pytest.fixture
def codec(standin: Any, load_helper: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    module = load_helper("codec_standin")
    codec = module.Codec()
    module.put_in_place(monkeypatch, codec)
    name = tmp_path / "name"
    name.write_text("bcm2835-codec-encode\n")
    monkeypatch.setattr(picamera_camera, "_CODEC_NAME", name)
    return codec


@pytest.fixture
def running(codec: Any, rig: Any) -> Any:
    rig.start()
    rig.wait_started()
    assert rig.clock.settle()
    return rig


def test_the_encoder_is_asked_for_parameter_sets_period_and_bit_rate(codec: Any, running: Any) -> None:
    assert running.source.encoder_name == "the Pi's hardware encoder"
    assert codec.controls[videodev2.V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER] == 1
    assert codec.controls[videodev2.V4L2_CID_MPEG_VIDEO_H264_I_PERIOD] == 30
    assert codec.controls[videodev2.V4L2_CID_MPEG_VIDEO_BITRATE] == 400_000


def test_frames_come_through_with_absolute_times(running: Any) -> None:
    running.expose(35)
    running.sink.wait_frames(35)
    assert [frame.pts_ns for frame in running.sink.frames] == [
        sensor_ns // 1000 * 1000 for sensor_ns in running.sensor_times
    ]
    assert [index for index, frame in enumerate(running.sink.frames) if frame.keyframe] == [0, 30]


@pytest.mark.parametrize("size", [BUFFER_BYTES, BUFFER_BYTES + 1000])
def test_a_truncated_unit_is_a_gap_up_to_the_keyframe_forced_at_once(
    codec: Any, running: Any, size: int
) -> None:
    running.expose(5)
    running.sink.wait_frames(5)
    codec.next_sizes.append(size)
    running.expose(1)
    running.wait_handled(6 + (size > BUFFER_BYTES))
    running.expose(4)
    running.sink.wait_frames(9)

    times = [sensor_ns // 1000 * 1000 for sensor_ns in running.sensor_times]
    assert [frame.pts_ns for frame in running.sink.frames] == times[:5] + times[6:]
    assert running.sink.frames[5].keyframe
    assert running.sink.gaps == [Span(times[4] + running.FRAME_NS, times[6], GapCause.TRUNCATED)]
    assert running.sink.calls.index("gap") == 5
    assert all(len(frame.data) < BUFFER_BYTES for frame in running.sink.frames)


def test_frames_between_a_truncated_unit_and_the_keyframe_are_not_handed_on(codec: Any, running: Any) -> None:
    running.expose(5)
    running.sink.wait_frames(5)
    codec.next_sizes.extend([BUFFER_BYTES, BUFFER_BYTES, 2000])
    running.expose(1)
    running.wait_handled(6)
    running.expose(1)  # the forced keyframe does not fit either
    running.wait_handled(7)
    running.expose(2)
    running.sink.wait_frames(7)

    times = [sensor_ns // 1000 * 1000 for sensor_ns in running.sensor_times]
    assert [frame.pts_ns for frame in running.sink.frames] == times[:5] + times[7:]
    assert [gap.cause for gap in running.sink.gaps] == [GapCause.TRUNCATED]


def test_a_unit_that_just_fits_is_whole(codec: Any, running: Any) -> None:
    codec.next_sizes.append(BUFFER_BYTES - 1)
    running.expose(2)
    running.sink.wait_frames(2)
    assert len(running.sink.frames[0].data) == BUFFER_BYTES - 1
    assert running.sink.gaps == []


def test_stop_and_start_again(running: Any) -> None:
    running.expose(5)
    running.sink.wait_frames(5)
    running.source.stop()
    running.start()
    running.wait_started(2)
    running.expose(5)
    running.sink.wait_frames(10)
    assert running.sink.frames[5].keyframe


def test_a_pi_without_its_codec_falls_back_to_libav(
    codec: Any, rig: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(picamera_camera, "_CODEC_NAME", tmp_path / "missing")
    rig.start()
    rig.wait_started()
    rig.film(10)
    assert rig.clock.settle()
    assert rig.source.encoder_name == "libav in software"
