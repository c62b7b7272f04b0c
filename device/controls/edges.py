"""Edges of GPIO lines with the kernel's own time.

gpiozero's `when_pressed` carries no time; `pin.when_changed(ticks, state)` does. What `ticks` is, by factory
(read in the sources of gpiozero 2.0.1):

- ours (kernel_pins.py): seconds as a float, the kernel's `gpio_v2_line_event.timestamp_ns` divided by 10^9.
- native, RPi.GPIO, mock: seconds of `time.monotonic()`, which is CLOCK_MONOTONIC, read when Python noticed.
- pigpio: microseconds of its own, 32 bits wide, comparable only by `factory.ticks_diff`.

A double holds seconds to better than 2 ns up to 10^7 s (116 days) of uptime.
"""

import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from device.errors import DeviceError

__all__ = ["Edge", "EdgeInput", "Pull", "backend_errors", "open_pin_factory", "ticks_to_ns"]

_log = logging.getLogger(__name__)

Pull = Literal["up", "down", "floating"]

_NS_PER_S = 1_000_000_000
# A stamp may lie ahead of the clock by rounding only; anything more is another clock.
_AHEAD_NS = 1_000_000
# Nobody was this late: the stamp is of another clock, such as one that does not count sleep.
_BEHIND_NS = 60 * _NS_PER_S


class Edge(msgspec.Struct, frozen=True, gc=False):
    """A line became active or inactive; `at_ns` is CLOCK_MONOTONIC. `initial`: it was so when claimed."""

    line: str
    at_ns: int
    active: bool
    initial: bool = False


def open_pin_factory() -> Any:
    """Open the pins of this machine: the kernel's GPIO chip, unless GPIOZERO_PIN_FACTORY names another way.

    Raises:
        DeviceError: the back end is not installed, this is no Raspberry Pi, or the chip can't be opened.
    """
    import gpiozero  # noqa: PLC0415 - 65 ms of import, for a board only

    try:
        if os.environ.get("GPIOZERO_PIN_FACTORY"):
            return gpiozero.Device._default_pin_factory()  # noqa: SLF001 - its only way without making a device
        from device.controls.kernel_pins import KernelPinFactory  # noqa: PLC0415 - as above

        return KernelPinFactory()
    except ImportError as error:
        raise DeviceError(
            "no GPIO back end",
            expected="the gpiod package",
            found=str(error),
            remedy="install preroll with its `pi` extra",
        ) from error
    except backend_errors() as error:
        raise DeviceError(
            "no GPIO chip",
            expected="a Raspberry Pi whose /dev/gpiochip* this user may open",
            found=str(error),
            remedy="add the user to group gpio, or set GPIOZERO_PIN_FACTORY",
        ) from error


def backend_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that gpiozero and its back end raise when a line fails."""
    from gpiozero.exc import GPIOZeroError  # noqa: PLC0415 - as above

    gpiod = sys.modules.get("gpiod")
    found: tuple[type[Exception], ...] = (GPIOZeroError, OSError)
    return found if gpiod is None else (*found, gpiod.ChipClosedError, gpiod.RequestReleasedError)


def ticks_to_ns(factory: Any, ticks: float, now_ns: int) -> int:
    """Turn a pin factory's ticks into nanoseconds of CLOCK_MONOTONIC.

    `now_ns` is the time of the call, needed where ticks are comparable with each other only.
    """
    from gpiozero.pins.local import LocalPiFactory  # noqa: PLC0415 - as above
    from gpiozero.pins.mock import MockFactory  # noqa: PLC0415 - as above

    if isinstance(factory, LocalPiFactory | MockFactory):
        return round(ticks * _NS_PER_S)
    age_s: float = factory.ticks_diff(factory.ticks(), ticks)
    return now_ns - round(age_s * _NS_PER_S)


class EdgeInput:
    """One input line. Claims it, hands each edge to `deliver`, and tells the level when asked.

    `deliver` runs in the back end's thread: it must not block or raise. If the line is active when claimed, an
    `Edge` with `initial=True` is delivered before the constructor returns. A stamp that can't be of
    CLOCK_MONOTONIC is replaced by the time of arrival and counted in `bad_stamps`.

    Raises:
        DeviceError: the line can't be claimed.
    """

    def __init__(
        self,
        factory: Any,
        pin: int,
        name: str,
        deliver: Callable[[Edge], None],
        *,
        active_low: bool = True,
        pull: Pull = "up",
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.name = name
        self.bad_stamps = 0
        self._factory = factory
        self._deliver = deliver
        self._active_low = active_low
        self._now_ns = now_ns
        # gpiozero keeps a weak reference to the handler: this attribute keeps it alive.
        self._handler = self._changed
        with self._explained(f"GPIO{pin} for {name} can't be claimed"):
            self._pin = factory.pin(pin)
            self._pin.input_with_pull(pull)
            self._pin.edges = "both"
            # No `bounce`: gpiozero's back ends stamp edges late then and drop short presses.
            self._pin.when_changed = self._handler
        # Watching comes first and reading second, so that a press in between is seen twice rather than never.
        if self.is_active():
            deliver(Edge(name, now_ns(), active=True, initial=True))

    def is_active(self) -> bool:
        """Read the level now.

        Raises:
            DeviceError: the line can't be read.
        """
        with self._explained(f"line {self.name} can't be read"):
            return bool(self._pin.state) is not self._active_low

    def close(self) -> None:
        """Stop watching. No edge is delivered afterwards."""
        with self._explained(f"line {self.name} can't be released"):
            self._pin.when_changed = None
            self._pin.close()

    def _changed(self, ticks: float, state: Any) -> None:
        now_ns = self._now_ns()
        at_ns = ticks_to_ns(self._factory, ticks, now_ns) if math.isfinite(ticks) else now_ns + _BEHIND_NS
        if not now_ns - _BEHIND_NS <= at_ns <= now_ns + _AHEAD_NS:
            self.bad_stamps += 1
            if self.bad_stamps == 1:
                _log.error(
                    "line %s: edges are not stamped with CLOCK_MONOTONIC; using the time of arrival", self.name
                )
            at_ns = now_ns
        self._deliver(Edge(self.name, at_ns, active=bool(state) is not self._active_low))

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except backend_errors() as error:
            raise DeviceError(
                what, found=f"{type(error).__name__}: {error}", remedy="check wiring and [controls]"
            ) from error
