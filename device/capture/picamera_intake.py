"""What happens to an access unit in the encoder's thread: judged by the watch, stamped, appended. Nothing else.

The encoder holds its lock meanwhile, so a slow intake stalls the camera. Reports and closing are left to the
source's own thread; only a truncated unit asks the encoder for a keyframe from here, because it must be at once
and picamera2's `force_key_frame` does no more than count.
"""

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from device.capture.pacing import CaptureClock
from device.capture.picamera_clock import SensorClock
from device.capture.picamera_h264 import UnitFormatter
from device.capture.source import CaptureError, FrameSink, SourceState
from device.capture.stall import CameraCall, Watch
from evidence.frames import EncodedFrame, Track, VideoFormat

__all__ = ["HARDWARE_BUFFER_BYTES", "EncoderFacts", "Intake", "IntakeCounts"]

HARDWARE_BUFFER_BYTES = 512 << 10
"""Size of one output buffer of picamera2's V4L2 encoder: a unit that fills it has lost its end."""

_NS_PER_US = 1_000


class EncoderFacts(msgspec.Struct, frozen=True):
    """What an intake asks of the encoder: the sensor's time of its first frame in microseconds, and a keyframe.

    `buffer_bytes` is the size at which a unit counts as truncated, 0 for an encoder without such buffers.
    """

    first_us: Callable[[], int | None]
    force_keyframe: Callable[[], None]
    buffer_bytes: int
    nominal_format: VideoFormat


class IntakeCounts(msgspec.Struct):
    """What one camera run handed over, and what it didn't."""

    delivered: int = 0
    truncated: int = 0
    unusable: int = 0  # a keyframe without SPS and PPS or without an IDR picture, or no H.264
    late: int = 0  # after the camera was closed


class Intake:
    """Takes the access units of one camera run.

    `lock` guards the watch, which the source's own thread uses as well. After `shut` nothing is handed over,
    even by an encoder that did not stop when told.
    """

    def __init__(
        self,
        watch: Watch,
        lock: threading.Lock,
        sink: FrameSink,
        *,
        frame_ns: int,
        clock: CaptureClock,
        sensor: SensorClock,
        report: Callable[[SourceState], None],
    ) -> None:
        self.counts = IntakeCounts()
        self._watch = watch
        self._lock = lock
        self._sink = sink
        self._frame_ns = frame_ns
        self._clock = clock
        self._sensor = sensor
        self._report = report
        self._facts: EncoderFacts | None = None
        self._formatter: UnitFormatter | None = None
        self._first_ns = 0
        self._open = True

    def connect(self, facts: EncoderFacts) -> None:
        """Say which encoder the units come from; before its first unit."""
        self._facts = facts

    @property
    def nominal_format(self) -> VideoFormat | None:
        """What the camera agreed to deliver; `None` before it is connected."""
        return None if self._facts is None else self._facts.nominal_format

    def shut(self) -> None:
        """Hand nothing over from now on."""
        with self._lock:
            self._open = False

    def take(self, data: bytes, keyframe: bool, timestamp_us: int | None, packet: Any = None) -> None:
        """Take one access unit; `timestamp_us` counts from the encoder's first frame.

        libav hands its packet as well. It is asked for its stream's SPS and PPS at the first unit and never
        kept: its bytes are `data`, and holding both costs 1.8 times the memory.
        """
        facts = self._facts
        assert facts is not None, "connected before the encoder starts"
        with self._lock:
            if not self._open:
                self.counts.late += 1
                return
            now_ns = self._clock.now_ns()
            unit = self._form(facts, data, keyframe, packet, now_ns)
            if unit is not None and timestamp_us is not None:
                self._hand_over(unit, keyframe, self._first_ns + timestamp_us * _NS_PER_US, now_ns)
                return
            call = self._watch.truncated(now_ns).call
        if call is CameraCall.FORCE_KEYFRAME:
            facts.force_keyframe()

    def _form(self, facts: EncoderFacts, data: bytes, keyframe: bool, packet: Any, now_ns: int) -> bytes | None:
        """Return the unit as the ring wants it, or `None`: nothing can be decoded up to the next keyframe."""
        if facts.buffer_bytes and len(data) >= facts.buffer_bytes:
            self.counts.truncated += 1
            return None
        try:
            formatter = self._formatter or self._begin(facts, packet, now_ns)
            unit = formatter.keyframe(data) if keyframe else formatter.picture(data)
        except CaptureError:
            unit = None
        self.counts.unusable += unit is None
        return unit

    def _begin(self, facts: EncoderFacts, packet: Any, now_ns: int) -> UnitFormatter:
        """Prepare for a run at its first unit: the form of its units, the clock of its times."""
        first_us = facts.first_us()
        if first_us is None:
            raise CaptureError("a unit before the first frame", expected="encoder.firsttimestamp", found="None")
        self._formatter = UnitFormatter(bytes(packet.stream.codec_context.extradata or b"") if packet else b"")
        self._first_ns = first_us * _NS_PER_US
        self._sensor.anchor(self._first_ns, now_ns)
        return self._formatter

    def _hand_over(self, unit: bytes, keyframe: bool, sensor_ns: int, now_ns: int) -> None:
        pts_ns = self._sensor.to_monotonic(sensor_ns)
        step = self._watch.picture(pts_ns, keyframe, now_ns)
        if step.gap is not None:
            self._sink.gap(step.gap)
        if step.deliver:
            self.counts.delivered += 1
            self._sink.frame(EncodedFrame(Track.VIDEO, unit, pts_ns, pts_ns, self._frame_ns, keyframe))
        if step.report is not None:
            self._report(step.report)
