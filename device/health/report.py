"""What is wrong with the camera, part by part, from readings. No I/O, no clock."""

from device.health.config import HealthConfig
from device.health.levels import Threshold
from device.health.readings import CardReading
from device.recording.events import HealthLevel, HealthNote
from evidence.clock import UtcMapping

__all__ = ["HealthJudge"]

_NS_PER_MS = 1_000_000
_MILLI = 1000
_UNDER_VOLTAGE = "under-voltage"


class HealthJudge:
    """Readings in, notes out; with hysteresis where a reading wavers. A reading of `None` is no fault."""

    def __init__(self, config: HealthConfig) -> None:
        self._config = config
        hot, hysteresis = config.temperature_high_c, config.temperature_hysteresis_c
        self._hot = Threshold(hot, hysteresis, falling=False)

    def temperature(self, millicelsius: int | None) -> HealthNote:
        """Judge the processor's temperature."""
        if millicelsius is None or not self._hot.judge(millicelsius / _MILLI):
            return HealthNote("temperature", HealthLevel.OK)
        # Whole degrees in steps of five: the note is to change with the level, not with every reading.
        degrees = millicelsius // (5 * _MILLI) * 5
        return HealthNote("temperature", HealthLevel.ALARM, f"at least {degrees} °C")

    def throttling(self, causes: tuple[str, ...] | None) -> HealthNote:
        """Judge what slows the processor down."""
        if not causes:
            return HealthNote("power", HealthLevel.OK)
        level = HealthLevel.ALARM if _UNDER_VOLTAGE in causes else HealthLevel.WARNING
        return HealthNote("power", level, ", ".join(causes))

    def card(self, reading: CardReading) -> HealthNote:
        """Judge the card that the vault is on."""
        if reading.errors:
            detail = f"{reading.errors} file system errors on record"
            return HealthNote("card", HealthLevel.ALARM, detail)
        if reading.worn_percent is not None and reading.worn_percent >= self._config.wear_percent:
            return HealthNote("card", HealthLevel.ALARM, f"{reading.worn_percent} % of its life is used")
        return HealthNote("card", HealthLevel.OK)

    def clock(self, mapping: UtcMapping) -> HealthNote:
        """Judge what is known of UTC."""
        if mapping.utc_ns is None:
            return HealthNote("clock", HealthLevel.ALARM, "UTC is unknown; a dock sets it")
        if mapping.error_ns is None:
            return HealthNote("clock", HealthLevel.WARNING, f"set by {mapping.source}, error bound unknown")
        if mapping.error_ns > self._config.clock_error_ms * _NS_PER_MS:
            return HealthNote("clock", HealthLevel.WARNING, f"may be off by {self._config.clock_error_ms} ms")
        return HealthNote("clock", HealthLevel.OK)

    def microphone(self, state: str, quiet: bool) -> HealthNote:
        """Judge the microphone by its state (`present`, `absent`, `lost`, or empty for none) and its level."""
        if state in {"absent", "lost"}:
            return HealthNote("microphone", HealthLevel.ALARM, f"{state}: clips are without sound")
        if state == "present" and quiet:
            detail = f"below {self._config.quiet_dbfs:g} dBFS for {self._config.quiet_s:g} s: covered or broken"
            return HealthNote("microphone", HealthLevel.WARNING, detail)
        return HealthNote("microphone", HealthLevel.OK)

    @staticmethod
    def fact(part: str, trouble: str) -> HealthNote:
        """Note a part that is either well (no trouble) or not."""
        return HealthNote(part, HealthLevel.ALARM if trouble else HealthLevel.OK, trouble[:200])
