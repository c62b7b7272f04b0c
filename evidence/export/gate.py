"""Nothing leaves the system under its name without having been verified first."""

from collections.abc import Callable
from pathlib import Path

from evidence.check import CheckReport
from evidence.documents import Manifest
from evidence.errors import EvidenceError
from evidence.findings import Check, Finding, Outcome

__all__ = ["CheckClip", "DoubtfulClipError", "UnauthenticClipError", "require_authentic"]

CheckClip = Callable[[Path], CheckReport]
"""Checks a clip's directory; what it trusts and which lists it consults is the caller's business."""


class UnauthenticClipError(EvidenceError):
    """The clip is not what its camera signed."""


class DoubtfulClipError(EvidenceError):
    """Nothing speaks against the clip, but what is needed to tell is missing."""


def require_authentic(directory: Path, check: CheckClip) -> tuple[CheckReport, Manifest]:
    """Check a clip and return the answers, and its manifest, if it is authentic, complete or interrupted.

    Raises:
        UnauthenticClipError: a check failed.
        DoubtfulClipError: the checks cannot tell.
        OSError: a file that is there cannot be read.
    """
    report = check(directory)
    if report.finding is Finding.NOT_AUTHENTIC:
        raise UnauthenticClipError(
            "the clip is not authentic",
            found=_named(report.checks, Outcome.FAILED),
            remedy="nothing was written",
        )
    if report.finding is Finding.CANNOT_TELL or report.manifest is None:
        raise DoubtfulClipError(
            "it cannot be told whether the clip is authentic",
            found=_named(report.checks, Outcome.MISSING, Outcome.SKIPPED) or "no manifest",
            remedy="nothing was written",
        )
    return report, report.manifest


def _named(checks: tuple[Check, ...], *outcomes: Outcome) -> str:
    """Name the first check with one of these outcomes, in the order in which they are given."""
    for outcome in outcomes:
        for check in checks:
            if check.outcome is outcome:
                return f"{check.name}: {check.detail}"
    return ""
