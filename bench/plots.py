"""Draws the plots of a page as SVG files, with matplotlib where it is installed."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from bench.report import Plot

__all__ = ["can_draw", "draw"]

_WIDTH_IN, _BAR_IN, _FRAME_IN = 7.5, 0.32, 1.1
_COLOUR, _ACCENT = "#8fa3b5", "#1f6fb4"
_OURS = "preroll"


def can_draw() -> bool:
    """Whether matplotlib is installed; without it the page has its tables alone."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(plot: Plot, directory: Path) -> Path:
    """Draw bars with their spread into `directory`; returns the file, the same for the same figures."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = plot.name  # ids that do not differ from run to run
    matplotlib.rcParams["svg.fonttype"] = "none"
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    bars = plot.bars[::-1]  # the first on top
    figure, axes = pyplot.subplots(figsize=(_WIDTH_IN, _FRAME_IN + _BAR_IN * len(bars)))
    values = [bar.value for bar in bars]
    errors = [[bar.value - (bar.value if bar.least is None else bar.least) for bar in bars]]
    errors.append([(bar.value if bar.most is None else bar.most) - bar.value for bar in bars])
    colours = [_ACCENT if _OURS in bar.label else _COLOUR for bar in bars]
    axes.barh([bar.label for bar in bars], values, xerr=errors, color=colours, ecolor="#333333", capsize=2)
    if plot.logarithmic:
        axes.set_xscale("log")
    if plot.goal is not None:
        axes.axvline(plot.goal, color="#b4331f", linestyle="--", linewidth=1)
    axes.set_xlabel(plot.unit)
    axes.set_title(plot.title, fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"bench-{plot.name}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path
