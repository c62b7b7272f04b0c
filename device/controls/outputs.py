"""The output lines: on a board through gpiozero, or in memory for the terminal's view and the tests."""

import threading
from collections.abc import Iterable
from typing import Any, Protocol

from device.controls.config import LightsConfig
from device.controls.edges import backend_errors
from device.controls.patterns import Line
from device.errors import DeviceError

__all__ = ["GpioOutputs", "MemoryLines", "OutputLines", "set_levels"]


class OutputLines(Protocol):
    """Output lines by name. A line that is not there takes every level and has none."""

    def set(self, line: Line, *, on: bool) -> None:
        """Switch a line.

        Raises:
            DeviceError: the line is there and can't be switched.
        """
        ...

    def levels(self) -> frozenset[Line]:
        """Return the lines that are on."""
        ...

    def close(self) -> None:
        """Let go of the lines; further calls do nothing. Which level stays on a pin is the board's affair."""
        ...


def set_levels(outputs: OutputLines, levels: Iterable[Line]) -> None:
    """Switch on exactly `levels`.

    Raises:
        DeviceError: a line can't be switched; the others have been.
    """
    wanted = frozenset(levels)
    failed: DeviceError | None = None
    for line in Line:
        try:
            outputs.set(line, on=line in wanted)
        except DeviceError as error:
            failed = error
    if failed is not None:
        raise failed


class GpioOutputs:
    """Output lines on a board; all are off once claimed.

    Raises:
        DeviceError: a line can't be claimed; those claimed before are let go.
    """

    def __init__(self, factory: Any, config: LightsConfig) -> None:
        pins = {
            Line.RED: config.red_pin,
            Line.GREEN: config.green_pin,
            Line.BUZZER: config.buzzer_pin,
            Line.VIBRATION: config.vibration_pin,
        }
        self._devices: dict[Line, Any] = {}
        for line, pin in pins.items():
            if pin >= 0:
                self._claim(factory, line, pin, active_low=config.active_low)

    def set(self, line: Line, *, on: bool) -> None:
        """Switch a line; see `OutputLines`."""
        device = self._devices.get(line)
        if device is None:
            return
        try:
            device.value = int(on)
        except backend_errors() as error:
            raise DeviceError(
                f"output {line} can't be switched", found=f"{type(error).__name__}: {error}"
            ) from error

    def levels(self) -> frozenset[Line]:
        """Return the lines that are on."""
        return frozenset(line for line, device in self._devices.items() if device.value)

    def close(self) -> None:
        """Let go of the lines; see `OutputLines`."""
        devices, self._devices = self._devices, {}
        for device in devices.values():
            device.close()

    def _claim(self, factory: Any, line: Line, pin: int, *, active_low: bool) -> None:
        from gpiozero import DigitalOutputDevice  # noqa: PLC0415 - 65 ms of import, for a board only

        try:
            self._devices[line] = DigitalOutputDevice(
                pin, active_high=not active_low, initial_value=False, pin_factory=factory
            )
        except backend_errors() as error:
            self.close()
            raise DeviceError(
                f"GPIO{pin} for {line} can't be claimed",
                found=f"{type(error).__name__}: {error}",
                remedy="check [controls.lights]",
            ) from error


class MemoryLines:
    """Output lines that exist in memory: what the terminal shows. `history` is every real change, in order."""

    def __init__(self, lines: Iterable[Line] = tuple(Line)) -> None:
        self.history: list[tuple[Line, bool]] = []
        self._lock = threading.Lock()
        self._levels = dict.fromkeys(lines, False)

    def set(self, line: Line, *, on: bool) -> None:
        """Switch a line; see `OutputLines`."""
        with self._lock:
            if self._levels.get(line, on) is not on:
                self._levels[line] = on
                self.history.append((line, on))

    def levels(self) -> frozenset[Line]:
        """Return the lines that are on."""
        with self._lock:
            return frozenset(line for line, on in self._levels.items() if on)

    def close(self) -> None:
        """Let go of the lines; see `OutputLines`."""
        with self._lock:
            self._levels.clear()
