"""Footage for the benches, made on the spot: a noisy moving pattern with sound, and an endless stream of it.

Making a minute of it takes about as long, so it is kept in `build/bench/` under a name that says what it is.
"""

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.filter

from device.capture.footage import access_units
from evidence.frames import EncodedFrame, Track

__all__ = ["NS_PER_S", "FrameStream", "Scene", "kept_footage", "load_sound", "load_units", "make_footage"]

NS_PER_S = 1_000_000_000
_KEPT = Path("build/bench")
_SAMPLE_RATE, _FRAME_SAMPLES = 48_000, 1024


class Scene:
    """What footage is made of: 60 s of 1080p30 at 10 Mbit/s, GOP 1 s, unless somebody wants it small."""

    def __init__(
        self,
        *,
        seconds: int = 60,
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


def kept_footage(scene: Scene) -> Path:
    """Return a scene that was made before, or make it."""
    name = f"{scene.width}x{scene.height}p{scene.rate}-{scene.bitrate_bps}-{scene.seconds}s.mp4"
    path = _KEPT / name
    if not path.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        make_footage(path.with_suffix(".part.mp4"), scene).rename(path)
    return path.resolve()


def make_footage(path: Path, scene: Scene) -> Path:
    """Encode a scene into an MP4 file, H.264 and AAC; returns `path`.

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
        sound = container.add_stream("aac", rate=_SAMPLE_RATE, layout="mono")
        graph, noise = _pattern(scene), _noise()
        heard = 0
        for number in range(scene.seconds * scene.rate):
            picture = graph.pull()
            assert isinstance(picture, av.VideoFrame)
            picture.pts, picture.time_base = number, Fraction(1, scene.rate)
            picture.pict_type = av.video.frame.PictureType.NONE
            container.mux(stream.encode(picture))
            while heard * scene.rate < number * _SAMPLE_RATE:
                samples = noise.pull()
                assert isinstance(samples, av.AudioFrame)
                heard += samples.samples
                container.mux(sound.encode(samples))
        container.mux(stream.encode())
        container.mux(sound.encode())
    return path


def _noise() -> av.filter.Graph:
    """Pink noise, so that the sound has something to encode."""
    graph = av.filter.Graph()
    chain = [
        graph.add("anoisesrc", f"color=pink:sample_rate={_SAMPLE_RATE}:nb_samples={_FRAME_SAMPLES}"),
        graph.add("aformat", f"sample_fmts=fltp:channel_layouts=mono:sample_rates={_SAMPLE_RATE}"),
        graph.add("abuffersink"),
    ]
    for one, next_one in itertools.pairwise(chain):
        one.link_to(next_one)
    graph.configure()
    return graph


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


def load_sound(path: Path) -> list[bytes]:
    """Read the AAC frames of footage."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


class FrameStream:
    """The units of a scene over and over, with times that go on; and its sound, if any is given.

    Frame `number` has the time that its caller says, which must be `number * frame_ns` after a constant.
    """

    def __init__(self, units: Sequence[tuple[bytes, bool]], frame_ns: int, sound: Sequence[bytes] = ()) -> None:
        self._units = units
        self._sound = sound
        self.frame_ns = frame_ns

    def frame(self, number: int, pts_ns: int) -> EncodedFrame:
        """Return picture `number`."""
        data, key = self._units[number % len(self._units)]
        return EncodedFrame(Track.VIDEO, data, pts_ns, pts_ns, self.frame_ns, key)

    def frames(self, number: int, pts_ns: int) -> list[EncodedFrame]:
        """Return picture `number` and the sound that begins while it is shown."""
        found = [self.frame(number, pts_ns)]
        if not self._sound:
            return found
        origin_ns = pts_ns - number * self.frame_ns
        index = _frames_before(pts_ns - origin_ns)
        while (begin_ns := _sound_ns(index)) < (number + 1) * self.frame_ns:
            at_ns, duration_ns = origin_ns + begin_ns, _sound_ns(index + 1) - begin_ns
            data = self._sound[index % len(self._sound)]
            found.append(EncodedFrame(Track.AUDIO, data, at_ns, at_ns, duration_ns, keyframe=True))
            index += 1
        return found

    def fill(self, append: Callable[[EncodedFrame], object], count: int, end_ns: int) -> int:
        """Append the first `count` pictures with sound, the last ending at `end_ns`; returns their bytes."""
        total = 0
        for number in range(count):
            for frame in self.frames(number, end_ns - (count - number) * self.frame_ns):
                total += len(frame.data)
                append(frame)
        return total


def _sound_ns(index: int) -> int:
    return index * _FRAME_SAMPLES * NS_PER_S // _SAMPLE_RATE


def _frames_before(time_ns: int) -> int:
    """Return how many frames of sound begin before a time."""
    index = max(0, time_ns * _SAMPLE_RATE // (_FRAME_SAMPLES * NS_PER_S) - 1)
    while _sound_ns(index) < time_ns:
        index += 1
    return index
