"""The Pi's camera source opened and closed again and again in one process.

`python -m hil_tests.camera.cycles N` prints a line of JSON for each cycle: frames, time from the first to the
last, what the process uses after it was closed.
"""

import ctypes
import json
import sys
import threading
import time
from fractions import Fraction

import msgspec

from device.capture.picamera import PicameraSource
from device.capture.source import SourceOptions, SourceState
from evidence.frames import EncodedFrame, Span
from hil_tests.camera.offpi import put_in_place
from hil_tests.camera.usage import read_usage

_FRAMES = 20
_PATIENCE_S = 60.0
_SETTLE_S = 0.5  # the last threads of libav and picamera2 end by themselves, and their memory with them


class _Counter:
    """Counts frames of one cycle, and knows when there are enough."""

    def __init__(self) -> None:
        self.times_ns: list[int] = []
        self.gaps: list[Span] = []
        self.states: list[str] = []
        self.enough = threading.Event()

    def frame(self, frame: EncodedFrame) -> None:
        self.times_ns.append(frame.pts_ns)
        if len(self.times_ns) >= _FRAMES:
            self.enough.set()

    def gap(self, gap: Span) -> None:
        self.gaps.append(gap)

    def state(self, state: SourceState) -> None:
        self.states.append(f"{state.kind} {state.detail}".strip())


def _cycle(source: PicameraSource) -> dict[str, object]:
    counter = _Counter()
    source.start(counter, counter.state)
    came = counter.enough.wait(_PATIENCE_S)
    source.stop()
    time.sleep(_SETTLE_S)
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps for the next time is no leak
    return {
        "came": came,
        "times_ns": counter.times_ns,
        "gaps": len(counter.gaps),
        "states": counter.states,
        **msgspec.to_builtins(read_usage()),
    }


def _main(cycles: int) -> None:
    put_in_place()
    source = PicameraSource(SourceOptions(width=640, height=480, rate=Fraction(30), bitrate_bps=800_000))
    for _ in range(cycles):
        sys.stdout.write(json.dumps(_cycle(source)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(int(sys.argv[1]))
