"""The retained topics as they should be, and how far the broker knows them. No I/O, no clock.

Of a topic only the latest payload counts: what was superseded before it was sent is never sent. A topic that is
to be cleared stays here with an empty payload until the broker has acknowledged that.
"""

import msgspec

__all__ = ["RetainedSet"]


class _Topic(msgspec.Struct):
    payload: bytes
    dirty: bool = True
    in_flight: bool = False
    due_ns: int = 0


class RetainedSet:
    """Topics by name. `pause_ns` is the least time between two messages of a topic that are not urgent."""

    def __init__(self, pause_ns: int, retry_ns: int) -> None:
        self._pause_ns = pause_ns
        self._retry_ns = retry_ns
        self._topics: dict[str, _Topic] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    def payload(self, topic: str) -> bytes | None:
        """Return what a topic is to say."""
        found = self._topics.get(topic)
        return found.payload if found else None

    def topics(self) -> tuple[str, ...]:
        """Return those that are to say something."""
        return tuple(topic for topic, each in self._topics.items() if each.payload)

    def change(self, topic: str, payload: bytes, *, urgent: bool = True) -> None:
        """Set what a topic is to say; empty clears it. What is not urgent waits for its pause."""
        found = self._topics.get(topic)
        if found is None:
            self._topics[topic] = _Topic(payload)
        elif found.payload != payload:
            found.payload = payload
            found.dirty = True
            if urgent:
                found.due_ns = 0

    def connected(self) -> None:
        """Begin with a broker that may have forgotten everything."""
        for each in self._topics.values():
            each.dirty, each.in_flight, each.due_ns = True, False, 0

    def next(self, now_ns: int) -> tuple[str, bytes] | None:
        """Take the next message that is due."""
        for topic, each in self._topics.items():
            if each.dirty and not each.in_flight and each.due_ns <= now_ns:
                each.dirty, each.in_flight = False, True
                each.due_ns = now_ns + self._pause_ns
                return topic, each.payload
        return None

    def due_ns(self) -> int | None:
        """Say when the next message is due, `None` if there is none."""
        return min(
            (each.due_ns for each in self._topics.values() if each.dirty and not each.in_flight), default=None
        )

    def acknowledged(self, topic: str) -> bool:
        """Take the broker's word for what was in flight; returns whether a topic is cleared for good."""
        found = self._topics.get(topic)
        if found is None:
            return False
        found.in_flight = False
        if found.payload or found.dirty:
            return False
        del self._topics[topic]
        return True

    def refused(self, topic: str, now_ns: int, *, again: bool) -> None:
        """Note that the broker did not take it; `again` after a while, else once it changes."""
        found = self._topics.get(topic)
        if found is None:
            return
        found.in_flight = False
        if again:
            found.dirty = True
            found.due_ns = now_ns + self._retry_ns

    @property
    def settled(self) -> bool:
        """Whether the broker knows everything."""
        return not any(each.dirty or each.in_flight for each in self._topics.values())
