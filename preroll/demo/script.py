"""The demo's hand on the button: a script without clock, thread or I/O. Time in, what to do out.

Without a terminal the button presses itself: once the ring holds the seconds asked for, and again, long, to
stop. With one, the space bar is the button; what nobody does in time the script does, so that the demo always
ends. A ring that cannot hold those seconds, for its limit of bytes, is full when it grows no more.
"""

import enum

from device.recording.machine import RECORDING_STATES, State

__all__ = ["Do", "Script"]

_NS_PER_S = 1_000_000_000
_TAP_NS = 200_000_000
_PLATEAU_NS = 15 * _NS_PER_S  # longer than any GOP that a source may have


class Do(enum.Enum):
    """What the hand does next."""

    PRESS = enum.auto()
    RELEASE = enum.auto()


class _Phase(enum.Enum):
    FILLING = enum.auto()
    TAPPED = enum.auto()
    PRESSED = enum.auto()
    RECORDING = enum.auto()
    HOLDING = enum.auto()
    OVER = enum.auto()


class Script:
    """Presses when the ring is full and `patience_ns` have gone by; stops after `record_ns`."""

    def __init__(self, *, window_ns: int, record_ns: int, hold_ns: int, patience_ns: int = 0) -> None:
        self._window_ns = window_ns
        self._record_ns = record_ns
        self._hold_ns = hold_ns
        self._patience_ns = patience_ns
        self._phase = _Phase.FILLING
        self._since_ns = 0
        self._full_ns: int | None = None
        self._most_held_ns = 0
        self._grown_ns: int | None = None

    @property
    def over(self) -> bool:
        """Whether the clip has been stopped."""
        return self._phase is _Phase.OVER

    def waits_ns(self, now_ns: int) -> int | None:
        """How long the hand still waits for somebody to press, `None` while it doesn't."""
        if self._phase is not _Phase.FILLING or self._full_ns is None:
            return None
        return max(0, self._full_ns + self._patience_ns - now_ns)

    def step(self, now_ns: int, *, held_ns: int, state: State, touched: bool) -> list[Do]:
        """Return what to do now; `touched` says that somebody's finger is on the button."""
        match self._phase:
            case _Phase.FILLING:
                return self._fill(now_ns, held_ns, state)
            case _Phase.TAPPED if now_ns - self._since_ns >= _TAP_NS:
                self._phase = _Phase.RECORDING if state in RECORDING_STATES else _Phase.PRESSED
                return [Do.RELEASE]
            case _Phase.PRESSED if state in RECORDING_STATES:  # on a busy machine not at once
                self._phase = _Phase.RECORDING
                return []
            case _Phase.RECORDING:
                return self._record(now_ns, state, touched=touched)
            case _Phase.HOLDING if state not in RECORDING_STATES:
                self._phase = _Phase.OVER
                return [Do.RELEASE]
            case _:
                return []

    def _fill(self, now_ns: int, held_ns: int, state: State) -> list[Do]:
        if state in RECORDING_STATES:  # somebody pressed
            self._phase, self._since_ns = _Phase.RECORDING, now_ns
            return []
        if not self._is_full(now_ns, held_ns) or state is not State.READY:
            return []
        self._full_ns = now_ns if self._full_ns is None else self._full_ns
        if now_ns < self._full_ns + self._patience_ns:
            return []
        self._phase, self._since_ns = _Phase.TAPPED, now_ns
        return [Do.PRESS]

    def _is_full(self, now_ns: int, held_ns: int) -> bool:
        if self._grown_ns is None or held_ns > self._most_held_ns:
            self._most_held_ns, self._grown_ns = held_ns, now_ns
        plateau = held_ns > 0 and now_ns - self._grown_ns >= _PLATEAU_NS
        return held_ns >= self._window_ns or plateau

    def _record(self, now_ns: int, state: State, *, touched: bool) -> list[Do]:
        if state not in RECORDING_STATES:
            self._phase = _Phase.OVER  # somebody stopped it, or it ended by itself
            return []
        begin_ns = self._since_ns + max(self._record_ns - self._hold_ns, 2 * _TAP_NS)
        if touched or now_ns < begin_ns:
            return []
        self._phase = _Phase.HOLDING
        return [Do.PRESS]
