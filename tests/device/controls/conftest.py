"""Virtual time and a bench board on it; the kernel's pins on a chip in memory."""

from collections.abc import Iterator

import gpiod
import pytest

from device.controls.bench_board import BenchBoard
from device.controls.config import ControlsConfig, TriggerConfig
from device.controls.kernel_pins import KernelPinFactory
from tests.device.controls.simulated_chip import SimulatedChip

_PI_4B = 0xC03111


class VirtualClock:
    """Nanoseconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_ns = 5_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, ns: int) -> int:
        self.now_ns += ns
        return self.now_ns


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def controls() -> ControlsConfig:
    return ControlsConfig(
        triggers=(
            TriggerConfig("holster", 5),
            TriggerConfig("blue_light", 6, edge="rising", pull="down"),
        )
    )


@pytest.fixture
def board(controls: ControlsConfig, clock: VirtualClock) -> Iterator[BenchBoard]:
    board = BenchBoard(controls, now_ns=clock)
    yield board
    board.close()


@pytest.fixture
def kernel_board(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[KernelPinFactory, SimulatedChip]]:
    """The firmware's pin factory on a simulated chip of a Pi 4."""
    chip = SimulatedChip()
    monkeypatch.setattr(gpiod, "Chip", lambda _path: chip)
    monkeypatch.setattr(KernelPinFactory, "_get_revision", lambda _self: _PI_4B)
    factory = KernelPinFactory("/dev/gpiochip0")
    yield factory, chip
    factory.close()
    assert all(request.is_released for request in chip.requests)
    assert not chip.is_open
