"""Instructions of one append to the ring, counted by valgrind's callgrind: a figure that no load disturbs.

    python -m bench.instructions --once APPENDS

A run of many appends less a run of few, so that the start of Python cancels out.
"""

import re
import shutil
import subprocess
import sys

from device.buffer.ring import Ring
from evidence.frames import EncodedFrame, Track

__all__ = ["append_instructions", "main"]

_FEW, _MANY = 300, 3_300
_FRAME_NS = 1_000_000_000 // 30
_GOP = 30
_WINDOW_NS = 5_000_000_000  # soon full, so that an append lets go of an old frame too
_COLLECTED = re.compile(r"Collected : (\d+)")


def append_instructions() -> float | None:
    """Return how many instructions an append takes; `None` where valgrind is not installed or does not run."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    few, many = (_collected(valgrind, count) for count in (_FEW, _MANY))
    return None if few is None or many is None else (many - few) / (_MANY - _FEW)


def _collected(valgrind: str, count: int) -> int | None:
    command = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable]
    command += ["-m", "bench.instructions", "--once", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = _COLLECTED.search(done.stderr)
    return int(found[1]) if done.returncode == 0 and found else None


def main() -> None:
    """Append so often."""
    count = int(sys.argv[-1])
    data = bytes(1000)
    ring = Ring(_WINDOW_NS)
    frames = [
        EncodedFrame(Track.VIDEO, data, number * _FRAME_NS, number * _FRAME_NS, _FRAME_NS, number % _GOP == 0)
        for number in range(_MANY)  # made in every run, so that they cancel out too
    ]
    for frame in frames[:count]:
        ring.frame(frame)


if __name__ == "__main__":
    main()
