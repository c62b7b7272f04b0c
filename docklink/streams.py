"""Byte streams: what a session runs on, whether TCP, a serial line, or TLS on one of them.

Everything above reads and writes through `ByteStream`. Each wait has a limit; `close` from another thread ends
it at once.
"""

import errno
import os
import select
import socket
import threading
import time
from typing import Protocol

from docklink.errors import LinkTimeoutError, StreamClosedError, StreamError

__all__ = ["ByteStream", "FdStream", "TcpStream", "connect_tcp", "stream_pair"]

_GONE = frozenset((errno.EIO, errno.ENXIO, errno.ENODEV, errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT))
_KEEPALIVE_IDLE_S = 5
_KEEPALIVE_INTERVAL_S = 2
_KEEPALIVE_COUNT = 3
_USER_TIMEOUT_MS = 10_000
_TERMINAL_BYTES = 2 * 1024
"""Half of what Linux holds ready of a terminal: it fills that half again while the other is read. Who asks for
all of it waits each time until it is full again."""
_GATHER_BYTES = 64 * 1024
_SOCKET_BYTES = 1024 * 1024
_LEAVE_S = 5.0


class ByteStream(Protocol):
    """Bytes in order, both ways; one reader and one writer at a time, `close` from anywhere."""

    def read(self, limit: int, timeout_s: float) -> bytes | bytearray:
        """Read 1 to `limit` bytes, waiting at most `timeout_s`; empty at the orderly end.

        Raises:
            LinkTimeoutError: nothing came.
            StreamClosedError: closed at this end, before or meanwhile.
            StreamError: the port or connection failed.
        """

    def write(self, data: bytes | bytearray | memoryview, timeout_s: float) -> None:
        """Write all of `data`; what the other end has taken is not known.

        Raises:
            LinkTimeoutError: no byte went out for `timeout_s`.
            StreamClosedError: closed at this end, or by the other.
            StreamError: the port or connection failed.
        """

    def close(self) -> None:
        """Give the port up and wake whoever waits in `read` or `write`; more than once does no harm."""


class FdStream:
    """A stream on a non-blocking file descriptor, which it owns: sockets, serial ports, pseudo-terminals."""

    _most_a_call = _TERMINAL_BYTES
    """What one read of the device is asked for: memory is set aside for that much, whatever comes."""
    _asks_first = False
    """Whether to wait before a read: in vain it costs nothing where little memory is set aside for it."""

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self._fd = fd
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._pollers = {events: self._poller(events) for events in (select.POLLIN, select.POLLOUT)}
        self._lock = threading.Condition()
        self._users = 0
        self._closed = False
        self._released = False
        os.set_blocking(fd, False)

    def read(self, limit: int, timeout_s: float) -> bytes:
        """Read 1 to `limit` bytes; see `ByteStream`."""
        self._enter()
        try:
            deadline = time.monotonic() + timeout_s
            if self._asks_first:
                self._wait(select.POLLIN, deadline, "read")
            while True:
                try:
                    return self._gather(limit)
                except BlockingIOError:
                    self._wait(select.POLLIN, deadline, "read")
        finally:
            self._leave()

    def write(self, data: bytes | bytearray | memoryview, timeout_s: float) -> None:
        """Write all of `data`; see `ByteStream`."""
        self._enter()
        try:
            rest = memoryview(data)
            deadline = time.monotonic() + timeout_s
            while rest:
                written = self._write_some(rest)
                if written:
                    rest = rest[written:]
                    deadline = time.monotonic() + timeout_s
                if rest:  # the device took less than all: it is full, and would only say so
                    self._wait(select.POLLOUT, deadline, "write")
        finally:
            self._leave()

    def close(self) -> None:
        """Close; see `ByteStream`. It returns once the last call that uses the device has left."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.eventfd_write(self._wake_fd, 1)
            if self._users == 0:
                self._release()
            self._lock.wait_for(lambda: self._released, _LEAVE_S)  # whoever opens the port next finds it free

    def _gather(self, limit: int) -> bytes:
        """Read what is there: a terminal hands out 4 KiB a call, and has more as soon as it is asked.

        Nobody is asked first whether there is more: that costs as much as the read.
        """
        data = self._read_some(limit)
        if self._asks_first:
            return data  # a socket gives all that it has
        parts, got = [data], len(data)
        limit, most, fd = min(limit, _GATHER_BYTES), self._most_a_call, self._fd
        while data and got < limit and not self._closed:
            try:
                data = os.read(fd, min(limit - got, most))
            except OSError:  # nothing is there; a failure is met again by the next call, after these bytes
                break
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def _read_some(self, limit: int) -> bytes:
        try:
            return os.read(self._fd, min(limit, self._most_a_call))
        except BlockingIOError:
            raise
        except OSError as error:
            raise self._failed("read", error) from error

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._failed("write", error) from error

    def _wait(self, events: int, deadline: float, what: str) -> None:
        ready = self._pollers[events].poll(max(0.0, deadline - time.monotonic()) * 1000)
        if self._closed:
            raise StreamClosedError(f"{self.name} was closed")
        if not ready:
            raise LinkTimeoutError(f"{self.name}: nothing to {what} in time")

    def _poller(self, events: int) -> select.poll:
        poller = select.poll()
        poller.register(self._fd, events)
        poller.register(self._wake_fd, select.POLLIN)
        return poller

    def _enter(self) -> None:
        with self._lock:
            if self._closed:
                raise StreamClosedError(f"{self.name} is closed")
            self._users += 1

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._closed and self._users == 0:
                self._release()

    def _release(self) -> None:
        if self._released:
            return
        os.close(self._wake_fd)
        self._close_device()
        self._released = True
        self._lock.notify_all()

    def _close_device(self) -> None:
        os.close(self._fd)

    def _failed(self, what: str, error: OSError) -> StreamError:
        kind = StreamClosedError if error.errno in _GONE else StreamError
        return kind(f"cannot {what} {self.name}", found=error.strerror or type(error).__name__)


class TcpStream(FdStream):
    """A connected TCP (or Unix) socket; a peer that vanished without a word is noticed in about ten seconds."""

    _most_a_call = _SOCKET_BYTES
    _asks_first = True

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._connection = connection
        try:
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                _tune(connection)
            super().__init__(connection.fileno(), name)
        except OSError:  # gone again already, or no descriptor is free
            connection.close()
            raise

    def _close_device(self) -> None:
        self._connection.close()


def connect_tcp(host: str, port: int, timeout_s: float) -> TcpStream:
    """Connect to a camera.

    Raises:
        StreamError: nobody answers there, or not in time.
    """
    try:
        return TcpStream(socket.create_connection((host, port), timeout_s), f"{host}:{port}")
    except OSError as error:
        raise StreamError(
            f"no connection to {host} port {port}", found=error.strerror or type(error).__name__
        ) from error


def stream_pair() -> tuple[TcpStream, TcpStream]:
    """Return two connected streams of this process."""
    left, right = socket.socketpair()
    return TcpStream(left, "left end"), TcpStream(right, "right end")


def _tune(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
