"""The bench: which board the suite runs on, what a test needs of it, a fresh camera for each test."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hil_tests.board.card import CardImage
from hil_tests.board.protocol import Board, Capability
from hil_tests.board.virtual import VirtualBoard
from hil_tests.camera_rig import CameraRig, CameraSettings, Keys, make_keys
from hil_tests.dock_rig import DockRig
from hil_tests.report import BenchReport

_VIRTUAL = Path(__file__).with_name("virtual.yaml")
NewCamera = Callable[..., CameraRig]
NewDock = Callable[[], DockRig]
_REPORT = pytest.StashKey[BenchReport]()
_FIRST = "test_power_is_really_cut"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench-report", metavar="FILE", help="write the run as one HTML page")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Use the virtual board where no environment is named."""
    if config.pluginmanager.hasplugin("labgrid") and not (config.option.lg_env or os.environ.get("LG_ENV")):
        config.option.lg_env = str(_VIRTUAL)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): what the board must be able to do")
    config.addinivalue_line(
        "markers", "systemd: boots a board of its own with the host's systemd and the real units"
    )
    path = config.getoption("--bench-report")
    if path:
        command = " ".join(["pytest", *config.invocation_params.args])
        config.stash[_REPORT] = BenchReport(Path(path), command)
        config.pluginmanager.register(config.stash[_REPORT], "bench-report")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Show first that power is really cut: on it rests what every other cut says."""
    items.sort(key=lambda item: item.name != _FIRST)


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """The board of this run, off. Without labgrid it is the virtual one."""
    if request.config.pluginmanager.hasplugin("labgrid"):
        target: Any = request.getfixturevalue("target")
        yield target.get_driver("PowerProtocol").board
        return
    directory = tmp_path_factory.mktemp("bench")
    with VirtualBoard(directory, CardImage.create(directory / "card.img")) as board:
        yield board


@pytest.fixture
def board(request: pytest.FixtureRequest, bench: Board) -> Iterator[Board]:
    """The board, booted, with an empty card mounted; power is cut afterwards."""
    with _booted(request, bench) as booted:
        yield booted


@pytest.fixture(scope="module")
def module_board(request: pytest.FixtureRequest, bench: Board) -> Iterator[Board]:
    """The same, booted once for all tests of a module; what they need is the module's marker."""
    with _booted(request, bench) as booted:
        yield booted


@pytest.fixture(autouse=True)
def _able(request: pytest.FixtureRequest) -> None:
    """Skip a test that needs what the board lacks, also in a module that the board can otherwise run."""
    if request.node.get_closest_marker("needs"):
        _skip_unless_able(request.node, request.getfixturevalue("bench"))


def _skip_unless_able(node: Any, bench: Board) -> None:
    needed = {each for marker in node.iter_markers("needs") for each in marker.args}
    missing = sorted(needed - bench.capabilities)
    if missing:
        pytest.skip(f"the board {bench.name!r} has no {', '.join(missing)}")


@contextlib.contextmanager
def _booted(request: pytest.FixtureRequest, bench: Board) -> Iterator[Board]:
    _skip_unless_able(request.node, bench)
    bench.fresh_card()
    bench.boot()
    bench.mount_card()
    if (report := request.config.stash.get(_REPORT, None)) is not None:
        report.saw(bench)
    yield bench
    if Capability.HARD_CUT in bench.capabilities:
        bench.cut_power()
    else:
        bench.power_off()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """One agency with its camera and its dock, for the whole run."""
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def new_camera(board: Board, keys: Keys) -> NewCamera:
    """Make cameras on the board; what differs from the usual settings is named."""

    def make(**settings: Any) -> CameraRig:
        return CameraRig(board, keys, CameraSettings(**settings))

    return make


@pytest.fixture
def new_dock(board: Board, keys: Keys) -> NewDock:
    """Make a dock at the other end of the USB cable."""
    return lambda: DockRig(board, keys)
