"""Serial ports through pyserial, and pseudo-terminals that stand in for a pair of them.

A port is opened raw and exclusive: no echo, no line editing, no flow-control characters, so that every byte
value passes. Opening discards what lay in its input; `docklink.resync` is there for that and worse.
"""

import os
import termios
import tty

import serial

from docklink.errors import StreamError
from docklink.streams import FdStream

__all__ = ["PtyPair", "SerialStream"]


class SerialStream(FdStream):
    """A serial port: USB ACM, UART or the terminal side of a pseudo-terminal."""

    def __init__(self, path: str, baud: int = 115_200) -> None:
        """Open the port; `baud` means nothing to USB and pseudo-terminals.

        Raises:
            StreamError: there is no such port, it is in use, or it is no serial port.
        """
        try:
            self._port = serial.Serial(path, baud, exclusive=True, timeout=0, write_timeout=0)
            fd = self._port.fileno()
            tty.setraw(fd, termios.TCSANOW)  # pyserial leaves BRKINT on
        except (OSError, ValueError, termios.error) as error:  # SerialException is an OSError
            raise StreamError(
                f"cannot open the serial port {path}",
                found=str(error),
                remedy="see that it exists, that this user may open it and that no other program holds it",
            ) from error
        super().__init__(fd, path)

    def _close_device(self) -> None:
        self._port.close()


class PtyPair:
    """A cable for tests and the demo: one end is a device path, the other a stream.

    Like a UART, and unlike a socket, it does not tell one end that the other has closed, and keeps what nobody
    read: the pair itself holds both ends open.
    """

    def __init__(self) -> None:
        self._far_fd, self._near_fd = os.openpty()
        tty.setraw(self._near_fd)
        self.path = os.ttyname(self._near_fd)

    def far(self) -> FdStream:
        """Open the end without a path; it may be opened again after its stream was closed."""
        return FdStream(os.dup(self._far_fd), f"far end of {self.path}")

    def near(self) -> SerialStream:
        """Open the end with the path, as pyserial opens any port."""
        return SerialStream(self.path)

    def close(self) -> None:
        """Pull the cable: both ends fail from now on."""
        os.close(self._far_fd)
        os.close(self._near_fd)
