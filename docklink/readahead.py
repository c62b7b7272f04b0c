"""Reading ahead on a stream: what comes is taken in while what came is decrypted, hashed and written.

A terminal holds little (4 KiB ready to read, 64 KiB behind that in Linux), so a line stands still as soon as
nobody reads from it.
"""

import threading
import time

from docklink.errors import LinkError, LinkTimeoutError, StreamClosedError
from docklink.streams import ByteStream

__all__ = ["ReadAhead"]

_HELD_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024
_SILENCE_S = 3600.0
_END_S = 5.0
"""Only how long `close` puts up with a stream that does not notice its own close."""


class ReadAhead:
    """A thread that reads up to 256 KiB in advance from a stream, which is this one's from now on.

    An end or an error is met where it stood: after all bytes that came before it.
    """

    def __init__(self, inner: ByteStream) -> None:
        self.name = "line"
        self._inner = inner
        self._held = bytearray()
        self._ended = False
        self._failure: LinkError | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="line-reader", daemon=True)
        self._thread.start()

    def read(self, limit: int, timeout_s: float) -> bytes | bytearray:
        """Read 1 to `limit` bytes; see `ByteStream`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._held:
                if self._closed:
                    raise StreamClosedError("the line is closed")
                if self._failure is not None:
                    raise self._failure
                if self._ended:
                    return b""
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    break
            return self._take(limit)

    def write(self, data: bytes | bytearray | memoryview, timeout_s: float) -> None:
        """Write through; see `ByteStream`."""
        self._inner.write(data, timeout_s)

    def close(self) -> None:
        """Close the stream inside, and return once nobody uses it; see `ByteStream`."""
        with self._changed:
            self._closed = True
            self._held.clear()
            self._changed.notify_all()
        self._inner.close()
        if self._thread is not threading.current_thread():
            self._thread.join(_END_S)

    def _take(self, limit: int) -> bytes | bytearray:
        """Hand out what is held; it is called with the lock held."""
        if self._closed:
            raise StreamClosedError("the line is closed")
        if not self._held:
            raise LinkTimeoutError("nothing came on the line in time")
        if len(self._held) <= limit:
            data, self._held = self._held, bytearray()
        else:
            data = self._held[:limit]
            del self._held[:limit]
        self._changed.notify_all()
        return data

    def _run(self) -> None:
        while self._await_room():
            data: bytes | bytearray = b""
            try:
                data = self._inner.read(_READ_BYTES, _SILENCE_S)
            except LinkTimeoutError:
                continue  # silence is for the one who reads to judge
            except LinkError as error:
                self._failure = error
            with self._changed:
                self._held += data
                self._ended = not data
                self._changed.notify_all()

    def _await_room(self) -> bool:
        """Wait until there is room; `False` if there is nothing more to read for."""
        with self._changed:
            while len(self._held) >= _HELD_BYTES and not self._closed:
                self._changed.wait()
            return not (self._closed or self._ended)
