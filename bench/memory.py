"""Memory of the whole camera while it holds its seconds, beside a plain deque of the same frames."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import Goal, Section, Table, spread
from bench.rig import CONFIG, compiled, write_keys

__all__ = ["memory_bench", "memory_once"]

_MIB = 1024 * 1024
_GOAL_RING = 1.1
_GOAL_PROCESS_MB = 110
_ROWS = (("camera, 30 s", "camera", 30.0), ("camera, no ring", "camera", 0.0), ("deque, 30 s", "deque", 30.0))


def memory_once(directory: Path, footage: Path, kind: str, window_s: float) -> dict[str, Any]:
    """Hold so many seconds in a process of its own; what `bench.memory_probe` printed."""
    text = CONFIG.replace('"synthetic"', json.dumps(f"replay:{footage}")).replace(
        "window_s = 30.0", f"window_s = {window_s}"
    )
    (directory / "device.toml").write_text(text, encoding="utf-8")
    arguments = [kind, str(directory / "device.toml"), str(footage), str(window_s)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory_probe", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=compiled(directory),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def memory_bench(footage: Path, *, seconds: float) -> Section:
    """Measure all rows, round robin, for about so many seconds."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name, _, _ in _ROWS}
    with tempfile.TemporaryDirectory() as folder:
        write_keys(Path(folder))
        memory_once(Path(folder), footage, "camera", 0.0)  # compiles, which takes memory of its own
        for _ in range(max(1, min(5, int(seconds / 12)))):
            for name, kind, window_s in _ROWS:
                found[name].append(memory_once(Path(folder), footage, kind, window_s))
    return _section(found)


def _section(found: dict[str, list[dict[str, Any]]]) -> Section:
    def of(name: str, key: str, unit: float = 1e6) -> list[float]:
        return [run[key] / unit for run in found[name]]

    full, empty, peer = (name for name, _, _ in _ROWS)
    whole = zip(of(full, "rss"), of(empty, "rss"), of(full, "held"), of(empty, "held"), strict=True)
    ring = [(more - less) / (held - kept) for more, less, held, kept in whole]
    deque = [(run["rss"] - run["before"]) / run["held"] for run in found[peer]]
    columns = ("", "process, MB", "at most, MB", "encoded, MB", "memory a byte held")
    ratios = {full: spread(ring), empty: "", peer: spread(deque)}
    rows = tuple(
        (
            name,
            spread(of(name, "rss"), 1),
            spread(of(name, "peak"), 1),
            spread(of(name, "held"), 1),
            ratios[name],
        )
        for name, _, _ in _ROWS
    )
    process = of(full, "peak")
    return Section(
        name="memory",
        title="Memory of the device process",
        method=(
            "The whole firmware in a process of its own, with `replay` of 1080p30 at 10 Mbit/s, after "
            "two minutes of footage have gone through its ring: resident set, and the highest it has "
            "been (while those two minutes went through at once). The ring keeps a margin of 3 s beside "
            "its 30. *Memory a byte held*: what a ring of 30 s takes more than one of 0 s, by the "
            "encoded bytes that it holds more. The peer is a `deque` of the same frames in a bare "
            "Python with PyAV. All modules are compiled, as the camera's package installs them. MB are 10^6 "
            "bytes."
        ),
        tables=(Table("Resident memory", columns, rows),),
        goals=(
            Goal(
                "ring",
                f"at most {_GOAL_RING} times its encoded bytes",
                spread(ring),
                median(ring) <= _GOAL_RING,
            ),
            Goal(
                "device process",
                f"at most {_GOAL_PROCESS_MB} MB",
                f"{spread(process, 1)} MB",
                median(process) <= _GOAL_PROCESS_MB,
            ),
        ),
    )
