"""What a test has measured, kept for the run's report: one JSON file each under build/hil/figures.

    {"name": "press to light", "unit": "ms", "values": [31.2, 29.8], "test": "hil_tests/test_press.py::test_x",
     "bound": 200.0, "note": "from the kernel's edge to the red light"}

`values` are in the order they were measured; one is a figure, several are a distribution and get a plot.
`bound` (null: none) is the largest value that the test accepts, `note` says from where to where. Any process
that can import this module may write them.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["FIGURES", "Figure", "clear_figures", "read_figures", "write_figure"]

FIGURES = Path(__file__).resolve().parents[1] / "build" / "hil" / "figures"
_CURRENT = "PYTEST_CURRENT_TEST"  # pytest sets it: `hil_tests/test_press.py::test_x (call)`


@dataclass(frozen=True)
class Figure:
    """One measured quantity of one test."""

    name: str
    unit: str
    values: tuple[float, ...]
    test: str
    bound: float | None = None
    note: str = ""


def write_figure(
    name: str,
    unit: str,
    values: Iterable[float],
    *,
    bound: float | None = None,
    note: str = "",
    test: str = "",
    directory: Path = FIGURES,
) -> Path:
    """Keep what was measured; `test` is the running one's node id unless given. The same again replaces it.

    Raises:
        ValueError: there are no values.
    """
    where = test or os.environ.get(_CURRENT, "").rpartition(" ")[0]
    figure = Figure(name, unit, tuple(float(value) for value in values), where, bound, note)
    if not figure.values:
        raise ValueError(f"the figure {name!r} has no values; write it once something was measured")
    directory.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(f"{where}\0{name}".encode()).hexdigest()[:16]
    path = directory / f"{digest}.json"
    path.write_text(json.dumps(asdict(figure), indent=1), encoding="utf-8")
    return path


def read_figures(directory: Path = FIGURES) -> list[Figure]:
    """Return all figures, in order of test and name.

    Raises:
        ValueError: a file isn't one; its path is in the message.
    """
    found = []
    for path in sorted(directory.glob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            values = tuple(float(value) for value in told["values"])
            bound = None if told.get("bound") is None else float(told["bound"])
            figure = Figure(told["name"], told["unit"], values, told["test"], bound, told.get("note", ""))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a figure as hil_tests/figures.py has it: {error!r}") from error
        if not values:
            raise ValueError(f"{path} has no values")
        found.append(figure)
    return sorted(found, key=lambda figure: (figure.test, figure.name))


def clear_figures(directory: Path = FIGURES) -> None:
    """Forget those of earlier runs."""
    shutil.rmtree(directory, ignore_errors=True)
