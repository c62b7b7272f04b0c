"""What goes over MQTT: one frozen structure a topic (docs/mqtt.md; docs/asyncapi.json is made from this).

JSON, UTC, a schema version. A reader ignores fields it does not know; a change that breaks readers gets another
`schema`. No field holds personal data: a wearer is a pseudonym, an operator is never named.
"""

import enum
from typing import Annotated, Literal, TypeVar

import msgspec

from evidence.decoding import json_decoder
from evidence.documents.fields import ClipName, Count, DeviceId, Positive, StoreId, Utc, Wearer, check_utc
from host.bays.status import BayState
from host.publish.errors import PayloadError

__all__ = [
    "PAYLOAD_LIMIT_BYTES",
    "SCHEMA",
    "AsOf",
    "BayPayload",
    "CameraPayload",
    "DataValue",
    "DockState",
    "EventPayload",
    "EventsHeld",
    "InfoPayload",
    "Payload",
    "ReplayRequest",
    "Session",
    "StatePayload",
    "StoreSpace",
    "decode_payload",
    "encode_payload",
]

SCHEMA = 1
PAYLOAD_LIMIT_BYTES = 64 * 1024
"""No payload of ours is longer; a longer one that comes is not read."""

PayloadT = TypeVar("PayloadT", bound="Payload")
_Version = Annotated[Literal[1], msgspec.Meta(description="version of this format")]
_Part = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
_Word = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
_Hex64 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
_Detail = Annotated[str, msgspec.Meta(max_length=1000)]
_Short = Annotated[str, msgspec.Meta(max_length=64)]
_Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
DataValue = _Detail | int | bool | None
AsOf = tuple[Positive, Count]
"""Generation of the camera's numbering and index of its event log: the greater, the later."""


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What all messages have in common."""

    schema: _Version = 1


class Session(msgspec.Struct, frozen=True, order=True):
    """One run of an agent: a number that only grows, on disk, then 64 random bits; compared in that order."""

    number: Positive
    nonce: _Hex64


class DockState(enum.StrEnum):
    """How an agent stands to its broker."""

    ONLINE = "online"
    STOPPED = "stopped"
    OFFLINE = "offline"


class StatePayload(Payload, frozen=True, kw_only=True):
    """`state`: `online` while connected, `stopped` after a clean end, `offline` is the will, without a time."""

    dock: _Part
    state: DockState
    session: Session
    utc: Utc | None

    def __post_init__(self) -> None:
        """Hold fields against each other."""
        check_utc(self.utc)


class StoreSpace(msgspec.Struct, frozen=True, kw_only=True):
    """The store: `ready`, `full`, `read_only`, `gone` or `failing`; bytes are `null` where nobody can tell."""

    store: StoreId
    state: _Short
    detail: _Detail
    free_bytes: Count | None
    total_bytes: Count | None


class EventsHeld(msgspec.Struct, frozen=True, kw_only=True):
    """The outbox: numbers `first` to `last` can be replayed (0: none yet); `dropped` were lost at its bound.

    `series` is another one after the outbox was lost, and numbers begin at 1 again; `generation` counts the
    series. Each entry of the custody log behind `custody_after`, up to `custody_told`, has its event.
    """

    series: _Hex64
    first: Count
    last: Count
    dropped: Count
    generation: Positive = 1
    custody_after: Count = 0
    custody_told: Count = 0


class InfoPayload(Payload, frozen=True, kw_only=True):
    """`info`: what the dock is, its store and the events that it holds."""

    dock: _Part
    utc: Utc
    version: _Short
    bays: tuple[_Part, ...]
    store: StoreSpace | None
    custody_entries: Count
    events: EventsHeld


class BayPayload(Payload, frozen=True, kw_only=True):
    """`bay/{n}`: as `preroll dock status` shows it; `clip`, `step` and bytes while `offloading`."""

    bay: _Part
    utc: Utc
    state: BayState
    detail: _Detail
    device: DeviceId | None
    clip: ClipName | None
    step: _Short | None
    done_bytes: Count
    clip_bytes: Count
    stored: Count
    failed_sessions: Count


class CameraPayload(Payload, frozen=True, kw_only=True):
    """`camera/{id}`: a camera as this dock knows it as of a point of the camera's own life.

    Of several docks' messages the greatest `as_of` counts, of equal ones that with a `bay`, of those the later
    `utc`. `null` is less than any. `utc` is when the dock saw the last change.
    """

    device: DeviceId
    utc: Utc
    as_of: AsOf | None
    bay: _Part | None
    firmware: _Short
    recorder: _Short
    battery_percent: _Percent | None
    charging: bool | None
    free_bytes: Count
    total_bytes: Count
    clock_error_ns: Count | None
    waiting: Annotated[int, msgspec.Meta(ge=0, description="clips that wait for a dock")]
    missing: Annotated[int, msgspec.Meta(ge=0, description="numbers that are nowhere")] | None
    wearer: Wearer | None

    @property
    def rank(self) -> tuple[tuple[int, int], bool, str]:
        """What to compare: the greatest tells the truth."""
        return self.as_of or (0, 0), self.bay is not None, self.utc


class EventPayload(Payload, frozen=True, kw_only=True):
    """`event`: something that happened; numbers have no gaps within a dock's series.

    `kind` says what; `clip_stored` carries the head of the custody log in `data`. `shortened`: the broker takes
    no longer message, so that `detail` and `data` were left out.
    """

    dock: _Part
    series: _Hex64
    number: Positive
    utc: Utc
    kind: _Word
    device: DeviceId | None = None
    clip: ClipName | None = None
    detail: _Detail = ""
    data: dict[_Word, DataValue] = {}
    shortened: bool = False


class ReplayRequest(Payload, frozen=True, kw_only=True):
    """`replay`: send the events `first` to `last` of a series again, to `event`."""

    series: _Hex64
    first: Positive
    last: Positive

    def __post_init__(self) -> None:
        """Refuse a range that ends before it begins."""
        if self.last < self.first:
            raise ValueError("`last` is before `first`")


def encode_payload(payload: Payload) -> bytes:
    """Write a payload."""
    return msgspec.json.encode(payload)


def decode_payload(data: bytes, kind: type[PayloadT]) -> PayloadT:
    """Read a payload.

    Raises:
        PayloadError: it is too long or not of the format.
    """
    if len(data) > PAYLOAD_LIMIT_BYTES:
        raise PayloadError(
            f"not a {kind.__name__}", expected=f"at most {PAYLOAD_LIMIT_BYTES} bytes", found=f"{len(data)}"
        )
    try:
        return json_decoder(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"not a {kind.__name__}", found=str(error)[:200]) from error
