"""Hot plug: what the kernel says of serial devices that come and go. Without it bays are looked at in turn."""

import errno
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

__all__ = ["FakeMonitor", "PortEvent", "PortListener", "PortMonitor", "UdevMonitor"]

_logger = logging.getLogger(__name__)
_UDEV = Path("/run/udev/control")
_POLL_S = 1.0
_ACTIONS = frozenset(("add", "remove", "change", "bind", "unbind", "move"))


class PortEvent(msgspec.Struct, frozen=True):
    """A serial device came, went or changed. `paths` are its node and its links; `lost`: some were missed."""

    paths: tuple[str, ...] = ()
    serial: str = ""
    lost: bool = False


PortListener = Callable[[PortEvent], object]


class PortMonitor(Protocol):
    """Hears of serial devices."""

    def start(self, listener: PortListener) -> str:
        """Call `listener`, which must not block, from now on; returns why that cannot be, or nothing."""

    def close(self) -> None:
        """Stop; no call comes afterwards."""


class FakeMonitor:
    """Says what it is told to say: for tests, and for machines without udev."""

    def __init__(self, trouble: str = "") -> None:
        self._trouble = trouble
        self._listener: PortListener | None = None

    def start(self, listener: PortListener) -> str:
        """Remember the listener."""
        if not self._trouble:
            self._listener = listener
        return self._trouble

    def say(self, event: PortEvent) -> None:
        """Let the listener hear of an event."""
        if self._listener is not None:
            self._listener(event)

    def close(self) -> None:
        """Forget the listener."""
        self._listener = None


class UdevMonitor:
    """udev's own events, after its rules have run and made the links; through pyudev, in a thread."""

    def __init__(self, *, control: Path = _UDEV) -> None:
        self._control = control
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, listener: PortListener) -> str:
        """Listen on netlink."""
        try:
            import pyudev  # type: ignore[import-untyped]  # noqa: PLC0415 - no types; loads libudev, if it can
        except ImportError as error:
            return f"no libudev: {error}"
        if not self._control.exists():
            return "udev does not run here"
        try:
            monitor = pyudev.Monitor.from_netlink(pyudev.Context())
            monitor.start()
        except OSError as error:  # a network namespace or a sandbox may forbid it
            return f"netlink is not allowed here: {error}"
        self._thread = threading.Thread(target=self._run, args=(monitor, listener), name="hotplug", daemon=True)
        self._thread.start()
        return ""

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, monitor: Any, listener: PortListener) -> None:
        while not self._stopping.is_set():
            try:
                device = monitor.poll(_POLL_S)
            except OSError as error:
                listener(PortEvent(lost=True))
                if error.errno == errno.ENOBUFS:
                    continue  # more came at once than the kernel keeps
                _logger.warning("hot plug has ended, bays are looked at in turn: %s", error)
                return
            if device is None or device.subsystem != "tty" or device.action not in _ACTIONS:
                continue
            paths = (device.device_node or "", *device.device_links)
            listener(PortEvent(paths, device.properties.get("ID_SERIAL_SHORT", "")))
