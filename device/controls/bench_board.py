"""A board made of gpiozero's mock pins, for demo and tests: what works on it took the way of a real press.

Edges are stamped with the given clock, by default CLOCK_MONOTONIC, at the moment of the call.
"""

import time
from collections.abc import Callable
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPin

from device.controls.config import ControlsConfig

__all__ = ["BenchBoard"]

_NS_PER_S = 1_000_000_000


class _BenchFactory(MockFactory):  # type: ignore[misc]  # gpiozero ships no types
    """A mock factory whose ticks are those of the bench's clock."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        super().__init__(pin_class=_BenchPin)
        self.now_ns = now_ns

    def ticks(self) -> float:
        return self.now_ns() / _NS_PER_S


class _BenchPin(MockPin):  # type: ignore[misc]  # gpiozero ships no types
    """A mock pin that stamps its edges with the bench's clock; a driven one is not moved by its pull."""

    driven = False

    def _set_pull(self, value: str) -> None:
        if self.driven and self.function == "input":
            self._pull = value
        else:
            super()._set_pull(value)

    def _call_when_changed(self) -> None:
        # MockPin's own version stamps with time.monotonic(), which leaves no room for a virtual clock.
        super(MockPin, self)._call_when_changed(self.factory.ticks(), self.state)


class BenchBoard:
    """A board with a button, trigger lines and lights wired as `config` says. `factory` is what opens it."""

    def __init__(
        self, config: ControlsConfig | None = None, *, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.config = config or ControlsConfig()
        self.factory: Any = _BenchFactory(now_ns)
        button = self.config.button
        self._wire(button.pin, high=button.active_low)
        for line in self.config.triggers:
            self._wire(line.pin, high=line.edge == "falling")

    def press(self) -> None:
        """Close the button's contact."""
        self.drive(self.config.button.pin, high=not self.config.button.active_low)

    def release(self) -> None:
        """Open the button's contact."""
        self.drive(self.config.button.pin, high=self.config.button.active_low)

    def trigger(self, name: str, *, active: bool) -> None:
        """Put a configured trigger line at its triggering level, or away from it."""
        line = next(line for line in self.config.triggers if line.name == name)
        self.drive(line.pin, high=(line.edge == "rising") is active)

    def drive(self, pin: int, *, high: bool) -> None:
        """Drive an input line to a level."""
        found = self.factory.pin(pin)
        found.driven = True
        if high:
            found.drive_high()
        else:
            found.drive_low()

    def is_high(self, pin: int) -> bool:
        """Read the level of any pin, such as a light's."""
        return bool(self.factory.pin(pin).state)

    def close(self) -> None:
        """Let go of all pins."""
        self.factory.reset()

    def _wire(self, pin: int, *, high: bool) -> None:
        self.drive(pin, high=high)
