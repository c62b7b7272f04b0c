"""Runs `preroll device run` and prints, as JSON, what it had cost when the first frame was in the ring.

    python -m bench.start_probe device.toml

Started by `bench.start`; ends itself with SIGTERM as soon as it has printed.
"""

import os
import signal
import sys
import threading
import time

from device.buffer.ring import Ring
from evidence.frames import EncodedFrame

__all__ = ["main"]


def main() -> None:
    """Watch the ring, and run the command."""
    append = Ring.frame

    def watched(ring: Ring, frame: EncodedFrame) -> None:
        append(ring, frame)
        if Ring.frame is watched:
            Ring.frame = append  # type: ignore[method-assign]  # the first one is what counts
            cpu_s, wall_s, modules = time.process_time(), _since_start_s(), sorted(sys.modules)
            import json  # noqa: PLC0415  # the probe's own need is not to be counted

            print(json.dumps({"cpu_s": cpu_s, "wall_s": wall_s, "modules": modules}), flush=True)
            threading.Thread(target=_end).start()

    Ring.frame = watched  # type: ignore[method-assign,assignment]  # as above
    from preroll.cli import main as run  # noqa: PLC0415  # after the watch is set

    sys.argv = ["preroll", "device", "run", "--config", sys.argv[1]]
    run()


def _end() -> None:
    """Ask the camera to end, once it listens."""
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)


def _since_start_s() -> float:
    """Return wall time since this process was started, to a hundredth of a second."""
    with open("/proc/self/stat", encoding="ascii") as stat:  # noqa: PTH123  # pathlib is not to be counted either
        started = int(stat.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
