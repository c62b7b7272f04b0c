"""Footage for the benches, made on the spot: a noisy moving pattern in H.264, and an endless stream of it."""

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import av.filter

from device.capture.footage import access_units
from evidence.frames import EncodedFrame, Track

__all__ = ["NS_PER_S", "FrameStream", "Scene", "load_units", "make_footage"]

NS_PER_S = 1_000_000_000


class Scene:
    """What footage is made of: 1080p30 at 10 Mbit/s with a GOP of 1 s unless a test wants it small."""

    def __init__(
        self,
        *,
        seconds: int = 10,
        width: int = 1920,
        height: int = 1080,
        rate: int = 30,
        bitrate_bps: int = 10_000_000,
    ) -> None:
        self.seconds = seconds
        self.width = width
        self.height = height
        self.rate = rate
        self.bitrate_bps = bitrate_bps

    @property
    def frame_ns(self) -> int:
        """Duration of a frame."""
        return NS_PER_S // self.rate


def make_footage(path: Path, scene: Scene) -> Path:
    """Encode a scene into an MP4 file without sound; returns `path`.

    FFmpeg's test pattern moves, and noise that changes with every frame keeps the encoder at its bit rate.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=scene.rate)
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        stream.bit_rate = scene.bitrate_bps
        limit = str(scene.bitrate_bps)
        gop = {"g": str(scene.rate), "keyint_min": str(scene.rate), "sc_threshold": "0", "bf": "0"}
        stream.options = {
            "preset": "ultrafast",
            "maxrate": limit,
            "bufsize": limit,
            "x264-params": "vbv-init=0.45",
            **gop,
        }
        graph = _pattern(scene)
        for number in range(scene.seconds * scene.rate):
            picture = graph.pull()
            assert isinstance(picture, av.VideoFrame)
            picture.pts, picture.time_base = number, Fraction(1, scene.rate)
            picture.pict_type = av.video.frame.PictureType.NONE
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def _pattern(scene: Scene) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = f"size={scene.width}x{scene.height}:rate={scene.rate}"
    chain = [
        graph.add("testsrc2", source),
        graph.add("noise", "alls=24:allf=t+u"),
        graph.add("format", "pix_fmts=yuv420p"),
        graph.add("buffersink"),
    ]
    for one, next_one in itertools.pairwise(chain):
        one.link_to(next_one)
    graph.configure()
    return graph


def load_units(path: Path) -> list[tuple[bytes, bool]]:
    """Read the access units of footage, Annex B, and whether each is a keyframe."""
    return [(unit.data, unit.idr) for unit in access_units(path)]


class FrameStream:
    """The units of a scene over and over, with times that go on."""

    def __init__(self, units: list[tuple[bytes, bool]], frame_ns: int) -> None:
        self._units = units
        self.frame_ns = frame_ns

    def frame(self, number: int, pts_ns: int) -> EncodedFrame:
        """Return frame `number`."""
        data, key = self._units[number % len(self._units)]
        return EncodedFrame(Track.VIDEO, data, pts_ns, pts_ns, self.frame_ns, key)

    def fill(self, append: Callable[[EncodedFrame], object], count: int, end_ns: int) -> int:
        """Append the first `count` frames, the last of which ends at `end_ns`; returns their payload bytes."""
        total = 0
        for number in range(count):
            frame = self.frame(number, end_ns - (count - number) * self.frame_ns)
            total += len(frame.data)
            append(frame)
        return total
