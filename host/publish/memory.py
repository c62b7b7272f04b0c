"""A broker in memory, and the link to it: for tests of the publisher, and for a dock that shows itself alone.

It does what the publisher relies on in a real one: QoS 1 in order, retained messages, wills, one connection a
client id, limits that it tells. `tests/host/publish/test_publish_links.py` holds both to the same contract.
"""

import os
import select
import threading

from paho.mqtt.client import topic_matches_sub

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
)

__all__ = ["MemoryBroker", "MemoryLink"]


class MemoryBroker:
    """Any number of clients. Thread-safe.

    `stop` and `start` are what a service manager does: a broker that stops drops its connections, and forgets
    what is retained unless it keeps it. A topic in `refused` is not taken, for the reason given there.
    """

    def __init__(
        self, *, packet_limit_bytes: int | None = None, receive_maximum: int = 65_535, forgets: bool = False
    ) -> None:
        self.refused: dict[str, str] = {}
        self._told = Connected(packet_limit_bytes, receive_maximum)
        self._forgets = forgets
        self._up = True
        self._lock = threading.RLock()
        self._retained: dict[str, bytes] = {}
        self._clients: dict[str, MemoryLink] = {}

    @property
    def retained(self) -> dict[str, bytes]:
        """What a late subscriber would get."""
        with self._lock:
            return dict(self._retained)

    def start(self) -> None:
        """Take connections (again)."""
        self._up = True

    def stop(self) -> None:
        """Take none any more; those that there are break, and their wills are published."""
        with self._lock:
            self._up = False
            for each in tuple(self._clients.values()):
                self.drop(each, "the broker has stopped")
            if self._forgets:
                self._retained.clear()

    def join(self, link: "MemoryLink") -> Signal:
        """Take a client, and part with another one of the same id."""
        with self._lock:
            if not self._up:
                return Lost("not reached: the broker does not run")
            before = self._clients.get(link.client_id)
            if before is not None:
                self.drop(before, "ends the connection: Session taken over")
            self._clients[link.client_id] = link
            return self._told

    def leave(self, link: "MemoryLink", *, with_will: bool) -> None:
        """Let a client go."""
        with self._lock:
            if self._clients.get(link.client_id) is link:
                del self._clients[link.client_id]
                if with_will and link.will.will_topic:
                    self.put(None, link.will.will_topic, link.will.will_payload, retain=True)

    def drop(self, link: "MemoryLink", reason: str) -> None:
        """Break a client's connection."""
        with self._lock:
            self.leave(link, with_will=True)
            link.happened(Lost(reason))

    def put(self, sender: "MemoryLink | None", topic: str, payload: bytes, *, retain: bool) -> str:
        """Take a message and hand it on; returns why it is refused, empty if it is not."""
        with self._lock:
            if topic in self.refused:
                return self.refused[topic]
            if retain:
                self._retained[topic] = payload
                if not payload:
                    del self._retained[topic]
            for each in self._clients.values():
                if each.wants(topic, own=each is sender):
                    each.happened(Received(topic, payload))
            return ""

    def kept_for(self, filters: tuple[str, ...]) -> tuple[Received, ...]:
        """Return what is retained for somebody who subscribes."""
        with self._lock:
            return tuple(
                Received(topic, payload, retained=True)
                for topic, payload in self._retained.items()
                if any(topic_matches_sub(each, topic) for each in filters)
            )

    def exclusive(self) -> threading.RLock:
        """Return the lock that all of it happens under."""
        return self._lock


class MemoryLink:
    """One client of a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, client_id: str) -> None:
        self.client_id = client_id
        self.will = Connect()
        self._broker = broker
        self._bell = -1
        self._filters: dict[str, bool] = {}
        self._signals: list[Signal] = []

    def open(self, connect: Connect) -> None:
        """Connect."""
        self.abort()
        with self._broker.exclusive():
            self.will = connect
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.happened(self._broker.join(self))

    def wait(self, wake_fd: int, timeout_s: float | None) -> tuple[Signal, ...]:
        """Wait for the broker, for a byte on `wake_fd`, or for time; then return what happened."""
        poll = select.poll()
        poll.register(wake_fd, select.POLLIN)
        if self._bell >= 0:
            poll.register(self._bell, select.POLLIN)
        poll.poll(None if timeout_s is None else max(0, int(timeout_s * 1000 + 0.999)))
        with self._broker.exclusive():
            signals, self._signals = tuple(self._signals), []
            if any(isinstance(each, Lost) for each in signals):
                self._close()
            elif self._bell >= 0 and signals:
                os.eventfd_read(self._bell)
        return signals

    def keep_alive(self) -> None:
        """Nothing is due: memory does not fall silent."""

    def publish(self, message: Publish) -> None:
        """Send; the broker settles it at once."""
        with self._broker.exclusive():
            if self._bell >= 0:
                refusal = self._broker.put(self, message.topic, message.payload, retain=message.retain)
                self.happened(Settled(message.token, refusal))

    def subscribe(self, wanted: Subscribe) -> None:
        """Subscribe."""
        with self._broker.exclusive():
            if self._bell >= 0:
                self._filters |= dict.fromkeys(wanted.filters, True) | dict.fromkeys(wanted.foreign, False)
                self.happened(Subscribed())
                for each in self._broker.kept_for((*wanted.filters, *wanted.foreign)):
                    self.happened(each)

    def unsubscribe(self, filters: tuple[str, ...]) -> None:
        """Unsubscribe."""
        with self._broker.exclusive():
            for each in filters:
                self._filters.pop(each, None)

    def disconnect(self) -> None:
        """Say goodbye and close."""
        with self._broker.exclusive():
            self._broker.leave(self, with_will=False)
            self._close()

    def abort(self) -> None:
        """Close without a word."""
        with self._broker.exclusive():
            self._broker.leave(self, with_will=True)
            self._close()

    def wants(self, topic: str, *, own: bool) -> bool:
        """Whether a message is for this client; its own only where it did not ask for others' alone."""
        return any(
            topic_matches_sub(each, topic) and (with_own or not own) for each, with_own in self._filters.items()
        )

    def happened(self, signal: Signal) -> None:
        """Note something for `wait`; under the broker's lock."""
        if self._bell >= 0:
            self._signals.append(signal)
            os.eventfd_write(self._bell, 1)

    def _close(self) -> None:
        self._filters.clear()
        self._signals.clear()
        if self._bell >= 0:
            os.close(self._bell)
            self._bell = -1
