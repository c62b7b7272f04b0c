"""The report itself: what a run came to is on the page, and nothing that was said can break it."""

import datetime as dt
import json
from pathlib import Path

import pytest

from hil_tests.figures import Figure, read_figures, write_figure
from hil_tests.report_page import page
from hil_tests.report_plots import distribution, figure_text, quantile, ticks
from hil_tests.report_run import POWER, BoardFacts, Build, Outcome, Run

_BUILD = Build("v1-3-gabc", "abc", "2026-01-01", "A <change> & more", "Linux")
_BOARD = BoardFacts("virtual", "6.1.0", ("hard_cut", "inputs"), ("f2fs",))


def run_of(*outcomes: Outcome, figures: tuple[Figure, ...] = ()) -> Run:
    began = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)
    return Run(began, 75.0, "pytest", _BUILD, _BOARD, 3, outcomes, figures)


def test_page_has_build_board_proof_tests_and_reasons() -> None:
    proof = Outcome("f.py::test_power", properties={f"{POWER}Unsynced bytes": "4 of 4 lost"})
    skipped = Outcome("f.py::test_f2fs", "skipped", detail="the board 'virtual' has no f2fs")
    text = page(run_of(proof, skipped))
    for wanted in (
        "v1-3-gabc",
        "Linux 6.1.0",
        "hard cut",
        "4 of 4 lost",
        "has no f2fs",
        "1 passed · 1 skipped",
    ):
        assert wanted in text
    assert 'class="verdict good"' in text
    assert "A &lt;change&gt; &amp; more" in text
    assert "http" not in text.replace("http-equiv", "")


def test_failure_comes_first_with_its_error_and_spoils_the_verdict() -> None:
    failed = Outcome(
        "f.py::test_bad", "failed", detail="def test():\n>  boom\nE   AssertionError: <no>\nf.py:3"
    )
    text = page(run_of(Outcome("f.py::test_good"), failed))
    assert 'class="verdict bad"' in text
    assert text.index("Not passed") < text.index("good</td>")
    assert "AssertionError: &lt;no&gt;</summary>" in text
    assert "not shown that power is really cut" in text


def test_proof_of_a_test_that_failed_is_none() -> None:
    assert run_of(Outcome("f.py::test_power", "failed", properties={f"{POWER}Boots": "2"})).proofs == {}


def test_run_without_a_test_has_not_passed() -> None:
    assert "No test ran" in page(run_of())


def test_figures_go_to_the_page_and_one_beyond_its_bound_shows(tmp_path: Path) -> None:
    write_figure("delay", "ms", [1, 2, 3, 40], bound=10, note="from there", test="t", directory=tmp_path)
    write_figure("delay", "ms", [1, 2, 3, 50], bound=10, note="from there", test="t", directory=tmp_path)
    write_figure("single", "s", [0.125], test="t", directory=tmp_path)
    delay, single = read_figures(tmp_path)
    assert (delay.values, delay.bound, delay.note) == ((1, 2, 3, 50), 10, "from there")
    text = page(run_of(figures=(delay, single)))
    assert text.count('<svg class="plot"') == 1  # one value needs no curve
    assert '<div class="over"><b>50</b>' in text
    assert "<b>0.125</b>" in text


@pytest.mark.parametrize("told", [[], {"name": "x"}, {"name": "x", "unit": "s", "values": [], "test": "t"}])
def test_file_that_is_no_figure_is_named(told: object, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"bad\.json"):
        read_figures(tmp_path)


def test_figure_without_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no values"):
        write_figure("x", "s", [], directory=tmp_path)


def test_numbers() -> None:
    assert [figure_text(each) for each in (0, 0.01234, 1.5, 123.456, 98765.4)] == [
        "0",
        "0.0123",
        "1.5",
        "123",
        "98,765",
    ]
    assert quantile([5, 1, 4, 2, 3], 0.5) == 3
    assert quantile([5, 1, 4, 2, 3], 1) == 5
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert ticks(7, 7) == [7]


@pytest.mark.parametrize("values", [[0, 0], [-3.0, 4.0], [1e-6, 1e6]], ids=["nothing", "signed", "wide"])
def test_any_values_make_a_plot_without_an_impossible_coordinate(values: list[float]) -> None:
    text = distribution(values, "ms", bound=1.0)
    assert "nan" not in text
    assert "inf" not in text
