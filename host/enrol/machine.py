"""The steps of an enrolment at the dock's end, as a table. No I/O."""

import enum
import itertools
from collections.abc import Mapping
from typing import Final

__all__ = ["TRANSITIONS", "Outcome", "Step"]


class Step(enum.StrEnum):
    """What is being done."""

    LOOK = "look"  # for a camera without identity
    ASK = "ask"  # for its serial number
    BEGIN = "begin"  # until its button is held
    CONFIRM = "confirm"  # by the operator
    ISSUE = "issue"
    INSTALL = "install"
    CHECK = "check"  # what became of it: the link broke while the camera was installing
    ENROLLED = "enrolled"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


class Outcome(enum.Enum):
    """What came of a step."""

    DONE = enum.auto()
    NOT_YET = enum.auto()
    LOST = enum.auto()  # the link broke
    NO = enum.auto()  # refused, for good
    TIME_UP = enum.auto()


_S, _O = Step, Outcome
_STEPS = (_S.LOOK, _S.ASK, _S.BEGIN, _S.CONFIRM, _S.ISSUE, _S.INSTALL, _S.CHECK)


def _table() -> dict[tuple[Step, Outcome], Step]:
    table = {(step, outcome): _S.FAILED for step in _STEPS for outcome in _O}
    order = (*_STEPS[:-1], _S.ENROLLED)
    for step, following in itertools.pairwise(order):
        table[step, _O.DONE] = following
    for step in (_S.LOOK, _S.BEGIN):
        table[step, _O.NOT_YET] = step
    for step in (_S.LOOK, _S.ASK, _S.BEGIN):
        table[step, _O.LOST] = _S.LOOK
    table[_S.INSTALL, _O.LOST] = _S.CHECK
    table[_S.CHECK, _O.DONE] = _S.ENROLLED
    for outcome in (_O.NOT_YET, _O.LOST):
        table[_S.CHECK, outcome] = _S.CHECK
    for outcome in (_O.NO, _O.TIME_UP):
        table[_S.CHECK, outcome] = _S.UNCERTAIN
    return table


TRANSITIONS: Final[Mapping[tuple[Step, Outcome], Step]] = _table()
"""Each step and what came of it: the next step. Where the table says nothing better, it has failed."""
