"""The camera's end of the link: sessions one after the other, on a TCP port or on a serial line.

Each session is judged anew with what `trust()` returns at that moment, so renewed certificates, revocations
and the time floor count from the next session on. There is one session a port, and what a peer may use before
it is authenticated is bounded in bytes (`docklink.limits`) and in time (`Timeouts.handshake_s`).
"""

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable

import msgspec

from docklink.errors import LinkError, LinkTimeoutError, StreamError
from docklink.httpserver import Fault, HttpServer
from docklink.limits import Timeouts
from docklink.line import CameraPort
from docklink.peers import Peer
from docklink.service import CameraService
from docklink.streams import ByteStream, TcpStream
from docklink.tls import CameraEnrolment, CameraTrust, TlsStream

__all__ = ["LinkServer", "SessionEnd", "TcpPort", "serve_line"]

_LOOK_ROUND_S = 1.0
_BACKLOG = 4


class SessionEnd(msgspec.Struct, frozen=True):
    """How a session ended: with whom (`None` if that never became known), after how much, and why."""

    peer: Peer | None
    requests: int
    error: LinkError | None


class LinkServer:
    """What all ports of a camera share. `on_end` and `on_fault` are called in the session's thread."""

    def __init__(
        self,
        service: CameraService,
        trust: Callable[[], CameraTrust | CameraEnrolment],
        *,
        on_end: Callable[[SessionEnd], None],
        on_fault: Fault,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self._service = service
        self._trust = trust
        self._on_end = on_end
        self._on_fault = on_fault

    def serve(self, stream: ByteStream) -> SessionEnd:
        """Run one session on a stream, from the first byte of TLS on; the stream is closed in the end."""
        peer, server, failure = None, None, None
        outermost = stream
        try:
            tls = TlsStream(stream, self._trust(), handshake_timeout_s=self.timeouts.handshake_s)
            outermost, peer = tls, tls.peer
            server = HttpServer(tls, peer, self._service, self.timeouts, self._on_fault)
            server.run()
        except LinkError as error:
            failure = error
        finally:
            outermost.close()
        end = SessionEnd(peer, server.requests if server else 0, failure)
        self._on_end(end)
        return end


def serve_line(server: LinkServer, stream: ByteStream, stop: threading.Event) -> None:
    """Serve a serial line until `stop` is set; closing the stream after that ends it at once.

    Raises:
        StreamError: the port failed; open it again.
    """
    port = CameraPort(stream, record_timeout_s=server.timeouts.progress_s)
    while not stop.is_set():
        try:
            session = port.accept(_LOOK_ROUND_S)
        except LinkTimeoutError:
            continue
        except StreamError:
            if stop.is_set():
                return
            raise
        server.serve(session)


class TcpPort:
    """A listening socket; connections wait in a short queue while a session is under way."""

    def __init__(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            StreamError: the address is in use, or not of this machine.
        """
        try:
            self._socket = socket.create_server((host, port), backlog=_BACKLOG)
        except OSError as error:
            raise StreamError(
                f"cannot listen on {host} port {port}", found=error.strerror or type(error).__name__
            ) from error
        self._stop = threading.Event()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._current: ByteStream | None = None

    @property
    def port(self) -> int:
        """The port's number."""
        number: int = self._socket.getsockname()[1]
        return number

    def run(self, server: LinkServer) -> None:
        """Serve until `close`."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        poller.register(self._wake_fd, select.POLLIN)
        self._socket.setblocking(False)
        while not self._stop.is_set():
            poller.poll()
            with contextlib.suppress(OSError):  # gone again before it was taken; or woken by `close`
                connection, address = self._socket.accept()
                self._serve_one(server, TcpStream(connection, f"{address[0]}:{address[1]}"))
        self._socket.close()
        os.close(self._wake_fd)

    def close(self) -> None:
        """End the session under way, and `run`, which closes the socket; call it once."""
        os.eventfd_write(self._wake_fd, 1)
        self._stop.set()  # after the wake: `run` gives its descriptor back as soon as it sees this
        with self._lock:
            if self._current is not None:
                self._current.close()

    def _serve_one(self, server: LinkServer, stream: TcpStream) -> None:
        with self._lock:
            self._current = stream
        if self._stop.is_set():
            stream.close()
            return
        server.serve(stream)
        with self._lock:
            self._current = None
