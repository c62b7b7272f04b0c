"""What goes out over a connection, in which order, within the broker's limits. No I/O, no clock.

Retained state first, then events, then replays, all within one bound of messages that are not acknowledged:
the broker's receive maximum or ours. paho's own queue stays empty.
"""

import msgspec

from host.publish.errors import PayloadError
from host.publish.outbox import StoredEvent
from host.publish.payloads import EventPayload, decode_payload, encode_payload
from host.publish.phases import Timing
from host.publish.replays import ReplayQueue
from host.publish.retained import RetainedSet
from host.publish.signals import (
    Acknowledge,
    Action,
    Announce,
    Connected,
    Forget,
    LoadReplay,
    LoadWaiting,
    Publish,
    Settled,
    Token,
    TokenKind,
)
from host.publish.topics import Topics
from host.publish.window import EventWindow

__all__ = ["Flow"]

_OVERHEAD_BYTES = 256
"""Fixed header, packet id and user properties of a message; more than they ever come to."""
_REPLAY_WIDTH = 4
_SHORTEST_EVENT_BYTES = 320
"""An event without `detail` and `data` hardly has more; a broker that takes no longer ones takes none."""
_SHORTEST_LIMIT_BYTES = 640
"""A connection that breaks with nothing longer than this on its way has another reason."""


class Flow:
    """Messages of one dock."""

    def __init__(self, topics: Topics, series: str, timing: Timing) -> None:
        self._topics = topics
        self._series = series
        self._timing = timing
        self.retained = RetainedSet(timing.progress_ns, timing.taken_again_ns)
        self.events = EventWindow(timing.window, timing.taken_again_ns)
        self.replays = ReplayQueue(
            most=timing.replay_most, pause_ns=timing.replay_pause_ns, width=_REPLAY_WIDTH
        )
        self._in_flight: dict[Token, int] = {}
        self._most = timing.window
        self._packet_limit_bytes: int | None = None
        self._learned_bytes: int | None = None
        self._proven_bytes = _SHORTEST_EVENT_BYTES
        self._too_large: set[int] = set()
        self._told: set[str] = set()
        self.skipped = 0

    @property
    def settled_all(self) -> bool:
        """Whether nothing is on its way, and the broker knows all retained state."""
        return not self._in_flight and self.retained.settled

    def connected(self, signal: Connected) -> None:
        """Begin a connection: everything retained again, events from the oldest unacknowledged."""
        self._in_flight.clear()
        self._proven_bytes = _SHORTEST_EVENT_BYTES
        self._most = max(1, min(self._timing.window, signal.receive_maximum - 1))
        limits = (signal.packet_limit_bytes, self._learned_bytes)
        self._packet_limit_bytes = min((each for each in limits if each is not None), default=None)
        self.retained.connected()
        self.events.connected()
        self.replays.connected()

    def broke(self) -> list[Action]:
        """Learn from a connection that broke over a message: the longest on its way was too long.

        Some brokers have a limit that they do not tell, and answer a longer message in a way that is no MQTT.
        """
        longest = max(self._in_flight.values(), default=0)
        if longest <= _SHORTEST_LIMIT_BYTES:
            return []
        self._learned_bytes = longest - 1
        return [Announce(f"the broker breaks off at messages of {longest} bytes: such are shortened now")]

    def due_ns(self) -> int | None:
        """Say when something can go out that cannot now."""
        due = (self.retained.due_ns(), self.events.resumes_ns(), self.replays.due_ns())
        if len(self._in_flight) >= self._most:
            return None
        return min((each for each in due if each is not None), default=None)

    def pump(self, now_ns: int, *, closing: bool = False) -> list[Action]:
        """Return what can go out now, and what to read for what comes then."""
        actions: list[Action] = []
        self._pump_retained(now_ns, actions)
        if closing:
            return actions
        self.events.tick(now_ns)
        while (
            len(self._in_flight) < self._most
            and (event := self.events.next(now_ns, self._proven_bytes)) is not None
        ):
            actions += self._event(event)
        while len(self._in_flight) < self._most and (event := self.replays.next()) is not None:
            actions += self._replay(event)
        if (wanted := self.events.wanted(now_ns)) is not None:
            actions.append(LoadWaiting(*wanted))
        if (again := self.replays.wanted(now_ns)) is not None:
            actions.append(LoadReplay(*again))
        return actions

    def settled(self, signal: Settled, now_ns: int) -> list[Action]:
        """Take the broker's word for a message."""
        token = signal.token
        size = self._in_flight.pop(token, 0)
        actions: list[Action] = []
        if signal.refusal:
            actions += self._refused(signal, now_ns)
        else:
            self._told.discard(token.topic)
            if token.kind is TokenKind.EVENT:
                self._proven_bytes = max(self._proven_bytes, size - _size(token.topic, b""))
        if token.kind is TokenKind.RETAINED:
            if not signal.refusal and self.retained.acknowledged(token.topic):
                actions.append(Forget(token.topic))
        elif token.kind is TokenKind.REPLAY:
            self.replays.settled(token.number)
        elif not signal.refusal:
            actions.append(self._acknowledged(token.number))
        return actions

    def _acknowledged(self, number: int) -> Action:
        self._too_large.discard(number)
        self.events.acknowledged(number)
        return Acknowledge(number)

    def _refused(self, signal: Settled, now_ns: int) -> list[Action]:
        token = signal.token
        actions = self._tell(token.topic, f"the broker does not take {token.topic}: {signal.refusal}")
        if token.kind is TokenKind.RETAINED:
            self.retained.refused(token.topic, now_ns, again=not signal.too_large)
        elif token.kind is TokenKind.EVENT:
            if signal.too_large and token.number in self._too_large:
                return [*actions, *self._skip(token.number)]
            if signal.too_large:
                self._too_large.add(token.number)
            self.events.refused(token.number, now_ns)
        return actions

    def _pump_retained(self, now_ns: int, actions: list[Action]) -> None:
        while len(self._in_flight) < self._most and (found := self.retained.next(now_ns)) is not None:
            topic, payload = found
            if not self._fits(topic, payload):
                self.retained.refused(topic, now_ns, again=False)
                actions += self._tell(topic, f"{topic} is longer than the broker takes: {len(payload)} bytes")
                continue
            token = Token(TokenKind.RETAINED, topic)
            self._in_flight[token] = _size(topic, payload)
            actions.append(Publish(token, topic, payload, retain=True))

    def _event(self, event: StoredEvent) -> list[Action]:
        payload = event.payload
        if event.number in self._too_large or not self._fits(self._topics.event, payload):
            payload = _shortened(payload)
            if not self._fits(self._topics.event, payload):
                return self._skip(event.number)
        return [self._publish(TokenKind.EVENT, event, payload)]

    def _replay(self, event: StoredEvent) -> list[Action]:
        payload = event.payload
        if not self._fits(self._topics.event, payload):
            payload = _shortened(payload)
            if not self._fits(self._topics.event, payload):
                self.replays.settled(event.number)
                return []
        return [self._publish(TokenKind.REPLAY, event, payload)]

    def _publish(self, kind: TokenKind, event: StoredEvent, payload: bytes) -> Publish:
        topic = self._topics.event
        token = Token(kind, topic, event.number)
        self._in_flight[token] = _size(topic, payload)
        properties = [("kind", event.kind), ("series", self._series), ("number", str(event.number))]
        if kind is TokenKind.REPLAY:
            properties.append(("replay", "true"))
        return Publish(token, topic, payload, retain=False, properties=tuple(properties))

    def _skip(self, number: int) -> list[Action]:
        """Give an event up that no form of makes small enough: it must not hold up those behind it."""
        self.skipped += 1
        return [
            self._acknowledged(number),
            Announce(f"event {number} is longer than the broker takes: not sent"),
        ]

    def _fits(self, topic: str, payload: bytes) -> bool:
        limit = self._packet_limit_bytes
        return limit is None or _size(topic, payload) <= limit

    def _tell(self, topic: str, detail: str) -> list[Action]:
        """Say it once, until the topic is taken again."""
        if topic in self._told:
            return []
        self._told.add(topic)
        return [Announce(detail)]


def _size(topic: str, payload: bytes) -> int:
    """Return what a message comes to at most, in bytes."""
    return len(topic.encode("utf-8")) + len(payload) + _OVERHEAD_BYTES


def _shortened(payload: bytes) -> bytes:
    try:
        event = decode_payload(payload, EventPayload)
    except PayloadError:
        return payload  # of another version; it goes as it is, or not at all
    return encode_payload(msgspec.structs.replace(event, detail="", data={}, shortened=True))
