"""What the tests of the sound side share."""

import threading
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from device.capture.sound.microphone import SAMPLE_RATE, time_of

S = 1_000_000_000
_CLICK_LEVEL = 15_000


class JumpClock:
    """A clock that is always as late as somebody wants to wait: an hour passes in seconds."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def wait_until(self, instant_ns: int, stop: threading.Event) -> bool:
        self._now_ns = max(self._now_ns, instant_ns)
        return not stop.is_set()


@pytest.fixture
def clock() -> JumpClock:
    return JumpClock(7_000 * S + 123_456_789)


@pytest.fixture
def find_clicks() -> Callable[[int, bytes], list[int]]:
    """Times in ns at which a click begins, in PCM whose first sample has this number on the grid."""

    def found(first_index: int, pcm: bytes) -> list[int]:
        samples = array("h", pcm)
        starts = []
        position = 0
        while position < len(samples):
            if abs(samples[position]) > _CLICK_LEVEL:
                starts.append(time_of(first_index + position))
                position += SAMPLE_RATE // 100  # the rest of the click
            position += 1
        return starts

    return found


@pytest.fixture
def sound_file(tmp_path: Path) -> Path:
    """Two seconds of lossless sound at 44.1 kHz, stereo, with a click at 0.5 s and at 1.5 s."""
    path = tmp_path / "sound.mkv"
    rate = 44_100
    samples = array("h", bytes(2 * rate * 2 * 2))
    for second in (0.5, 1.5):
        start = int(second * rate) * 2
        samples[start : start + 60] = array("h", [28_000] * 60)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=rate)
        stream.layout = "stereo"
        frame = av.AudioFrame(format="s16", layout="stereo", samples=2 * rate)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path
