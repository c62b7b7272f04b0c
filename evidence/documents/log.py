"""A line of the device's event log (docs/formats.md, "Event log")."""

from typing import Annotated

import msgspec

from evidence.documents.fields import BootId, DeviceId, Digest, Epoch, Positive, TimeNs, Utc, check_utc

__all__ = ["LogEvent", "LogLine"]

_Kind = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
_Key = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
_Value = Annotated[str, msgspec.Meta(max_length=1000)]


class LogEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event; `detail` holds strings, integers, booleans and null."""

    kind: _Kind
    monotonic_ns: TimeNs
    detail: dict[_Key, _Value | int | bool | None]


class LogLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-log-v1"):
    """One signed line with one or more events."""

    device: DeviceId
    epoch: Epoch
    generation: Positive
    index: Positive
    previous: Digest | None
    boot: BootId
    monotonic_ns: TimeNs
    utc: Utc | None
    events: tuple[LogEvent, ...]

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        check_utc(self.utc)
        if (self.previous is None) != (self.index == 1):
            raise ValueError("`previous` is null exactly for index 1")
        if not self.events:
            raise ValueError("`events` is empty")
