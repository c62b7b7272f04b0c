"""The report of a long soak: what was recorded, what the camera held, and what being so fast leaves out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.campaign.report import build, machine
from tests.campaign.soak import RATE, Look, Soak, fitted_growth

__all__ = ["MEMORY_LIMIT_BYTES", "write_soak_report"]

MEMORY_LIMIT_BYTES = 3 * 1024 * 1024
"""By so much memory may grow over the second half."""
_MIB = 1024 * 1024
_ROWS = 13
_BAR = 24

_TEXT = """\
# Soak

One camera process recorded {footage:.2f} hours of footage in {wall:.1f} minutes: the firmware with its real
ring, writers, vault, event log, health watch and dock port, on bench pins, replaying a file whose frames come
{speed} times as fast as a camera's.

- Command: `make long` (`pytest -m long tests/campaign/test_soak.py`); seed {seed}
- Build: {build}
- Machine: {machine}
- {clips} clips, {frames} frames ({rate}/s), {stored:.0f} MiB of ciphertext; window {window:g} s, clips of
  {shortest:g} to {longest:g} s after the press, bookmarks in some, presses and holds on the button's pin
- {rounds} dockings: each time a dock's agent connects, fetches, checks, signs receipts, and goes; the camera
  deletes each clip once it has the receipt. Every clip was found authentic in the dock's store

## What the process held

Looked at after each docking, the vault empty and nothing recording, {rounds} times. *Growth* is that of a
straight line through the second half of the looks. Limit: {limit:.0f} MiB of memory, no descriptor, no thread.

| | first | half-way | last | growth, second half | while recording, most |
|---|---|---|---|---|---|
{table}

Memory is `RssAnon`: what the process holds for itself, without the pages of libraries.

## Memory at rest, MiB

{plot}

## What being {speed} times as fast covers, and what not

- Covered as in {hours:.0f} hours: all that goes by frames, bytes, clips, presses, signatures over clips,
  connections, files opened and deleted.
- Not covered: what goes by the clock was there for {wall:.0f} minutes only, such as health readings, the
  blinking light, sync points and lines of a journal (some two each second), and sound (at its real pace).
  Neither was the camera stack of a Pi (`make camera-long`: docs/reports/real-camera.md), nor heat.
"""


def write_soak_report(path: Path, soak: Soak) -> None:
    """Write the page."""
    plan = soak.plan
    text = _TEXT.format(
        footage=soak.footage_s / 3600,
        hours=plan.footage_s / 3600,
        wall=soak.wall_s / 60,
        speed=plan.speed,
        seed=plan.seed,
        build=build(),
        machine=machine(),
        clips=soak.clips,
        frames=f"{soak.frames:,}",
        rate=RATE,
        stored=soak.stored_bytes / _MIB,
        window=plan.window_s,
        shortest=plan.shortest_s,
        longest=plan.longest_s,
        rounds=len(soak.resting),
        limit=MEMORY_LIMIT_BYTES / _MIB,
        table=_table(soak),
        plot=_plot(soak.resting),
    )
    path.write_text(text, encoding="utf-8")


def _table(soak: Soak) -> str:
    def row(name: str, of: Callable[[Look], float], pattern: str) -> str:
        rest = soak.resting
        shown = [of(rest[0]), of(rest[len(rest) // 2]), of(rest[-1])]
        shown += [fitted_growth(rest, of), max(of(look) for look in soak.working)]
        return f"| {name} | " + " | ".join(format(each + 0.0, pattern) for each in shown) + " |"

    rows = (
        row("memory, MiB", lambda look: look.memory_bytes / _MIB, ".2f"),
        row("descriptors", lambda look: look.descriptors, ".0f"),
        row("threads", lambda look: look.threads, ".0f"),
    )
    return "\n".join(rows)


def _plot(looks: Sequence[Look]) -> str:
    """Draw memory over footage as bars of text, evenly chosen looks."""
    count = min(_ROWS, len(looks))
    chosen = [looks[number * (len(looks) - 1) // max(count - 1, 1)] for number in range(count)]
    top = max(look.memory_bytes for look in looks)
    lines = ["| after | memory | |", "|---:|---:|---|"]
    for look in chosen:
        bar = "█" * round(look.memory_bytes / top * _BAR)
        lines.append(f"| {look.footage_s / 60:.0f} min | {look.memory_bytes / _MIB:.2f} | {bar} |")
    return "\n".join(lines)
