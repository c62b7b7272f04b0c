"""Virtual time and a bench board on it."""

from collections.abc import Iterator

import pytest

from device.controls.bench_board import BenchBoard
from device.controls.config import ControlsConfig, TriggerConfig


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
