"""The source on picamera2's own camera, event loop, libav encoder and output chain."""

import sys
import threading
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import av
import pytest

from device.capture import picamera_camera
from device.capture.picamera_clock import SensorClock
from device.capture.picamera_intake import EncoderFacts, Intake
from device.capture.stall import Watch
from evidence.frames import GapCause, Span, VideoFormat

# picamera2's threads are still made the way of Python 3.9.
pytestmark = pytest.mark.filterwarnings(r"ignore:setDaemon\(\) is deprecated:DeprecationWarning:picamera2")

NS_PER_S = 1_000_000_000


def truncated_to_us(times_ns: Any) -> Any:
    return [time_ns // 1000 * 1000 for time_ns in times_ns]


def decoded_pictures(frames: Any) -> Any:
    decoder = av.CodecContext.create("h264", "r")
    pictures = []
    for frame in frames:
        pictures += decoder.decode(av.Packet(frame.data))
    return len(pictures + decoder.decode(None))


def test_times_are_the_sensors_on_the_monotonic_clock(rig: Any) -> None:
    rig.start()
    rig.wait_started()
    rig.film(40)
    rig.source.stop()

    assert [frame.pts_ns for frame in rig.sink.frames] == truncated_to_us(rig.sensor_times)
    assert all(frame.dts_ns == frame.pts_ns for frame in rig.sink.frames)
    assert {frame.duration_ns for frame in rig.sink.frames} == {rig.FRAME_NS}
    assert rig.sink.gaps == []


def test_a_sensor_on_the_boottime_clock_is_put_on_the_monotonic_clock(rig: Any) -> None:
    rig.boot_ahead_ns = 3_600 * NS_PER_S
    rig.source._sensor.measure_again()
    rig.start()
    rig.wait_started()
    rig.film(10, sensor_ahead_ns=rig.boot_ahead_ns)
    rig.source.stop()

    assert [frame.pts_ns for frame in rig.sink.frames] == truncated_to_us(rig.sensor_times)


def test_a_suspend_while_running_moves_no_time(rig: Any) -> None:
    rig.start()
    rig.boot_ahead_ns = 5 * NS_PER_S
    rig.wait_started()
    rig.pass_time(1 * NS_PER_S)  # the source reads both clocks every second
    rig.film(5, sensor_ahead_ns=rig.boot_ahead_ns)
    rig.boot_ahead_ns = 65 * NS_PER_S
    rig.pass_time(1 * NS_PER_S)
    assert rig.clock.settle()
    rig.expose(5, sensor_ahead_ns=rig.boot_ahead_ns)
    rig.sink.wait_frames(10 - 2 * rig.HELD)
    rig.source.stop()

    times = [frame.pts_ns for frame in rig.sink.frames]
    whole = truncated_to_us(rig.sensor_times)
    in_encoder = slice(5 - rig.HELD, 5)  # when the machine was suspended: these may be lost
    assert [time for time in times if time not in whole[in_encoder]] == whole[: 5 - rig.HELD] + whole[5:]
    assert set(times) <= set(whole)


def test_every_keyframe_starts_with_sps_and_pps_and_all_decode(rig: Any) -> None:
    rig.start()
    rig.wait_started()
    rig.film(65)
    rig.source.stop()

    keyframes = [index for index, frame in enumerate(rig.sink.frames) if frame.keyframe]
    assert keyframes == [0, 30, 60]
    for index in keyframes:
        kinds = [
            unit[0] & 0x1F for unit in rig.sink.frames[index].data.split(b"\x00\x00\x01") if unit.strip(b"\0")
        ]
        assert kinds[:2] == [7, 8]
        assert 5 in kinds
    assert decoded_pictures(rig.sink.frames) == 65
    assert decoded_pictures(rig.sink.frames[30:]) == 35


def test_parameter_sets_that_libav_keeps_apart_are_put_back(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from picamera2.encoders import LibavH264Encoder

    def encoder_without_repeat(options: Any, *, hardware: Any) -> Any:
        encoder = LibavH264Encoder(bitrate=options.bitrate_bps, repeat=False, iperiod=10, framerate=30)
        return encoder, "libav"

    monkeypatch.setattr(picamera_camera, "_make_encoder", encoder_without_repeat)
    flags = SimpleNamespace(GLOBAL_HEADER=av.codec.context.Flags.global_header)
    monkeypatch.setattr(av.codec.context, "Flags", flags)  # picamera2 knows PyAV's old name only
    rig.start()
    rig.wait_started()
    rig.film(25)
    rig.source.stop()

    assert [index for index, frame in enumerate(rig.sink.frames) if frame.keyframe] == [0, 10, 20]
    assert decoded_pictures(rig.sink.frames[20:]) == 5


def test_camera_and_encoder_are_set_up_as_asked(rig: Any) -> None:
    rig.start()
    rig.wait_started()
    assert rig.clock.settle()
    encoder = rig.source._run._encoder

    assert rig.camera.started_with[0]["FrameDurationLimits"] == (33333, 33333)
    assert rig.source.encoder_name == "libav in software"
    assert (encoder.bitrate, encoder.iperiod, encoder.repeat) == (400_000, 30, True)
    assert (rig.source.nominal_format.width, rig.source.nominal_format.height) == (320, 240)


def test_asking_for_a_keyframe_never_ends_the_camera(rig: Any) -> None:
    """picamera2 0.3.38 with PyAV 18 dies of it: the source must not pass the wish on there."""
    rig.start()
    rig.wait_started()
    rig.film(5)
    rig.source.force_keyframe()
    rig.film(5)
    takes_letters = picamera_camera._libav_takes_letters()
    rig.source.stop()

    assert [frame.keyframe for frame in rig.sink.frames].count(True) == (2 if takes_letters else 1)
    assert len(rig.sink.frames) == 10


def test_frames_that_the_camera_dropped_are_a_gap(rig: Any) -> None:
    rig.start()
    rig.wait_started()
    rig.film(10)
    rig.clock.advance(3 * rig.FRAME_NS)
    rig.film(10)
    rig.source.stop()

    before, after = truncated_to_us(rig.sensor_times)[9:11]
    assert rig.sink.gaps == [Span(before + rig.FRAME_NS, after, GapCause.CAMERA_DROPPED)]
    assert rig.sink.calls.index("gap") == 10
    assert len(rig.sink.frames) == 20


def test_start_again_after_stop(rig: Any) -> None:
    for run in range(2):
        rig.start()
        rig.wait_started(run + 1)
        rig.film(5)
        rig.source.stop()
        rig.source.stop()

    assert [frame.pts_ns for frame in rig.sink.frames] == truncated_to_us(rig.sensor_times)
    assert [frame.keyframe for frame in rig.sink.frames] == [True, False, False, False, False] * 2
    assert rig.states.kinds == ["running", "ended", "running", "ended"]
    assert not rig.camera.in_use
    assert rig.sink.gaps == []


class Recorder:
    """Stands for every collaborator of an intake; remembers all that is asked of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            return 5 * NS_PER_S if name == "now_ns" else None

        return call


@pytest.fixture
def wired(standin: Any) -> Any:
    """picamera2's own `Encoder` and our `Output` on an intake whose collaborators record every call."""
    from picamera2.encoders import Encoder

    recorder = Recorder()
    watch = Watch(33_333_333)
    watch.begin(0)
    intake = Intake(
        watch,
        threading.Lock(),
        recorder,
        frame_ns=33_333_333,
        clock=recorder,
        sensor=SensorClock(lambda: 0),
        report=recorder.report,
    )
    encoder = Encoder()
    encoder.output = picamera_camera._make_output(intake.take)
    encoder.firsttimestamp = 4_900_000
    intake.connect(
        EncoderFacts(
            lambda: encoder.firsttimestamp, recorder.force_keyframe, 0, VideoFormat(64, 64, Fraction(30))
        )
    )
    return encoder, recorder


KEYFRAME = b"\0\0\0\1\x67\x42\0\0\0\1\x68\xce\0\0\0\1\x65" + b"\x88" * 50
PICTURE = b"\0\0\0\1\x41" + b"\x9a" * 50


def test_the_callback_appends_and_nothing_else(wired: Any) -> None:
    encoder, recorder = wired
    encoder.outputframe(KEYFRAME, True, 0)
    recorder.calls.clear()
    for index in range(1, 30):
        encoder.outputframe(PICTURE, False, index * 33_333)
    assert Counter(recorder.calls) == {"now_ns": 29, "frame": 29}


def test_the_callback_runs_no_code_that_could_wait(wired: Any) -> None:
    encoder, _ = wired
    encoder.outputframe(KEYFRAME, True, 0)
    called = []

    def trace(frame: Any, event: Any, argument: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)
        elif event == "c_call":
            called.append(argument.__name__)

    sys.setprofile(trace)
    encoder.outputframe(PICTURE, False, 33_333)
    sys.setprofile(None)
    ours = ["outputframe", "outputframe", "take", "_form", "picture", "_hand_over", "to_monotonic", "picture"]
    looked_up = {"__getattr__", "call", "append", "get", "len", "_gap_before", "setprofile"}
    locks = {"__enter__", "__exit__"}
    assert [name for name in called if name not in looked_up | locks] == ours
    assert called.count("__exit__") <= 2  # picamera2's lock and the source's


def test_libavs_packet_is_not_kept(wired: Any) -> None:
    encoder, _ = wired
    stream = av.open("/dev/null", "w", format="null").add_stream("libx264", rate=30)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    packets = stream.encode(av.VideoFrame(64, 64, "yuv420p")) + stream.encode(None)
    packet = packets[0]
    before = sys.getrefcount(packet)
    for index in range(3):
        encoder.outputframe(bytes(packet), True, index * 33_333, packet)
    assert sys.getrefcount(packet) == before


def test_a_unit_before_the_first_time_stamp_is_not_handed_on(wired: Any) -> None:
    encoder, recorder = wired
    encoder.firsttimestamp = None
    encoder.outputframe(KEYFRAME, True, 0)
    assert "frame" not in recorder.calls
    assert "force_keyframe" in recorder.calls


def test_frames_come_in_order_without_doubles_when_the_camera_is_slow_to_start(rig: Any) -> None:
    rig.start()
    rig.wait_started()
    rig.clock.advance(NS_PER_S)
    rig.film(12)
    rig.source.stop()
    times = [frame.pts_ns for frame in rig.sink.frames]
    assert len(times) == 12
    assert all(earlier < later for earlier, later in pairwise(times))
