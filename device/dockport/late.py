"""Opens the dock's port when the camera is ready: TLS and X.509 take a third of a second of CPU to load.

A press must not wait for that, and no dock minds.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from evidence.errors import ExplainedError

__all__ = ["LateDockPort", "OpenPort"]

_log = logging.getLogger(__name__)
_LOOK_AGAIN_S = 0.05
_PATIENCE_S = 10.0


class OpenPort(Protocol):
    """What is opened late."""

    def start(self) -> None:
        """Serve."""

    def close(self) -> None:
        """End."""


class LateDockPort:
    """A thread that opens the port once `ready` says so, or after ten seconds in any case.

    A port that cannot be opened keeps nothing from being recorded; `error` says why, and so does the log.
    """

    def __init__(self, make: Callable[[], OpenPort], ready: Callable[[], bool]) -> None:
        self._make = make
        self._ready = ready
        self._stop = threading.Event()
        self.opened = threading.Event()
        self.port: OpenPort | None = None
        self.error = ""
        self._thread = threading.Thread(target=self._run, name="dock-start", daemon=True)

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def close(self) -> None:
        """Close the port if it was opened."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self.port is not None:
            self.port.close()

    def _run(self) -> None:
        waited_s = 0.0
        while not self._ready() and waited_s < _PATIENCE_S:
            if self._stop.wait(_LOOK_AGAIN_S):
                return
            waited_s += _LOOK_AGAIN_S
        try:
            port = self._make()
            port.start()
            self.port = port
        except (ExplainedError, OSError) as error:
            self.error = str(error)
            _log.error("no dock can be served: %s", error)
        self.opened.set()
