"""Resynchronisation of a serial line, without I/O: where a session starts, whatever lies in the line.

The dock asks with `ASK_MAGIC`, a fresh nonce and a CRC; the camera discards everything until it sees that, and
answers with `ANSWER_MAGIC`, the nonce and a CRC; the dock discards everything until the nonce that it sent
*last* comes back. A dock that waited too long asks again with another nonce: so when an answer counts, the
camera has nothing older left to read, and what follows in both directions is TLS.

The camera's line is in one of three states:

    state      input                              next       action
    HUNTING    bytes without a whole, good ask    HUNTING    discard (the last 35 bytes may begin one)
    HUNTING    ask                                BOUNDARY   answer, start a session
    BOUNDARY   header of a TLS record             RECORD     pass on
    BOUNDARY   ask                                BOUNDARY   answer, start a session
    BOUNDARY   the beginning of either            BOUNDARY   wait
    BOUNDARY   anything else                      HUNTING    the line is lost
    RECORD     bytes                              RECORD     pass on
    RECORD     last byte of the record            BOUNDARY   pass on
    any        time-out                           HUNTING    the line is lost

An ask inside a record is not looked for: ciphertext may hold any bytes. If bytes of a record were lost, the
next asks are taken for its rest; then the record fails in TLS, or never ends and runs into the time-out, and
the ask after that one is seen. Neither magic begins with a byte that a TLS record may begin with.
"""

import enum
import secrets
import zlib
from typing import Final

import msgspec

__all__ = [
    "ANSWER_MAGIC",
    "ASK_MAGIC",
    "FRAME_BYTES",
    "Answer",
    "CameraLine",
    "DockLine",
    "LineLost",
    "LineState",
    "Payload",
    "SessionStart",
    "frame",
]

ASK_MAGIC = bytes.fromhex("f5a7d06c3ee9428fb11c7a94c25d08e3")
ANSWER_MAGIC = bytes.fromhex("fa1b96e04d7743c8a95e2fd3807cb614")
_NONCE_BYTES = 16
FRAME_BYTES = 16 + _NONCE_BYTES + 4
_HEADER_BYTES = 5
_CONTENT_TYPES = frozenset(range(20, 24))  # change_cipher_spec, alert, handshake, application_data
_TLS_MAJOR, _TLS_MINOR_MOST = 3, 3
_RECORD_LIMIT_BYTES = 16_384 + 256  # RFC 8446, section 5.2


class LineState(enum.Enum):
    """Where the camera's line stands."""

    HUNTING = enum.auto()
    BOUNDARY = enum.auto()
    RECORD = enum.auto()


class Answer(msgspec.Struct, frozen=True, tag=True):
    """Send these bytes to the dock, before anything else."""

    data: bytes


class SessionStart(msgspec.Struct, frozen=True, tag=True):
    """A session starts here; one that was under way has ended."""


class Payload(msgspec.Struct, frozen=True, tag=True):
    """Bytes of the session, for TLS."""

    data: bytes


class LineLost(msgspec.Struct, frozen=True, tag=True):
    """The session under way has ended: these bytes are no TLS, or time ran out."""

    reason: str


Action = Answer | SessionStart | Payload | LineLost


def frame(magic: bytes, nonce: bytes) -> bytes:
    """Return magic, nonce, and the CRC-32 (ISO-HDLC, big-endian) of both."""
    body = magic + nonce
    return body + zlib.crc32(body).to_bytes(4, "big")


class _Seen(enum.Enum):
    """What the bytes at the head of the line are."""

    NOISE = enum.auto()
    ASK = enum.auto()
    HEADER = enum.auto()
    BEGINNING = enum.auto()
    PART = enum.auto()
    END = enum.auto()
    TIME_OUT = enum.auto()


class _Do(enum.Enum):
    """What is done with them."""

    DISCARD = enum.auto()
    START = enum.auto()
    PASS_ON = enum.auto()
    WAIT = enum.auto()
    GIVE_UP = enum.auto()


_H, _B, _R = LineState.HUNTING, LineState.BOUNDARY, LineState.RECORD
TRANSITIONS: Final = {
    (_H, _Seen.NOISE): (_H, _Do.DISCARD),
    (_H, _Seen.BEGINNING): (_H, _Do.WAIT),
    (_H, _Seen.ASK): (_B, _Do.START),
    (_H, _Seen.TIME_OUT): (_H, _Do.WAIT),
    (_B, _Seen.HEADER): (_R, _Do.PASS_ON),
    (_B, _Seen.BEGINNING): (_B, _Do.WAIT),
    (_B, _Seen.ASK): (_B, _Do.START),
    (_B, _Seen.NOISE): (_H, _Do.GIVE_UP),
    (_B, _Seen.TIME_OUT): (_H, _Do.GIVE_UP),
    (_R, _Seen.PART): (_R, _Do.PASS_ON),
    (_R, _Seen.END): (_B, _Do.PASS_ON),
    (_R, _Seen.TIME_OUT): (_H, _Do.GIVE_UP),
}
"""The table at the top of this module."""


class CameraLine:
    """The camera's end: bytes in, actions out; it holds at most 35 bytes."""

    def __init__(self) -> None:
        self.state = LineState.HUNTING
        self.discarded_bytes = 0
        self._held = b""
        self._record_rest = 0

    @property
    def unfinished(self) -> bool:
        """Whether something has begun that must end soon: a record, a header or an ask."""
        return self.state is LineState.RECORD or (self.state is LineState.BOUNDARY and bool(self._held))

    def feed(self, data: bytes) -> list[Action]:
        """Take bytes of the line, cut anywhere."""
        rest, self._held = self._held + data, b""
        actions: list[Action] = []
        while rest:
            seen, length = self._look(rest)
            self.state, effect = TRANSITIONS[self.state, seen]
            if effect is _Do.WAIT:
                self._held = rest
                break
            actions += self._act(effect, rest[:length])
            rest = rest[length:]
        return actions

    def expire(self, reason: str) -> list[Action]:
        """Time ran out, or TLS failed: hunt for an ask from here on."""
        self.state, effect = TRANSITIONS[self.state, _Seen.TIME_OUT]
        if effect is _Do.WAIT:
            return []
        self._record_rest = 0
        return [LineLost(reason), *self.feed(b"")]

    def _look(self, rest: bytes) -> tuple[_Seen, int]:
        """Name what stands at the head of the line, and how many bytes of it."""
        if self.state is LineState.RECORD:
            length = min(len(rest), self._record_rest)
            return (_Seen.END if length == self._record_rest else _Seen.PART), length
        if self.state is LineState.HUNTING:
            noise = _find_magic(rest)
            if noise:
                return _Seen.NOISE, noise
        elif rest[0] in _CONTENT_TYPES:
            return _look_at_header(rest)
        return _look_at_ask(rest, skip=int(self.state is LineState.HUNTING))

    def _act(self, effect: _Do, data: bytes) -> list[Action]:
        if effect is _Do.DISCARD:
            self.discarded_bytes += len(data)
            return []
        if effect is _Do.GIVE_UP:
            return [LineLost("bytes between TLS records")]
        if effect is _Do.START:
            nonce = data[16 : 16 + _NONCE_BYTES]
            return [Answer(frame(ANSWER_MAGIC, nonce)), SessionStart()]
        if self._record_rest == 0:
            self._record_rest = _HEADER_BYTES + int.from_bytes(data[3:5], "big")
        self._record_rest -= len(data)
        return [Payload(data)]


class DockLine:
    """The dock's end, until it is in step; it holds at most 35 bytes."""

    def __init__(self) -> None:
        self.discarded_bytes = 0
        self._expected = b""
        self._held = b""

    def ask(self, nonce: bytes | None = None) -> bytes:
        """Return what to send, first and whenever the answer is late; only the last nonce counts."""
        nonce = nonce or secrets.token_bytes(_NONCE_BYTES)
        self._expected = frame(ANSWER_MAGIC, nonce)
        return frame(ASK_MAGIC, nonce)

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes of the line; returns what follows the answer, or `None` while it has not come."""
        rest = self._held + data
        place = rest.find(self._expected)
        if place >= 0:
            self.discarded_bytes += place
            self._held = b""
            return rest[place + FRAME_BYTES :]
        kept = rest[-(FRAME_BYTES - 1) :]
        self.discarded_bytes += len(rest) - len(kept)
        self._held = kept
        return None


def _find_magic(data: bytes) -> int:
    """Return where an ask's magic starts, or where its beginning may lie at the end of the data."""
    place = data.find(ASK_MAGIC)
    if place >= 0:
        return place
    for length in range(min(len(ASK_MAGIC) - 1, len(data)), 0, -1):
        if data.endswith(ASK_MAGIC[:length]):
            return len(data) - length
    return len(data)


def _look_at_header(rest: bytes) -> tuple[_Seen, int]:
    """Judge the header of a TLS record (RFC 8446, section 5.1); nothing is taken off in doubt."""
    if len(rest) < _HEADER_BYTES:
        return _Seen.BEGINNING, 0
    length = int.from_bytes(rest[3:5], "big")
    good = rest[1] == _TLS_MAJOR and rest[2] <= _TLS_MINOR_MOST and 0 < length <= _RECORD_LIMIT_BYTES
    return (_Seen.HEADER, _HEADER_BYTES) if good else (_Seen.NOISE, 0)


def _look_at_ask(rest: bytes, skip: int) -> tuple[_Seen, int]:
    """Judge what may be an ask; `skip` bytes are taken off if it is none."""
    if not rest.startswith(ASK_MAGIC[: len(rest)]):
        return _Seen.NOISE, skip
    if len(rest) < FRAME_BYTES:
        return _Seen.BEGINNING, 0
    good = rest[:FRAME_BYTES] == frame(ASK_MAGIC, rest[16:32])
    return (_Seen.ASK, FRAME_BYTES) if good else (_Seen.NOISE, skip)
