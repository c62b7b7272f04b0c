"""What the kernel tells of a camera's body: battery, temperature, throttling, the card's wear and errors.

Every reading is `None` where there is nothing that tells it. Sources: Documentation/ABI/testing/
sysfs-class-power, sysfs-class-thermal, sysfs-bus-mmc and sysfs-fs-ext4 of the kernel; for throttling the
firmware's `get_throttled` (Raspberry Pi documentation, vcgencmd), else the under-voltage alarm of its hwmon
driver.
"""

import logging
import os
from pathlib import Path

import msgspec

__all__ = [
    "SYS",
    "BatteryReading",
    "CardReading",
    "read_battery",
    "read_card",
    "read_temperature_millicelsius",
    "read_throttling",
]

_log = logging.getLogger(__name__)
SYS = Path("/sys")
_CHARGING = frozenset({"Charging", "Full"})
_SECONDS_PER_MINUTE = 60
_THROTTLE_BITS = ("under-voltage", "frequency capped", "throttled", "temperature limit")
_FULL_PERCENT = 100


class BatteryReading(msgspec.Struct, frozen=True):
    """One battery: its charge, whether it is charging or full on a charger, and how long it lasts."""

    percent: int
    charging: bool = False
    minutes_left: float | None = None


class CardReading(msgspec.Struct, frozen=True):
    """The vault's card: file system errors on record, and how much of its life is used, in percent."""

    errors: int | None = None
    worn_percent: int | None = None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):  # not there, or the driver cannot answer just now
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None


def read_battery(root: Path = SYS) -> BatteryReading | None:
    """Read the first battery that the kernel knows; `None` if there is none, or it does not answer."""
    supplies = root / "class/power_supply"
    if not supplies.is_dir():
        return None
    for supply in sorted(supplies.iterdir()):
        if _text(supply / "type") != "Battery" or _text(supply / "scope") == "Device":
            continue  # a mains adapter, or the battery of something plugged in
        percent = _number(supply / "capacity")
        if percent is None:
            _log.warning("battery %s gives no charge", supply.name)
            continue
        charging = _text(supply / "status") in _CHARGING
        return BatteryReading(min(_FULL_PERCENT, max(0, percent)), charging, _minutes_left(supply))
    return None


def _minutes_left(supply: Path) -> float | None:
    """Return the gauge's own estimate, or what is left over what is drawn."""
    seconds = _number(supply / "time_to_empty_avg") or _number(supply / "time_to_empty_now")
    if seconds:
        return seconds / _SECONDS_PER_MINUTE
    for left, drawn in (("energy_now", "power_now"), ("charge_now", "current_now")):
        have, rate = _number(supply / left), _number(supply / drawn)
        if have is not None and rate:  # micro-units and micro-units an hour; some drivers draw below zero
            return have / abs(rate) * _SECONDS_PER_MINUTE
    return None


def read_temperature_millicelsius(root: Path = SYS) -> int | None:
    """Read the processor's temperature in thousandths of a degree Celsius."""
    return _number(root / "class/thermal/thermal_zone0/temp")


def read_throttling(root: Path = SYS) -> tuple[str, ...] | None:
    """Read what slows the processor down now: an empty tuple for nothing."""
    text = _text(root / "devices/platform/soc/soc:firmware/get_throttled")
    if text is not None:
        try:
            bits = int(text, 16)
        except ValueError:
            return None
        return tuple(name for bit, name in enumerate(_THROTTLE_BITS) if bits >> bit & 1)
    for chip in sorted((root / "class/hwmon").glob("hwmon*")):
        if _text(chip / "name") == "rpi_volt":
            return ("under-voltage",) if _number(chip / "in0_lcrit_alarm") else ()
    return None


def read_card(directory: Path, root: Path = SYS) -> CardReading:
    """Read what is known of the block device that a directory lies on.

    Raises:
        OSError: the directory is not there, or storage fails.
    """
    number = directory.stat().st_dev
    device = root / f"dev/block/{os.major(number)}:{os.minor(number)}"
    if not device.exists():
        return CardReading()
    device = device.resolve()
    errors = _number(root / "fs/ext4" / device.name / "errors_count")
    return CardReading(errors, _worn_percent(device))


def _worn_percent(device: Path) -> int | None:
    """Read eMMC's `life_time`: two estimates in tenths, 0x01 for up to 10 % used, 0x0b for beyond its life."""
    for place in (device / "device", device.parent / "device"):
        tenths = [int(word, 16) for word in (_text(place / "life_time") or "").split() if word.startswith("0x")]
        if any(tenths):
            return min(11, max(tenths)) * 10
    return None
