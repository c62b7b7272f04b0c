"""When a camera without identity may be enrolled: as a table. No I/O, no clock; times are arguments.

The button has to be down, without a break, from before `begin` until the new identity is about to be written,
and that for 60 s at most: who wants longer lets go and presses again.
"""

import enum
from collections.abc import Mapping
from typing import Final

__all__ = ["TRANSITIONS", "WINDOW_NS", "Effect", "EnrolmentWindow", "Happening", "Stage"]

WINDOW_NS = 60_000_000_000


class Stage(enum.Enum):
    """How far it has come."""

    RELEASED = enum.auto()
    HELD = enum.auto()
    BEGUN = enum.auto()  # keys made, certificates asked for
    CHECKING = enum.auto()
    WRITING = enum.auto()
    LAPSED = enum.auto()  # held for too long
    DONE = enum.auto()


class Happening(enum.Enum):
    """What happens: to the button, in the session, in time."""

    HOLD = enum.auto()
    LET_GO = enum.auto()
    TIME_UP = enum.auto()
    BEGIN = enum.auto()
    INSTALL = enum.auto()
    FOUND_GOOD = enum.auto()
    FOUND_BAD = enum.auto()
    WRITTEN = enum.auto()
    NOT_WRITTEN = enum.auto()
    SESSION_OVER = enum.auto()


class Effect(enum.Enum):
    """What is to be done or answered."""

    NOTHING = enum.auto()
    MAKE_KEYS = enum.auto()
    DROP_KEYS = enum.auto()
    GO_ON = enum.auto()
    REFUSE_NOT_HELD = enum.auto()
    REFUSE_LATE = enum.auto()
    REFUSE_NOT_BEGUN = enum.auto()
    REFUSE_TAKEN = enum.auto()


_S, _H, _E = Stage, Happening, Effect
_SESSION = (_H.BEGIN, _H.INSTALL, _H.FOUND_GOOD)


def _table() -> dict[tuple[Stage, Happening], tuple[Stage, Effect]]:
    table = {(stage, happening): (stage, _E.NOTHING) for stage in _S for happening in _H}
    for happening in _SESSION:
        table[_S.RELEASED, happening] = (_S.RELEASED, _E.REFUSE_NOT_HELD)
        table[_S.LAPSED, happening] = (_S.LAPSED, _E.REFUSE_LATE)
        table[_S.DONE, happening] = (_S.DONE, _E.REFUSE_TAKEN)
        table[_S.WRITING, happening] = (_S.WRITING, _E.REFUSE_TAKEN)
    table[_S.RELEASED, _H.HOLD] = (_S.HELD, _E.NOTHING)
    table[_S.LAPSED, _H.LET_GO] = (_S.RELEASED, _E.NOTHING)
    table[_S.HELD, _H.BEGIN] = (_S.BEGUN, _E.MAKE_KEYS)
    table[_S.HELD, _H.INSTALL] = (_S.HELD, _E.REFUSE_NOT_BEGUN)
    table[_S.HELD, _H.FOUND_GOOD] = (_S.HELD, _E.REFUSE_NOT_BEGUN)
    table[_S.BEGUN, _H.BEGIN] = (_S.BEGUN, _E.MAKE_KEYS)
    table[_S.BEGUN, _H.INSTALL] = (_S.CHECKING, _E.GO_ON)
    table[_S.BEGUN, _H.FOUND_GOOD] = (_S.BEGUN, _E.REFUSE_NOT_BEGUN)
    table[_S.CHECKING, _H.BEGIN] = (_S.CHECKING, _E.REFUSE_NOT_BEGUN)
    table[_S.CHECKING, _H.INSTALL] = (_S.CHECKING, _E.REFUSE_NOT_BEGUN)
    table[_S.CHECKING, _H.FOUND_GOOD] = (_S.WRITING, _E.GO_ON)
    table[_S.CHECKING, _H.FOUND_BAD] = (_S.HELD, _E.DROP_KEYS)
    table[_S.WRITING, _H.WRITTEN] = (_S.DONE, _E.DROP_KEYS)
    table[_S.WRITING, _H.NOT_WRITTEN] = (_S.LAPSED, _E.DROP_KEYS)
    for stage in (_S.HELD, _S.BEGUN, _S.CHECKING):
        table[stage, _H.LET_GO] = (_S.RELEASED, _E.DROP_KEYS)
        table[stage, _H.TIME_UP] = (_S.LAPSED, _E.DROP_KEYS)
    for stage in (_S.BEGUN, _S.CHECKING):
        table[stage, _H.SESSION_OVER] = (_S.HELD, _E.DROP_KEYS)
    return table


TRANSITIONS: Final[Mapping[tuple[Stage, Happening], tuple[Stage, Effect]]] = _table()
"""Each stage and happening: the next stage, and what is to be done."""


class EnrolmentWindow:
    """The stage now. Times are CLOCK_MONOTONIC and never decrease; not safe for more than one thread."""

    def __init__(self, window_ns: int = WINDOW_NS) -> None:
        self.stage = Stage.RELEASED
        self._window_ns = window_ns
        self._until_ns = 0

    @property
    def open(self) -> bool:
        """Whether a dock may begin or go on."""
        return self.stage in (Stage.HELD, Stage.BEGUN, Stage.CHECKING)

    def happen(self, happening: Happening, now_ns: int) -> Effect:
        """Take what happens; the time that has passed before it counts first.

        A refusal to go on because the time was up drops the keys as well: both are then said by the refusal.
        """
        if self.open and now_ns > self._until_ns:
            self.stage, _ = TRANSITIONS[self.stage, Happening.TIME_UP]
        if happening is Happening.HOLD:
            self._until_ns = now_ns + self._window_ns
        self.stage, effect = TRANSITIONS[self.stage, happening]
        return effect
