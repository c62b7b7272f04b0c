"""What a run of the bench was: build, board, what each test came to."""

import datetime as dt
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hil_tests.board.protocol import Board, Capability
from hil_tests.figures import Figure

__all__ = ["POWER", "BoardFacts", "Build", "Outcome", "Run", "board_facts", "build", "outcome_counts"]

POWER = "power: "
"""What a test records with a name that begins so is a proof that power is really cut."""
_ROOT = Path(__file__).resolve().parents[1]
_ORDER = ("failed", "error", "passed", "skipped")


@dataclass(frozen=True)
class Build:
    """What was tried."""

    described: str
    commit: str
    committed: str
    subject: str
    host: str


@dataclass(frozen=True)
class BoardFacts:
    """What it was tried on."""

    name: str
    kernel: str
    able: tuple[str, ...]
    unable: tuple[str, ...]


@dataclass
class Outcome:
    """What a test came to: `kind` is passed, failed, skipped or error; `detail` says why not passed."""

    test: str
    kind: str = "passed"
    seconds: float = 0.0
    detail: str = ""
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run, over."""

    began: dt.datetime
    seconds: float
    command: str
    build: Build
    board: BoardFacts | None
    boots: int
    outcomes: Sequence[Outcome]
    figures: Sequence[Figure]

    @property
    def proofs(self) -> Mapping[str, str]:
        """What shows that power was really cut, by its name."""
        return {
            name.removeprefix(POWER): value
            for outcome in self.outcomes
            for name, value in outcome.properties.items()
            if name.startswith(POWER) and outcome.kind == "passed"
        }


def outcome_counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Count outcomes by kind, worst first; kinds that did not happen are left out."""
    counts = {kind: sum(outcome.kind == kind for outcome in outcomes) for kind in _ORDER}
    return {kind: count for kind, count in counts.items() if count}


def build() -> Build:
    """Ask git what this checkout is; without git it says so."""
    return Build(
        described=_git("describe", "--always", "--dirty", "--tags") or "not a git checkout",
        commit=_git("rev-parse", "HEAD"),
        committed=_git("log", "-1", "--format=%cs"),
        subject=_git("log", "-1", "--format=%s"),
        host=f"{platform.platform(terse=True)}, {platform.machine()}, Python {platform.python_version()}",
    )


def board_facts(board: Board) -> BoardFacts:
    """Say what a board that has booted is and can do."""
    able = board.capabilities
    return BoardFacts(
        name=board.name,
        kernel=board.kernel_release,
        able=tuple(sorted(able)),
        unable=tuple(sorted(set(Capability) - able)),
    )


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
