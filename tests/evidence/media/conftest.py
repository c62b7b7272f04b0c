"""Encoded frames made on the spot, and clips written from them."""

import functools
import json
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.codeccontext import VideoCodecContext

from evidence.frames import EncodedFrame, Track, VideoFormat
from evidence.media.aac import silence

_NS = 1_000_000_000
BASE_NS = 9_089_888_123_457
"""No round number of ticks."""


@functools.cache
def encoded_video(rate: int, count: int, *, b_frames: bool, jitter_ns: int = 0) -> tuple[EncodedFrame, ...]:
    """Encode a moving picture with libx264, a keyframe a second, from BASE_NS on."""
    encoder = VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 96, 64, "yuv420p"
    encoder.time_base = Fraction(1, rate)
    encoder.framerate = Fraction(rate)
    encoder.options = {
        "preset": "veryfast" if b_frames else "ultrafast",
        "g": str(rate),
        "bf": "2" if b_frames else "0",
        "x264-params": "repeat-headers=1:annexb=1:scenecut=0:open-gop=0:b-adapt=0",
    }
    packets: list[Any] = []
    for index in range(count):
        picture = av.VideoFrame(96, 64, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes((index * 5 + position) % 256 for position in range(plane.buffer_size)))
        picture.pts = index
        picture.time_base = Fraction(1, rate)
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    first_dts = packets[0].dts
    frames = []
    for packet in packets:
        wobble = jitter_ns * ((packet.pts * 7919) % 5 - 2) // 2  # the same for one instant, as dts and as pts
        pts_ns = BASE_NS + (packet.pts - first_dts) * _NS // rate + wobble
        dts_ns = BASE_NS + (packet.dts - first_dts) * _NS // rate + (0 if b_frames else wobble)
        frames.append(EncodedFrame(Track.VIDEO, bytes(packet), pts_ns, dts_ns, _NS // rate, packet.is_keyframe))
    return tuple(frames)


@pytest.fixture(scope="session")
def video() -> Callable[..., tuple[EncodedFrame, ...]]:
    return encoded_video


@pytest.fixture(scope="session")
def video_format() -> Callable[[int], VideoFormat]:
    return lambda rate: VideoFormat(96, 64, Fraction(rate))


@pytest.fixture(scope="session")
def sound() -> Callable[[int, int], list[EncodedFrame]]:
    """Return frames of sound between two times on a grid of their own, the data different from silence."""

    def make(start_ns: int, end_ns: int) -> list[EncodedFrame]:
        data = silence().frame + b"\0"
        times = []
        index = 0
        while (time_ns := start_ns + index * 1024 * _NS // 48_000) < end_ns:
            times.append(time_ns)
            index += 1
        return [EncodedFrame(Track.AUDIO, data, time, time, 21_333_333, keyframe=True) for time in times]

    return make


@pytest.fixture
def ffprobe(tmp_path: Path) -> Callable[[bytes], dict[str, Any]]:
    """Return what ffprobe says of a file: its streams with the frames decoded, and its packets."""
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("ffprobe is not installed")

    def probe(data: bytes) -> dict[str, Any]:
        path = tmp_path / "probe.mp4"
        path.write_bytes(data)
        show = "stream=index,codec_name,nb_read_frames,width,height,time_base:packet=stream_index,pts,dts,flags"
        run = subprocess.run(
            [program, "-v", "error", "-count_frames", "-show_entries", show, "-of", "json", str(path)],
            capture_output=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(run.stdout)
        found["errors"] = run.stderr.decode()
        return found

    return probe
