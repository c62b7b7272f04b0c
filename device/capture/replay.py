"""A camera made of a file: H.264 as it is, anything else encoded, looped with times that go on."""

import contextlib
import itertools
import threading
from collections.abc import Generator
from pathlib import Path

import msgspec

from device.capture.encoder import SoftwareEncoder
from device.capture.footage import access_units, pictures, survey
from device.capture.pacing import CaptureClock, MonotonicClock
from device.capture.source import CaptureError, FrameSink, SourceOptions, SourceState, StateKind, StateListener
from device.capture.worker import SourceThread
from evidence.frames import EncodedFrame, Track, VideoFormat

__all__ = ["ReplaySource"]


class ReplaySource:
    """Plays a file over and over at its own pace, as a `FrameSource`.

    Times are exact: the start plus the time in the file plus whole loops, so that the first picture of a loop
    comes one frame duration after the last of the loop before. A frame is handed over when its presentation
    time has come, reordered frames together with the one they waited for, as a camera that reorders would.

    The sound of the file belongs at `start_ns + n * loop_period_ns + t - media_origin_ns`, with `t` its own
    time in the file and `n` the loops gone by.

    Raises:
        CaptureError: the file cannot be replayed (see `device.capture.footage.survey`).
    """

    def __init__(
        self, path: str | Path, options: SourceOptions | None = None, *, clock: CaptureClock | None = None
    ) -> None:
        self._footage = survey(Path(path))
        self._options = options or SourceOptions()
        self._clock = clock or MonotonicClock()
        self._thread = SourceThread(self.name, self._clock)
        self._start_ns: int | None = None
        self._encoder: SoftwareEncoder | None = None

    @property
    def name(self) -> str:
        """`replay:` and the name of the file."""
        return f"replay:{self._footage.path.name}"

    @property
    def path(self) -> Path:
        """The file."""
        return self._footage.path

    @property
    def nominal_format(self) -> VideoFormat:
        """Size and rate as the file has them, even where it is encoded again."""
        return self._footage.nominal_format

    @property
    def has_sound(self) -> bool:
        """Whether the file has a sound track."""
        return self._footage.has_sound

    @property
    def passthrough(self) -> bool:
        """Whether the access units of the file go out as they are."""
        return self._footage.passthrough

    @property
    def loop_period_ns(self) -> int:
        """How long one loop lasts."""
        return self._footage.period_ns

    @property
    def media_origin_ns(self) -> int:
        """Time in the file of the first picture, which is the one at `start_ns`."""
        return self._footage.duration_ns(self._footage.origin)

    @property
    def start_ns(self) -> int | None:
        """When the first picture of this run was, on the clock; `None` before the first `start`."""
        return self._start_ns

    def start(self, sink: FrameSink, on_state: StateListener) -> None:
        """Let frames flow from the beginning of the file; the first is stamped with the time of this call.

        Raises:
            CaptureError: the encoder does not open, or the source runs already.
        """
        start_ns = self._clock.now_ns()
        if self._footage.passthrough:
            frames = self._passed(start_ns)
        else:
            self._encoder = SoftwareEncoder(self._encoder_options())
            frames = self._encoded(self._encoder, start_ns)

        def body(stop: threading.Event) -> None:
            latest_ns = start_ns
            with contextlib.closing(frames):
                for count, frame in enumerate(frames):
                    latest_ns = max(latest_ns, frame.pts_ns)
                    if not self._clock.wait_until(latest_ns, stop):
                        return
                    sink.frame(frame)
                    if count == 0:
                        on_state(SourceState(StateKind.RUNNING, "", frame.pts_ns))

        self._thread.start(body, on_state)
        self._start_ns = start_ns

    def stop(self) -> None:
        """Stop; see `FrameSource.stop`."""
        self._thread.stop()

    def force_keyframe(self) -> None:
        """Make the next frame a keyframe where the file is encoded again; else ignored."""
        if self._encoder is not None:
            self._encoder.force_keyframe()

    def _passed(self, start_ns: int) -> Generator[EncodedFrame]:
        """Give the file's own access units for ever."""
        footage = self._footage
        for loop in itertools.count():
            zero_ns = start_ns + loop * footage.period_ns
            for unit in access_units(footage.path):
                if unit.pts is None or unit.dts is None:
                    raise CaptureError(f"{footage.path} changed while it was replayed", expected="time stamps")
                pts_ns, dts_ns = zero_ns + footage.media_ns(unit.pts), zero_ns + footage.media_ns(unit.dts)
                yield EncodedFrame(Track.VIDEO, unit.data, pts_ns, dts_ns, footage.frame_ns, unit.idr)

    def _encoded(self, encoder: SoftwareEncoder, start_ns: int) -> Generator[EncodedFrame]:
        """Decode and encode the file for ever."""
        footage = self._footage
        last_ns = start_ns - footage.frame_ns
        for loop in itertools.count():
            zero_ns = start_ns + loop * footage.period_ns
            for count, picture in enumerate(pictures(footage.path)):
                if footage.stamped and picture.pts is not None:
                    media_ns = footage.media_ns(picture.pts)
                else:
                    media_ns = count * footage.frame_ns
                if not 0 <= media_ns < footage.period_ns or zero_ns + media_ns <= last_ns:
                    continue  # in front of the first keyframe, or stamped as one that went out already
                last_ns = zero_ns + media_ns
                yield encoder.encode(picture, last_ns)

    def _encoder_options(self) -> SourceOptions:
        """Return options with the size (made even, as 4:2:0 needs it) and rate of the file."""
        picture = self._footage.nominal_format
        width, height = picture.width + picture.width % 2, picture.height + picture.height % 2
        return msgspec.structs.replace(self._options, width=width, height=height, rate=picture.rate, canary=b"")
