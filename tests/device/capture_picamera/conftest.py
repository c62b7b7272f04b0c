"""A rig: the real `PicameraSource` on the real picamera2, on a stand-in camera and a clock moved by hand."""

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from device.capture import picamera_camera
from device.capture.pacing import ManualClock
from device.capture.picamera import PicameraSource
from device.capture.picamera_intake import Intake
from device.capture.source import SourceOptions, SourceState, StateKind
from device.capture.stall import WatchLimits
from evidence.frames import EncodedFrame, Span

NS_PER_S = 1_000_000_000
WAIT_S = 5.0


def _load(name: str) -> ModuleType:
    """Load a helper of this directory; `--import-mode=importlib` puts no directory on the path."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Sink:
    """Keeps what it is given; `calls` is the order of it."""

    def __init__(self) -> None:
        self.frames: list[EncodedFrame] = []
        self.gaps: list[Span] = []
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self._changed = threading.Condition()

    def frame(self, frame: EncodedFrame) -> None:
        with self._changed:
            self.frames.append(frame)
            self.calls.append("frame")
            self.threads.add(threading.current_thread().name)
            self._changed.notify_all()

    def gap(self, gap: Span) -> None:
        with self._changed:
            self.gaps.append(gap)
            self.calls.append("gap")

    def wait_frames(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.frames) >= count, WAIT_S), len(self.frames)


class States:
    """What a source says about itself."""

    def __init__(self) -> None:
        self.seen: list[SourceState] = []
        self._changed = threading.Condition()

    def __call__(self, state: SourceState) -> None:
        with self._changed:
            self.seen.append(state)
            self._changed.notify_all()

    @property
    def kinds(self) -> list[StateKind]:
        return [state.kind for state in self.seen]

    def wait(self, kind: StateKind, times: int = 1) -> SourceState:
        with self._changed:
            assert self._changed.wait_for(lambda: self.kinds.count(kind) >= times, WAIT_S), self.kinds
            return [state for state in self.seen if state.kind is kind][times - 1]


class CountingOpener:
    """Opens the camera as the source does, and counts the units that come out of its encoders."""

    def __init__(self) -> None:
        self.handled = 0
        self._changed = threading.Condition()

    def __call__(self, options: SourceOptions, intake: Intake) -> picamera_camera.PicameraRun:
        take = intake.take

        def counted(*unit: Any) -> None:
            take(*unit)
            with self._changed:
                self.handled += 1
                self._changed.notify_all()

        intake.take = counted  # type: ignore[method-assign, assignment]  # the encoder's thread is watched only
        return picamera_camera.open_picamera(options, intake)

    def wait_handled(self, units: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.handled >= units, WAIT_S), self.handled


class Rig:
    """A source with everything that a test moves by hand."""

    OPTIONS = SourceOptions(width=320, height=240, rate=Fraction(30), bitrate_bps=400_000)
    FRAME_NS = round(NS_PER_S / 30)
    HELD = picamera_camera._ENCODER_THREADS - 1  # frames that libav holds back

    def __init__(self, manager: Any, **arguments: Any) -> None:
        self.manager = manager
        self.camera = manager.cameras[0]
        self.clock = ManualClock()
        self.sink = Sink()
        self.states = States()
        self.boot_ahead_ns = 0  # by how much CLOCK_BOOTTIME is ahead
        self.sensor_times: list[int] = []  # on CLOCK_MONOTONIC
        self._opener = CountingOpener()
        arguments.setdefault("limits", WatchLimits())
        arguments.setdefault("open_camera", self._opener)
        self.source = PicameraSource(
            self.OPTIONS, clock=self.clock, suspended_ns=lambda: self.boot_ahead_ns, **arguments
        )

    def start(self) -> None:
        self.source.start(self.sink, self.states)

    def wait_started(self, starts: int = 1) -> None:
        assert self.camera.wait_started(starts), self.states.seen

    def expose(self, count: int = 1, *, sensor_ahead_ns: int = 0) -> None:
        """Let the camera deliver frames at its rate, each 12 ms old when it comes."""
        for _ in range(count):
            now_ns = self.clock.advance(self.FRAME_NS)
            sensor_ns = now_ns - 12_000_000
            self.sensor_times.append(sensor_ns)
            self.camera.deliver(sensor_ns + sensor_ahead_ns)

    def film(self, count: int, *, sensor_ahead_ns: int = 0) -> None:
        """Expose frames that are all handed on, and wait for them; libav holds the last ones back."""
        self.expose(count, sensor_ahead_ns=sensor_ahead_ns)
        self.sink.wait_frames(len(self.sensor_times) - self.HELD)

    def wait_handled(self, units: int) -> None:
        """Wait until the source has seen so many units, handed on or not."""
        self._opener.wait_handled(units)

    def pass_time(self, duration_ns: int) -> None:
        """Let time pass without a frame, as the source's own thread sees it."""
        assert self.clock.settle()
        self.clock.advance(duration_ns)


@pytest.fixture(scope="module")
def standin() -> Iterator[ModuleType]:
    """The stand-in libcamera and pykms in place, and picamera2 itself imported on top of them."""
    module = _load("libcamera_standin")
    _forget_picamera2()  # a bench in the same process imports parts of it without libcamera
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "libcamera", module.libcamera_module())
        patch.setitem(sys.modules, "pykms", module.pykms_module())
        import picamera2.picamera2

        patch.setattr(picamera2.picamera2, "DmaAllocator", module.MemoryAllocator)
        yield module
        _forget_picamera2()


def _forget_picamera2() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "picamera2"]:
        del sys.modules[name]


@pytest.fixture
def load_helper() -> Callable[[str], ModuleType]:
    return _load


@pytest.fixture
def manager(standin: ModuleType) -> Any:
    """A fresh stand-in camera manager with one camera."""
    from picamera2 import Picamera2

    standin.CameraManager._singleton = None
    Picamera2._cm._cms = None
    return standin.CameraManager.singleton()


@pytest.fixture
def make_rig(manager: Any) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**arguments: Any) -> Rig:
        rigs.append(Rig(manager, **arguments))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.source.stop()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()
