"""The contract of a link to a broker, held by the real one with mosquitto and by the one in memory alike."""

import os
from collections.abc import Callable

import pytest

from host.publish import MemoryBroker, MemoryLink, PahoLink
from host.publish.linking import Link
from host.publish.signals import (
    Connect,
    Connected,
    Lost,
    Publish,
    Received,
    Settled,
    Signal,
    Subscribe,
    Subscribed,
    Token,
    TokenKind,
)
from tests.host.publish.brokerbench import Mosquitto, PublishBench, bench, needs_mosquitto, wait_until

__all__ = ["bench"]
WILL = Connect("site/dock/state", b"will")


class Client:
    """A link, and all that came out of it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.signals: list[Signal] = []
        self._wake, self._waker = os.pipe()
        self._sent = 0

    def until(self, wanted: Callable[[], bool]) -> None:
        def look() -> bool:
            self.signals += self.link.wait(self._wake, 0.05)
            self.link.keep_alive()
            return wanted()

        wait_until(look, self.signals)

    def of(self, kind: type[object]) -> list[Signal]:
        return [each for each in self.signals if isinstance(each, kind)]

    def got(self) -> list[tuple[str, bytes, bool]]:
        return [(e.topic, e.payload, e.retained) for e in self.signals if isinstance(e, Received)]

    def connect(self, will: Connect = WILL) -> "Client":
        self.link.open(will)
        self.until(lambda: bool(self.of(Connected)))
        return self

    def subscribe(self, *filters: str, foreign: tuple[str, ...] = ()) -> "Client":
        before = len(self.of(Subscribed))
        self.link.subscribe(Subscribe(filters, foreign))
        self.until(lambda: len(self.of(Subscribed)) > before)
        return self

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Settled:
        self._sent += 1
        token = Token(TokenKind.EVENT, topic, self._sent)
        self.link.publish(Publish(token, topic, payload, retain))
        self.until(lambda: any(isinstance(each, Settled) and each.token == token for each in self.signals))
        return next(each for each in self.signals if isinstance(each, Settled) and each.token == token)

    def close(self) -> None:
        self.link.abort()
        os.close(self._wake)
        os.close(self._waker)


class Place:
    """A broker of either kind."""

    def __init__(self, bench: PublishBench, kind: str) -> None:
        self._bench = bench
        self._memory = MemoryBroker(packet_limit_bytes=900) if kind == "memory" else None
        self._real = bench.broker("max_packet_size 900") if kind == "mosquitto" else None

    def client(self, name: str = "dock7") -> Client:
        if self._memory is not None:
            link: Link = MemoryLink(self._memory, name)
        else:
            assert self._real is not None
            link = PahoLink(self._bench.settings(self._real.port, client_id=name))
        made = Client(link)
        self._bench.stack.callback(made.close)
        return made

    def stop(self) -> None:
        self._broker().stop()

    def start(self) -> None:
        self._broker().start()

    def _broker(self) -> MemoryBroker | Mosquitto:
        broker = self._memory or self._real
        assert broker is not None
        return broker


@pytest.fixture(params=["memory", pytest.param("mosquitto", marks=needs_mosquitto)])
def place(bench: PublishBench, request: pytest.FixtureRequest) -> Place:
    return Place(bench, request.param)


def test_the_limits_are_told(place: Place) -> None:
    told = place.client().connect().signals[0]
    assert isinstance(told, Connected)
    assert told.packet_limit_bytes == 900
    assert told.receive_maximum >= 1


def test_messages_come_in_order_and_are_settled(place: Place) -> None:
    reader = place.client("reader").connect().subscribe("site/+/event")
    writer = place.client().connect()
    for number in range(20):
        assert writer.publish("site/dock/event", b"%d" % number).refusal == ""
    reader.until(lambda: len(reader.got()) == 20)
    assert reader.got() == [("site/dock/event", b"%d" % number, False) for number in range(20)]


def test_what_is_retained_comes_to_who_is_late_and_is_cleared_by_nothing(place: Place) -> None:
    writer = place.client().connect()
    writer.publish("site/dock/bay/1", b"old", retain=True)
    writer.publish("site/dock/bay/1", b"new", retain=True)
    writer.publish("site/dock/event", b"gone")
    late = place.client("late").connect().subscribe("site/#")
    late.until(lambda: bool(late.got()))
    assert late.got() == [("site/dock/bay/1", b"new", True)]
    writer.publish("site/dock/bay/1", b"", retain=True)
    late.until(lambda: len(late.got()) == 2)
    assert late.got()[1] == ("site/dock/bay/1", b"", False)
    later = place.client("later").connect().subscribe("site/#")
    writer.publish("site/dock/event", b"mark")
    later.until(lambda: bool(later.got()))
    assert later.got() == [("site/dock/event", b"mark", False)]


def test_own_messages_come_back_unless_others_were_asked_for(place: Place) -> None:
    own = place.client().connect().subscribe("own/#", foreign=("both/#",))
    other = place.client("other").connect()
    own.publish("both/1", b"ours")
    own.publish("own/1", b"ours")
    other.publish("both/1", b"theirs")
    own.until(lambda: len(own.got()) == 2)
    assert own.got() == [("own/1", b"ours", False), ("both/1", b"theirs", False)]
    own.link.unsubscribe(("both/#",))
    own.publish("own/1", b"again")  # a broker takes one packet after the other
    other.publish("both/1", b"more")
    other.publish("own/1", b"last")
    own.until(lambda: len(own.got()) == 4)
    assert [payload for _, payload, _ in own.got()[2:]] == [b"again", b"last"]


@pytest.mark.parametrize("goodbye", [False, True], ids=["abort", "disconnect"])
def test_the_will_is_for_who_goes_without_a_word(place: Place, goodbye: bool) -> None:
    reader = place.client("reader").connect().subscribe("site/#", "mark")
    gone = place.client().connect()
    seen = len(gone.signals)
    (gone.link.disconnect if goodbye else gone.link.abort)()
    if goodbye:
        reader.publish("mark", b"")
    reader.until(lambda: bool(reader.got()))
    assert reader.got() == [("mark", b"", False) if goodbye else ("site/dock/state", b"will", False)]
    gone.link.publish(Publish(Token(TokenKind.EVENT), "mark", b"", retain=False))
    gone.signals += gone.link.wait(gone._wake, 0)
    assert gone.signals[seen:] == []  # what is closed is silent


def test_a_second_client_of_one_id_ends_the_first(place: Place) -> None:
    reader = place.client("reader").connect().subscribe("site/#")
    first = place.client().connect()
    second = place.client().connect(Connect())
    first.until(lambda: bool(first.of(Lost)))
    reader.until(lambda: bool(reader.got()))
    assert reader.got() == [("site/dock/state", b"will", False)]
    assert second.publish("mark", b"").refusal == ""


def test_a_broker_that_is_away_and_comes_back(place: Place) -> None:
    client = place.client().connect()
    place.stop()
    client.until(lambda: len(client.of(Lost)) == 1)
    client.link.open(WILL)
    client.until(lambda: len(client.of(Lost)) == 2)
    place.start()
    client.signals.clear()
    assert client.connect().publish("mark", b"").refusal == ""


def test_a_byte_on_the_other_side_ends_the_wait(place: Place) -> None:
    client = place.client()
    os.write(client._waker, b"\0")
    assert client.link.wait(client._wake, None) == ()
    client.connect()
    assert client.link.wait(client._wake, None) == ()
