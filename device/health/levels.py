"""Levels with hysteresis, and the battery's time left. No clock, no I/O: readings and times in, levels out."""

from collections import deque

from device.health.config import HealthConfig
from device.health.readings import BatteryReading
from device.recording.events import BatteryLevel

__all__ = ["BatteryJudge", "Threshold"]

_NS_PER_MINUTE = 60_000_000_000
_HISTORY_NS = 30 * _NS_PER_MINUTE
_LEAST_DROP_PERCENT = 2
"""A drop by one percent may be all but none: of two, one at least is real."""
_LEAST_SPAN_NS = 2 * _NS_PER_MINUTE


class Threshold:
    """A level that is reached at `limit` and left only `hysteresis` beyond it; `falling`: from above."""

    def __init__(self, limit: float, hysteresis: float, *, falling: bool) -> None:
        self.reached = False
        self._limit = limit
        self._hysteresis = hysteresis
        self._falling = falling

    def judge(self, value: float) -> bool:
        """Take a reading; whether the level is reached now."""
        beyond = self._limit - value if self._falling else value - self._limit
        self.reached = beyond >= (-self._hysteresis if self.reached else 0)
        return self.reached


class BatteryJudge:
    """Judges a battery by its charge and by the time that is left of it, whichever is worse.

    A charging battery is neither low nor critical by its time. The time is the gauge's own if it gives one,
    else the charge over the rate at which it fell in the last half hour, once that is known.
    """

    def __init__(self, config: HealthConfig) -> None:
        hysteresis = config.battery_hysteresis_percent
        self._low = Threshold(config.battery_low_percent, hysteresis, falling=True)
        self._critical = Threshold(config.battery_critical_percent, hysteresis, falling=True)
        minutes = config.battery_alarm_minutes
        self._low_time = Threshold(minutes, minutes / 2, falling=True)
        self._critical_time = Threshold(config.battery_critical_minutes, 1.0, falling=True)
        self._history: deque[tuple[int, int]] = deque()

    def judge(self, reading: BatteryReading, now_ns: int) -> BatteryLevel:
        """Take a reading; returns what it means."""
        minutes = self._minutes_left(reading, now_ns)
        low, critical = self._low.judge(reading.percent), self._critical.judge(reading.percent)
        if minutes is not None:
            low |= self._low_time.judge(minutes)
            critical |= self._critical_time.judge(minutes)
        return BatteryLevel(
            percent=reading.percent,
            low=low or critical,
            critical=critical and not reading.charging,
            charging=reading.charging,
            minutes_left=minutes,
        )

    def _minutes_left(self, reading: BatteryReading, now_ns: int) -> float | None:
        if reading.charging:
            self._history.clear()
            return None
        if reading.minutes_left is not None:
            return reading.minutes_left
        history = self._history
        if history and reading.percent > history[-1][1]:
            history.clear()  # it was charged, or exchanged
        if not history or reading.percent != history[-1][1]:
            history.append((now_ns, reading.percent))
        while len(history) > 1 and now_ns - history[0][0] > _HISTORY_NS:
            history.popleft()
        first_ns, first = history[0]
        dropped, span_ns = first - reading.percent, now_ns - first_ns
        if dropped < _LEAST_DROP_PERCENT or span_ns < _LEAST_SPAN_NS:
            return None
        return reading.percent * span_ns / dropped / _NS_PER_MINUTE
