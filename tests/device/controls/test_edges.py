"""Edges of mock pins, with their times."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gpiozero.exc import PinSetInput
from gpiozero.pins import Factory
from gpiozero.pins.mock import MockFactory

from device.controls.bench_board import BenchBoard
from device.controls.edges import Edge, EdgeInput, ticks_to_ns
from device.errors import DeviceError

MS = 1_000_000


def test_edges_carry_the_time_of_the_pin_not_of_python(board: BenchBoard, clock: Callable[[], int]) -> None:
    edges: list[Edge] = []
    late = [clock()]
    line = EdgeInput(board.factory, 17, "button", edges.append, now_ns=lambda: late[0] + 400 * MS)
    board.press()
    clock.advance(70 * MS)  # type: ignore[attr-defined]  # the fixture's own clock
    late[0] = clock()
    board.release()
    assert edges == [
        Edge("button", late[0] - 70 * MS, active=True),
        Edge("button", late[0], active=False),
    ]
    assert line.bad_stamps == 0


def test_handler_stays_alive(board: BenchBoard) -> None:
    edges: list[Edge] = []
    line = EdgeInput(board.factory, 17, "button", edges.append, now_ns=board.factory.now_ns)
    gc.collect()
    board.press()
    assert len(edges) == 1
    line.close()
    board.release()
    assert len(edges) == 1


@pytest.mark.parametrize(("active_low", "active_level"), [(True, False), (False, True)])
def test_a_button_that_is_down_when_claimed_counts_as_pressed(
    board: BenchBoard, clock: Callable[[], int], *, active_low: bool, active_level: bool
) -> None:
    edges: list[Edge] = []
    board.drive(12, high=active_level)
    line = EdgeInput(board.factory, 12, "x", edges.append, active_low=active_low, now_ns=clock)
    assert edges == [Edge("x", clock(), active=True, initial=True)]
    assert line.is_active()
    board.drive(12, high=not active_level)
    assert not line.is_active()
    assert [edge.active for edge in edges] == [True, False]


@pytest.mark.parametrize("offset_ns", [2_000_000_000, -3_600_000_000_000])
def test_stamps_of_another_clock_are_replaced_and_counted(board: BenchBoard, offset_ns: int) -> None:
    edges: list[Edge] = []
    now_ns = board.factory.now_ns() - offset_ns
    line = EdgeInput(board.factory, 17, "button", edges.append, now_ns=lambda: now_ns)
    board.press()
    assert edges == [Edge("button", now_ns, active=True)]
    assert line.bad_stamps == 1


def test_gpiozeros_own_mock_factory_stamps_with_the_monotonic_clock() -> None:
    factory = MockFactory()
    edges: list[Edge] = []
    line = EdgeInput(factory, 17, "button", edges.append)
    factory.pin(17).drive_low()
    factory.pin(17).drive_high()
    assert [edge.active for edge in edges] == [True, False]
    assert line.bad_stamps == 0
    factory.reset()


def test_ticks_in_units_of_their_own_are_turned_by_their_difference() -> None:
    class Wrapping(Factory):  # type: ignore[misc]  # gpiozero ships no types
        """As pigpio's: microseconds, 32 bits."""

        def ticks(self) -> int:
            return 500

        def ticks_diff(self, later: int, earlier: int) -> float:
            return ((later - earlier) % 2**32) / 1e6

    assert ticks_to_ns(Wrapping(), 2**32 - 1_000, now_ns=10**12) == 10**12 - 1_500_000


def test_local_ticks_are_seconds_and_exact_for_a_hundred_days() -> None:
    for kernel_ns in (1, 123_456_789_012_345, 100 * 86_400 * 10**9 + 7):
        assert abs(ticks_to_ns(MockFactory(), kernel_ns / 1e9, now_ns=0) - kernel_ns) <= 2


def test_a_pin_that_fails_is_explained(board: BenchBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="GPIO99 for button can't be claimed"):
        EdgeInput(board.factory, 99, "button", print)
    line = EdgeInput(board.factory, 17, "button", print)

    def fail(_pin: object) -> bool:
        raise PinSetInput("gone")

    monkeypatch.setattr(type(board.factory.pin(17)), "_get_state", fail)
    with pytest.raises(DeviceError, match="line button can't be read"):
        line.is_active()


def test_without_a_board_the_factory_says_so_in_one_line(tmp_path: Path) -> None:
    if list(Path("/dev").glob("gpiochip*")):
        pytest.skip("this machine has a GPIO chip")
    program = (
        "from device.controls.edges import open_pin_factory\n"
        "from device.errors import DeviceError\n"
        "try:\n    open_pin_factory()\n"
        "except DeviceError as error:\n    print(error)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("no GPIO ")
    assert len(done.stdout.splitlines()) == 1


def test_importing_the_controls_loads_neither_gpiozero_nor_pyserial() -> None:
    program = (
        "import sys, device.controls.panel; print([m for m in ('gpiozero', 'serial') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
