"""Sessions on a serial line: the machines of `docklink.resync` on a stream, with their time-outs."""

import time
from collections.abc import Iterable

from docklink.errors import LinkTimeoutError, ProtocolError, StreamClosedError
from docklink.resync import Action, Answer, CameraLine, DockLine, LineLost, Payload, SessionStart
from docklink.streams import ByteStream

__all__ = ["CameraPort", "ask_for_session"]

_READ_BYTES = 65_536
_ANSWER_TIMEOUT_S = 5.0
_LONGEST_PATIENCE_S = 8.0


class CameraPort:
    """The camera's end of a line: hands out one session after the other, the old one ended by the next ask."""

    def __init__(self, stream: ByteStream, *, record_timeout_s: float = 5.0) -> None:
        self._stream = stream
        self._record_timeout_s = record_timeout_s
        self._line = CameraLine()
        self._waiting: list[Action] = []
        self._session: _LineSession | None = None
        self._begun_at: float | None = None

    @property
    def discarded_bytes(self) -> int:
        """Bytes that belonged to no session."""
        return self._line.discarded_bytes

    def accept(self, timeout_s: float) -> ByteStream:
        """Wait for an ask, answer it, and return the session; its `close` leaves the port open.

        Raises:
            LinkTimeoutError: nobody asked.
            StreamError: the port failed.
        """
        if self._session is not None:
            self._session.close()
        deadline = time.monotonic() + timeout_s
        while True:
            while self._waiting:
                action = self._waiting.pop(0)
                if isinstance(action, Answer):
                    self._stream.write(action.data, _ANSWER_TIMEOUT_S)
                elif isinstance(action, SessionStart):
                    self._session = _LineSession(self)
                    return self._session
            self.receive(max(0.0, deadline - time.monotonic()))

    def receive(self, timeout_s: float) -> None:
        """Read once and take what it means into the queue.

        Raises:
            LinkTimeoutError: nothing came; or not the rest of a record, then the session is lost, too.
        """
        try:
            data = self._stream.read(_READ_BYTES, min(timeout_s, self._record_patience_s()))
        except LinkTimeoutError:
            if self._record_patience_s() > 0:
                raise
            self._begun_at = None
            self._waiting += self._line.expire("a TLS record did not end in time")
            return
        if not data:
            raise StreamClosedError("the port has closed")
        self._waiting += self._line.feed(bytes(data))
        if not self._line.unfinished:
            self._begun_at = None
        elif self._begun_at is None:
            self._begun_at = time.monotonic()

    def take_payload(self) -> bytes | None:
        """Return what is there for the session, `None` if it has ended."""
        parts: list[bytes] = []
        while self._waiting:
            action = self._waiting[0]
            if isinstance(action, Answer | SessionStart):
                return b"".join(parts) or None  # `accept` answers, once the session is gone
            self._waiting.pop(0)
            if isinstance(action, LineLost):
                raise ProtocolError("the session on the line is lost", found=action.reason)
            parts.append(action.data)
        return b"".join(parts)

    def send(self, data: bytes | bytearray | memoryview, timeout_s: float) -> None:
        """Write to the line."""
        self._stream.write(data, timeout_s)

    def end(self, session: "_LineSession") -> None:
        """Let a session go and hunt for the next ask; what had come for the old one is dropped."""
        if session is self._session:
            self._session = None
            self._begun_at = None
            self._waiting = list(_from_next_ask(self._waiting))
            if not self._waiting:
                self._waiting = self._line.expire("the session ended")

    def _record_patience_s(self) -> float:
        if self._begun_at is None:
            return float("inf")
        return max(0.0, self._begun_at + self._record_timeout_s - time.monotonic())


class _LineSession:
    """One session as a stream."""

    def __init__(self, port: CameraPort) -> None:
        self._port = port
        self._ready = b""
        self._ended = False

    def read(self, limit: int, timeout_s: float) -> bytes:
        """Read; see `ByteStream`. Empty once the dock has asked for another session."""
        deadline = time.monotonic() + timeout_s
        while not self._ready:
            if self._ended:
                raise StreamClosedError("the session has ended")
            payload = self._port.take_payload()
            if payload is None:
                self._ended = True
                return b""
            self._ready = payload
            if not payload:
                self._port.receive(max(0.0, deadline - time.monotonic()))
        data, self._ready = self._ready[:limit], self._ready[limit:]
        return data

    def write(self, data: bytes | bytearray | memoryview, timeout_s: float) -> None:
        """Write; see `ByteStream`."""
        if self._ended:
            raise StreamClosedError("the session has ended")
        self._port.send(data, timeout_s)

    def close(self) -> None:
        """End the session; the port stays open."""
        self._ended = True
        self._port.end(self)


class _AskedSession:
    """The dock's end of a session; it owns the port."""

    def __init__(self, stream: ByteStream, ready: bytes) -> None:
        self._stream = stream
        self._ready = ready

    def read(self, limit: int, timeout_s: float) -> bytes | bytearray:
        """Read; see `ByteStream`."""
        if self._ready:
            data, self._ready = self._ready[:limit], self._ready[limit:]
            return data
        return self._stream.read(limit, timeout_s)

    def write(self, data: bytes | bytearray | memoryview, timeout_s: float) -> None:
        """Write; see `ByteStream`."""
        self._stream.write(data, timeout_s)

    def close(self) -> None:
        """Close the port."""
        self._stream.close()


def ask_for_session(stream: ByteStream, *, timeout_s: float, first_patience_s: float = 0.5) -> ByteStream:
    """Bring a line in step, from the dock's end; asks again and again, each time with more patience.

    Raises:
        LinkTimeoutError: no camera answered in all that time.
        StreamError: the port failed.
    """
    line = DockLine()
    patience_s = first_patience_s
    deadline = time.monotonic() + timeout_s
    while (now := time.monotonic()) < deadline:
        stream.write(line.ask(), _ANSWER_TIMEOUT_S)
        again_at = min(deadline, now + patience_s)
        while (wait_s := again_at - time.monotonic()) > 0:
            try:
                data = stream.read(_READ_BYTES, wait_s)
            except LinkTimeoutError:
                break
            if not data:
                raise StreamClosedError("the port has closed")
            rest = line.feed(bytes(data))
            if rest is not None:
                return _AskedSession(stream, rest)
        patience_s = min(2 * patience_s, _LONGEST_PATIENCE_S)
    raise LinkTimeoutError(
        "no camera answers on the line",
        found=f"{line.discarded_bytes} bytes that are no answer",
        remedy="see that the camera is on and that nothing else uses the port",
    )


def _from_next_ask(actions: Iterable[Action]) -> Iterable[Action]:
    """Drop what belonged to a session that has ended."""
    found = False
    for action in actions:
        found = found or not isinstance(action, Payload | LineLost)
        if found:
            yield action
