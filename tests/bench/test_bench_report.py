from pathlib import Path

import pytest

from bench import __main__ as command
from bench.report import Goal, Section, Table, machine, markdown, spread, text

SECTION = Section(
    name="flush",
    title="Press to durable",
    method="As it is.",
    tables=(Table("Times", ("", "ms"), (("disk", "1.0"), ("card", "20.0"))),),
    goals=(Goal("sooner", "2 times", "3 times", met=True), Goal("later", "1", "0", met=False)),
    notes=("A note.",),
)


def test_a_spread_is_median_least_and_greatest() -> None:
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0 to 3.0)"
    assert spread([1.234]) == "1.23"


def test_a_page_has_every_figure_beside_its_command() -> None:
    page = markdown([SECTION], "make bench", "two cores")
    assert "Written by `make bench`. Machine: two cores." in page
    assert "`python -m bench --only flush`" in page
    assert "| card | 20.0 |" in page
    assert "| later | 1 | 0 | **missed** |" in page
    assert "- A note." in page


def test_the_terminal_says_which_goals_were_missed() -> None:
    lines = text(SECTION).splitlines()
    assert "met    sooner: 3 times (goal 2 times)" in lines
    assert "MISSED later: 0 (goal 1)" in lines


def test_the_machine_is_named_in_general_terms() -> None:
    described = machine()
    assert "core" in described
    assert "load average" in described
    assert "/" not in described


def test_only_the_benches_asked_for_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], footage: Path
) -> None:
    monkeypatch.setattr(command, "kept_footage", lambda *_: footage)
    ran: list[float] = []

    def bench(_: object, seconds: float) -> Section:
        ran.append(seconds)
        return SECTION

    monkeypatch.setattr(command, "BENCHES", {"flush": bench, "cpu": bench})
    page = tmp_path / "page.md"
    assert command.main(["--only", "flush", "--seconds", "2", "--out", str(page)]) == 0
    assert ran == [2.0]
    assert "## Press to durable" in page.read_text()
    assert "== flush" in capsys.readouterr().out
