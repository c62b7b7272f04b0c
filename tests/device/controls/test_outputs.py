"""Output lines: one contract for board and memory."""

from collections.abc import Callable

import msgspec
import pytest
from gpiozero.exc import PinSetInput

from device.controls.bench_board import BenchBoard
from device.controls.config import LightsConfig
from device.controls.outputs import GpioOutputs, MemoryLines, OutputLines, set_levels
from device.controls.patterns import FAULT_LEVELS, Line
from device.errors import DeviceError


@pytest.fixture(params=["board", "board active low", "memory"])
def make(request: pytest.FixtureRequest, board: BenchBoard) -> Callable[[bool], OutputLines]:
    """Make outputs, with a buzzer or without one."""

    def build(buzzer: bool) -> OutputLines:
        if request.param == "memory":
            return MemoryLines(line for line in Line if buzzer or line is not Line.BUZZER)
        config = LightsConfig(buzzer_pin=23 if buzzer else -1, active_low=request.param == "board active low")
        return GpioOutputs(board.factory, config)

    return build


def test_all_lines_are_off_at_first(make: Callable[[bool], OutputLines]) -> None:
    assert make(True).levels() == frozenset()


@pytest.mark.parametrize("line", Line)
def test_a_line_switches_alone(make: Callable[[bool], OutputLines], line: Line) -> None:
    outputs = make(True)
    outputs.set(line, on=True)
    outputs.set(line, on=True)
    assert outputs.levels() == {line}
    outputs.set(line, on=False)
    assert outputs.levels() == frozenset()


def test_a_line_that_is_not_there_takes_every_level(make: Callable[[bool], OutputLines]) -> None:
    outputs = make(False)
    set_levels(outputs, Line)
    assert outputs.levels() == set(Line) - {Line.BUZZER}


def test_levels_are_set_exactly(make: Callable[[bool], OutputLines]) -> None:
    outputs = make(True)
    outputs.set(Line.BUZZER, on=True)
    set_levels(outputs, FAULT_LEVELS)
    assert outputs.levels() == FAULT_LEVELS == {Line.RED, Line.GREEN}


def test_after_close_nothing_happens(make: Callable[[bool], OutputLines]) -> None:
    outputs = make(True)
    outputs.close()
    outputs.close()
    outputs.set(Line.RED, on=True)
    assert outputs.levels() == frozenset()


@pytest.mark.parametrize("active_low", [False, True])
def test_pins_follow(board: BenchBoard, *, active_low: bool) -> None:
    outputs = GpioOutputs(board.factory, LightsConfig(active_low=active_low))
    assert board.is_high(22) is active_low
    outputs.set(Line.RED, on=True)
    assert board.is_high(22) is not active_low


def test_a_pin_in_use_is_explained_and_the_others_are_let_go(board: BenchBoard) -> None:
    taken = GpioOutputs(board.factory, LightsConfig(red_pin=-1, green_pin=-1, vibration_pin=-1))
    with pytest.raises(DeviceError, match="GPIO23 for buzzer can't be claimed"):
        GpioOutputs(board.factory, LightsConfig())
    taken.close()
    GpioOutputs(board.factory, LightsConfig())


def test_one_line_that_fails_does_not_keep_the_others_from_being_set(
    board: BenchBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = GpioOutputs(board.factory, LightsConfig())
    red = board.factory.pin(22)
    kind = type(red)
    works = kind._set_state

    def fails_for_red(pin: object, value: object) -> None:
        if pin is red:
            raise PinSetInput("burnt")
        works(pin, value)

    monkeypatch.setattr(kind, "_set_state", fails_for_red)
    with pytest.raises(DeviceError, match="output red can't be switched"):
        set_levels(outputs, FAULT_LEVELS)
    assert outputs.levels() == {Line.GREEN}


def test_memory_keeps_the_changes_in_order() -> None:
    lines = MemoryLines()
    lines.set(Line.RED, on=True)
    lines.set(Line.RED, on=True)
    lines.set(Line.BUZZER, on=True)
    lines.set(Line.RED, on=False)
    assert lines.history == [(Line.RED, True), (Line.BUZZER, True), (Line.RED, False)]


def test_lights_config_is_frozen() -> None:
    with pytest.raises(AttributeError):
        LightsConfig().red_pin = 3  # type: ignore[misc]  # what is tested
    assert msgspec.structs.replace(LightsConfig(), red_pin=3).red_pin == 3
