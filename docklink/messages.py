"""What camera and dock say to each other: one frozen structure for each body (docs/docklink.md).

Field grammars are those of the signed documents (docs/formats.md). Everything is checked when a body is read;
an unknown field is refused. None of this is signed, but for the documents inside `SignedDocument`.
"""

import enum
import re
from typing import Annotated, Literal, TypeVar

import msgspec

from docklink.errors import ProtocolError
from evidence.clock import ClockSource
from evidence.decoding import json_decoder
from evidence.documents.fields import (
    AgeRecipient,
    BootId,
    ClipName,
    ConfigRef,
    Count,
    DeviceId,
    Digest,
    Epoch,
    Positive,
    TimeNs,
    Utc,
    Wearer,
    check_utc,
)

__all__ = [
    "FILES",
    "Battery",
    "ClipEntry",
    "ClipPage",
    "ClipState",
    "ClockReport",
    "ClockStep",
    "Device",
    "EnrolBegin",
    "EnrolInstall",
    "EnrolStep",
    "HealthEntry",
    "Probe",
    "ProbeEcho",
    "Problem",
    "RecorderState",
    "RenewBegin",
    "RenewInstall",
    "RenewStep",
    "SetClock",
    "SignedDocument",
    "SigningRequest",
    "SigningRequests",
    "Storage",
    "TombstoneEntry",
    "TombstonePage",
    "WearerAssignment",
    "check_clip_id",
    "check_file",
    "decode_message",
    "encode_message",
]

MessageT = TypeVar("MessageT")
FILES = ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s", "tail.bin")
"""The files of a clip that a dock may fetch; there is no other name."""
_CLIP = re.compile(r"(?:notime|[0-9]{8}T[0-9]{6}Z)-[a-z0-9-]{1,32}-[0-9]{6,18}")
_Document = Annotated[bytes, msgspec.Meta(min_length=2, max_length=1_048_576)]
_Cms = Annotated[bytes, msgspec.Meta(min_length=1, max_length=65_536)]
_Der = Annotated[bytes, msgspec.Meta(min_length=1, max_length=16_384)]
_Chain = Annotated[tuple[_Der, ...], msgspec.Meta(min_length=1, max_length=4)]
_Short = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
_UtcNs = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all bodies have in common."""


class Problem(Message, frozen=True):
    """Why a request was not granted (RFC 9457); `field` names what is wrong in the request, if one thing is."""

    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    title: str
    detail: str
    field: str | None = None


class SignedDocument(Message, frozen=True):
    """A signed document in its exact bytes, and its detached CMS signature in DER; both base64 in JSON."""

    document: _Document
    cms: _Cms


class RecorderState(enum.StrEnum):
    """What the recorder is doing."""

    STARTING = "starting"
    PENDING = "pending"
    READY = "ready"
    RECORDING = "recording"
    CONFIRMING = "confirming"
    FAULT = "fault"


class Battery(Message, frozen=True):
    """The battery; `null` is what the camera cannot tell."""

    percent: _Percent | None
    charging: bool | None


class Storage(Message, frozen=True):
    """The vault's storage in bytes, and how many clips wait for a dock."""

    total_bytes: Count
    free_bytes: Count
    waiting: Count


class ClockReport(Message, frozen=True):
    """What time the camera has: the same instant on both clocks, who says so, how far off it can be."""

    boot: BootId
    monotonic_ns: TimeNs
    utc: Utc | None
    source: ClockSource
    error_ns: Count | None
    set_ns: TimeNs | None

    def __post_init__(self) -> None:
        """Refuse days that do not exist."""
        if self.utc is not None:
            check_utc(self.utc)


class HealthEntry(Message, frozen=True):
    """A part of the camera that is not as it should be, how bad that is, and why in one line."""

    part: _Short
    level: Literal["warning", "alarm"]
    detail: Annotated[str, msgspec.Meta(max_length=200)]


class Device(Message, frozen=True):
    """Who the camera is and how it is; `device`, `epoch` and `config` are `null` before its enrolment.

    `serial` is the board's own number, the one that USB shows; `null` where a board has none. `health` names
    the parts that are not as they should be.
    """

    device: DeviceId | None
    epoch: Epoch | None
    generation: Positive | None
    firmware: _Short
    recorder: RecorderState
    battery: Battery
    storage: Storage
    temperature_millicelsius: int | None
    clock: ClockReport
    config: ConfigRef | None
    wearer: Wearer | None
    link_not_after_utc: Utc | None
    serial: _Short | None = None
    health: Annotated[tuple[HealthEntry, ...], msgspec.Meta(max_length=32)] | None = None


class ClipState(enum.StrEnum):
    """How far a clip has come."""

    RECORDING = "recording"
    RECOVERING = "recovering"
    SEALED = "sealed"
    RELEASABLE = "releasable"
    RELEASED = "released"

    @property
    def readable(self) -> bool:
        """Whether its files can be fetched."""
        return self in (ClipState.SEALED, ClipState.RELEASABLE)


class ClipEntry(Message, frozen=True):
    """One clip; the files with their digests only once it is sealed."""

    clip: ClipName
    epoch: Epoch
    number: Positive
    state: ClipState
    bytes: Count
    manifest_sha256: Digest | None
    urgent: bool


class ClipPage(Message, frozen=True):
    """Clips in the order of their numbers; `more`: ask again with `after`, the last name here."""

    clips: tuple[ClipEntry, ...]
    more: bool


class TombstoneEntry(Message, frozen=True):
    """What is left of a released clip: line 0 of its journal as stored, manifest and receipt."""

    clip: ClipName
    start: _Document
    manifest: SignedDocument
    receipt: SignedDocument


class TombstonePage(Message, frozen=True):
    """Tombstones in the order of their numbers; `more` as in `ClipPage`."""

    tombstones: tuple[TombstoneEntry, ...]
    more: bool


class Probe(Message, frozen=True, tag_field="step", tag="probe"):
    """First half of the four time stamps: when the dock sent this, by its UTC."""

    dock_sent_utc_ns: _UtcNs


class ProbeEcho(Message, frozen=True):
    """When the camera received a probe and when it answered, CLOCK_MONOTONIC of this boot."""

    boot: BootId
    received_ns: TimeNs
    sent_ns: TimeNs


class SetClock(Message, frozen=True, tag_field="step", tag="set"):
    """All four time stamps of one probe of this session, and the bound of the dock's own error."""

    boot: BootId
    dock_sent_utc_ns: _UtcNs
    received_ns: TimeNs
    sent_ns: TimeNs
    dock_received_utc_ns: _UtcNs
    dock_error_ns: Count


ClockStep = Probe | SetClock


class WearerAssignment(Message, frozen=True):
    """Who wears the camera from `start_utc` to `end_utc`; `null` ends an assignment."""

    wearer: Wearer | None
    start_utc: Utc
    end_utc: Utc

    def __post_init__(self) -> None:
        """Hold the times against the calendar and each other."""
        check_utc(self.start_utc)
        check_utc(self.end_utc)
        if self.end_utc <= self.start_utc:
            raise ValueError("`end_utc` is not after `start_utc`")


class RenewBegin(Message, frozen=True, tag_field="step", tag="begin"):
    """Make a key for the link and ask for a certificate."""


class RenewInstall(Message, frozen=True, tag_field="step", tag="install"):
    """The certificate for the key of the last `begin`: leaf, then intermediates, DER."""

    link: _Chain


RenewStep = RenewBegin | RenewInstall


class SigningRequest(Message, frozen=True):
    """A signing request (PKCS #10, DER)."""

    link: _Der


class EnrolBegin(Message, frozen=True, tag_field="step", tag="begin"):
    """Become this device: make keys, ask for certificates.

    `camera_fingerprint` is the SHA-256 of the certificate that the dock saw in this session; the camera
    compares it with its own, so whoever sits in between is noticed. `agency_fingerprint` is for people to read.
    """

    device: DeviceId
    camera_fingerprint: Digest
    agency_fingerprint: Digest


class SigningRequests(Message, frozen=True):
    """Signing requests for both keys of a camera (PKCS #10, DER)."""

    evidence: _Der
    link: _Der


class EnrolInstall(Message, frozen=True, tag_field="step", tag="install"):
    """The chains for the keys of the last `begin`, the agency's anchor, the first configuration.

    `anchors` is the one root whose fingerprint `begin` told. An agency that signs no configurations yet names
    `recipients` instead of `config`: who can open the clips; there is one of the two.
    """

    evidence: _Chain
    link: _Chain
    anchors: _Chain
    config: SignedDocument | None = None
    recipients: Annotated[tuple[AgeRecipient, ...], msgspec.Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        """Refuse both or neither of what says who can open the clips."""
        if (self.config is None) is (self.recipients is None):
            raise ValueError("there is to be either `config` or `recipients`")


EnrolStep = EnrolBegin | EnrolInstall


def encode_message(message: object) -> bytes:
    """Return the JSON of a body."""
    return msgspec.json.encode(message)


def decode_message(data: bytes | bytearray, kind: type[MessageT]) -> MessageT:
    """Read a body.

    Raises:
        msgspec.ValidationError: a field is missing, unknown or out of range; the message names its path.
        msgspec.DecodeError: it is no JSON.
    """
    return json_decoder(kind).decode(data)


def check_clip_id(text: str) -> str:
    """Return the name of a clip if it is one: nothing else may become part of a path.

    Raises:
        ProtocolError: it is not.
    """
    if not _CLIP.fullmatch(text):
        raise ProtocolError("not the name of a clip", expected=_CLIP.pattern, found=ascii(text[:80]))
    return text


def check_file(text: str) -> str:
    """Return the name of a file of a clip if it is one of `FILES`.

    Raises:
        ProtocolError: it is not.
    """
    if text not in FILES:
        raise ProtocolError("not a file of a clip", expected=" or ".join(FILES), found=ascii(text[:80]))
    return text
