"""What lights, buzzer and vibration motor do: one row a recorder state, one row a signal.

Rules that the tests hold the table to:

- no light stays on for 2 s: outputs keep their level when a process freezes or dies, so a steady light never
  means anything but a fault;
- two states differ in rhythm, not only in colour: one man in twelve can't tell red from green;
- at most three flashes in any second (WCAG 2.3.1, photosensitive epilepsy).
"""

import enum
from typing import Generic, TypeVar

import msgspec

__all__ = [
    "FAULT_LEVELS",
    "PATTERNS",
    "RECORDING_STATES",
    "SIGNALS",
    "Colour",
    "IndicatorState",
    "Line",
    "Pattern",
    "Signal",
    "Track",
]

_T = TypeVar("_T")
_NS_PER_MS = 1_000_000


class Line(enum.StrEnum):
    """An output line."""

    RED = "red"
    GREEN = "green"
    BUZZER = "buzzer"
    VIBRATION = "vibration"


class Colour(enum.Enum):
    """A colour of the light: the lines that make it."""

    OFF = frozenset[Line]()
    RED = frozenset({Line.RED})
    GREEN = frozenset({Line.GREEN})
    AMBER = frozenset({Line.RED, Line.GREEN})


class IndicatorState(enum.StrEnum):
    """What the recorder wants to be seen."""

    STARTING = "starting"
    READY = "ready"
    RECORDING = "recording"
    RECORDING_STORAGE_LOW = "recording_storage_low"
    RECORDING_BATTERY_LOW = "recording_battery_low"
    BATTERY_LOW = "battery_low"
    ATTENTION = "attention"
    CANNOT_RECORD = "cannot_record"
    DOCKED = "docked"
    FAULT = "fault"
    NOT_ENROLLED = "not_enrolled"
    ENROLLING = "enrolling"


class Signal(enum.StrEnum):
    """Something that happened, shown once."""

    STARTED = "started"
    STOPPED = "stopped"
    BOOKMARK = "bookmark"
    REFUSED = "refused"
    CONFIRM_WANTED = "confirm_wanted"
    REMINDER = "reminder"


class Track(msgspec.Struct, Generic[_T], frozen=True):
    """Steps of (value, milliseconds) played one after the other, over and over if `repeat`."""

    steps: tuple[tuple[_T, int], ...]
    repeat: bool = False

    @property
    def length_ns(self) -> int:
        """The length of one pass, in nanoseconds."""
        return sum(ms for _, ms in self.steps) * _NS_PER_MS

    def at(self, elapsed_ns: int) -> tuple[_T | None, int | None]:
        """Return the value after `elapsed_ns` and for how many nanoseconds it stays.

        A track that is over, or empty, has no value, for ever (`None, None`).
        """
        length_ns = self.length_ns
        if not length_ns or (not self.repeat and elapsed_ns >= length_ns):
            return None, None
        elapsed_ns %= length_ns
        for value, ms in self.steps:
            elapsed_ns -= ms * _NS_PER_MS
            if elapsed_ns < 0:
                return value, -elapsed_ns
        raise AssertionError("the steps add up to the length")


class Pattern(msgspec.Struct, frozen=True):
    """One row: what the light, the buzzer and the motor do, and what it tells the wearer."""

    meaning: str
    light: Track[Colour] = Track(())
    buzzer: Track[bool] = Track(())
    vibration: Track[bool] = Track(())

    @property
    def length_ns(self) -> int:
        """The length of the longest of the three tracks, one pass, in nanoseconds."""
        return max(self.light.length_ns, self.buzzer.length_ns, self.vibration.length_ns)


def _blink(*steps: tuple[Colour, int]) -> Track[Colour]:
    return Track(steps, repeat=True)


def _flash(*steps: tuple[Colour, int]) -> Track[Colour]:
    return Track(steps)


def _pulses(*on_off_ms: int) -> Track[bool]:
    return Track(tuple((index % 2 == 0, ms) for index, ms in enumerate(on_off_ms)))


def _every(period_ms: int, *on_off_ms: int) -> Track[bool]:
    rest_ms = period_ms - sum(on_off_ms)
    return Track((*_pulses(*on_off_ms).steps, (False, rest_ms)), repeat=True)


_OFF, _RED, _GREEN, _AMBER = Colour.OFF, Colour.RED, Colour.GREEN, Colour.AMBER
_S = IndicatorState

PATTERNS: dict[IndicatorState, Pattern] = {
    _S.STARTING: Pattern(
        "starting up; a press is already taken",
        light=_blink((_AMBER, 500), (_OFF, 500)),
    ),
    _S.READY: Pattern(
        "ready: the last seconds are being kept",
        light=_blink((_GREEN, 100), (_OFF, 2_900)),
    ),
    _S.RECORDING: Pattern(
        "recording, and the clip is reaching storage",
        light=_blink((_RED, 1_500), (_OFF, 500)),
    ),
    _S.RECORDING_STORAGE_LOW: Pattern(
        "recording; storage is nearly full",
        light=_blink((_RED, 1_000), (_OFF, 300), (_AMBER, 150), (_OFF, 200), (_AMBER, 150), (_OFF, 300)),
        buzzer=_every(60_000, 100, 100, 100),
        vibration=_every(60_000, 150, 150, 150),
    ),
    _S.RECORDING_BATTERY_LOW: Pattern(
        "recording; the battery is nearly empty",
        light=_blink((_RED, 1_000), (_OFF, 300), (_AMBER, 150), (_OFF, 550)),
        buzzer=_every(60_000, 400),
        vibration=_every(60_000, 400),
    ),
    _S.BATTERY_LOW: Pattern(
        "ready; the battery is nearly empty",
        light=_blink((_AMBER, 150), (_OFF, 200), (_AMBER, 150), (_OFF, 1_500)),
        buzzer=_every(60_000, 400),
        vibration=_every(60_000, 400),
    ),
    _S.ATTENTION: Pattern(
        "ready; storage is nearly full, or a part needs a look: the dock says which",
        light=_blink((_GREEN, 100), (_OFF, 300), (_AMBER, 100), (_OFF, 300), (_GREEN, 100), (_OFF, 2_600)),
        vibration=_every(60_000, 250, 250, 250),
    ),
    _S.CANNOT_RECORD: Pattern(
        "a press will be refused: take the camera to the dock",
        light=_blink((_RED, 170), (_OFF, 170)),
        buzzer=_every(10_000, 100, 100, 100, 100, 100),
        vibration=_every(10_000, 150, 150, 150, 150, 150),
    ),
    _S.DOCKED: Pattern(
        "in the dock",
        light=_blink((_GREEN, 1_000), (_OFF, 3_000)),
    ),
    _S.FAULT: Pattern(
        "a fault, or a recording that no longer reaches storage",
        light=_blink((_AMBER, 200), (_OFF, 200), (_AMBER, 200), (_OFF, 200), (_AMBER, 200), (_OFF, 1_000)),
        buzzer=_every(10_000, 500, 200, 500),
        vibration=_every(10_000, 500, 200, 500),
    ),
    _S.NOT_ENROLLED: Pattern(
        "belongs to nobody and cannot record: have it enrolled at a dock",
        light=_blink(*((_AMBER, 200), (_OFF, 200)) * 3, (_AMBER, 200), (_OFF, 1_200)),
    ),
    _S.ENROLLING: Pattern(
        "button held: the dock may enrol it now",
        light=_blink(*((_AMBER, 200), (_OFF, 200), (_GREEN, 200), (_OFF, 200)) * 2, (_AMBER, 200), (_OFF, 700)),
    ),
}

SIGNALS: dict[Signal, Pattern] = {
    Signal.STARTED: Pattern(
        "recording has started",
        buzzer=_pulses(150, 150, 150),
        vibration=_pulses(250, 150, 250),
    ),
    Signal.STOPPED: Pattern(
        "recording has ended",
        light=_flash((_GREEN, 800)),
        buzzer=_pulses(700),
        vibration=_pulses(800),
    ),
    Signal.BOOKMARK: Pattern(
        "moment marked, clip urgent",
        light=_flash((_AMBER, 300), (_OFF, 200)),
        buzzer=_pulses(60),
        vibration=_pulses(120),
    ),
    Signal.REFUSED: Pattern(
        "the press was refused: nothing is recorded",
        light=_flash(*((_RED, 150), (_OFF, 200)) * 3),
        buzzer=_pulses(100, 80, 100, 80, 100, 80, 100),
        vibration=_pulses(150, 100, 150, 100, 150, 100, 150),
    ),
    Signal.CONFIRM_WANTED: Pattern(
        "press again within 5 s to stop, or recording goes on",
        light=_flash(*((_AMBER, 300), (_OFF, 200), (_GREEN, 300), (_OFF, 200)) * 2),
        buzzer=_pulses(80, 100, 400),
        vibration=_pulses(120, 100, 500),
    ),
    Signal.REMINDER: Pattern(
        "still recording",
        buzzer=_pulses(60, 120, 60),
        vibration=_pulses(100, 150, 100),
    ),
}

RECORDING_STATES = frozenset({_S.RECORDING, _S.RECORDING_STORAGE_LOW, _S.RECORDING_BATTERY_LOW})

FAULT_LEVELS = Colour.AMBER.value
"""Steady amber: what the unit sets before the process starts and after it ends, as nothing can blink then."""
