"""Documents of camera, dock, custodian and agency that stand alone, each with a CMS signature beside it.

docs/formats.md, "Documents of dock, custodian and agency".
"""

import enum
from typing import Annotated, Literal

import msgspec

from evidence.documents.fields import (
    AgeRecipient,
    Blob,
    BootId,
    ClipName,
    Count,
    DeviceId,
    Digest,
    Epoch,
    LogHead,
    NamedBlob,
    Operator,
    Positive,
    StoreId,
    Text,
    TimeNs,
    Utc,
    check_clip_name,
    check_utc,
)

__all__ = [
    "Checkpoint",
    "Config",
    "CustodyHead",
    "Disposal",
    "EpochGrant",
    "Gestures",
    "Handover",
    "Head",
    "Receipt",
    "Reread",
    "Revocation",
    "Sound",
    "UnreadableRange",
    "Verdict",
]

_Serial = Annotated[str, msgspec.Meta(pattern=r"\A[1-9a-f][0-9a-f]{0,39}\Z")]
_Window = Annotated[int, msgspec.Meta(ge=0, le=120_000_000_000)]
_RECEIPT_FILES = ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s")


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-head-v1"):
    """How far a camera's numbering has come."""

    device: DeviceId
    epoch: Epoch
    generation: Positive
    number: Count
    start_sha256: Digest | None
    log: LogHead | None
    boot: BootId
    monotonic_ns: TimeNs
    utc: Utc | None

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        check_utc(self.utc)
        if (self.start_sha256 is None) != (self.number == 0):
            raise ValueError("`start_sha256` is null exactly if `number` is 0")


class Verdict(enum.StrEnum):
    """What a store says of a clip that it took."""

    STORED = "stored"
    QUARANTINED = "quarantined"


class Reread(enum.StrEnum):
    """How a store read a clip again before it signed for it."""

    DIRECT = "direct"
    CACHE_DROPPED = "cache_dropped"


class UnreadableRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes of a quarantined clip that the camera could not read."""

    name: Literal["clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s"]
    start: Count
    bytes: Positive


class CustodyHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size and head of a store's custody log."""

    entries: Positive
    head: Digest


class Receipt(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-receipt-v1"
):
    """What a store signed for."""

    version: Literal[1]
    device: DeviceId
    epoch: Epoch
    generation: Positive
    number: Positive
    clip: ClipName
    files: tuple[NamedBlob, ...]
    verdict: Verdict
    unreadable: tuple[UnreadableRange, ...]
    store: StoreId
    reread: Reread
    utc: Utc
    boot: BootId
    monotonic_ns: TimeNs
    custody: CustodyHead

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        check_clip_name(self.clip, self.device, self.number)
        check_utc(self.utc)
        if tuple(file.name for file in self.files) not in (_RECEIPT_FILES, _RECEIPT_FILES[1:]):
            raise ValueError("`files` are not the files of a clip in their order")
        if self.unreadable and self.verdict is Verdict.STORED:
            raise ValueError("`unreadable` is empty unless quarantined")


class Disposal(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-disposal-v1"
):
    """A lawful deletion from a store; written before the clip goes."""

    clip: ClipName
    device: DeviceId
    epoch: Epoch
    generation: Positive
    number: Positive
    manifest_sha256: Digest
    store: StoreId
    reason: Text
    operator: Operator
    utc: Utc

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        check_clip_name(self.clip, self.device, self.number)
        check_utc(self.utc)


class Handover(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-handover-v1"
):
    """The same clip under a new age header, for another agency."""

    clip: ClipName
    device: DeviceId
    epoch: Epoch
    generation: Positive
    number: Positive
    manifest_sha256: Digest
    original_header: Blob
    new_header: Blob
    recipients: tuple[AgeRecipient, ...]
    operator: Operator
    reason: Text
    utc: Utc

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        check_clip_name(self.clip, self.device, self.number)
        check_utc(self.utc)
        if not self.recipients:
            raise ValueError("`recipients` is empty")


class Sound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a clip has sound, and whether its pre-event seconds have."""

    recording: bool
    before_press: bool


class Gestures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a recording is stopped."""

    hold_ns: Positive
    confirm_stop: bool
    confirm_ns: Positive


class Revocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate that counts no more, from `utc` on; `serial` is hexadecimal without leading zeros."""

    serial: _Serial
    utc: Utc

    def __post_init__(self) -> None:
        """Refuse days that do not exist."""
        check_utc(self.utc)


class Config(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-config-v1"
):
    """The policy of a camera."""

    version: Count
    devices: tuple[DeviceId, ...]
    recipients: tuple[AgeRecipient, ...]
    window_ns: _Window
    sound: Sound
    gestures: Gestures
    limit_ns: Positive
    reminder_ns: Count
    stealth: bool
    hold_ns: Count
    revocations: tuple[Revocation, ...]

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        if not self.devices or not self.recipients:
            raise ValueError("`devices` and `recipients` must not be empty")


class Checkpoint(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-checkpoint-v1"
):
    """How far a store's custody log has come."""

    store: StoreId
    entries: Positive
    head: Digest
    utc: Utc

    def __post_init__(self) -> None:
        """Refuse days that do not exist."""
        check_utc(self.utc)


class EpochGrant(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-epoch-v1"
):
    """A dock's word to a camera that is behind its own past: the highest head that a dock has seen."""

    device: DeviceId
    epoch: Epoch
    generation: Positive
    number: Count
    start_sha256: Digest | None
    dock: DeviceId
    utc: Utc

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        check_utc(self.utc)
        if (self.start_sha256 is None) != (self.number == 0):
            raise ValueError("`start_sha256` is null exactly if `number` is 0")
