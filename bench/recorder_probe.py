"""One recorder in a process of its own: fills its ring, is pressed, goes on until it is killed or has stopped.

    python -m bench.recorder_probe KIND FOOTAGE FRAME_NS DIRECTORY TALLY full|kill

`TALLY` is a file of 64-bit integers that outlives a kill, because it is mapped: `Slot` and then how long each
call in the encoder's thread took. Started by `bench.recorders`.
"""

import enum
import mmap
import struct
import sys
import threading
import time
from pathlib import Path

from bench.footage import NS_PER_S, FrameStream, load_sound, load_units
from bench.recorder_kinds import KINDS, WINDOW_S, Recorder
from bench.rig import as_in_the_camera

__all__ = ["CALLS", "Slot", "Tally", "main"]

CALLS = 20_000
_HELD_S = WINDOW_S + 3
_BEFORE_PRESS_S = 1.0
_LEAST_S, _MOST_S = 3, WINDOW_S + 4
"""How long after the press a `full` run goes on: until all that was held is written."""


class Slot(enum.IntEnum):
    """Places in the tally; times are CLOCK_MONOTONIC, ns."""

    NEWEST_END = 0
    PRESS = 1
    WRITTEN = 2
    """When all that was taken before the press had been written; 0 if it never was."""
    FIRST = 3
    """Time of the first picture recorded."""
    STOP = 4
    CPU = 5
    """CPU of the process from the press on, up to the stop."""
    COUNT = 6
    FIRST_CALL = 7


class Tally:
    """Integers in a mapped file."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(bytes(8 * (Slot.FIRST_CALL + CALLS)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def __getitem__(self, slot: int) -> int:
        """Read."""
        return int(struct.unpack_from("<q", self._map, 8 * slot)[0])

    def __setitem__(self, slot: int, value: int) -> None:
        """Write."""
        struct.pack_into("<q", self._map, 8 * slot, value)

    def note_call(self, duration_ns: int) -> None:
        """Add how long a call took."""
        count = self[Slot.COUNT]
        if count < CALLS:
            self[Slot.FIRST_CALL + count] = duration_ns
            self[Slot.COUNT] = count + 1

    def calls_ns(self) -> list[int]:
        """Return how long the calls took."""
        return [self[Slot.FIRST_CALL + index] for index in range(self[Slot.COUNT])]


class _Encoder:
    """Hands frames to a recorder at their pace."""

    def __init__(self, recorder: Recorder, stream: FrameStream, tally: Tally, origin_ns: int) -> None:
        self._recorder = recorder
        self._stream = stream
        self._tally = tally
        self._origin_ns = origin_ns
        self._number = 0

    def put(self, *, timed: bool) -> None:
        """Hand over the next picture and its sound, all of which is over by now."""
        for frame in self._stream.frames(self._number, self._time_ns(self._number)):
            before_ns = time.perf_counter_ns()
            self._recorder.frame(frame)
            if timed:
                self._tally.note_call(time.perf_counter_ns() - before_ns)
        self._number += 1
        self._tally[Slot.NEWEST_END] = self._time_ns(self._number)

    def run(self, seconds: float) -> None:
        """Go on at the real pace, and watch what is written."""
        until_ns = time.monotonic_ns() + int(seconds * NS_PER_S)
        while (due_ns := self._time_ns(self._number + 1)) < until_ns:
            time.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
            self.put(timed=self._tally[Slot.PRESS] > 0)
            if self._tally[Slot.PRESS]:
                self._look()

    def _look(self) -> None:
        first_ns, end_ns = self._recorder.span()
        self._tally[Slot.FIRST] = first_ns
        if not self._tally[Slot.WRITTEN] and end_ns >= self._tally[Slot.PRESS] - self._stream.frame_ns:
            self._tally[Slot.WRITTEN] = time.monotonic_ns()

    def _time_ns(self, number: int) -> int:
        return self._origin_ns + number * self._stream.frame_ns


def main() -> None:
    """Run one recorder."""
    kind, footage, frame_ns, directory, path, mode = sys.argv[1:]
    tally = Tally(Path(path))
    units, sound = load_units(Path(footage)), load_sound(Path(footage))
    stream = FrameStream(units, int(frame_ns), sound)
    origin_ns = time.monotonic_ns() - _HELD_S * NS_PER_S
    recorder = KINDS[kind](Path(directory), origin_ns, stream.frame_ns)
    encoder = _Encoder(recorder, stream, tally, origin_ns)
    with as_in_the_camera():
        _record(recorder, encoder, tally, stream.frame_ns, mode)


def _record(recorder: Recorder, encoder: _Encoder, tally: Tally, frame_ns: int, mode: str) -> None:
    for _ in range(_HELD_S * NS_PER_S // frame_ns):
        encoder.put(timed=False)
    encoder.run(_BEFORE_PRESS_S)
    cpu_ns = time.process_time_ns()
    press_ns = time.monotonic_ns()
    tally[Slot.PRESS] = press_ns
    button = threading.Thread(target=recorder.press, args=(press_ns,))
    button.start()
    encoder.run(_LEAST_S)
    button.join()
    while mode == "kill" or (not tally[Slot.WRITTEN] and time.monotonic_ns() < press_ns + _MOST_S * NS_PER_S):
        encoder.run(1)
    stop_ns = tally[Slot.NEWEST_END]
    tally[Slot.CPU] = time.process_time_ns() - cpu_ns
    recorder.stop(stop_ns)
    tally[Slot.STOP] = stop_ns


if __name__ == "__main__":
    main()
