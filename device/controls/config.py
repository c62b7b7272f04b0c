"""The `[controls]` table of the device's TOML: pins are BCM numbers, unknown fields are errors.

Whatever contradicts itself raises `ValueError` while being built, which msgspec turns into a `ValidationError`
with the path of the field.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from device.controls.edges import Pull
from device.controls.gestures import GestureTiming

__all__ = [
    "BUTTON",
    "ButtonConfig",
    "ControlsConfig",
    "LightsConfig",
    "LineName",
    "ModemLineName",
    "SerialTriggerConfig",
    "TriggerConfig",
]

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000

Pin = Annotated[int, msgspec.Meta(ge=0, le=27)]
LineName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,31}\Z")]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
ModemLineName = Literal["cts", "dsr", "ri", "cd"]

BUTTON = "button"


class ButtonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The record button. By default between the pin and ground, with the chip's own pull-up."""

    pin: Pin = 17
    active_low: bool = True
    pull: Pull = "up"
    settle_ms: Annotated[int, msgspec.Meta(ge=1, le=400)] = 30
    stuck_ms: Annotated[int, msgspec.Meta(ge=31_000, le=3_600_000)] = 60_000

    def timing(self, hold_ns: int = 3 * _NS_PER_S) -> GestureTiming:
        """Return the times in nanoseconds, as the recogniser takes them; how long a hold is, policy says.

        Raises:
            ValueError: the hold is not between settling and being stuck.
        """
        return GestureTiming(
            settle_ns=self.settle_ms * _NS_PER_MS, hold_ns=hold_ns, stuck_ns=self.stuck_ms * _NS_PER_MS
        )


class LightsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lights, buzzer and vibration motor. A pin set to -1 is not there.

    Whether the camera is in stealth, policy says: no light and no sound then; the motor, which can be heard,
    runs only with `stealth_vibration`.
    """

    red_pin: Annotated[int, msgspec.Meta(ge=-1, le=27)] = 22
    green_pin: Annotated[int, msgspec.Meta(ge=-1, le=27)] = 27
    buzzer_pin: Annotated[int, msgspec.Meta(ge=-1, le=27)] = 23
    vibration_pin: Annotated[int, msgspec.Meta(ge=-1, le=27)] = 24
    active_low: bool = False
    sound: bool = True
    vibration: bool = True
    stealth_vibration: bool = False

    @property
    def pins(self) -> tuple[int, ...]:
        """The pins that are there."""
        every = (self.red_pin, self.green_pin, self.buzzer_pin, self.vibration_pin)
        return tuple(pin for pin in every if pin >= 0)


class TriggerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named GPIO line that starts a recording, such as a holster switch.

    `edge` is the edge of the electrical level that triggers. `settle_ms` is how long the line must have been
    away from that level before it triggers again. `at_start`: a line that has the level when it is claimed
    triggers at once.
    """

    name: LineName
    pin: Pin
    edge: Literal["rising", "falling"] = "falling"
    pull: Pull = "up"
    settle_ms: Milliseconds = 100
    at_start: bool = False

    @property
    def settle_ns(self) -> int:
        """`settle_ms` in nanoseconds."""
        return self.settle_ms * _NS_PER_MS


class SerialTriggerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Named trigger lines on a serial port.

    With `protocol = "text"` the port speaks lines `NAME 1` and `NAME 0`, and `names` lists those that are
    accepted. With `protocol = "lines"` they are the port's modem status lines, and `lines` maps each to its
    name; `poll_ms` bounds how late a change is seen where the driver can't wait for one.
    """

    port: str
    protocol: Literal["text", "lines"] = "text"
    names: tuple[LineName, ...] = ()
    lines: dict[ModemLineName, LineName] = {}
    baud: Annotated[int, msgspec.Meta(ge=300, le=4_000_000)] = 115_200
    poll_ms: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 20
    settle_ms: Milliseconds = 100

    def __post_init__(self) -> None:
        if not self.port:
            raise ValueError("a serial trigger needs a port, such as /dev/ttyUSB0")
        wanted, other = ("names", "lines") if self.protocol == "text" else ("lines", "names")
        if not getattr(self, wanted):
            raise ValueError(f'protocol "{self.protocol}" needs at least one entry in `{wanted}`')
        if getattr(self, other):
            raise ValueError(f'protocol "{self.protocol}" has no use for `{other}`')

    @property
    def sources(self) -> tuple[str, ...]:
        """The trigger names of this port."""
        return self.names if self.protocol == "text" else tuple(self.lines.values())

    @property
    def settle_ns(self) -> int:
        """`settle_ms` in nanoseconds."""
        return self.settle_ms * _NS_PER_MS


class ControlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All controls of a camera. A pin or a name in two places, or a port twice, is an error."""

    button: ButtonConfig = ButtonConfig()
    lights: LightsConfig = LightsConfig()
    triggers: tuple[TriggerConfig, ...] = ()
    serial_triggers: tuple[SerialTriggerConfig, ...] = ()

    def __post_init__(self) -> None:
        pins = (self.button.pin, *self.lights.pins, *(line.pin for line in self.triggers))
        _once("pin", (f"GPIO{pin}" for pin in pins))
        names = [line.name for line in self.triggers]
        names += [name for port in self.serial_triggers for name in port.sources]
        _once("trigger name", (BUTTON, *names))
        _once("serial port", (port.port for port in self.serial_triggers))


def _once(what: str, values: Iterable[str]) -> None:
    twice = sorted(value for value, count in Counter(values).items() if count > 1)
    if twice:
        raise ValueError(f"{what} used twice: {', '.join(twice)}")
