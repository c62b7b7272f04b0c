"""Words for what a verification comes to: the outcome of one check, and the finding over several."""

import enum
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from evidence.errors import EvidenceError

__all__ = [
    "Check",
    "Finding",
    "IncompleteAnswer",
    "NoGroundError",
    "NotCheckedAnswer",
    "Outcome",
    "UnknownAnswer",
    "answer",
    "finding_of",
    "worst",
]


class Outcome(enum.StrEnum):
    """What a check came to."""

    PASSED = "passed"
    FAILED = "failed"  # something is not what was signed
    INCOMPLETE = "incomplete"  # all there is is authentic, but it is not all
    MISSING = "missing"  # what is needed to tell is not there
    SKIPPED = "skipped"  # an earlier check left no ground for it
    NOT_CHECKED = "not_checked"  # not asked for, or there is nothing to check; no defect


class Finding(enum.StrEnum):
    """The answer over all checks; the order is the one in which they prevail over several clips."""

    NOT_AUTHENTIC = "not_authentic"
    CANNOT_TELL = "cannot_tell"
    INCOMPLETE = "incomplete"
    AUTHENTIC = "authentic"


class Check(msgspec.Struct, frozen=True):
    """One question and its answer; `detail` is for people."""

    name: str
    outcome: Outcome
    detail: str


class NoGroundError(Exception):
    """A check needs what an earlier one did not establish."""


class IncompleteAnswer(Exception):  # noqa: N818 - an answer, not an error
    """All is authentic, but it is not all."""


class UnknownAnswer(Exception):  # noqa: N818 - an answer, not an error
    """Nothing speaks against it, but what is needed to tell is missing."""


class NotCheckedAnswer(Exception):  # noqa: N818 - an answer, not an error
    """Not asked for, or there is nothing to check."""


_ANSWERS: dict[type[Exception], Outcome] = {
    NoGroundError: Outcome.SKIPPED,
    IncompleteAnswer: Outcome.INCOMPLETE,
    UnknownAnswer: Outcome.MISSING,
    NotCheckedAnswer: Outcome.NOT_CHECKED,
}


def answer(name: str, question: Callable[[], str]) -> Check:
    """Ask one question; what it returns is the detail of a pass, what it raises decides the outcome.

    Raises:
        OSError: a file that is there cannot be read.
    """
    try:
        return Check(name, Outcome.PASSED, question())
    except EvidenceError as error:
        return Check(name, Outcome.FAILED, str(error))
    except FileNotFoundError as error:
        return Check(name, Outcome.MISSING, f"no {Path(str(error.filename)).name}")
    except tuple(_ANSWERS) as reason:
        return Check(name, _ANSWERS[type(reason)], str(reason))


def finding_of(checks: Iterable[Check]) -> Finding:
    """Return the first that applies: not authentic, cannot tell, incomplete, authentic."""
    outcomes = {check.outcome for check in checks}
    if Outcome.FAILED in outcomes:
        return Finding.NOT_AUTHENTIC
    if Outcome.MISSING in outcomes or Outcome.SKIPPED in outcomes:
        return Finding.CANNOT_TELL
    return Finding.INCOMPLETE if Outcome.INCOMPLETE in outcomes else Finding.AUTHENTIC


def worst(findings: Iterable[Finding]) -> Finding:
    """Return the finding over several: the first of not authentic, cannot tell, incomplete that occurs."""
    found = set(findings)
    return next((finding for finding in Finding if finding in found), Finding.AUTHENTIC)
