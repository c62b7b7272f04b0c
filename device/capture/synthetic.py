"""A camera made of arithmetic: every frame shows its number and its time, for people and for tests."""

import itertools
import threading
from collections.abc import Iterator

from device.capture.drawing import SyntheticPicture
from device.capture.encoder import SoftwareEncoder
from device.capture.pacing import CaptureClock, MonotonicClock
from device.capture.source import FrameSink, SourceOptions, SourceState, StateKind, StateListener
from device.capture.stamp import FrameStamp
from device.capture.worker import SourceThread
from evidence.frames import VideoFormat

__all__ = ["SyntheticSource"]

_NS_PER_S = 1_000_000_000


class SyntheticSource:
    """Draws and encodes frames at the instants of an exact rate, as a `FrameSource`.

    Numbers go on over a restart: no two frames of one source show the same. A machine too slow for the rate
    gets behind but never skips a frame. On a `ManualClock` it runs as fast as the encoder does.
    """

    def __init__(self, options: SourceOptions, *, clock: CaptureClock | None = None) -> None:
        self._options = options
        self._clock = clock or MonotonicClock()
        self._thread = SourceThread(self.name, self._clock)
        self._encoder: SoftwareEncoder | None = None
        self._next_number = 0

    @property
    def name(self) -> str:
        """Always `synthetic`."""
        return "synthetic"

    @property
    def nominal_format(self) -> VideoFormat:
        """As asked for."""
        return VideoFormat(self._options.width, self._options.height, self._options.rate)

    def start(self, sink: FrameSink, on_state: StateListener) -> None:
        """Let frames flow; the first is stamped with the time of this call.

        Raises:
            CaptureError: the encoder does not open, or the source runs already.
        """
        encoder = SoftwareEncoder(self._options)
        picture = SyntheticPicture(self._options.width, self._options.height, self._options.noise)
        start_ns = self._clock.now_ns()

        def body(stop: threading.Event) -> None:
            for count, pts_ns in enumerate(self._instants(start_ns)):
                if not self._clock.wait_until(pts_ns, stop):
                    return
                sink.frame(encoder.encode(picture.draw(FrameStamp(self._next_number, pts_ns)), pts_ns))
                self._next_number += 1
                if count == 0:
                    on_state(SourceState(StateKind.RUNNING, "", pts_ns))

        self._thread.start(body, on_state)
        self._encoder = encoder

    def stop(self) -> None:
        """Stop; see `FrameSource.stop`."""
        self._thread.stop()

    def force_keyframe(self) -> None:
        """Make the next frame a keyframe."""
        if self._encoder is not None:
            self._encoder.force_keyframe()

    def _instants(self, start_ns: int) -> Iterator[int]:
        """Give the instants of all frames, each rounded from the exact rate, so that no error adds up."""
        rate = self._options.rate
        for count in itertools.count():
            yield start_ns + count * _NS_PER_S * rate.denominator // rate.numerator
