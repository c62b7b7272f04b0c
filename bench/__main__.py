"""`python -m bench`: runs the benches, prints their tables, and writes the page.

    python -m bench [--only NAME]... [--seconds S] [--out FILE] [--profile]

`--seconds` is what each bench may take, roughly. The page is written only by a run of all benches, or to a file
that `--out` names.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.age_peers import age_bench
from bench.append import append_bench
from bench.cpu import cpu_bench
from bench.decrypt_rate import decrypt_bench
from bench.flush import flush_bench
from bench.footage import Scene, load_units, make_footage
from bench.memory import memory_bench
from bench.mqtt import mqtt_bench
from bench.offload import offload_bench
from bench.report import Section, machine, markdown, text
from bench.start import start_bench
from bench.verify_rate import verify_bench

__all__ = ["BENCHES", "main"]

_PAGE = Path("docs/benchmarks.md")
_SECONDS = 60.0


class _Material:
    """What all benches of one run share: footage, made once."""

    def __init__(self, directory: Path, scene: Scene, *, profile: bool) -> None:
        self.scene = scene
        self.profile = profile
        self.path = make_footage(directory / "footage.mp4", scene)
        self.units = load_units(self.path)


Bench = Callable[[_Material, float], Section]

BENCHES: dict[str, Bench] = {
    "flush": lambda its, seconds: flush_bench(its.units, its.scene.frame_ns, seconds=seconds),
    "append": lambda its, seconds: append_bench(its.units, seconds=seconds),
    "cpu": lambda its, seconds: cpu_bench(its.units, its.scene.frame_ns, seconds=seconds, profile=its.profile),
    "start": lambda its, seconds: start_bench(its.path, seconds=seconds),
    "memory": lambda its, seconds: memory_bench(its.path, seconds=seconds),
    "encrypt": lambda _, seconds: age_bench(seconds=seconds),
    "decrypt": lambda _, seconds: decrypt_bench(seconds=seconds),
    "verify": lambda _, seconds: verify_bench(seconds=seconds),
    "offload": lambda _, seconds: offload_bench(seconds=seconds),
    "mqtt": lambda _, seconds: mqtt_bench(seconds=seconds),
}
"""The benches by name, in the order in which they run; each takes the footage and its seconds."""


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; 0 whether or not a goal was met, because a bench reports and does not judge."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements beside peers.")
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="this bench (may be repeated)")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for each bench, roughly")
    parser.add_argument("--out", type=Path, help=f"the page (default for a run of all: {_PAGE})")
    parser.add_argument("--profile", action="store_true", help="print a profile of the write path (bench cpu)")
    chosen = parser.parse_args(arguments)
    names = chosen.only or list(BENCHES)
    described = machine()
    print(described, flush=True)
    sections = []
    with tempfile.TemporaryDirectory() as folder:
        material = _Material(Path(folder), Scene(), profile=chosen.profile)
        for name in names:
            sections.append(BENCHES[name](material, chosen.seconds))
            print(text(sections[-1]), flush=True)
    out = chosen.out or (None if chosen.only else _PAGE)
    if out is not None:
        command = "make bench" if out == _PAGE else f"python -m bench --seconds {chosen.seconds:g}"
        out.write_text(markdown(sections, command, described), encoding="utf-8")
        print(f"written: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
