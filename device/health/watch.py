"""Slow looks at storage and battery, in a thread of their own: a frozen card must not freeze the recorder."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from device.recording.events import BatteryLevel, StorageLevel
from device.vault.space import Reserve, read_space
from evidence.storage import StorageError

__all__ = ["BatteryLimits", "HealthWatch", "read_battery_percent"]

_log = logging.getLogger(__name__)
_POWER_SUPPLIES = Path("/sys/class/power_supply")


class BatteryLimits(msgspec.Struct, frozen=True):
    """Levels in percent; a camera without a battery gauge has none."""

    low_percent: int = 15
    critical_percent: int = 3


def read_battery_percent(root: Path = _POWER_SUPPLIES) -> int | None:
    """Read the charge of the first battery that the kernel knows, in percent; `None` if there is none."""
    if not root.is_dir():
        return None
    for supply in sorted(root.iterdir()):
        try:
            if (supply / "type").read_text(encoding="ascii").strip() == "Battery":
                return int((supply / "capacity").read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            _log.warning("battery %s gives no charge: %s", supply.name, error)
    return None


class HealthWatch:
    """Looks once a period and posts what it finds; only changes of the battery are posted."""

    def __init__(
        self,
        root: Path,
        reserve: Reserve,
        post: Callable[[StorageLevel | BatteryLevel], None],
        *,
        minimum_bytes: int,
        battery: BatteryLimits,
        power_supplies: Path = _POWER_SUPPLIES,
        period_s: float = 1.0,
    ) -> None:
        self._root = root
        self._reserve = reserve
        self._post = post
        self._minimum_bytes = minimum_bytes
        self._limits = battery
        self._power_supplies = power_supplies
        self._period_s = period_s
        self._last_battery: BatteryLevel | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Look once, at once, and then once a period."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> None:
        """Look at everything once."""
        self._post(self._storage())
        battery = self._battery()
        if battery is not None and battery != self._last_battery:
            self._last_battery = battery
            self._post(battery)

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self.look()

    def _storage(self) -> StorageLevel:
        """Judge the space; a reserve that was given up is taken back first, when there is room for it."""
        try:
            space = read_space(self._root)
            reason = ""
            if not self._reserve.held:
                reason = self._hold_reserve()
                space = read_space(self._root)
        except StorageError as error:
            return StorageLevel(free_bytes=0, usable_bytes=0, blocked=True, reason=str(error))
        usable = max(0, space.free_bytes - self._minimum_bytes)
        if not reason and not usable:
            reason = "storage is full"
        return StorageLevel(
            free_bytes=space.free_bytes, usable_bytes=usable, blocked=bool(reason), reason=reason
        )

    def _hold_reserve(self) -> str:
        try:
            self._reserve.hold()
        except StorageError as error:
            return "storage is full" if error.full else str(error)
        return ""

    def _battery(self) -> BatteryLevel | None:
        percent = read_battery_percent(self._power_supplies)
        if percent is None:
            return None
        limits = self._limits
        return BatteryLevel(
            percent=percent,
            low=percent <= limits.low_percent,
            critical=percent <= limits.critical_percent,
        )
