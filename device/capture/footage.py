"""A file of footage: whether it can be replayed, how, and its access units or pictures one after the other.

The whole file is demuxed once when it is opened (not decoded, nothing kept), so that what is wrong with it is
said before the camera runs, and so that the period of the loop is exact.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from device.capture.annexb import is_idr, parameter_sets, with_parameter_sets
from device.capture.source import CaptureError
from evidence.frames import VideoFormat

if TYPE_CHECKING:
    import av
    import av.container
    from av import VideoFrame
    from av.video import VideoStream

__all__ = ["AccessUnit", "Footage", "access_units", "pictures", "survey"]

_NS_PER_S = 1_000_000_000
_KEYFRAME_LIMIT_S = 10
_HIGHEST_RATE = 240
_FALLBACK_RATE = Fraction(25)
_FALLBACK_TIME_BASE = Fraction(1, _NS_PER_S)
_REORDER_MOST = 32  # twice what H.264 allows: how far back a doubled presentation time is looked for
_MP4_MARK = b"ftyp"  # type of the first box, behind its size (ISO/IEC 14496-12, 4.3)
_NO_DECODER = {"codec_whitelist": "none"}


class Footage(msgspec.Struct, frozen=True):
    """What a survey found; times are ticks of `time_base` unless their names say otherwise.

    `passthrough`: H.264 whose access units can go out as they are. `stamped`: its packets carry presentation
    times (a bare stream does not). `origin` is the time of the first picture replayed, `period_ns` how long one
    loop lasts, up to the end of the last picture.
    """

    path: Path
    nominal_format: VideoFormat
    passthrough: bool
    stamped: bool
    has_sound: bool
    time_base: Fraction
    origin: int
    period_ns: int

    def media_ns(self, ticks: int) -> int:
        """Return nanoseconds since the first picture."""
        return self.duration_ns(ticks - self.origin)

    def duration_ns(self, ticks: int) -> int:
        """Return a number of ticks in nanoseconds, rounded down."""
        return ticks * self.time_base.numerator * _NS_PER_S // self.time_base.denominator

    @property
    def frame_ns(self) -> int:
        """Nominal duration of a frame."""
        return round(_NS_PER_S / self.nominal_format.rate)


class AccessUnit(NamedTuple):
    """One packet of footage: Annex B where it is H.264; times in ticks, `None` where the file has none."""

    data: bytes
    pts: int | None
    dts: int | None
    idr: bool


def _is_mp4(path: Path) -> bool:
    """Whether a file is MP4 or QuickTime; one that cannot be read is for libav to refuse."""
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == _MP4_MARK
    except OSError:
        return False


@contextlib.contextmanager
def _opened(
    path: Path, *, decoding: bool = False
) -> Iterator[tuple["av.container.InputContainer", "VideoStream"]]:
    """Open a file (never a URL) at its video stream; every error of libav becomes one clear line.

    libav decodes some pictures to find out what a container may not say: 20 ms and 12 MB for 1080p, at every
    loop of a replay. MP4 says all that is needed unless pictures are decoded, so there it is kept from it.
    """
    import av  # noqa: PLC0415  # codec only where it is used

    options = {} if decoding or not _is_mp4(path) else _NO_DECODER
    try:
        with av.open(f"file:{path}", "r", container_options=options) as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream) or not stream.codec_context.width:
                raise CaptureError(f"cannot replay {path}", expected="a video stream", found="none")
            yield container, stream
    except av.error.FFmpegError as error:
        found = error.strerror or type(error).__name__
        raise CaptureError(f"cannot replay {path}", expected="a readable video file", found=found) from error


def access_units(path: Path) -> Iterator[AccessUnit]:
    """Give the packets of a file in decode order; of H.264 only from the first IDR on, with SPS and PPS there.

    Decode times that libav leaves out at the beginning (Matroska keeps none) are filled in, a frame apart.

    Raises:
        CaptureError: the file cannot be read (any more), or has no parameter sets.
    """
    waiting: list[AccessUnit] = []
    for unit, frame_ticks in _stored_units(path):
        if unit.dts is None and len(waiting) < _REORDER_MOST:
            waiting.append(unit)
            continue
        for place, early in enumerate(waiting):
            missing = None if unit.dts is None else unit.dts - (len(waiting) - place) * frame_ticks
            yield early._replace(dts=missing)
        waiting.clear()
        yield unit
    yield from waiting


def _stored_units(path: Path) -> Iterator[tuple[AccessUnit, int]]:
    """Give the packets with the times that libav knows, and the nominal duration of a frame in ticks."""
    import av  # noqa: PLC0415  # codec only where it is used

    with _opened(path) as (container, stream):
        h264 = stream.codec_context.name == "h264"
        annexb = av.BitStreamFilterContext("h264_mp4toannexb", stream) if h264 else None
        frame_ticks = _frame_ticks(stream)
        sets, started = b"", not h264
        for packet in container.demux(stream):
            for out in [packet] if annexb is None else annexb.filter(packet if packet.size else None):
                data = bytes(out)
                if h264:
                    sets = parameter_sets(data) or sets
                    started = started or is_idr(data)
                if data and started:
                    yield _access_unit(path, out, data, sets, h264), frame_ticks


def _rate(stream: "VideoStream") -> Fraction:
    return stream.guessed_rate or stream.average_rate or _FALLBACK_RATE


def _frame_ticks(stream: "VideoStream") -> int:
    return max(round(1 / (_rate(stream) * (stream.time_base or _FALLBACK_TIME_BASE))), 1)


def _access_unit(
    path: Path, packet: "av.Packet[VideoStream]", data: bytes, sets: bytes, h264: bool
) -> AccessUnit:
    idr = h264 and is_idr(data)
    if idr and not parameter_sets(data):
        if not sets:
            raise CaptureError(
                f"cannot replay {path}", expected="SPS and PPS by the first keyframe", found="none"
            )
        data = with_parameter_sets(data, sets)
    return AccessUnit(data, packet.pts, packet.dts, idr)


def pictures(path: Path) -> Iterator["VideoFrame"]:
    """Decode a file, pictures in presentation order.

    Raises:
        CaptureError: the file cannot be read or decoded.
    """
    with _opened(path, decoding=True) as (container, stream):
        yield from container.decode(stream)


def survey(path: Path) -> Footage:
    """Read through a file and find out how it can be replayed.

    Raises:
        CaptureError: it cannot be read, has no video, or is H.264 with more than 10 s without an IDR picture.
    """
    with _opened(path) as (container, stream):
        h264 = stream.codec_context.name == "h264"
        time_base, rate = stream.time_base or _FALLBACK_TIME_BASE, _rate(stream)
        size = (stream.codec_context.width, stream.codec_context.height)
        has_sound = bool(container.streams.audio)
        times = _Times(_frame_ticks(stream))
    for unit in access_units(path):
        times.add(unit)
    if times.count == 0:
        found = "no keyframe at all" if h264 else "no frame"
        raise CaptureError(f"cannot replay {path}", expected="frames from a keyframe on", found=found)
    if h264:
        _refuse_rare_keyframes(path, times, time_base if times.stamped else 1 / rate)
    period = times.period() * time_base if times.stamped else times.count / rate
    if rate > _HIGHEST_RATE:  # some containers have a time base where others have a rate
        rate = Fraction(times.count / period).limit_denominator(1001)
    return Footage(
        path=path,
        nominal_format=VideoFormat(*size, rate),
        passthrough=h264 and times.stamped and times.ordered,
        stamped=times.stamped,
        has_sound=has_sound,
        time_base=time_base,
        origin=times.origin,
        period_ns=round(period * _NS_PER_S),
    )


def _refuse_rare_keyframes(path: Path, times: "_Times", unit_s: Fraction) -> None:
    longest_s = float(times.longest_without_idr * unit_s)
    if longest_s > _KEYFRAME_LIMIT_S:
        raise CaptureError(
            f"cannot replay {path}",
            expected=f"a keyframe (IDR) every {_KEYFRAME_LIMIT_S} s or oftener",
            found=f"{longest_s:.1f} s without one",
            remedy="encode it again, with ffmpeg's -g 30 for example",
        )


class _Times:
    """What the time stamps of a file are like, packet by packet; counts frames where there are no stamps."""

    def __init__(self, frame_ticks: int) -> None:
        self.count = 0
        self.origin = 0
        self.stamped = True
        self.ordered = True
        self.longest_without_idr = 0
        self._frame_ticks = frame_ticks
        self._end = 0
        self._first_dts = 0
        self._last_dts: int | None = None
        self._last_idr = 0
        self._recent: deque[int] = deque(maxlen=_REORDER_MOST)

    def add(self, unit: AccessUnit) -> None:
        self.stamped = self.stamped and unit.pts is not None
        self.ordered = self.ordered and unit.dts is not None
        pts = self.count if unit.pts is None or not self.stamped else unit.pts
        dts = pts if unit.dts is None else unit.dts
        if self.count == 0:
            self.origin = self._last_idr = pts
            self._first_dts = dts
        self.ordered = self.ordered and dts <= pts and pts >= self.origin and pts not in self._recent
        self.ordered = self.ordered and (self._last_dts is None or dts > self._last_dts)
        if unit.idr:
            self._last_idr = pts
        self.longest_without_idr = max(self.longest_without_idr, pts - self._last_idr)
        self._end = max(self._end, pts + self._frame_ticks)
        self._last_dts = dts
        self._recent.append(pts)
        self.count += 1

    def period(self) -> int:
        """Return ticks of one loop: to the end of the last picture, and so that decode times go on as well."""
        last_dts = self._first_dts if self._last_dts is None else self._last_dts
        return max(self._end - self.origin, last_dts - self._first_dts + 1)
