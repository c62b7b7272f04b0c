"""The `[health]` table of the camera's TOML: levels, hysteresis, and how long a silence is borne."""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["HealthConfig"]

_Percent = Annotated[int, Meta(ge=0, le=100)]
_Minutes = Annotated[float, Meta(ge=0, le=600)]
_Celsius = Annotated[float, Meta(ge=-40, le=125)]
_Seconds = Annotated[float, Meta(ge=0.1, le=600)]


class HealthConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the camera calls for help. A level that was reached is left only by the hysteresis beside it."""

    battery_low_percent: _Percent = 15
    battery_critical_percent: _Percent = 3
    battery_hysteresis_percent: _Percent = 3
    battery_alarm_minutes: _Minutes = 10.0
    battery_critical_minutes: _Minutes = 1.0
    temperature_high_c: _Celsius = 80.0
    temperature_hysteresis_c: Annotated[float, Meta(ge=0, le=50)] = 5.0
    clock_error_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 10_000
    wear_percent: _Percent = 80
    quiet_dbfs: Annotated[float, Meta(ge=-120, le=0)] = -75.0
    quiet_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    storage_silent_s: _Seconds = 10.0
    camera_silent_s: _Seconds = 10.0

    def __post_init__(self) -> None:
        if self.battery_critical_percent >= self.battery_low_percent:
            raise ValueError("battery_critical_percent is not below battery_low_percent")
        if self.battery_critical_minutes > self.battery_alarm_minutes:
            raise ValueError("battery_critical_minutes is above battery_alarm_minutes")
