"""What a frame source is, and how one is named: `picamera`, `synthetic`, `replay:FILE`, `v4l2:/dev/videoN`."""

import enum
import re
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import msgspec

from device.errors import DeviceError
from evidence.frames import EncodedFrame, Span, VideoFormat

if TYPE_CHECKING:
    from device.capture.pacing import CaptureClock

__all__ = [
    "CaptureError",
    "FrameSink",
    "FrameSource",
    "SourceKind",
    "SourceOptions",
    "SourceSpec",
    "SourceState",
    "StateKind",
    "StateListener",
    "default_options",
    "open_source",
    "parse_source",
]

_NS_PER_S = 1_000_000_000
_V4L2_DEVICE = re.compile(r"/dev/(video\d+|v4l/by-(id|path)/[^/]+)")
_FORMS = "picamera, synthetic, replay:FILE or v4l2:/dev/videoN"


class CaptureError(DeviceError):
    """A frame source cannot be named, opened or kept running."""


class FrameSink(Protocol):
    """Where frames go. Both are called in the source's thread and must only append."""

    def frame(self, frame: EncodedFrame) -> None:
        """Take one frame, in decode order; the first one of a run is a keyframe."""

    def gap(self, gap: Span) -> None:
        """Take note that picture is missing; called before the first frame after the gap."""


class StateKind(enum.StrEnum):
    """How a source is doing."""

    RUNNING = "running"  # frames come (again)
    STALLED = "stalled"  # none came for the stall limit
    RESTARTING = "restarting"  # it is being opened again
    FAILED = "failed"  # it gave up, or its last opening failed
    ENDED = "ended"  # it was stopped, every frame is handed over


class SourceState(msgspec.Struct, frozen=True):
    """A change in how a source is doing; `detail` is one line for a person, or empty."""

    kind: StateKind
    detail: str
    monotonic_ns: int


StateListener = Callable[[SourceState], None]


class FrameSource(Protocol):
    """A camera, or what stands in for one.

    Frames carry the sensor's times (CLOCK_MONOTONIC), never a time in the future: a frame is handed over when
    its presentation time has come. The first frame of a run is a keyframe. `start` and `stop` are called from
    one thread; frames, gaps and states come from threads of the source, states also from the caller's.
    """

    @property
    def name(self) -> str:
        """What a person calls this source, such as `replay:walk.mp4`."""

    @property
    def nominal_format(self) -> VideoFormat | None:
        """Size and rate of the picture; `None` while unknown, but known with the first frame."""

    def start(self, sink: FrameSink, on_state: StateListener) -> None:
        """Open the source and let frames flow until `stop`. A stopped source may be started again.

        Raises:
            CaptureError: it cannot be opened, or it runs already.
        """

    def stop(self) -> None:
        """Stop and join all threads, every frame handed over before; more than once is harmless."""

    def force_keyframe(self) -> None:
        """Ask for a keyframe as soon as may be; a source that cannot make one ignores it."""


class SourceKind(enum.StrEnum):
    """The four kinds of frame sources."""

    PICAMERA = "picamera"
    SYNTHETIC = "synthetic"
    REPLAY = "replay"
    V4L2 = "v4l2"


class SourceSpec(msgspec.Struct, frozen=True):
    """A source as named by configuration or command line; `target` is a file or device, or empty."""

    kind: SourceKind
    target: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" if self.target else str(self.kind)


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the picture is made; a replayed H.264 file brings its own and ignores all of it.

    `canary` and `noise` are for `synthetic` alone: bytes put into every access unit (no zero byte among them),
    and how many of 255 grey levels of noise are laid over the picture, so that `bitrate_bps` is reached.
    """

    width: int = 1920
    height: int = 1080
    rate: Fraction = Fraction(30)
    bitrate_bps: int = 10_000_000
    gop_ns: int = _NS_PER_S
    canary: bytes = b""
    noise: int = 0


def default_options(spec: SourceSpec) -> SourceOptions:
    """Return what a source of this kind can do in real time where it usually runs."""
    if spec.kind is SourceKind.SYNTHETIC:
        return SourceOptions(width=640, height=360, bitrate_bps=1_000_000)
    if spec.kind is SourceKind.V4L2:
        return SourceOptions(width=1280, height=720, bitrate_bps=4_000_000)
    return SourceOptions()


def parse_source(text: str) -> SourceSpec:
    """Read the name of a source.

    Raises:
        CaptureError: it is none of the four forms, or its file or device is left out or misplaced.
    """
    word, colon, target = text.partition(":")
    if word not in set(SourceKind):
        raise CaptureError("unknown camera", expected=_FORMS, found=repr(text))
    kind = SourceKind(word)
    if kind in {SourceKind.PICAMERA, SourceKind.SYNTHETIC}:
        if colon:
            raise CaptureError(f"{kind} takes nothing after its name", expected=str(kind), found=repr(text))
        return SourceSpec(kind)
    if not target:
        form = "replay:FILE" if kind is SourceKind.REPLAY else "v4l2:/dev/videoN"
        raise CaptureError(f"{kind} without a {form.partition(':')[2]}", expected=form, found=repr(text))
    if kind is SourceKind.V4L2 and not _V4L2_DEVICE.fullmatch(target):
        raise CaptureError("not a video device", expected="v4l2:/dev/videoN", found=repr(text))
    return SourceSpec(kind, target)


def open_source(
    spec: SourceSpec, options: SourceOptions | None = None, *, clock: "CaptureClock | None" = None
) -> FrameSource:
    """Make the source that `spec` names; what it needs is imported here and not before.

    `clock` paces `synthetic` and `replay` (default: CLOCK_MONOTONIC itself); real cameras have their own.

    Raises:
        CaptureError: the file or device cannot be used, or a package that this kind of source needs is missing.
    """
    chosen = options or default_options(spec)
    if spec.kind is SourceKind.SYNTHETIC:
        from device.capture.synthetic import SyntheticSource  # noqa: PLC0415  # codec only where it is used

        return SyntheticSource(chosen, clock=clock)
    if spec.kind is SourceKind.REPLAY:
        from device.capture.replay import ReplaySource  # noqa: PLC0415  # codec only where it is used

        return ReplaySource(spec.target, chosen, clock=clock)
    if spec.kind is SourceKind.V4L2:
        from device.capture.v4l2 import V4l2Source  # noqa: PLC0415  # codec only where it is used

        return V4l2Source(spec.target, chosen)
    from device.capture.picamera import PicameraSource  # noqa: PLC0415  # present on a Pi only

    return PicameraSource(chosen)
