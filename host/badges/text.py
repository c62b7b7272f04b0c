"""From what readers send to badges: lines of bytes, and keys of a keyboard. No I/O here.

A badge is 1 to 64 of A-Z, a-z, 0-9, `-`, `_`, `.` and `:`; what is something else, or longer, is dropped up to
the next end of line.
"""

import re
import struct
from collections.abc import Iterator

__all__ = ["EVENT_BYTES", "KeyDecoder", "LineDecoder"]

_BADGE = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_MOST = 64
_ENDS = b"\r\n\x03"
_FRAMING = bytes(range(0x20)) + b" "

_EVENT = struct.Struct("@llHHi")
EVENT_BYTES = _EVENT.size
"""Size of `struct input_event` of linux/input.h: two longs of time, type, code, value."""
_EV_KEY = 1
_DOWN = 1
_KEY_ENTERS = frozenset((28, 96))  # KEY_ENTER, KEY_KPENTER
_KEY_SHIFTS = frozenset((42, 54))
_KEYS = {
    **dict(zip(range(2, 12), "1234567890", strict=True)),
    **dict(zip(range(16, 26), "qwertyuiop", strict=True)),
    **dict(zip(range(30, 39), "asdfghjkl", strict=True)),
    **dict(zip(range(44, 51), "zxcvbnm", strict=True)),
    **dict(zip((71, 72, 73, 75, 76, 77, 79, 80, 81, 82), "7894561230", strict=True)),  # the keypad
    12: "-",
    39: ";",
    52: ".",
}
"""Key codes of linux/input-event-codes.h as a US keyboard prints them: what readers pretend to be."""
_SHIFTED = {"-": "_", ";": ":"}


class LineDecoder:
    """Lines that end with CR, LF or ETX; control characters and blanks around a badge do not count."""

    def __init__(self) -> None:
        self._line = bytearray()

    def feed(self, data: bytes | bytearray) -> Iterator[str]:
        """Take bytes as they come; yield the badges that are whole now."""
        for byte in data:
            if byte not in _ENDS:
                if len(self._line) <= 2 * _MOST:  # longer is no badge, whatever follows
                    self._line.append(byte)
                continue
            badge = bytes(self._line).strip(_FRAMING)
            self._line.clear()
            if _BADGE.fullmatch(badge):
                yield badge.decode("ascii")


class KeyDecoder:
    """`struct input_event`s of a device that types like a keyboard, cut anywhere."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._shift = False
        self._lines = LineDecoder()

    def feed(self, data: bytes | bytearray) -> Iterator[str]:
        """Take bytes as they come; yield the badges that are whole now."""
        self._pending += data
        whole = len(self._pending) - len(self._pending) % EVENT_BYTES
        events = bytes(self._pending[:whole])
        del self._pending[:whole]
        for _, _, kind, code, value in _EVENT.iter_unpack(events):
            if kind == _EV_KEY:
                yield from self._lines.feed(self._typed(code, value))

    def _typed(self, code: int, value: int) -> bytes:
        if code in _KEY_SHIFTS:
            self._shift = bool(value)
            return b""
        if value != _DOWN:
            return b""
        if code in _KEY_ENTERS:
            return b"\n"
        character = _KEYS.get(code, "?")
        if self._shift:
            character = _SHIFTED.get(character, character.upper())
        return character.encode("ascii")
