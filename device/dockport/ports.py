"""The ports on which a dock finds the camera: one thread each, one session at a time on each."""

import logging
import threading
from typing import Protocol

from docklink.errors import StreamError
from docklink.serialport import SerialStream
from docklink.server import LinkServer, TcpPort, serve_line

__all__ = ["Port", "SerialLinePort", "TcpLinkPort"]

_log = logging.getLogger(__name__)
_AGAIN_S = 2.0


class Port(Protocol):
    """Something that serves sessions until it is closed."""

    def start(self) -> None:
        """Begin to serve."""

    def close(self) -> None:
        """End the session under way, and the thread."""


class TcpLinkPort:
    """A TCP port; `number` is the one that is bound."""

    def __init__(self, server: LinkServer, host: str, port: int) -> None:
        """Listen.

        Raises:
            StreamError: the address cannot be had.
        """
        self._port = TcpPort(host, port)
        self._server = server
        self.number = self._port.port
        self._thread = threading.Thread(target=self._run, name="dock-tcp", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._port.close()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        self._port.run(self._server)


class SerialLinePort:
    """A serial gadget or UART; opened again when it fails, for a cable comes and goes."""

    def __init__(self, server: LinkServer, path: str) -> None:
        self._server = server
        self._path = path
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._stream: SerialStream | None = None
        self._thread = threading.Thread(target=self._run, name="dock-serial", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stop.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        said = ""
        while not self._stop.is_set():
            try:
                self._serve()
                said = ""
            except StreamError as error:
                if not self._stop.is_set() and str(error) != said:
                    said = str(error)
                    _log.warning("dock's serial line %s: %s", self._path, error)
            self._stop.wait(_AGAIN_S)

    def _serve(self) -> None:
        stream = SerialStream(self._path)
        with self._lock:
            self._stream = stream
        try:
            if not self._stop.is_set():
                serve_line(self._server, stream, self._stop)
        finally:
            with self._lock:
                self._stream = None
            stream.close()
