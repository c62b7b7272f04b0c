"""What a bench hands back, and how it is printed and put on a page; the machine, in general terms."""

import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

__all__ = ["Bar", "Goal", "Plot", "Section", "Table", "bar", "machine", "markdown", "spread", "text"]

_NUMERALS = {1: "one", 2: "two", 4: "four", 8: "eight"}


class Table(msgspec.Struct, frozen=True):
    """Rows of text under a caption; the first column is words, the others are figures."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Goal(msgspec.Struct, frozen=True):
    """What was to be reached, and what was found; `reason` is why it was missed, where that is known."""

    what: str
    goal: str
    found: str
    met: bool
    reason: str = ""


class Bar(msgspec.Struct, frozen=True):
    """One bar: its median and, of several runs, the least and the greatest."""

    label: str
    value: float
    least: float | None = None
    most: float | None = None


class Plot(msgspec.Struct, frozen=True):
    """Horizontal bars under a title; `name` becomes that of the picture's file, `goal` a line across."""

    name: str
    title: str
    unit: str
    bars: tuple[Bar, ...]
    logarithmic: bool = False
    goal: float | None = None


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one bench; `name` is what `--only` takes."""

    name: str
    title: str
    method: str
    tables: tuple[Table, ...]
    goals: tuple[Goal, ...]
    notes: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()


def bar(label: str, values: Sequence[float]) -> Bar:
    """Return the bar of several runs."""
    return Bar(label, statistics.median(values), min(values), max(values))


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Write a median and, of several values, the least and the greatest."""
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def machine() -> str:
    """Describe this machine in general terms: processors, system, whether it is virtual, how busy it was."""
    count = os.cpu_count() or 1
    release = _release().get("PRETTY_NAME", platform.system()).split(" (")[0].replace("GNU/Linux ", "")
    virtual = "virtual machine" if _has_hypervisor() else "bare machine"
    load = os.getloadavg()[0]
    instructions = platform.machine().replace("_", "-")
    cores = f"{_NUMERALS.get(count, str(count))} {instructions} core{'s' if count > 1 else ''}"
    return f"{cores}, {release}, {virtual}; load average at the start {load:.1f}"


def text(section: Section) -> str:
    """Lay a section out for a terminal."""
    return "\n".join(_text_lines(section))


def markdown(
    sections: Sequence[Section], command: str, machine_name: str, pictures: Mapping[str, str] | None = None
) -> str:
    """Lay all sections out as one page; `pictures` are addresses by the names of plots."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `{command}`. Machine: {machine_name}.",
        "",
        "Each figure is the median of interleaved runs with, in brackets, the least and the greatest. Peers",
        "were run in the same call, on the same frames: ratios hold elsewhere, milliseconds do not.",
    ]
    lines += _summary(sections)
    for section in sections:
        lines += _markdown_lines(section, pictures or {})
    return "\n".join(lines) + "\n"


def _text_lines(section: Section) -> Iterator[str]:
    yield f"== {section.name}: {section.title}"
    for table in section.tables:
        yield f"\n{table.caption}"
        widths = [max(len(row[at]) for row in (table.columns, *table.rows)) for at in range(len(table.columns))]
        for row in (table.columns, *table.rows):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            yield "  ".join(cells).rstrip()
    yield ""
    for goal in section.goals:
        yield f"{'met   ' if goal.met else 'MISSED'} {goal.what}: {goal.found} (goal {goal.goal})"
        if goal.reason and not goal.met:
            yield f"       {goal.reason}"
    for note in section.notes:
        yield f"- {note}"
    yield ""


def _summary(sections: Sequence[Section]) -> Iterator[str]:
    """One table with every goal, missed ones included."""
    yield from ("", "## Goals", "", _cells(("bench", "goal", "asked for", "found", "")), _cells(("---",) * 5))
    for section in sections:
        for goal in section.goals:
            met = "met" if goal.met else "**missed**"
            yield _cells((f"`{section.name}`", goal.what, goal.goal, goal.found, met))
    missed = [(section.name, goal) for section in sections for goal in section.goals if not goal.met]
    if missed:
        yield from ("", "Why some were missed:", "")
        yield from (f"- `{name}`, {goal.what}: {goal.reason or 'not known.'}" for name, goal in missed)


def _markdown_lines(section: Section, pictures: Mapping[str, str]) -> Iterator[str]:
    yield from ("", f"## {section.title}", "", f"`python -m bench --only {section.name}`. {section.method}")
    for plot in section.plots:
        if plot.name in pictures:
            yield from ("", f"![{plot.title}, {plot.unit}]({pictures[plot.name]})")
    for table in section.tables:
        yield from ("", f"{table.caption}:", "", _cells(table.columns))
        yield _cells(("---", *("---:" for _ in table.columns[1:])))
        yield from (_cells(row) for row in table.rows)
    if section.goals:
        yield from ("", _cells(("goal", "asked for", "found", "")), _cells(("---", "---", "---", "---")))
        for goal in section.goals:
            yield _cells((goal.what, goal.goal, goal.found, "met" if goal.met else "**missed**"))
    if section.notes:
        yield ""
        yield from (f"- {note}" for note in section.notes)


def _cells(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"


def _release() -> dict[str, str]:
    path = Path("/etc/os-release")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key: value.strip('"') for key, _, value in pairs}


def _has_hypervisor() -> bool:
    path = Path("/proc/cpuinfo")
    return path.is_file() and " hypervisor" in path.read_text(encoding="utf-8")
