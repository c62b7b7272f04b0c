"""The `[controls]` table."""

import msgspec
import pytest

from device.controls.config import ButtonConfig, ControlsConfig, SerialTriggerConfig
from device.controls.gestures import GestureTiming

FULL = """
[button]
pin = 4
settle_ms = 20

[lights]
red_pin = 5
buzzer_pin = -1
stealth_vibration = true

[[triggers]]
name = "holster"
pin = 6
edge = "rising"
pull = "down"

[[serial_triggers]]
port = "/dev/ttyUSB0"
names = ["vehicle_door"]

[[serial_triggers]]
port = "/dev/ttyUSB1"
protocol = "lines"
lines = { cts = "blue_light" }
"""


def decode(text: str) -> ControlsConfig:
    return msgspec.toml.decode(text, type=ControlsConfig)


def test_an_empty_table_is_the_default_wiring() -> None:
    config = decode("")
    assert config.button.timing() == GestureTiming()
    assert (config.button.pin, *config.lights.pins) == (17, 22, 27, 23, 24)


def test_everything_together() -> None:
    config = decode(FULL)
    assert config.button.timing(2_000_000_000).hold_ns == 2_000_000_000
    assert config.button.timing().settle_ns == 20_000_000
    assert config.lights.pins == (5, 27, 24)
    assert [source for port in config.serial_triggers for source in port.sources] == [
        "vehicle_door",
        "blue_light",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[button]\npin = 22", "pin used twice: GPIO22"),
        ('[[triggers]]\nname = "holster"\npin = 17', "pin used twice: GPIO17"),
        ("[lights]\nred_pin = 27", "pin used twice: GPIO27"),
        ("[button]\npin = 28", r"`int` <= 27 - at `\$.button.pin`"),
        ("[lights]\nred_pin = -2", r"`int` >= -1 - at `\$.lights.red_pin`"),
        ("[button]\nbounce_time = 1", "unknown field `bounce_time`"),
        ("[buttons]", "unknown field `buttons`"),
        ("[button]\nhold_ms = 2000", "unknown field `hold_ms`"),
        ("[button]\nsettle_ms = 500", r"`int` <= 400 - at `\$.button.settle_ms`"),
        ('[[triggers]]\nname = "button"\npin = 5', "trigger name used twice: button"),
        ('[[triggers]]\nname = "Holster!"\npin = 5', r"at `\$.triggers\[0\].name`"),
        ('[[triggers]]\nname = "a\\n"\npin = 5', r"at `\$.triggers\[0\].name`"),
        ('[[triggers]]\nname = "a"\npin = 5\nedge = "both"', r"at `\$.triggers\[0\].edge`"),
        ('[[serial_triggers]]\nport = "x"', "needs at least one entry in `names`"),
        ('[[serial_triggers]]\nport = ""\nnames = ["a"]', "needs a port"),
        (
            '[[serial_triggers]]\nport = "x"\nprotocol = "lines"\nnames = ["a"]',
            "needs at least one entry in `lines`",
        ),
        ('[[serial_triggers]]\nport = "x"\nnames = ["a"]\nlines = { cts = "b" }', "has no use for `lines`"),
        (
            '[[serial_triggers]]\nport = "x"\nprotocol = "lines"\nlines = { dtr = "b" }',
            "Invalid enum value 'dtr'",
        ),
        ('[[serial_triggers]]\nport = "x"\nnames = ["a", "a"]', "trigger name used twice: a"),
        (
            '[[serial_triggers]]\nport = "x"\nnames = ["a"]\n[[serial_triggers]]\nport = "x"\nnames = ["b"]',
            "serial port used twice: x",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        decode(text)


def test_contradictions_in_code_are_refused_too() -> None:
    with pytest.raises(ValueError, match="pin used twice"):
        ControlsConfig(button=ButtonConfig(pin=22))
    with pytest.raises(ValueError, match="needs a port"):
        SerialTriggerConfig("", names=("a",))
