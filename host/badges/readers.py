"""Badge readers: one that types like a keyboard, one that sends lines; and one that does as it is told."""

import fcntl
import os
import queue
import struct
from collections import deque
from collections.abc import Callable
from typing import Protocol

from docklink.errors import LinkTimeoutError, StreamClosedError, StreamError
from docklink.serialport import SerialStream
from docklink.streams import ByteStream, FdStream
from host.badges.errors import BadgeError
from host.badges.text import KeyDecoder, LineDecoder
from host.config import BadgeSection

__all__ = ["BadgeReader", "DeviceReader", "FakeReader", "grab", "keyboard_reader", "line_reader", "reader_of"]

_EVIOCGRAB = (1 << 30) | (struct.calcsize("@i") << 16) | (ord("E") << 8) | 0x90
"""`_IOW('E', 0x90, int)` of linux/input.h: events come to us alone, and type into no console."""
_READ_BYTES = 4096


class BadgeReader(Protocol):
    """A device that badges are held against. Used by one thread; `close` from anywhere."""

    name: str

    def read(self, timeout_s: float) -> str | None:
        """Return the next badge; `None` if none came in time.

        Raises:
            BadgeError: the device is not there, or failed; a later call opens it again.
        """

    def close(self) -> None:
        """End a `read` that waits; later ones fail."""


class FakeReader:
    """Reads the badges that `hold` holds against it."""

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self._badges: queue.Queue[str | None] = queue.Queue()  # SimpleQueue's time-outs fail in 3.11
        self._closed = False

    def hold(self, badge: str) -> None:
        """Hold a badge against it."""
        self._badges.put(badge)

    def read(self, timeout_s: float) -> str | None:
        """Return what was held against it, in order."""
        if self._closed:
            raise BadgeError(f"the badge reader {self.name} is closed")
        try:
            return self._badges.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Wake who reads."""
        self._closed = True
        self._badges.put(None)


class DeviceReader:
    """A device that is opened when it is read, and again after it failed, and a decoder of its bytes."""

    def __init__(
        self,
        name: str,
        opened: Callable[[], ByteStream],
        decoder: Callable[[], LineDecoder | KeyDecoder],
    ) -> None:
        self.name = name
        self._open = opened
        self._fresh = decoder
        self._stream: ByteStream | None = None
        self._decoder = decoder()
        self._ready: deque[str] = deque()
        self._closed = False

    def read(self, timeout_s: float) -> str | None:
        """Wait for bytes until a badge is whole, or no byte came for so long."""
        while not self._ready:
            if self._closed:
                raise BadgeError(f"the badge reader {self.name} is closed")
            try:
                if self._stream is None:
                    self._stream, self._decoder = self._open(), self._fresh()
                data = self._stream.read(_READ_BYTES, timeout_s)
                if not data:
                    raise StreamClosedError(f"{self.name} has ended")
            except LinkTimeoutError:
                return None
            except StreamError as error:
                self._drop()
                raise BadgeError(f"the badge reader {self.name} fails", found=str(error)) from error
            self._ready.extend(self._decoder.feed(data))
        return self._ready.popleft()

    def close(self) -> None:
        """Close the device."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def line_reader(path: str, baud: int = 9600) -> DeviceReader:
    """Return a reader of a serial device that sends a line for each badge."""
    return DeviceReader(path, lambda: SerialStream(path, baud), LineDecoder)


def grab(fd: int) -> None:
    """Have the events of an input device to ourselves: they type into no console.

    Raises:
        OSError: it is no input device, or somebody else has it.
    """
    fcntl.ioctl(fd, _EVIOCGRAB, 1)


def keyboard_reader(path: str, grabbed: Callable[[int], None] = grab) -> DeviceReader:
    """Return a reader that types like a keyboard: `/dev/input/by-id/...-event-kbd`."""

    def opened() -> FdStream:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise StreamError(
                f"cannot open the input device {path}",
                found=error.strerror or "",
                remedy="see that it exists and that this user may read it (group input)",
            ) from error
        try:
            grabbed(fd)
        except OSError as error:
            os.close(fd)
            raise StreamError(
                f"cannot have {path} alone",
                expected="a Linux input event device that nobody else has grabbed",
                found=error.strerror or "",
            ) from error
        return FdStream(fd, path)

    return DeviceReader(path, opened, KeyDecoder)


def reader_of(section: BadgeSection) -> BadgeReader:
    """Return the reader that a configuration names."""
    if section.keyboard is not None:
        return keyboard_reader(section.keyboard)
    return line_reader(section.serial or "", section.baud)
