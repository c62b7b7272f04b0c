"""What can be wrong with badges."""

from evidence.errors import EvidenceError

__all__ = ["BadgeError"]


class BadgeError(EvidenceError):
    """A reader or the file of badges cannot be used. Never says a badge's number."""
