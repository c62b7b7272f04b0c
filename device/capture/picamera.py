"""The `picamera` source: the Pi's own camera, watched, and opened again when it stalls.

Everything slow or fallible happens in one thread of this source: importing picamera2, opening, closing,
waiting. The encoder's thread only appends (`picamera_intake`). A camera that is absent, in use or broken is no
error of `start`: the source says so (`StateKind.FAILED`, with the line of the error) and keeps trying, so that
a device without a camera can still show its fault and serve its dock.
"""

import functools
import gc
import logging
import queue
import threading
from collections.abc import Callable

from device.capture.pacing import CaptureClock, MonotonicClock
from device.capture.picamera_bounded import call_bounded
from device.capture.picamera_camera import CameraRun, import_picamera2, open_picamera
from device.capture.picamera_clock import SensorClock, SensorTimebase, measure_suspended_ns
from device.capture.picamera_intake import Intake, IntakeCounts
from device.capture.source import (
    CaptureError,
    FrameSink,
    SourceOptions,
    SourceState,
    StateListener,
)
from device.capture.stall import CameraCall, Step, Watch, WatchLimits
from evidence.frames import VideoFormat

__all__ = ["PicameraSource"]

_LOG = logging.getLogger(__name__)
_NS_PER_S = 1_000_000_000
_CLOCK_CHECK_NS = _NS_PER_S
_OPEN_LIMIT_S = 60.0  # the import alone takes seconds from a slow card
_CLOSE_LIMIT_S = 10.0
_LIMITS = WatchLimits(start_ns=8 * _NS_PER_S)  # configuring sensor and encoder counts as starting

OpenCamera = Callable[[SourceOptions, Intake], CameraRun]


class PicameraSource:
    """The Pi's camera as a `FrameSource`.

    `limits` holds the stall limit and the back-off. `clock`, `prepare` (what is slow and needs no camera),
    `open_camera` and `suspended_ns` (CLOCK_BOOTTIME minus CLOCK_MONOTONIC) are what tests replace.
    """

    def __init__(
        self,
        options: SourceOptions | None = None,
        *,
        limits: WatchLimits | None = None,
        clock: CaptureClock | None = None,
        prepare: Callable[[], object] = import_picamera2,
        open_camera: OpenCamera = open_picamera,
        suspended_ns: Callable[[], int] = measure_suspended_ns,
    ) -> None:
        self._options = options or SourceOptions()
        self._limits = limits or _LIMITS
        self._clock = clock or MonotonicClock()
        self._prepare = prepare
        self._open_camera = open_camera
        self._sensor = SensorClock(suspended_ns)
        self._frame_ns = round(_NS_PER_S / self._options.rate)
        self._watch = Watch(self._frame_ns, self._limits)
        self._lock = threading.Lock()  # guards the watch
        self._reports: queue.SimpleQueue[SourceState] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._run: CameraRun | None = None
        self._intake: Intake | None = None
        self._format: VideoFormat | None = None
        self._timebase: SensorTimebase | None = None

    @property
    def name(self) -> str:
        """What a person calls this source."""
        return "picamera"

    @property
    def nominal_format(self) -> VideoFormat | None:
        """What the camera agreed to deliver; `None` before it was opened for the first time."""
        intake = self._intake
        return self._format if intake is None else intake.nominal_format or self._format

    @property
    def encoder_name(self) -> str | None:
        """Which encoder is in use, in words; `None` while the camera is closed."""
        run = self._run
        return None if run is None else run.encoder_name

    @property
    def restarts(self) -> int:
        """How often the camera was opened again since this source was made."""
        return self._watch.restarts

    def start(self, sink: FrameSink, on_state: StateListener) -> None:
        """Let frames flow as soon as there is a camera; returns at once.

        Raises:
            CaptureError: it runs already.
        """
        if self._thread is not None:
            raise CaptureError(
                "the camera runs already", expected="one start, then stop", found="a second start"
            )
        self._stopping = False
        self._wake.clear()
        self._thread = threading.Thread(
            target=self._supervise, args=(sink, on_state), name="picamera", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the camera, every frame handed over before; more than once is harmless."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping = True
            self._wake.set()
            thread.join()

    def force_keyframe(self) -> None:
        """Ask for a keyframe with the next frame."""
        run = self._run
        if run is not None:
            run.force_keyframe()

    def _supervise(self, sink: FrameSink, on_state: StateListener) -> None:
        try:
            self._prepare()  # before the watch begins to count: the import takes longer than a camera may
        except CaptureError as error:
            _LOG.info("%s", error)  # opening fails in the same way and reports it
        with self._lock:
            step = self._watch.begin(self._clock.now_ns())
        while True:
            self._act(step, sink)
            self._wake.clear()
            self._deliver_reports(on_state)
            if self._stopping:
                break
            self._clock.wait_until(self._next_look_ns(), self._wake)
            self._look_at_clocks()
            with self._lock:
                step = self._watch.tick(self._clock.now_ns())
        self._close()
        with self._lock:
            step = self._watch.halt(self._clock.now_ns())
        if step.gap is not None:
            sink.gap(step.gap)
        self._report(step.report)
        self._deliver_reports(on_state)

    def _act(self, step: Step, sink: FrameSink) -> None:
        """Do what the watch says; a camera that fails to open is told to the watch, which then says more."""
        self._report(step.report)
        if step.call is CameraCall.CLOSE:
            self._close()
        elif step.call is CameraCall.OPEN:
            try:
                self._open(sink)
            except CaptureError as error:
                self._shut()
                with self._lock:
                    failed = self._watch.broke(self._clock.now_ns(), str(error))
                self._report(failed.report)

    def _open(self, sink: FrameSink) -> None:
        intake = Intake(
            self._watch,
            self._lock,
            sink,
            frame_ns=self._frame_ns,
            clock=self._clock,
            sensor=self._sensor,
            report=self._report,
        )
        self._intake = intake
        self._run = call_bounded(
            functools.partial(self._open_camera, self._options, intake),
            name="opening the camera",
            limit_s=_OPEN_LIMIT_S,
            late=lambda run: run.close(),
        )

    def _close(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            try:
                call_bounded(
                    run.close,
                    name="closing the camera",
                    limit_s=_CLOSE_LIMIT_S,
                    late=lambda _: None,
                )
            except CaptureError as error:
                _LOG.error("%s", error)
        del run
        self._shut()

    def _shut(self) -> None:
        intake = self._intake
        if intake is not None:
            intake.shut()
            self._format = intake.nominal_format or self._format
            self._intake = None
            _log_counts(intake.counts)
        del intake  # it knows the camera
        # picamera2 leaves a camera's descriptors and buffers in reference cycles. A camera that is opened again
        # must not wait until they are found: contiguous memory is scarce on a Pi. No frame can be lost now.
        gc.collect()

    def _next_look_ns(self) -> int:
        now_ns = self._clock.now_ns()
        with self._lock:
            due_ns = self._watch.due_ns
        check_ns = now_ns + _CLOCK_CHECK_NS
        return check_ns if due_ns is None else min(due_ns, check_ns)

    def _look_at_clocks(self) -> None:
        self._sensor.measure_again()
        timebase = self._sensor.timebase
        if timebase is not self._timebase:
            level = logging.WARNING if timebase is SensorTimebase.UNKNOWN else logging.INFO
            _LOG.log(level, "the sensor's times are read from: %s", timebase)
            self._timebase = timebase

    def _report(self, state: SourceState | None) -> None:
        """Leave a state for this source's own thread to tell; called from the encoder's thread too."""
        if state is not None:
            self._reports.put(state)
            self._wake.set()

    def _deliver_reports(self, on_state: StateListener) -> None:
        while True:
            try:
                state = self._reports.get_nowait()
            except queue.Empty:
                return
            on_state(state)


def _log_counts(counts: IntakeCounts) -> None:
    level = logging.WARNING if counts.truncated or counts.unusable or counts.late else logging.INFO
    _LOG.log(
        level,
        "camera run: %d frames, %d truncated, %d unusable, %d after it was closed",
        counts.delivered,
        counts.truncated,
        counts.unusable,
        counts.late,
    )
