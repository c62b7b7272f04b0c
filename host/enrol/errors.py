"""Errors of an enrolment at the dock's end."""

from evidence.errors import EvidenceError

__all__ = ["EnrolError", "UncertainError"]


class EnrolError(EvidenceError):
    """The camera is not enrolled; nothing was installed on it."""


class UncertainError(EnrolError):
    """The link broke while the camera took its identity: it may have one or none."""
