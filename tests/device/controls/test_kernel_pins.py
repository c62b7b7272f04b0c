"""Pins on the kernel's character device: the contract of an edge input, beside gpiozero's mock pins."""

import logging
import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import gpiod
import pytest
from gpiozero.exc import PinFixedPull, PinInvalidFunction, PinInvalidPull, PinSetInput, PinUnknownPi

from device.controls.bench_board import BenchBoard
from device.controls.config import LightsConfig
from device.controls.edges import Edge, EdgeInput, open_pin_factory
from device.controls.kernel_pins import KernelPinFactory, find_chip
from device.controls.outputs import GpioOutputs
from device.controls.patterns import Line
from device.errors import DeviceError
from tests.device.controls.simulated_chip import SimulatedChip

S = 1_000_000_000
LINE = 12
KernelBoard = tuple[KernelPinFactory, SimulatedChip]


class Contact(Protocol):
    """A board with one line that a test can move."""

    factory: Any

    def drive(self, *, high: bool) -> None: ...


class Mocked:
    def __init__(self) -> None:
        self.board = BenchBoard()
        self.factory = self.board.factory

    def drive(self, *, high: bool) -> None:
        self.board.drive(LINE, high=high)


class OnKernel:
    def __init__(self, board: KernelBoard) -> None:
        self.factory, self.chip = board

    def drive(self, *, high: bool) -> None:
        self.chip.drive(LINE, high=high)


@pytest.fixture(params=["mock pins", "kernel's pins"])
def contact(request: pytest.FixtureRequest) -> Contact:
    if request.param == "mock pins":
        return Mocked()
    return OnKernel(request.getfixturevalue("kernel_board"))


class Taken:
    """Edges as they came, from whichever thread."""

    def __init__(self) -> None:
        self.edges: queue.Queue[Edge] = queue.Queue()

    def next(self) -> Edge:
        return self.edges.get(timeout=20)

    def count_now(self) -> int:
        return self.edges.qsize()


@pytest.fixture
def taken() -> Taken:
    return Taken()


def claim(contact: Contact, taken: Taken, **options: Any) -> EdgeInput:
    return EdgeInput(contact.factory, LINE, "x", taken.edges.put, **options)


def test_edges_come_in_order_with_their_times(contact: Contact, taken: Taken) -> None:
    line = claim(contact, taken)
    times = [time.monotonic_ns()]
    for high in (False, True, False):
        contact.drive(high=high)
        times.append(time.monotonic_ns())
    edges = [taken.next() for _ in range(3)]
    assert [edge.active for edge in edges] == [True, False, True]
    for edge, before_ns, after_ns in zip(edges, times, times[1:], strict=False):
        assert before_ns - 2 <= edge.at_ns <= after_ns + 2  # a double's rounding
    assert line.bad_stamps == 0
    line.close()


def test_a_line_that_is_active_when_claimed_says_so_and_can_be_read(contact: Contact, taken: Taken) -> None:
    contact.drive(high=False)
    line = claim(contact, taken)
    edge = taken.next()
    assert (edge.active, edge.initial) == (True, True)
    assert line.is_active()
    contact.drive(high=True)
    assert not line.is_active()
    assert not taken.next().active
    line.close()


def test_nobody_drives_the_line_so_its_pull_does(contact: Contact, taken: Taken) -> None:
    line = claim(contact, taken, pull="down", active_low=False)
    assert not line.is_active()
    line.close()
    line = claim(contact, taken, pull="up", active_low=False)
    assert line.is_active()
    line.close()


def test_no_edge_comes_after_close_and_the_line_can_be_claimed_again(contact: Contact, taken: Taken) -> None:
    claim(contact, taken).close()
    contact.drive(high=False)
    contact.drive(high=True)
    line = claim(contact, taken)
    contact.drive(high=False)
    assert taken.next().active
    assert taken.count_now() == 0
    line.close()


def test_a_line_of_somebody_else_is_explained(kernel_board: KernelBoard) -> None:
    factory, chip = kernel_board
    other = chip.request_lines({LINE: gpiod.LineSettings()}, "other", None)
    with pytest.raises(DeviceError, match=r"GPIO12 for x can't be claimed.*busy"):
        EdgeInput(factory, LINE, "x", print)
    other.release()


def test_edges_that_the_kernel_dropped_are_counted(
    kernel_board: KernelBoard, taken: Taken, caplog: pytest.LogCaptureFixture
) -> None:
    factory, chip = kernel_board
    line = claim(OnKernel(kernel_board), taken)
    chip.requests[-1].number += 5
    chip.drive(LINE, high=False)
    assert taken.next().active
    assert factory.lost_edges == 5
    assert "the kernel dropped 5 edges" in caplog.text
    line.close()


def test_a_line_that_can_no_longer_be_read_is_told_and_lets_go(
    kernel_board: KernelBoard, taken: Taken, caplog: pytest.LogCaptureFixture
) -> None:
    _, chip = kernel_board
    line = claim(OnKernel(kernel_board), taken)
    reader = line._pin._reader._thread
    with caplog.at_level(logging.ERROR):
        chip.requests[-1].fail(OSError(19, "No such device"))
        reader.join(20)
    assert not reader.is_alive()
    assert "edges of GPIO12 can't be read: [Errno 19] No such device" in caplog.text
    line.close()
    with pytest.raises(gpiod.RequestReleasedError):
        chip.requests[-1].get_value(LINE)


def test_a_handler_may_stop_the_watching_itself(kernel_board: KernelBoard) -> None:
    factory, chip = kernel_board
    pin = factory.pin(LINE)
    seen: queue.Queue[bool] = queue.Queue()

    def handler(_ticks: float, state: Any) -> None:
        pin.when_changed = None
        seen.put(state)

    pin.input_with_pull("up")
    pin.when_changed = handler
    request = chip.requests[-1]
    request.put(high=False)
    assert seen.get(timeout=20) is False
    assert request.is_released
    assert pin.when_changed is None
    assert pin.state is True


def test_only_the_edges_asked_for_are_detected(kernel_board: KernelBoard) -> None:
    factory, chip = kernel_board
    pin = factory.pin(LINE)
    assert pin.edges == "both"
    pin.edges = "falling"
    pin.input_with_pull("down")
    assert pin.pull == "down"
    pin.when_changed = print
    settings = chip.requests[-1].settings
    assert (settings.edge_detection, settings.bias) == (gpiod.line.Edge.FALLING, gpiod.line.Bias.PULL_DOWN)


def test_outputs_are_switched_and_become_inputs_when_let_go(kernel_board: KernelBoard) -> None:
    factory, chip = kernel_board
    outputs = GpioOutputs(factory, LightsConfig())
    outputs.set(Line.RED, on=True)
    assert outputs.levels() == {Line.RED}
    levels = {request.line: request.output for request in chip.requests if not request.is_released}
    assert levels[22] is gpiod.line.Value.ACTIVE
    assert levels[27] is gpiod.line.Value.INACTIVE
    outputs.close()
    last = {request.line: request for request in chip.requests}
    assert all(request.settings.direction is gpiod.line.Direction.INPUT for request in last.values())
    assert all(request.is_released for request in last.values())


def test_what_a_line_cannot_do_is_refused(kernel_board: KernelBoard) -> None:
    factory, _ = kernel_board
    pin = factory.pin(LINE)
    pin.function = "input"
    wrong: list[tuple[type[Exception], Callable[[], None]]] = [
        (PinSetInput, lambda: setattr(pin, "state", True)),
        (PinInvalidPull, lambda: pin.input_with_pull("sideways")),
        (PinInvalidFunction, lambda: setattr(pin, "function", "alt0")),
        (PinFixedPull, lambda: factory.pin(2).input_with_pull("down")),
    ]
    for error, attempt in wrong:
        with pytest.raises(error):
            attempt()
    pin.output_with_state(True)  # gpiozero's own signature
    assert pin.state is True
    with pytest.raises(PinFixedPull):
        pin.pull = "up"


def test_a_machine_that_is_no_pi_is_refused_before_a_line_of_it_is_touched(
    kernel_board: KernelBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_self: object) -> int:
        raise PinUnknownPi("no revision")

    monkeypatch.setattr(KernelPinFactory, "_get_revision", unknown)
    with pytest.raises(DeviceError, match="no GPIO chip, expected a Raspberry Pi"):
        open_pin_factory()
    assert kernel_board[1].requests == []


class _Info:
    def __init__(self, label: str) -> None:
        self.label = label


class _Chips:
    """`gpiod.Chip`, of chips with these labels; an empty one may not be opened."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels

    def __call__(self, path: str) -> "_Chips":
        if not self.labels[path]:
            raise PermissionError(13, "Permission denied", path)
        self.info = _Info(self.labels[path])
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_info(self) -> _Info:
        return self.info


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["gpio-sim"], 0),
        (["gpio-brcmstb@107d508500", "", "pinctrl-rp1"], 2),
        (["raspberrypi-exp-gpio", "pinctrl-bcm2711"], 1),
        (["", "other"], 1),
        (["other"] * 10 + ["pinctrl-bcm2835"], 10),
    ],
)
def test_the_chip_of_the_header_is_found(labels: list[str], found: int, monkeypatch: Any) -> None:
    paths = [Path(f"/dev/gpiochip{number}") for number in range(len(labels))]
    chips = _Chips(dict(zip(map(str, paths), labels, strict=True)))
    monkeypatch.setattr(gpiod, "Chip", chips)
    assert find_chip(paths) == f"/dev/gpiochip{found}"


def test_no_chip_that_may_be_opened_says_why(monkeypatch: Any) -> None:
    monkeypatch.setattr(gpiod, "Chip", _Chips({"/dev/gpiochip0": ""}))
    with pytest.raises(PermissionError, match="gpiochip0"):
        find_chip([Path("/dev/gpiochip0")])
