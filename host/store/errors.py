"""What a store can refuse, and why."""

from evidence.errors import EvidenceError

__all__ = [
    "StoreError",
    "StoreFullError",
    "StoreGoneError",
    "StoreInUseError",
    "VerificationError",
]


class StoreError(EvidenceError):
    """A store is not there, is not one, or holds what it cannot hold."""


class StoreInUseError(StoreError):
    """Another agent has the store open."""


class StoreFullError(StoreError):
    """A clip does not fit beside what is promised to others and what has to stay free."""


class StoreGoneError(StoreError):
    """Where the store was is nothing, or another store: it was unplugged, or another one was mounted."""


class VerificationError(EvidenceError):
    """What was read back is not a clip that its camera signed; it goes to quarantine, never to the clips."""
