"""What goes into the publisher's core, and what it asks to be done."""

import enum

import msgspec

from host.publish.outbox import StoredEvent

__all__ = [
    "Abort",
    "Acknowledge",
    "Action",
    "Announce",
    "Changed",
    "Connect",
    "Connected",
    "Disconnect",
    "Forget",
    "LoadReplay",
    "LoadWaiting",
    "Loaded",
    "Lost",
    "NoteSession",
    "OpenSession",
    "Publish",
    "Received",
    "Replayed",
    "SessionOpened",
    "Settled",
    "Signal",
    "Start",
    "Stop",
    "Subscribe",
    "Subscribed",
    "Tick",
    "Token",
    "TokenKind",
    "Unsubscribe",
    "Written",
]


class TokenKind(enum.Enum):
    """What a message was for."""

    STATE = enum.auto()
    RETAINED = enum.auto()
    EVENT = enum.auto()
    REPLAY = enum.auto()


class Token(msgspec.Struct, frozen=True):
    """Our own name for a message on its way; packet ids begin anew with every connection."""

    kind: TokenKind
    topic: str = ""
    number: int = 0


class Start(msgspec.Struct, frozen=True):
    """Begin."""


class Stop(msgspec.Struct, frozen=True):
    """End cleanly."""


class Tick(msgspec.Struct, frozen=True):
    """Time has passed."""


class Connected(msgspec.Struct, frozen=True):
    """The broker took the connection, within limits of its own."""

    packet_limit_bytes: int | None = None
    receive_maximum: int = 65_535


class Lost(msgspec.Struct, frozen=True):
    """No connection, or none any more; `refused`: trying again soon will not help.

    `too_large`: what was on its way may have been too long for the broker.
    """

    reason: str
    refused: bool = False
    too_large: bool = False


class Subscribed(msgspec.Struct, frozen=True):
    """The broker answered a subscription; `refused` are filters that it does not grant."""

    refused: tuple[str, ...] = ()


class Received(msgspec.Struct, frozen=True):
    """A message came; `retained`: the broker had kept it for whoever subscribes."""

    topic: str
    payload: bytes
    retained: bool = False


class Settled(msgspec.Struct, frozen=True):
    """The broker acknowledged a message, or says why it did not take it."""

    token: Token
    refusal: str = ""
    too_large: bool = False


class Changed(msgspec.Struct, frozen=True):
    """A retained topic is to say something else; empty clears it."""

    topic: str
    payload: bytes
    urgent: bool = True


class Written(msgspec.Struct, frozen=True):
    """The outbox holds another event."""


class Loaded(msgspec.Struct, frozen=True):
    """The answer to `LoadWaiting`."""

    after: int
    events: tuple[StoredEvent, ...]


class Replayed(msgspec.Struct, frozen=True):
    """The answer to `LoadReplay`."""

    first: int
    events: tuple[StoredEvent, ...]


class SessionOpened(msgspec.Struct, frozen=True):
    """The answer to `OpenSession`."""

    number: int
    nonce: str


Signal = (
    Start
    | Stop
    | Tick
    | Connected
    | Lost
    | Subscribed
    | Received
    | Settled
    | Changed
    | Written
    | Loaded
    | Replayed
    | SessionOpened
)


class Connect(msgspec.Struct, frozen=True):
    """Connect, with this will (retained); without a topic there is none."""

    will_topic: str = ""
    will_payload: bytes = b""


class Disconnect(msgspec.Struct, frozen=True):
    """Say goodbye: the will is void."""


class Abort(msgspec.Struct, frozen=True):
    """Drop the connection without a word: the broker publishes the will."""


class Subscribe(msgspec.Struct, frozen=True):
    """Subscribe; own messages need not come back from `foreign` filters."""

    filters: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


class Unsubscribe(msgspec.Struct, frozen=True):
    """Unsubscribe."""

    filters: tuple[str, ...]


class Publish(msgspec.Struct, frozen=True):
    """Publish with QoS 1; `properties` are the user properties."""

    token: Token
    topic: str
    payload: bytes
    retain: bool
    properties: tuple[tuple[str, str], ...] = ()


class Acknowledge(msgspec.Struct, frozen=True):
    """Note in the outbox that the broker has an event."""

    number: int


class Forget(msgspec.Struct, frozen=True):
    """A retained topic is cleared for good."""

    topic: str


class LoadWaiting(msgspec.Struct, frozen=True):
    """Read unacknowledged events from the outbox."""

    after: int
    count: int


class LoadReplay(msgspec.Struct, frozen=True):
    """Read acknowledged events from the outbox."""

    first: int
    last: int
    count: int


class NoteSession(msgspec.Struct, frozen=True):
    """Keep the number of another's session."""

    number: int


class OpenSession(msgspec.Struct, frozen=True):
    """Begin a session with a number above another."""

    above: int


class Announce(msgspec.Struct, frozen=True):
    """Tell people at the dock."""

    detail: str


Action = (
    Connect
    | Disconnect
    | Abort
    | Subscribe
    | Unsubscribe
    | Publish
    | Acknowledge
    | Forget
    | LoadWaiting
    | LoadReplay
    | NoteSession
    | OpenSession
    | Announce
)
