"""A subscription that comes back by itself: poll it, and it says what happened. For one thread."""

import contextlib
import os
import random
import time
from collections.abc import Callable

import msgspec

from host.publish.broker import BrokerSettings
from host.publish.link import PahoLink
from host.publish.signals import (
    Connect,
    Connected,
    Lost,
    Publish,
    Received,
    Settled,
    Subscribe,
    Subscribed,
    Token,
    TokenKind,
)

__all__ = ["Down", "Feed", "Heard", "Refused", "Up", "Watched"]

_S = 1_000_000_000
_RETRY_FIRST_NS = _S // 2
_RETRY_LONGEST_NS = 30 * _S
_REFUSED_NS = 30 * _S
_ANSWER_NS = 10 * _S
_KEEP_ALIVE_S = 1.0


class Up(msgspec.Struct, frozen=True):
    """The broker took the subscription; all that is retained comes again."""


class Down(msgspec.Struct, frozen=True):
    """No connection, or none any more; `refused`: trying again soon will not help."""

    reason: str
    refused: bool = False


class Watched(msgspec.Struct, frozen=True):
    """A message; `retained`: the broker had kept it."""

    topic: str
    payload: bytes
    retained: bool


class Refused(msgspec.Struct, frozen=True):
    """The broker did not take what was published to a topic."""

    topic: str
    reason: str


Heard = Up | Down | Watched | Refused


class Feed:
    """Messages below some filters. Nothing happens but in `poll`."""

    def __init__(
        self,
        settings: BrokerSettings,
        filters: tuple[str, ...],
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._link = PahoLink(settings)
        self._filters = filters
        self._now_ns = now_ns
        self._jitter = jitter
        self._open = self._accepted = False
        self._due_ns = 0
        self._failures = 0
        self._sent = 0
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def poll(self, timeout_s: float) -> tuple[Heard, ...]:
        """Wait at most so long, and say what happened; connects where that is due."""
        now_ns = self._now_ns()
        if not self._open and now_ns >= self._due_ns:
            self._open, self._accepted = True, False
            self._due_ns = now_ns + _ANSWER_NS
            self._link.open(Connect())
        left_s = max(0.0, (self._due_ns - now_ns) / _S) if not self._accepted else timeout_s
        signals = self._link.wait(self._wake_read, min(timeout_s, left_s, _KEEP_ALIVE_S))
        with contextlib.suppress(BlockingIOError):  # nobody woke us
            os.read(self._wake_read, 4096)
        self._link.keep_alive()
        heard: list[Heard] = []
        for signal in signals:
            match signal:
                case Connected():
                    self._link.subscribe(Subscribe(self._filters))
                case Subscribed(refused=refused):
                    heard.append(self._subscribed(refused))
                case Received(topic=topic, payload=payload, retained=retained):
                    heard.append(Watched(topic, payload, retained))
                case Settled(token=token, refusal=refusal) if refusal:
                    heard.append(Refused(token.topic, refusal))
                case Lost(reason=reason, refused=hopeless):
                    heard.append(self._down(reason, refused=hopeless))
                case _:
                    continue
        if self._open and not self._accepted and self._now_ns() >= self._due_ns:
            self._link.abort()
            heard.append(self._down("the broker does not answer", refused=False))
        return tuple(heard)

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message with QoS 1, not retained; while there is no connection it is dropped."""
        if self._accepted:
            self._sent += 1
            self._link.publish(Publish(Token(TokenKind.EVENT, topic, self._sent), topic, payload, retain=False))

    def wake(self) -> None:
        """End a `poll` under way in another thread."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_write, b"\0")

    def close(self) -> None:
        """Say goodbye; to be called once."""
        if self._accepted:
            self._link.disconnect()
        else:
            self._link.abort()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _subscribed(self, refused: tuple[str, ...]) -> Heard:
        if refused:
            self._link.disconnect()
            return self._down(f"the broker does not let us subscribe to {', '.join(refused)}", refused=True)
        self._accepted = True
        self._failures = 0
        return Up()

    def _down(self, reason: str, *, refused: bool) -> Down:
        wait_ns = min(_RETRY_LONGEST_NS, _RETRY_FIRST_NS * 2 ** min(self._failures, 10))
        wait_ns = _REFUSED_NS if refused else wait_ns
        self._failures += 1
        self._open = self._accepted = False
        self._due_ns = self._now_ns() + int(wait_ns * (0.5 + 0.5 * self._jitter()))
        return Down(reason, refused)
