"""Which line is what: BCM numbers, those of docs/controls.md."""

__all__ = ["BUTTON", "BUZZER", "GREEN", "HOLSTER", "OUTPUTS", "RED", "VIBRATION"]

BUTTON, RED, GREEN, BUZZER, VIBRATION = 17, 22, 27, 23, 24
OUTPUTS = (RED, GREEN, BUZZER, VIBRATION)
HOLSTER = 5
"""A trigger line, for the tests that configure one."""
