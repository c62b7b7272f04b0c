"""`python -m bench`: runs the benches, prints their tables, and writes the page.

    python -m bench [--only NAME]... [--short] [--seconds S] [--out FILE] [--profile]

`--seconds` is what each bench may take, roughly; `--short` is a look at every figure in a third of the time.
The page is written only by a run of all benches in full length, or to a file that `--out` names.
"""

import argparse
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from bench.age_peers import age_bench
from bench.append import append_bench
from bench.cpu import cpu_bench
from bench.decrypt_rate import decrypt_bench
from bench.flush import flush_bench
from bench.footage import FrameStream, Scene, kept_footage, load_sound, load_units
from bench.memory import memory_bench
from bench.mqtt import mqtt_bench
from bench.offload import offload_bench
from bench.plain_core import plain_core_bench
from bench.plots import can_draw, draw
from bench.recorders import recorder_bench
from bench.report import Section, machine, markdown, text
from bench.start import start_bench
from bench.verify_rate import verify_bench

__all__ = ["BENCHES", "main"]

_PAGE = Path("docs/benchmarks.md")
_SECONDS = 36.0
_SHORT_SECONDS = 12.0
_LOOP_S = 10  # of footage that is replayed over and over


class _Material:
    """What all benches of one run share: footage, made once."""

    def __init__(self, *, profile: bool) -> None:
        self.profile = profile

    @cached_property
    def stream(self) -> FrameStream:
        """A minute of picture and sound."""
        scene = Scene()
        path = kept_footage(scene)
        return FrameStream(load_units(path), scene.frame_ns, load_sound(path))

    @cached_property
    def loop(self) -> Path:
        """A shorter file of the same kind."""
        return kept_footage(Scene(seconds=_LOOP_S))

    @cached_property
    def units(self) -> list[tuple[bytes, bool]]:
        """Its access units."""
        return load_units(self.loop)


Bench = Callable[[_Material, float], Section]

BENCHES: dict[str, Bench] = {
    "recorders": lambda _, seconds: recorder_bench(seconds=seconds),
    "flush": lambda its, seconds: flush_bench(its.stream, seconds=seconds),
    "append": lambda its, seconds: append_bench(its.units, seconds=seconds),
    "cpu": lambda its, seconds: cpu_bench(its.stream, seconds=seconds, profile=its.profile),
    "plain-core": lambda its, seconds: plain_core_bench(its.loop, seconds=seconds),
    "start": lambda its, seconds: start_bench(its.loop, seconds=seconds),
    "memory": lambda its, seconds: memory_bench(its.loop, seconds=seconds),
    "encrypt": lambda _, seconds: age_bench(seconds=seconds),
    "decrypt": lambda _, seconds: decrypt_bench(seconds=seconds),
    "verify": lambda _, seconds: verify_bench(seconds=seconds),
    "offload": lambda _, seconds: offload_bench(seconds=seconds),
    "mqtt": lambda _, seconds: mqtt_bench(seconds=seconds),
}
"""The benches by name, in the order in which they run; each takes the footage and its seconds."""


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; 0 whether or not a goal was met, because a bench reports and does not judge."""
    chosen = _parsed(arguments)
    seconds = chosen.seconds or (_SHORT_SECONDS if chosen.short else _SECONDS)
    described = machine()
    print(described, flush=True)
    material = _Material(profile=chosen.profile)
    sections = []
    for name in chosen.only or list(BENCHES):
        sections.append(BENCHES[name](material, seconds))
        print(text(sections[-1]), flush=True)
    out = chosen.out or (None if chosen.only or chosen.short else _PAGE)
    if out is not None:
        command = (
            "make bench" if out == _PAGE and not chosen.seconds else f"python -m bench --seconds {seconds:g}"
        )
        _write(out, sections, command, described)
    return 0


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements beside peers.")
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="this bench (may be repeated)")
    parser.add_argument("--short", action="store_true", help=f"{_SHORT_SECONDS:g} s for each bench, no page")
    parser.add_argument("--seconds", type=float, help=f"for each bench, roughly (default {_SECONDS:g})")
    parser.add_argument("--out", type=Path, help=f"the page (default for a run of all: {_PAGE})")
    parser.add_argument("--profile", action="store_true", help="print a profile of the write path (bench cpu)")
    return parser.parse_args(arguments)


def _write(out: Path, sections: list[Section], command: str, described: str) -> None:
    """Write the page, and its plots beside it where they can be drawn."""
    pictures: dict[str, str] = {}
    if can_draw():
        for section in sections:
            for plot in section.plots:
                pictures[plot.name] = f"images/{draw(plot, out.parent / 'images').name}"
    else:
        print("no plots: matplotlib is not installed (make bench installs it with the tests' needs)")
    out.write_text(markdown(sections, command, described, pictures), encoding="utf-8")
    print(f"written: {out}")


if __name__ == "__main__":
    sys.exit(main())
