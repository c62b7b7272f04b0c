"""Puts marks into the write log from within the board, so that the log says what the firmware held for durable.

A mark is a message to the device-mapper target, by the ioctl that dmsetup uses (linux/dm-ioctl.h).
"""

import fcntl
import os
import struct

__all__ = ["Marker"]

_HEADER = struct.Struct("<3I7IQ128s129s7s")
_MESSAGE = 0xC138FD0E  # DM_TARGET_MSG: _IOWR(0xfd, 14, struct dm_ioctl), which is 312 bytes long


class Marker:
    """Marks the log of one device by its device-mapper name."""

    def __init__(self, name: str) -> None:
        self._name = name.encode("ascii")
        self._control = os.open("/dev/mapper/control", os.O_RDWR | os.O_CLOEXEC)

    def mark(self, text: str) -> None:
        """Add a mark behind everything that has completed; ASCII without spaces, at most 400 characters."""
        payload = struct.pack("<Q", 0) + b"mark " + text.encode("ascii") + b"\0"
        size = _HEADER.size + len(payload)
        head = _HEADER.pack(4, 0, 0, size, _HEADER.size, 0, 0, 0, 0, 0, 0, self._name, b"", b"")
        fcntl.ioctl(self._control, _MESSAGE, bytearray(head + payload))
