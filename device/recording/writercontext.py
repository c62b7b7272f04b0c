"""What the writers of all clips share: storage, signer, policy, clocks."""

import threading
from collections.abc import Callable
from fractions import Fraction

import msgspec

from device.policy import Policy
from device.recording.events import ClipEnded, ClipFailed, ClipProgress
from device.vault.vault import Vault
from evidence.clock import UtcMapping
from evidence.documents import LogHead
from evidence.signer import Signer

__all__ = ["WriterContext"]


class WriterContext(msgspec.Struct, frozen=True):
    """What all writers of one run share."""

    vault: Vault
    signer: Signer
    policy: Policy
    boot: str
    firmware: str
    rate: Fraction
    read_mapping: Callable[[], UtcMapping]
    log_head: Callable[[], LogHead | None]
    post: Callable[[ClipProgress | ClipEnded | ClipFailed], None]
    now_ns: Callable[[], int]
    sound_lag_ns: int = 300_000_000
    drain_s: float = 1.0
    """How long to wait for the last frames after a stop when none come any more."""
    wearer: Callable[[UtcMapping], str | None] = lambda _: None
    """Who wears the camera at a moment, by the shift that a dock assigned."""
    rest: Callable[[threading.Event, float], object] = threading.Event.wait
    """Sleeps for so many seconds, or until the event; the bench's time is its own."""
    claim_tries: int = 20
    claim_retry_s: float = 0.5
