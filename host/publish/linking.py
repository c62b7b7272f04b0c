"""What the publisher needs of a connection to a broker; `PahoLink` is the real one, `MemoryLink` the other."""

from typing import Protocol

from host.publish.signals import Connect, Publish, Signal, Subscribe

__all__ = ["Link"]


class Link(Protocol):
    """One client of one broker. All methods are for one thread; what happens comes out of `wait` as signals."""

    def open(self, connect: Connect) -> None:
        """Connect anew, with a clean session; `Connected` or `Lost` follows."""

    def wait(self, wake_fd: int, timeout_s: float | None) -> tuple[Signal, ...]:
        """Wait for the broker, for a byte on `wake_fd` (which stays), or for time; return what happened."""

    def keep_alive(self) -> None:
        """Do what is due for the connection to last; at least once a second."""

    def publish(self, message: Publish) -> None:
        """Send with QoS 1; a `Settled` with its token follows, or the connection is lost."""

    def subscribe(self, wanted: Subscribe) -> None:
        """Subscribe; what is retained there comes, and a `Subscribed`."""

    def unsubscribe(self, filters: tuple[str, ...]) -> None:
        """Unsubscribe."""

    def disconnect(self) -> None:
        """Say goodbye, so that the will is void, and close; no signal follows."""

    def abort(self) -> None:
        """Close without a word: the broker publishes the will; no signal follows."""
