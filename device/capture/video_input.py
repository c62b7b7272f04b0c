"""Raw pictures from a device: what libav opens, and a stand-in that keeps a camera's pace.

libavdevice hands out the kernel's own buffer times of V4L2 with its option `ts=default`, in microseconds;
nearly all drivers take them from CLOCK_MONOTONIC (V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC).
"""

from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

from device.capture.pacing import CaptureClock
from device.capture.source import CaptureError, SourceOptions

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["LibavInput", "PacedInput", "VideoInput", "open_v4l2"]

_NS_PER_S = 1_000_000_000
_OPEN_LIMIT_S = 5.0
_NON_BLOCKING = "+4"  # AVFMT_FLAG_NONBLOCK, which has no name there: O_NONBLOCK on the device


class VideoInput(Protocol):
    """An open device that gives pictures."""

    def read(self) -> "tuple[VideoFrame, int] | None":
        """Return the next picture and its time in nanoseconds, `None` if there is none yet.

        Raises:
            CaptureError: the device is gone or at its end.
        """

    def close(self) -> None:
        """Give the device back."""


class LibavInput:
    """Pictures of anything that libav opens; never blocks where libav doesn't.

    Raises:
        CaptureError: it does not open, or has no picture.
    """

    def __init__(self, url: str, container: str, options: dict[str, str]) -> None:
        import av  # noqa: PLC0415  # codec only where it is used

        self._url = url
        self._errors = av.error.FFmpegError
        self._nothing_yet = av.error.BlockingIOError
        try:
            self._container = av.open(
                url,
                "r",
                format=container,
                options=options,
                container_options={"fflags": _NON_BLOCKING},
                timeout=(_OPEN_LIMIT_S, None),
            )
        except av.error.FFmpegError as error:
            raise CaptureError(
                f"cannot open {url}", expected="a camera", found=error.strerror or type(error).__name__
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise CaptureError(f"cannot open {url}", expected="a video stream", found="none")
        self._stream = self._container.streams.video[0]
        self._ready: list[VideoFrame] = []

    def read(self) -> "tuple[VideoFrame, int] | None":
        """Return the next picture; see `VideoInput`."""
        try:
            while not self._ready:
                packet = next(self._container.demux(self._stream))
                if packet.size == 0:
                    raise CaptureError(
                        f"{self._url} ended", expected="a camera that goes on", found="its last frame"
                    )
                self._ready = packet.decode()
        except self._nothing_yet:
            return None
        except self._errors as error:
            raise CaptureError(f"{self._url} failed", found=error.strerror or type(error).__name__) from error
        picture = self._ready.pop(0)
        ticks = Fraction(picture.pts or 0)
        return picture, int(ticks * (self._stream.time_base or Fraction(1, 1_000_000)) * _NS_PER_S)

    def close(self) -> None:
        """Give the device back."""
        self._container.close()


def open_v4l2(device: str, options: SourceOptions) -> VideoInput:
    """Open a webcam at the size and rate nearest to what is asked for.

    Raises:
        CaptureError: it does not open, is no camera, or gives no picture.
    """
    size, rate = f"{options.width}x{options.height}", options.rate
    demuxer = {"video_size": size, "framerate": f"{rate.numerator}/{rate.denominator}", "ts": "default"}
    return LibavInput(device, "v4l2", demuxer)


class PacedInput:
    """Stands in for a camera: pictures of another input, held back until their time on a clock has come.

    The first picture has the time at which this is made, each further one comes as long after as its own time
    says.
    """

    def __init__(self, source: VideoInput, clock: CaptureClock) -> None:
        self._source = source
        self._clock = clock
        self._held: tuple[VideoFrame, int] | None = None
        self._start_ns = clock.now_ns()
        self._first_ns: int | None = None

    def read(self) -> "tuple[VideoFrame, int] | None":
        """Return the next picture whose time has come; see `VideoInput`."""
        self._held = self._held or self._source.read()
        if self._held is None:
            return None
        picture, media_ns = self._held
        if self._first_ns is None:
            self._first_ns = media_ns
        due_ns = self._start_ns + media_ns - self._first_ns
        if due_ns > self._clock.now_ns():
            return None
        self._held = None
        return picture, due_ns

    def close(self) -> None:
        """Close the other input."""
        self._source.close()
