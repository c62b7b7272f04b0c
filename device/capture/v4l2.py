"""A webcam: `v4l2:/dev/videoN`, encoded in software, restarted in the process when it stalls or fails.

Its times are the kernel's (`device.capture.video_input`). A driver that does not use CLOCK_MONOTONIC is noticed
by the first frame, and its times are then shifted by a constant, to when that frame arrived.

Not tried on a real webcam: the tests put libav's own test picture behind `VideoInput`.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from device.capture.encoder import SoftwareEncoder
from device.capture.pacing import CaptureClock, MonotonicClock
from device.capture.source import CaptureError, FrameSink, SourceOptions, StateListener
from device.capture.stall import CameraCall, Step, Watch, WatchLimits
from device.capture.video_input import VideoInput, open_v4l2
from device.capture.worker import SourceThread
from evidence.frames import VideoFormat

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["V4l2Source"]

_NS_PER_S = 1_000_000_000
_POLL_NS = 4_000_000  # a device without a frame is asked again after this long: a fraction of a frame
_CLOCK_BEHIND_NS = 10 * _NS_PER_S  # a buffer time further off than this is of another clock
_CLOCK_AHEAD_NS = _NS_PER_S


class V4l2Source:
    """A webcam as a `FrameSource`: watched, restarted when it stalls or fails, encoded by libx264."""

    def __init__(
        self,
        device: str,
        options: SourceOptions,
        *,
        clock: CaptureClock | None = None,
        opener: Callable[[str, SourceOptions], VideoInput] = open_v4l2,
        limits: WatchLimits | None = None,
    ) -> None:
        self._device = device
        self._options = options
        self._clock = clock or MonotonicClock()
        self._opener = opener
        self._limits = limits
        self._thread = SourceThread(self.name, self._clock)
        self._encoder: SoftwareEncoder | None = None

    @property
    def name(self) -> str:
        """`v4l2:` and the device."""
        return f"v4l2:{self._device}"

    @property
    def nominal_format(self) -> VideoFormat:
        """As asked for: a device that gives another size is scaled to it."""
        return VideoFormat(self._options.width, self._options.height, self._options.rate)

    def start(self, sink: FrameSink, on_state: StateListener) -> None:
        """Open the device, for an answer at once, and let frames flow.

        Raises:
            CaptureError: the device or the encoder does not open, or the source runs already.
        """
        if self._thread.running:
            raise CaptureError(f"{self.name} runs already", remedy="stop it first")
        watch = Watch(round(_NS_PER_S / self._options.rate), self._limits)
        session = _Session(
            watch=watch,
            encoder=SoftwareEncoder(self._options),
            clock=self._clock,
            opener=self._open,
            sink=sink,
            on_state=on_state,
        )
        session.open()
        self._thread.start(session.run, on_state)
        self._encoder = session.encoder

    def stop(self) -> None:
        """Stop; see `FrameSource.stop`."""
        self._thread.stop()

    def force_keyframe(self) -> None:
        """Make the next frame a keyframe."""
        if self._encoder is not None:
            self._encoder.force_keyframe()

    def _open(self) -> VideoInput:
        return self._opener(self._device, self._options)


class _Session:
    """One run of the camera, from `start` to `stop`, over all its restarts."""

    def __init__(
        self,
        *,
        watch: Watch,
        encoder: SoftwareEncoder,
        clock: CaptureClock,
        opener: Callable[[], VideoInput],
        sink: FrameSink,
        on_state: StateListener,
    ) -> None:
        self.encoder = encoder
        self._watch = watch
        self._clock = clock
        self._opener = opener
        self._sink = sink
        self._on_state = on_state
        self._input: VideoInput | None = None
        self._shift_ns: int | None = None  # from the driver's clock to ours, found out by the first frame

    def open(self) -> None:
        """Open the device for the first time; an error here is the caller's."""
        self._watch.begin(self._clock.now_ns())
        self._input = self._opener()

    def run(self, stop: threading.Event) -> None:
        """Carry pictures until told to stop, whatever the camera does."""
        try:
            while not stop.is_set():
                try:
                    taken = None if self._input is None else self._input.read()
                except CaptureError as error:
                    self._do(self._watch.broke(self._clock.now_ns(), str(error)))
                    continue
                now_ns = self._clock.now_ns()
                if taken is not None:
                    self._picture(*taken, now_ns)
                else:
                    self._do(self._watch.tick(now_ns))
                    self._clock.wait_until(now_ns + _POLL_NS, stop)
            gap = self._watch.halt(self._clock.now_ns()).gap
            if gap is not None:
                self._sink.gap(gap)
        finally:
            self._close()

    def _picture(self, picture: "VideoFrame", driver_ns: int, now_ns: int) -> None:
        """Encode and deliver what the watch lets pass; any raw picture can become a keyframe."""
        if self._shift_ns is None:
            ours = -_CLOCK_AHEAD_NS < now_ns - driver_ns < _CLOCK_BEHIND_NS
            self._shift_ns = 0 if ours else now_ns - driver_ns
        pts_ns = driver_ns + self._shift_ns
        step = self._watch.picture(pts_ns, True, now_ns)
        if step.gap is not None:
            self._sink.gap(step.gap)
        if step.deliver:
            self._sink.frame(self.encoder.encode(picture, pts_ns))
        self._do(step)

    def _do(self, step: Step) -> None:
        if step.report is not None:
            self._on_state(step.report)
        if step.call is CameraCall.CLOSE:
            self._close()
        elif step.call is CameraCall.OPEN:
            self._reopen()

    def _reopen(self) -> None:
        self._shift_ns = None
        self.encoder.force_keyframe()
        try:
            self._input = self._opener()
        except CaptureError as error:
            self._do(self._watch.broke(self._clock.now_ns(), str(error)))

    def _close(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
