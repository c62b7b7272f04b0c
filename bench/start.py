"""What `preroll device run` takes from its start to the first frame in the ring: CPU, and what is imported."""

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import Goal, Section, Table, spread
from bench.rig import CONFIG, compiled, write_keys

__all__ = ["import_times", "start_bench", "start_once"]

_GOAL_S = 0.6
_NEEDLESS = ("cryptography.x509", "click", "rich", "numpy", "asyncio", "pydantic", "ssl", "sqlite3")
"""None of these is needed for a frame to be buffered."""
_SHOWN = 8
_LINE = re.compile(r"import time:\s*(\d+) \|\s*\d+ \| +(\S+)")


def start_once(
    directory: Path, environment: dict[str, str] | None = None, *, import_time: bool = False
) -> dict[str, Any]:
    """Start the camera once in a process of its own; what `bench.start_probe` printed, and `stderr`."""
    flags = ["-X", "importtime"] if import_time else []
    done = subprocess.run(
        [sys.executable, *flags, "-m", "bench.start_probe", str(directory / "device.toml")],
        capture_output=True,
        text=True,
        check=True,
        env=environment or compiled(directory),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "stderr": done.stderr}


def import_times(stderr: str) -> dict[str, float]:
    """Add up what `-X importtime` wrote, by top-level package; milliseconds of wall time."""
    times: dict[str, float] = defaultdict(float)
    for line in stderr.splitlines():
        if matched := _LINE.match(line):
            times[matched[2].partition(".")[0]] += int(matched[1]) / 1000
    return dict(sorted(times.items(), key=lambda entry: -entry[1]))


def start_bench(footage: Path, *, seconds: float) -> Section:
    """Measure both sources and the floor, round robin, for about so many seconds."""
    sources = {"synthetic": "synthetic", "replay, 1080p30 at 10 Mbit/s": f"replay:{footage}"}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sources}
    floor: list[float] = []
    rows = []
    goals = []
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        directories = {name: _stage(Path(folder) / str(at), sources[name]) for at, name in enumerate(sources)}
        environment = compiled(Path(folder))
        for directory in directories.values():
            start_once(directory, environment)  # compiles
        for _ in range(max(1, min(15, int(seconds / 4)))):
            floor.append(_floor_cpu(footage, environment))
            for name, directory in directories.items():
                found[name].append(start_once(directory, environment))
        heavy = {
            name: start_once(directory, environment, import_time=True)
            for name, directory in directories.items()
        }
    rows.append(("peer: `import av`, demux to the first packet", spread(floor), "", "", "1.00", ""))
    for name, runs in found.items():
        cpu = [run["cpu_s"] for run in runs]
        ratio = median(cpu) / median(floor)
        needless = [module for module in _NEEDLESS if module in runs[-1]["modules"]]
        imports = import_times(heavy[name]["stderr"])
        figures = (spread(cpu), spread([run["wall_s"] for run in runs]), f"{len(runs[-1]['modules'])}")
        rows.append((name, *figures, f"{ratio:.2f}", ", ".join(needless) or "none"))
        goals.append(
            Goal(
                f"{name}: CPU to the first frame",
                f"at most {_GOAL_S} s",
                f"{median(cpu):.2f} s",
                median(cpu) <= _GOAL_S,
            )
        )
        largest = ", ".join(f"{package} {ms:.0f}" for package, ms in list(imports.items())[:_SHOWN])
        notes.append(f"{name}: imports of the whole run, ms under `-X importtime`: {largest}.")
    columns = ("", "CPU, s", "wall, s", "modules", "of the peer", "loaded without need")
    return Section(
        name="start",
        title="Start to the first frame buffered",
        method=(
            "`preroll device run` in a process of its own, on gpiozero's mock pins, to the moment at "
            "which the first keyframe is in the ring: CPU of the whole process, wall time since "
            "Python's own start, and the modules imported by then. The modules are compiled, as the "
            "camera's package installs them, for the peer too."
        ),
        tables=(Table("From start to first frame", columns, tuple(rows)),),
        goals=tuple(goals),
        notes=tuple(notes),
    )


def _stage(directory: Path, source: str) -> Path:
    directory.mkdir()
    write_keys(directory)
    text = CONFIG.replace('"synthetic"', json.dumps(source))  # a JSON string is a TOML string
    (directory / "device.toml").write_text(text, encoding="utf-8")
    return directory


def _floor_cpu(footage: Path, environment: dict[str, str]) -> float:
    """CPU seconds of the least that any camera program on PyAV has to do."""
    code = f"import av, time; next(av.open({str(footage)!r}).demux(video=0)); print(time.process_time())"
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
