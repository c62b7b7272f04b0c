"""Each deliberate fault, in a copy of the project, is noticed by each test that is named for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hil_tests.mutations.mutations import MUTATIONS, Change, Mutation

_ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("bench", "device", "docklink", "evidence", "hil_tests", "host", "preroll", "tests")
_FAILED = 1  # pytest's exit status where tests ran and failed
_PATIENCE_S = 1200
_QUICK = """
# A fault that has been found need not be made small.
from hypothesis import Phase

settings.register_profile("fault", settings.get_profile("same"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("fault")
"""


def _cases(*, board: bool) -> list[object]:
    return [
        pytest.param(mutation, test, id=f"{mutation.name}-{index}")
        for mutation in MUTATIONS
        for index, test in enumerate(mutation.board_tests if board else mutation.tests)
    ]


def _mutated(directory: Path, mutation: Mutation) -> Path:
    """Copy the project with the fault in it."""
    for part in _PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_ROOT / part, directory / part, ignore=ignored, symlinks=True)
    for name in ("pyproject.toml", "README.md", "docs", "systemd", "scripts", "packaging"):
        if (_ROOT / name).exists():
            (directory / name).symlink_to(_ROOT / name)
    _environment(directory)
    with (directory / "tests" / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(_QUICK)
    for change in mutation.changes:
        _apply(directory, change)
    return directory


def _environment(directory: Path) -> None:
    """Give the copy a virtual environment: all packages of this one, and the copy as the project."""
    here, there = Path(sys.prefix), directory / ".venv"
    packages = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    (there / packages).mkdir(parents=True)
    for entry in (here / packages).iterdir():
        if not entry.name.startswith("__editable__"):
            (there / packages / entry.name).symlink_to(entry)
    (there / packages / "copy.pth").write_text(f"{directory}\n", encoding="utf-8")
    shutil.copy(here / "pyvenv.cfg", there)
    (there / "bin").mkdir()
    (there / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    command = (here / "bin" / "preroll").read_text(encoding="utf-8").splitlines()[1:]
    preroll = there / "bin" / "preroll"
    preroll.write_text("\n".join([f"#!{there}/bin/python", *command, ""]), encoding="utf-8")
    preroll.chmod(0o755)


def _apply(directory: Path, change: Change) -> None:
    path = directory / change.file
    text = path.read_text(encoding="utf-8")
    assert text.count(change.old) == 1, f"{change.file} has changed: mend this mutation"
    path.write_text(text.replace(change.old, change.new), encoding="utf-8")


def _outcome(project: Path, test: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(project / ".venv" / "bin" / "python"),
        "-B",
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        test,
    ]
    return subprocess.run(
        command,
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )


def _check(directory: Path, mutation: Mutation, test: str) -> None:
    done = _outcome(_mutated(directory, mutation), test)
    assert done.returncode == _FAILED, (
        f"{mutation.name} passes {test}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
    )
    assert " skipped" not in done.stdout
    assert " failed" in done.stdout, done.stdout[-3000:]


def test_every_fault_has_tests_that_notice_it_with_and_without_a_board() -> None:
    assert len(MUTATIONS) >= 6
    assert all(mutation.tests and mutation.board_tests for mutation in MUTATIONS)


@pytest.mark.parametrize(("mutation", "test"), _cases(board=False))
def test_noticed_without_a_board(tmp_path: Path, mutation: Mutation, test: str) -> None:
    _check(tmp_path, mutation, test)


@pytest.mark.long
@pytest.mark.parametrize(("mutation", "test"), _cases(board=True))
def test_noticed_on_a_board(tmp_path: Path, mutation: Mutation, test: str) -> None:
    _check(tmp_path, mutation, test)
