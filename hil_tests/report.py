"""pytest's side of the report: `--bench-report FILE` writes a run as a page (docs/bench.md)."""

import datetime as dt
import time
from pathlib import Path

import pytest

from hil_tests.board.protocol import Board
from hil_tests.figures import clear_figures, read_figures
from hil_tests.report_page import page
from hil_tests.report_run import BoardFacts, Outcome, Run, board_facts, build

__all__ = ["BenchReport"]


class BenchReport:
    """A plugin that listens to a run; `saw` is told of the board at each boot."""

    def __init__(self, path: Path, command: str) -> None:
        self._path = path
        self._command = command
        self._began = dt.datetime.now(dt.UTC)
        self._began_ns = time.monotonic_ns()
        self._outcomes: dict[str, Outcome] = {}
        self._board: BoardFacts | None = None
        self._boots: set[str] = set()

    def saw(self, board: Board) -> None:
        """Remember what the board is, and this boot of it."""
        self._board = board_facts(board)
        self._boots.add(board.boot_id)

    def pytest_sessionstart(self) -> None:
        """Forget what earlier runs measured."""
        clear_figures()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what one phase of a test came to."""
        outcome = self._outcomes.setdefault(report.nodeid, Outcome(report.nodeid))
        outcome.seconds += report.duration
        outcome.properties |= {name: _short(value) for name, value in report.user_properties}
        if report.skipped:
            outcome.kind, outcome.detail = "skipped", _reason(report)
        elif report.failed and outcome.kind not in {"failed", "error"}:
            outcome.kind = "failed" if report.when == "call" else "error"
            outcome.detail = report.longreprtext

    def pytest_sessionfinish(self) -> None:
        """Write the page."""
        seconds = (time.monotonic_ns() - self._began_ns) / 1e9
        run = Run(
            began=self._began,
            seconds=seconds,
            command=self._command,
            build=build(),
            board=self._board,
            boots=len(self._boots),
            outcomes=list(self._outcomes.values()),
            figures=read_figures(),
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(page(run), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where it is."""
        terminalreporter.write_line(f"the bench's report: {self._path}")


def _reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return report.longreprtext


def _short(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
