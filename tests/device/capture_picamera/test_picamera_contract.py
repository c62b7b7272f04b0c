"""The contract of all frame sources, held against the `picamera` source: same tests, another way of driving.

The camera delivers a frame for every step of the clock, which therefore moves a frame at a time. Left out is
the sink that raises: picamera2's event loop dies of that, which ends in a restart and not in the source's end.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest

from device.capture import picamera_camera
from device.capture.pacing import ManualClock
from device.capture.picamera import PicameraSource
from device.capture.source import FrameSource, SourceOptions
from tests.device.capture import conftest as shared
from tests.device.capture import test_source_contract as contract
from tests.device.capture_picamera.conftest import CountingOpener

# picamera2's threads are still made the way of Python 3.9.
pytestmark = pytest.mark.filterwarnings(r"ignore:setDaemon\(\) is deprecated:DeprecationWarning:picamera2")

FRAME_NS = 40_000_000
OPTIONS = SourceOptions(width=320, height=180, rate=Fraction(25), bitrate_bps=400_000)

decode = shared.decode
test_frames = contract.test_frames_are_decodable_ordered_and_contiguous
test_not_early = contract.test_nothing_comes_before_its_time
test_states = contract.test_states_tell_running_and_ended_and_stop_may_be_repeated
test_second_start = contract.test_a_second_start_is_refused_and_the_first_goes_on
test_again = contract.test_a_stopped_source_starts_again_with_a_keyframe_and_later_times


class Driven:
    """A `picamera` source whose stand-in camera follows a clock that the test moves."""

    def __init__(self, manager: Any, make: Callable[[ManualClock, CountingOpener], FrameSource]) -> None:
        self.clock = ManualClock()
        self.sink = shared.KeepingSink(self.clock)
        self._opener = CountingOpener()
        self.source = make(self.clock, self._opener)
        self._camera = manager.cameras[0]
        self._starts = 0
        self._exposed = 0
        self._due_ns = 0

    def start(self) -> None:
        self.source.start(self.sink, self.sink.states.append)
        self._due_ns = max(self.clock.now_ns(), self._due_ns)
        self._starts += 1
        assert self._camera.wait_started(self._starts)

    def run(self, duration_ns: int) -> None:
        end_ns = self.clock.now_ns() + duration_ns
        while self._due_ns <= end_ns:
            self.clock.advance(self._due_ns - self.clock.now_ns())
            self._camera.deliver(self._due_ns)
            self._exposed += 1
            self._due_ns += FRAME_NS
            self._opener.wait_handled(self._exposed)
        self.clock.advance(end_ns - self.clock.now_ns())


@pytest.fixture
def any_source(monkeypatch: pytest.MonkeyPatch) -> Callable[[ManualClock, CountingOpener], FrameSource]:
    monkeypatch.setattr(picamera_camera, "_ENCODER_THREADS", 1)  # so that libav holds no frame back
    return lambda clock, opener: PicameraSource(
        OPTIONS, clock=clock, open_camera=opener, suspended_ns=lambda: 0
    )


@pytest.fixture
def drive(manager: Any) -> Iterator[Callable[..., Driven]]:
    made: list[Driven] = []

    def make(factory: Callable[[ManualClock, CountingOpener], FrameSource]) -> Driven:
        made.append(Driven(manager, factory))
        return made[-1]

    yield make
    for driven in made:
        driven.source.stop()
