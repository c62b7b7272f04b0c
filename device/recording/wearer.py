"""What the wearer is told: the pattern for a recorder state, and in words why a press is refused. No I/O."""

from device.controls.patterns import IndicatorState
from device.recording.events import BatteryLevel, StorageLevel
from device.recording.machine import RECORDING_STATES, State

__all__ = ["battery_state", "indicator", "refusal_reason"]

_IDLE = {
    State.STARTING: IndicatorState.STARTING,
    State.PENDING: IndicatorState.STARTING,
    State.READY: IndicatorState.READY,
    State.FAULT: IndicatorState.FAULT,
    State.BLOCKED: IndicatorState.CANNOT_RECORD,
    State.CLOSED: IndicatorState.CANNOT_RECORD,
}


def indicator(
    state: State, *, battery_low: bool, storage_low: bool, docked: bool = False, attention: bool = False
) -> IndicatorState:
    """Choose the pattern: a low battery outdoes a low storage, and both outdo other alarms (`attention`)."""
    if state in RECORDING_STATES:
        if battery_low:
            return IndicatorState.RECORDING_BATTERY_LOW
        return IndicatorState.RECORDING_STORAGE_LOW if storage_low else IndicatorState.RECORDING
    if state is State.READY and battery_low:
        return IndicatorState.BATTERY_LOW
    if state is State.READY and (storage_low or attention):
        return IndicatorState.ATTENTION
    if state is State.READY and docked:
        return IndicatorState.DOCKED
    return _IDLE[state]


def refusal_reason(
    state: State, storage: StorageLevel | None, battery: BatteryLevel | None, trouble: str
) -> str:
    """Say why nothing is recorded; `trouble` is what the last writer that failed said, or empty."""
    if state is State.CLOSED:
        return "shutting down"
    if battery is not None and battery.critical:
        return "battery at its last level"
    if storage is not None and storage.blocked:
        return storage.reason
    if state in {State.FAULT, State.PENDING}:
        return "the camera gives no picture"
    return trouble or "storage takes no clip"


def battery_state(level: BatteryLevel | None) -> str:
    """Name a level as the event log does; without a gauge nothing is ever logged."""
    if level is None or not (level.low or level.critical):
        return "ok"
    return "critical" if level.critical else "low"
