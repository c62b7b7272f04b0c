"""Replay: what is passed through, the seam of the loop, what is refused."""

import functools
import shutil
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest

from device.capture.annexb import nal_units
from device.capture.footage import access_units, pictures, survey
from device.capture.pacing import ManualClock, ScaledClock
from device.capture.replay import ReplaySource
from device.capture.source import CaptureError, FrameSource, SourceOptions, StateKind
from device.capture.stamp import FrameStamp
from evidence.frames import EncodedFrame

if TYPE_CHECKING:
    from tests.device.capture.conftest import Driven

S = 1_000_000_000
FRAME = S // 25
Drive = Callable[[Callable[[ManualClock], FrameSource]], "Driven"]
Decode = Callable[[list[EncodedFrame]], list[FrameStamp | None]]
MakeFootage = Callable[..., Path]


def _numbers(stamps: list[FrameStamp | None]) -> list[int]:
    return [-1 if stamp is None else stamp.number for stamp in stamps]


@pytest.mark.parametrize("kind", ["plain_footage", "reordered_footage", "other_codec_footage"])
def test_every_picture_of_every_loop_is_there_once(
    drive: Drive, decode: Decode, small: SourceOptions, kind: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(kind)
    driven = drive(lambda clock: ReplaySource(path, small, clock=clock))
    driven.start()
    driven.run(7 * S)
    driven.source.stop()
    numbers = _numbers(decode(driven.sink.frames))
    assert numbers[:150] == list(range(50)) * 3


def test_reordered_frames_keep_their_order_and_times_over_the_seam(
    drive: Drive, reordered_footage: Path
) -> None:
    driven = drive(lambda clock: ReplaySource(reordered_footage, clock=clock))
    began = driven.clock.now_ns()
    driven.start()
    driven.run(6 * S)
    driven.source.stop()
    frames = driven.sink.frames
    assert any(later.pts_ns < earlier.pts_ns for earlier, later in pairwise(frames)), "no reordered frames"
    assert [later.dts_ns - earlier.dts_ns for earlier, later in pairwise(frames)] == [FRAME] * (len(frames) - 1)
    shown = sorted(frame.pts_ns for frame in frames)
    assert shown[:145] == [began + n * FRAME for n in range(145)]


def _without_parameter_sets(data: bytes) -> list[bytes]:
    return [data[begin:end] for kind, begin, end in nal_units(data) if kind not in {7, 8}]


@pytest.mark.parametrize("kind", ["plain_footage", "reordered_footage"])
def test_h264_is_passed_through_untouched(drive: Drive, kind: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(kind)
    driven = drive(lambda clock: ReplaySource(path, clock=clock))
    driven.start()
    driven.run(2 * S)
    driven.source.stop()
    stored: list[list[bytes]] = []
    with av.open(path) as container:
        for packet in container.demux(video=0):
            data, units, at = bytes(packet), [], 0
            while at < len(data):  # AVCC, lengths of four bytes
                size = int.from_bytes(data[at : at + 4], "big")
                units.append(data[at + 4 : at + 4 + size].rstrip(b"\x00"))
                at += 4 + size
            stored.append([unit for unit in units if unit[0] & 31 not in {7, 8}])
    count = len(driven.sink.frames) - 1  # the last may belong to the next loop
    assert count >= 46
    assert [_without_parameter_sets(frame.data) for frame in driven.sink.frames[:count]] == stored[:count]


def test_only_idr_pictures_count_as_keyframes(drive: Drive, make_footage: MakeFootage) -> None:
    path = make_footage(
        "open-gop.mp4", seconds=4, bf="3", g="25", sc_threshold="0", **{"x264-params": "open-gop=1"}
    )
    with av.open(path) as container:
        stored = sum(packet.is_keyframe for packet in container.demux(video=0))
    driven = drive(lambda clock: ReplaySource(path, clock=clock))
    driven.start()
    driven.run(4 * S - FRAME)
    driven.source.stop()
    assert stored >= 1
    assert [n for n, frame in enumerate(driven.sink.frames) if frame.keyframe] == [0]


def test_matroska_without_decode_times_is_passed_through(make_footage: MakeFootage) -> None:
    footage = survey(make_footage("reordered.mkv", bf="3", g="25", preset="veryfast"))
    assert footage.passthrough
    assert footage.period_ns == 2 * S


def test_a_bare_stream_without_times_is_encoded_at_its_rate(
    drive: Drive, decode: Decode, small: SourceOptions, make_footage: MakeFootage
) -> None:
    path = make_footage("bare.h264", bf="2", g="25")
    driven = drive(lambda clock: ReplaySource(path, small, clock=clock))
    driven.start()
    driven.run(4 * S - FRAME)
    driven.source.stop()
    assert not survey(path).passthrough
    assert _numbers(decode(driven.sink.frames)) == list(range(50)) * 2


def test_parameter_sets_that_come_once_are_repeated(tmp_path: Path, plain_footage: Path) -> None:
    once = tmp_path / "once.h264"
    first, *others = (unit.data for unit in access_units(plain_footage))
    stripped = (b"\x00\x00\x00\x01" + nal for data in others for nal in _without_parameter_sets(data))
    once.write_bytes(first + b"".join(stripped))
    keys = [unit for unit in access_units(once) if unit.idr]
    assert len(keys) == 2
    for unit in keys:
        assert [kind for kind, _, _ in nal_units(unit.data) if kind in {7, 8}] == [7, 8]


def test_a_file_without_a_keyframe_in_ten_seconds_is_refused(make_footage: MakeFootage) -> None:
    path = make_footage("rare.mp4", seconds=11, g="10000", sc_threshold="0", preset="ultrafast")
    with pytest.raises(
        CaptureError, match=r"a keyframe \(IDR\) every 10 s or oftener, found 11\.0 s without one"
    ):
        ReplaySource(path)


def test_no_picture_of_an_mp4_is_decoded_to_open_it(
    plain_footage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats: list[Any] = []
    opened = av.open

    def watched(*arguments: Any, **options: Any) -> Any:
        container = opened(*arguments, **options)
        formats.append(container.streams.video[0].codec_context.pix_fmt)  # known from decoding alone
        return container

    monkeypatch.setattr(av, "open", watched)
    footage = survey(plain_footage)
    assert footage.passthrough
    assert formats == [None, None]
    assert next(pictures(plain_footage)).format.name == formats[2] == "yuv420p"


def test_what_cannot_be_replayed_is_refused_in_one_line(tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"no video at all" * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path in (junk, empty, tmp_path / "absent.mp4", tmp_path):
        with pytest.raises(CaptureError) as caught:
            ReplaySource(path)
        assert str(caught.value).startswith(f"cannot replay {path}, expected a readable video file, found ")
        assert "\n" not in str(caught.value)


def test_a_name_that_looks_like_an_address_is_a_file(
    tmp_path: Path, plain_footage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(plain_footage, "concat:walk.mp4")
    assert ReplaySource("concat:walk.mp4").loop_period_ns == 2 * S


def _sound_only(path: Path) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame("fltp", "mono", 1024)
        frame.sample_rate = 48_000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_file_of_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    _sound_only(path)
    with pytest.raises(CaptureError, match="expected a video stream, found none"):
        ReplaySource(path)


def test_a_file_that_vanishes_ends_the_run_with_a_word(
    drive: Drive, tmp_path: Path, plain_footage: Path
) -> None:
    path = tmp_path / "walk.mp4"
    shutil.copy(plain_footage, path)
    driven = drive(lambda clock: ReplaySource(path, clock=clock))
    driven.start()
    driven.run(S)
    path.unlink()
    driven.clock.advance(2 * S)
    driven.source._thread._thread.join(30)  # type: ignore[attr-defined]  # it ends by itself, and says why
    assert driven.sink.states[-1].kind is StateKind.FAILED
    assert "No such file" in driven.sink.states[-1].detail
    assert len(driven.sink.frames) == 50


def test_the_sound_side_is_told_where_the_picture_is(drive: Drive, plain_footage: Path) -> None:
    driven = drive(lambda clock: ReplaySource(plain_footage, clock=clock))
    source = driven.source
    assert isinstance(source, ReplaySource)
    assert source.start_ns is None
    driven.start()
    driven.run(0)
    assert source.start_ns == driven.clock.now_ns() == driven.sink.frames[0].pts_ns
    assert (source.loop_period_ns, source.media_origin_ns, source.has_sound) == (2 * S, 0, False)
    assert source.path == plain_footage


def test_a_faster_clock_replays_faster(plain_footage: Path) -> None:
    """Two loops, four seconds, in some forty milliseconds; waited for by an event, however busy the machine."""
    clock, enough, frames = ScaledClock(100), threading.Event(), list[EncodedFrame]()

    class Sink:
        def frame(self, frame: EncodedFrame) -> None:
            frames.append(frame)
            if len(frames) == 100:
                enough.set()

        def gap(self, gap: object) -> None:
            raise AssertionError(gap)

    source = ReplaySource(plain_footage, clock=clock)
    states: list[Any] = []
    source.start(Sink(), states.append)
    assert enough.wait(60)
    source.stop()
    assert frames[99].pts_ns - frames[0].pts_ns == 99 * FRAME


def _replayed(path: Path, clock: ManualClock) -> FrameSource:
    return ReplaySource(path, clock=clock)


def test_real_footage_loops_without_a_seam(drive: Drive, real_footage: list[Path]) -> None:
    for path in real_footage:
        driven = drive(functools.partial(_replayed, path))
        source = driven.source
        assert isinstance(source, ReplaySource)
        assert source.passthrough
        driven.start()
        driven.run(3 * source.loop_period_ns)
        source.stop()
        frame_ns = float(S / source.nominal_format.rate)
        shown = sorted(frame.pts_ns for frame in driven.sink.frames)[:-8]
        assert all(abs(later - earlier - frame_ns) < 2 for earlier, later in pairwise(shown))
        assert all(later.dts_ns > earlier.dts_ns for earlier, later in pairwise(driven.sink.frames))
        assert sum(frame.keyframe for frame in driven.sink.frames) >= 3
        with av.open(path) as container:
            assert source.has_sound == bool(container.streams.audio)
