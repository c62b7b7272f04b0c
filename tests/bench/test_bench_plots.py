"""Plots are small, say what they show, and do not differ from run to run."""

from pathlib import Path

import pytest

from bench.plots import can_draw, draw
from bench.report import Bar, Goal, Plot, Section, markdown, text

PLOT = Plot("small", "CPU a frame", "microseconds", (Bar("preroll", 3.0, 2.0, 5.0), Bar("peer", 1.0)), goal=2.0)


@pytest.mark.skipif(not can_draw(), reason="matplotlib is not installed")
def test_a_plot_is_a_small_file_with_its_words_in_it(tmp_path: Path) -> None:
    drawn = draw(PLOT, tmp_path)
    first = drawn.read_bytes()
    assert drawn.name == "bench-small.svg"
    assert len(first) < 100_000
    for word in (b"CPU a frame", b"microseconds", b"preroll", b"peer"):
        assert word in first
    assert draw(PLOT, tmp_path).read_bytes() == first


def test_a_missed_goal_stands_with_its_reason() -> None:
    goals = (
        Goal("sooner", "2 times", "1 time", met=False, reason="The machine is slow."),
        Goal("later", "1", "1", met=True, reason="Never to be read."),
        Goal("rounder", "1", "0", met=False),
    )
    section = Section(name="flush", title="Press", method="As it is.", tables=(), goals=goals, plots=(PLOT,))
    page = markdown([section], "make bench", "two cores", {"small": "images/bench-small.svg"})
    assert "- `flush`, sooner: The machine is slow." in page
    assert "- `flush`, rounder: not known." in page
    assert "Never to be read." not in page + text(section)
    assert "The machine is slow." in text(section)
    assert "![CPU a frame, microseconds](images/bench-small.svg)" in page
