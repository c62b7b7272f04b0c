"""What other threads tell the recorder."""

import enum

import msgspec

from device.recording.core import RecorderPolicy
from device.vault.space import minutes_left
from evidence.documents.fields import Ended

__all__ = [
    "BatteryLevel",
    "ClipEnded",
    "ClipFailed",
    "ClipProgress",
    "DockPresence",
    "HealthLevel",
    "HealthNote",
    "LogTrouble",
    "PolicyChange",
    "RecorderEvent",
    "ShutdownRequest",
    "StorageLevel",
]


class ClipProgress(msgspec.Struct, frozen=True, tag=True):
    """A sync point was reached: so many frames of the clip are on storage."""

    clip: str
    edge_ns: int
    frames: int
    ciphertext_bytes: int
    caught_up: bool
    at_ns: int


class ClipEnded(msgspec.Struct, frozen=True, tag=True):
    """A clip has its last line; `sealed` is false if its manifest could not be written."""

    clip: str
    edge_ns: int
    ended: Ended
    sealed: bool
    frames: int
    caught_up_ns: int | None
    """From the edge to the moment at which the writer had caught up with the ring, `None` if it never did."""


class ClipFailed(msgspec.Struct, frozen=True, tag=True):
    """A clip could not be claimed or written to its end; what is on storage stays for recovery.

    `full`: storage was full. `empty`: there was nothing to record, and storage is not to blame.
    """

    clip: str
    edge_ns: int
    reason: str
    full: bool
    empty: bool = False


class StorageLevel(msgspec.Struct, frozen=True, tag=True):
    """What the storage watch found."""

    free_bytes: int
    usable_bytes: int
    blocked: bool
    reason: str

    def minutes_left(self, rate_bytes_per_s: float) -> float | None:
        """How long recording can go on at this rate, in minutes; `None` while the rate is unknown."""
        return minutes_left(self.usable_bytes, rate_bytes_per_s)


class BatteryLevel(msgspec.Struct, frozen=True, tag=True):
    """What the battery watch found; `minutes_left` is `None` while charging or unknown."""

    percent: int
    low: bool
    critical: bool
    charging: bool = False
    minutes_left: float | None = None


class HealthLevel(enum.StrEnum):
    """How bad it is: a warning is told to log and dock, an alarm to the wearer's light as well."""

    OK = "ok"
    WARNING = "warning"
    ALARM = "alarm"


class HealthNote(msgspec.Struct, frozen=True, tag=True):
    """One part's level, and why in one line, empty for `ok`."""

    part: str
    level: HealthLevel
    detail: str = ""


class LogTrouble(msgspec.Struct, frozen=True, tag=True):
    """Storage refuses the event log, or takes it again (empty reason)."""

    reason: str


class DockPresence(msgspec.Struct, frozen=True, tag=True):
    """A dock talks to the camera, or has not for a while."""

    docked: bool


class PolicyChange(msgspec.Struct, frozen=True, tag=True):
    """A dock pushed another policy."""

    policy: RecorderPolicy


class ShutdownRequest(msgspec.Struct, frozen=True, tag=True):
    """Seal what is open, and end."""

    reason: str


RecorderEvent = (
    ClipProgress
    | ClipEnded
    | ClipFailed
    | StorageLevel
    | BatteryLevel
    | HealthNote
    | LogTrouble
    | DockPresence
    | PolicyChange
    | ShutdownRequest
)
