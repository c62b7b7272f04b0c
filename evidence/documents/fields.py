"""The constrained values that signed documents are made of (docs/formats.md, "Rules" and "Values").

Patterns are anchored with backslash-Z: a dollar sign would let a newline through at the end.
"""

import enum
import re
from typing import Annotated

import msgspec

from evidence.clock import ClockSource, format_utc, parse_utc
from evidence.errors import EvidenceError
from evidence.frames import Shortfall

__all__ = [
    "AgeRecipient",
    "AudioFacts",
    "Blob",
    "BootId",
    "ClipName",
    "Clock",
    "ConfigRef",
    "Count",
    "DeviceId",
    "Digest",
    "Ended",
    "Epoch",
    "LogHead",
    "MediaFacts",
    "NamedBlob",
    "Operator",
    "Positive",
    "Shortfall",
    "StoreId",
    "Text",
    "TimeNs",
    "Trigger",
    "Utc",
    "VideoFacts",
    "Wearer",
    "check_clip_name",
    "check_utc",
    "clip_name",
]

_INT64_MAX = 2**63 - 1
_NS_PER_S = 1_000_000_000
_NUMBER_FORM = re.compile(r"[0-9]{6}|[1-9][0-9]{6,}")

Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""SHA-256, lower-case hexadecimal."""
DeviceId = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")]
StoreId = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")]
BootId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
Epoch = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
ClipName = Annotated[str, msgspec.Meta(pattern=r"\A(notime|[0-9]{8}T[0-9]{6}Z)-[a-z0-9-]{1,32}-[0-9]{6,18}\Z")]
Utc = Annotated[
    str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z\Z")
]
"""RFC 3339 with six decimals; `check_utc` refuses days that do not exist."""
AgeRecipient = Annotated[str, msgspec.Meta(pattern=r"\Aage1[a-z0-9]{1,4096}\Z")]
Wearer = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
Operator = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._@-]{1,64}\Z")]
"""The id of a person; also the common name of a custodian's certificate."""
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
"""Words by a person."""
Count = Annotated[int, msgspec.Meta(ge=0, le=_INT64_MAX)]
"""Bytes, frames, lines, durations in nanoseconds."""
Positive = Annotated[int, msgspec.Meta(ge=1, le=_INT64_MAX)]
TimeNs = Annotated[int, msgspec.Meta(ge=-_INT64_MAX, le=_INT64_MAX)]
"""CLOCK_MONOTONIC; below zero only where a frame lies before the boot's zero in a test's simulated clock."""
_Size = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
_TriggerSource = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.-]{1,32}\Z")]
_FileName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9.-]{0,63}\Z")]


class Ended(enum.StrEnum):
    """How a clip ended; a last line holds one of the first six, a manifest any."""

    STOPPED = "stopped"
    TIME_LIMIT = "time_limit"
    STORAGE_FULL = "storage_full"
    LOW_BATTERY = "low_battery"
    SHUTDOWN = "shutdown"
    FAULT = "fault"
    POWER_LOSS = "power_loss"
    UNKNOWN = "unknown"
    NOTHING_RECORDED = "nothing_recorded"

    @property
    def orderly(self) -> bool:
        """Whether a last line of the journal may say so."""
        return self not in (Ended.POWER_LOSS, Ended.UNKNOWN, Ended.NOTHING_RECORDED)


class LogHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`log`: the last line of the event log at that moment."""

    index: Positive
    sha256: Digest


class Clock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`clock`: who says what time it is, and how far off that can be."""

    source: ClockSource
    error_ns: Count | None
    set_ns: TimeNs | None


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`trigger`: what started a clip, or was added to it."""

    source: _TriggerSource
    edge_ns: TimeNs


class ConfigRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`config`: which policy was in force."""

    version: Count
    sha256: Digest


class Blob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`blob`: size and digest of bytes that lie elsewhere."""

    bytes: Count
    sha256: Digest


class NamedBlob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `blob` with the name of its file."""

    name: _FileName
    bytes: Count
    sha256: Digest


class VideoFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`media.video`: codec, size in pixels and nominal rate of the picture."""

    codec: Annotated[str, msgspec.Meta(pattern=r"\Ah264\Z")]
    width: _Size
    height: _Size
    rate_num: Positive
    rate_den: Positive


class AudioFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`media.audio`: the one form of sound that clips have."""

    codec: Annotated[str, msgspec.Meta(pattern=r"\Aaac\Z")]
    sample_rate: Annotated[int, msgspec.Meta(ge=48_000, le=48_000)]
    channels: Annotated[int, msgspec.Meta(ge=1, le=1)]


class MediaFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`media`: what is recorded."""

    video: VideoFacts
    audio: AudioFacts


def clip_name(device: str, number: int, first_frame_utc_ns: int | None) -> str:
    """Name a clip: UTC of its first frame (ns since 1970, rounded down) or `notime`, device, number."""
    if first_frame_utc_ns is None:
        moment = "notime"
    else:
        utc = format_utc(first_frame_utc_ns // _NS_PER_S * _NS_PER_S)
        moment = utc[:19].replace("-", "").replace(":", "") + "Z"
    return f"{moment}-{device}-{number:06d}"


def check_clip_name(clip: str, device: str, number: int) -> None:
    """Hold a clip's name against the device and the number beside it in the same document.

    Raises:
        ValueError: they disagree (msgspec turns it into its own error, with the path of the document).
    """
    rest = clip.partition("-")[2]
    named_device, _, named_number = rest.rpartition("-")
    if named_device != device or not _NUMBER_FORM.fullmatch(named_number) or int(named_number) != number:
        raise ValueError("`clip` disagrees with `device` or `number`")


def check_utc(*values: str | None) -> None:
    """Refuse a UTC that has the right form but names no instant (30 February).

    Raises:
        ValueError: one of them names none.
    """
    for value in values:
        if value is None:
            continue
        try:
            parse_utc(value)
        except EvidenceError as error:
            raise ValueError(str(error)) from error
