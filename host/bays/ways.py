"""Ways to a camera: a TCP address, a serial device, a USB serial number that may come and go."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from docklink.errors import StreamError
from docklink.serialport import SerialStream
from docklink.streams import ByteStream, connect_tcp
from host.bays.hotplug import PortEvent
from host.config import BaySection

__all__ = ["BY_ID", "SerialWay", "TcpWay", "UsbWay", "Way", "way_of"]

BY_ID = Path("/dev/serial/by-id")
"""Where udev names serial devices after what USB says of them: `usb-MAKER_PRODUCT_SERIAL-if00`."""
_INTERFACE = re.compile(r"-if[0-9a-f]{2}(-port[0-9]+)?\Z")


class Way(Protocol):
    """How to reach what is in a bay."""

    name: str
    serial: bool
    """Whether it is a line that has to be brought in step, and bears short requests only."""
    attached: bool
    """Whether a way that is present means a camera that is there, as a USB device does and a UART does not."""

    def present(self) -> bool:
        """Say whether there can be a camera; costs nothing."""

    def concerns(self, event: PortEvent) -> bool:
        """Say whether a serial device that came or went may be this one."""

    def open(self) -> ByteStream:
        """Open it.

        Raises:
            StreamError: there is nothing, or somebody else has it.
        """


class TcpWay:
    """A camera that listens on a network, over USB or at the dock's own access point."""

    serial = False
    attached = False

    def __init__(self, host: str, port: int, connect_timeout_s: float) -> None:
        self.name = f"tcp {host}:{port}"
        self._host, self._port = host, port
        self._timeout_s = connect_timeout_s

    def present(self) -> bool:
        """Say yes: only connecting tells."""
        return True

    def concerns(self, event: PortEvent) -> bool:
        """Say no: it is no serial device."""
        del event
        return False

    def open(self) -> ByteStream:
        """Connect."""
        return connect_tcp(self._host, self._port, self._timeout_s)


class SerialWay:
    """A serial device at a fixed path."""

    serial = True
    attached = False

    def __init__(self, path: str, baud: int) -> None:
        self.name = f"serial {path}"
        self._path = path
        self._baud = baud

    def present(self) -> bool:
        """Say whether the device is there."""
        return os.path.exists(self._path)  # noqa: PTH110 - a device path as the operator wrote it

    def concerns(self, event: PortEvent) -> bool:
        """Say whether the path is among those of the event."""
        return event.lost or self._path in event.paths

    def open(self) -> ByteStream:
        """Open the port."""
        return SerialStream(self._path, self._baud)


class UsbWay:
    """The serial device of one USB serial number, wherever it is plugged in."""

    serial = True
    attached = True

    def __init__(self, number: str, baud: int, by_id: Path = BY_ID) -> None:
        self.name = f"usb {number}"
        self._number = number
        self._baud = baud
        self._by_id = by_id

    def present(self) -> bool:
        """Say whether it is plugged in."""
        return self._find() is not None

    def concerns(self, event: PortEvent) -> bool:
        """Say whether the number is that of the event, as udev or the name of a link has it."""
        numbers = {_INTERFACE.sub("", path).rpartition("_")[2] for path in event.paths}
        return event.lost or event.serial == self._number or self._number in numbers

    def open(self) -> ByteStream:
        """Open the port."""
        path = self._find()
        if path is None:
            raise StreamError(f"no USB serial device with number {self._number}")
        return SerialStream(str(path), self._baud)

    def _find(self) -> Path | None:
        """Find the first interface of the device; the number is the last word of the name."""
        try:
            names = sorted(path.name for path in self._by_id.iterdir())
        except OSError:
            return None  # udev makes the directory with the first device
        for name in names:
            if _INTERFACE.sub("", name).rpartition("_")[2] == self._number:
                return self._by_id / name
        return None


def way_of(bay: BaySection, connect_timeout_s: float) -> Way:
    """Return the way that a configuration names."""
    makers: tuple[tuple[object, Callable[[], Way]], ...] = (
        (bay.address, lambda: TcpWay(*(bay.address or ("", 0)), connect_timeout_s)),
        (bay.serial, lambda: SerialWay(bay.serial or "", bay.baud)),
        (bay.usb, lambda: UsbWay(bay.usb or "", bay.baud)),
    )
    return next(make() for given, make in makers if given is not None)
