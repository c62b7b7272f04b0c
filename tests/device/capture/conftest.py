"""Footage made on the spot, a sink that keeps everything, and every source behind one way of driving it."""

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from device.capture.drawing import SyntheticPicture
from device.capture.pacing import ManualClock
from device.capture.replay import ReplaySource
from device.capture.source import FrameSource, SourceOptions, SourceState
from device.capture.stamp import FrameStamp, read_stamp
from device.capture.synthetic import SyntheticSource
from device.capture.v4l2 import V4l2Source
from device.capture.video_input import LibavInput, PacedInput, VideoInput
from evidence.frames import EncodedFrame, Span

S = 1_000_000_000
SMALL = SourceOptions(width=320, height=180, rate=Fraction(25), bitrate_bps=400_000)


class KeepingSink:
    """Keeps frames and gaps, and checks that no stamp lies in the future."""

    def __init__(self, clock: ManualClock) -> None:
        self.frames: list[EncodedFrame] = []
        self.gaps: list[Span] = []
        self.states: list[SourceState] = []
        self.early: list[int] = []
        self._clock = clock

    def frame(self, frame: EncodedFrame) -> None:
        self.frames.append(frame)
        if frame.pts_ns > self._clock.now_ns():
            self.early.append(frame.pts_ns)

    def gap(self, gap: Span) -> None:
        self.gaps.append(gap)


class Driven:
    """A source on a clock that the test moves."""

    def __init__(self, make: Callable[[ManualClock], FrameSource]) -> None:
        self.clock = ManualClock()
        self.source = make(self.clock)
        self.sink = KeepingSink(self.clock)

    def start(self) -> None:
        self.source.start(self.sink, self.sink.states.append)

    def run(self, duration_ns: int) -> None:
        """Move the clock and wait until all that is due has been handed over."""
        self.clock.advance(duration_ns)
        assert self.clock.settle(), "the source neither waits nor ends"


@pytest.fixture
def drive() -> Iterator[Callable[[Callable[[ManualClock], FrameSource]], Driven]]:
    """Return a maker of driven sources; what a test leaves running is stopped."""
    made: list[Driven] = []

    def make(factory: Callable[[ManualClock], FrameSource]) -> Driven:
        made.append(Driven(factory))
        return made[-1]

    yield make
    for driven in made:
        driven.source.stop()


@pytest.fixture
def small() -> SourceOptions:
    return SMALL


@pytest.fixture
def decode() -> Callable[[list[EncodedFrame]], list[FrameStamp | None]]:
    """Return a decoder of frames in decode order to the stamps of the pictures in presentation order."""

    def stamps(frames: list[EncodedFrame]) -> list[FrameStamp | None]:
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        pictures = [picture for frame in frames for picture in decoder.decode(av.Packet(frame.data))]
        return [read_stamp(picture) for picture in [*pictures, *decoder.decode(None)]]

    return stamps


MakeFootage = Callable[..., Path]


@pytest.fixture(scope="session")
def make_footage(tmp_path_factory: pytest.TempPathFactory) -> MakeFootage:
    """Return a maker of files of numbered frames: name, seconds, codec, encoder options; one a session."""
    folder = tmp_path_factory.mktemp("footage")

    def make(name: str, seconds: float = 2, codec: str = "libx264", **options: str) -> Path:
        path = folder / name
        if not path.exists():
            _write(path, round(seconds * SMALL.rate), codec, options)
        return path

    return make


def _write(path: Path, count: int, codec: str, options: dict[str, str]) -> None:
    drawn = SyntheticPicture(SMALL.width, SMALL.height)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=SMALL.rate, options={"threads": "1", **options})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = SMALL.width, SMALL.height, "yuv420p"
        if codec == "mjpeg":
            stream.pix_fmt = "yuvj420p"
        stream.bit_rate = 1_000_000
        for number in range(count):
            picture = drawn.draw(FrameStamp(number, number * S)).reformat(format=stream.pix_fmt)
            picture.pict_type = av.video.frame.PictureType.NONE
            picture.pts, picture.time_base = number, 1 / SMALL.rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


PLAIN = {"bf": "0", "g": "25", "preset": "ultrafast"}
REORDERED = {"bf": "3", "g": "25", "preset": "veryfast"}


@pytest.fixture(scope="session")
def plain_footage(make_footage: MakeFootage) -> Path:
    return make_footage("plain.mp4", **PLAIN)


@pytest.fixture(scope="session")
def reordered_footage(make_footage: MakeFootage) -> Path:
    return make_footage("reordered.mp4", **REORDERED)


@pytest.fixture(scope="session")
def other_codec_footage(make_footage: MakeFootage) -> Path:
    return make_footage("other.mkv", codec="mpeg4", bf="2")


def picture_opener(clock: ManualClock) -> Callable[[str, SourceOptions], VideoInput]:
    """Return an opener of libav's own test picture in place of a webcam."""

    def opener(_device: str, options: SourceOptions) -> VideoInput:
        graph = f"testsrc=size={options.width}x{options.height}:rate={options.rate}"
        return PacedInput(LibavInput(graph, "lavfi", {}), clock)

    return opener


@pytest.fixture(
    params=["replay", "replay-reordered", "replay-matroska", "replay-encoded", "synthetic", "v4l2-on-lavfi"]
)
def any_source(
    request: pytest.FixtureRequest, make_footage: MakeFootage
) -> Callable[[ManualClock], FrameSource]:
    """Return a maker of each source in turn."""
    match request.param:
        case "replay":
            path = make_footage("plain.mp4", **PLAIN)
        case "replay-reordered":
            path = make_footage("reordered.mp4", **REORDERED)
        case "replay-matroska":
            path = make_footage("reordered.mkv", **REORDERED)
        case "replay-encoded":
            path = make_footage("other.mkv", codec="mpeg4", bf="2")
        case "synthetic":
            return lambda clock: SyntheticSource(SMALL, clock=clock)
        case _:
            return lambda clock: V4l2Source("/dev/video0", SMALL, clock=clock, opener=picture_opener(clock))
    return lambda clock: ReplaySource(path, SMALL, clock=clock)


@pytest.fixture
def real_footage() -> list[Path]:
    """Return real videos, or skip: they are fetched by `scripts/fetch-footage`, never by a test."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = sorted((cache / "preroll" / "footage").glob("*.mp4"))
    if not found:
        pytest.skip("no real footage: run scripts/fetch-footage")
    return found
