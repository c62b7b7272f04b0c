"""Holds the last seconds of a file, and prints the memory that it took as JSON.

    python -m bench.memory_probe camera|deque device.toml FOOTAGE SECONDS

Started by `bench.memory`.
"""

import json
import sys
import threading
import time
from collections import deque
from pathlib import Path

__all__ = ["main"]

_NS_PER_S = 1_000_000_000
_AHEAD_S = 120  # footage that goes through the ring at once, as if the camera had run for so long
_KIB = 1024


def main() -> None:
    """Measure, and print."""
    kind, config, footage, seconds = sys.argv[1:]
    found = _camera(Path(config)) if kind == "camera" else _deque(Path(footage), float(seconds))
    print(json.dumps(found))


def _camera(config: Path) -> dict[str, int]:
    from device.capture.pacing import MonotonicClock  # noqa: PLC0415  # the deque's process is to be bare
    from device.capture.replay import ReplaySource  # noqa: PLC0415  # as above
    from device.config import load_config  # noqa: PLC0415  # as above
    from device.controls.bench_board import BenchBoard  # noqa: PLC0415  # as above
    from device.service import DeviceService, ServiceParts  # noqa: PLC0415  # as above

    class StartedEarlier(MonotonicClock):
        """Lets a source start in the past: it catches up at once and then keeps the real pace."""

        started = False

        def now_ns(self) -> int:
            ahead_ns = 0 if self.started else _AHEAD_S * _NS_PER_S
            self.started = True
            return super().now_ns() - ahead_ns

    loaded = load_config(config)
    board = BenchBoard(loaded.controls)
    source = ReplaySource(loaded.source.target, loaded.source_options, clock=StartedEarlier())
    begin_ns = time.monotonic_ns()
    service = DeviceService(loaded, config.parent, ServiceParts(factory=board.factory, source=source))
    thread = threading.Thread(target=service.run)
    thread.start()
    pause = threading.Event()
    while (service.ring.stats().newest_pts_ns or 0) < begin_ns:
        pause.wait(0.1)
    pause.wait(1.0)  # live pace again
    found = {"held": service.ring.stats().held_bytes, **_memory()}
    service.stop("measured")
    thread.join()
    board.close()
    return found


def _deque(footage: Path, seconds: float) -> dict[str, int]:
    import av  # noqa: PLC0415  # counted as what was there before

    assert av.__version__
    before = _memory()["rss"]
    with av.open(str(footage)) as container:
        rate = container.streams.video[0].average_rate or 30
    ring: deque[tuple[bytes, bool, int]] = deque(maxlen=round(seconds * rate))
    for _ in range(int(_AHEAD_S // 10)):
        with av.open(str(footage)) as container:
            for packet in container.demux(video=0):
                if packet.size:
                    ring.append((bytes(packet), packet.is_keyframe, packet.pts or 0))
    return {"held": sum(len(data) for data, _, _ in ring), "before": before, **_memory()}


def _memory() -> dict[str, int]:
    """Return resident set and its highest, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    values = {key: value for key, _, value in (line.partition(":") for line in lines)}
    return {name: int(values[key].split()[0]) * _KIB for name, key in (("rss", "VmRSS"), ("peak", "VmHWM"))}


if __name__ == "__main__":
    main()
