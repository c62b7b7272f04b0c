"""Where TLS records end in a stream of bytes (RFC 8446, section 5.1), without I/O."""

from typing import Final

__all__ = ["RecordEnds"]

_HEADER_BYTES: Final = 5
_CONTENT_TYPES: Final = range(20, 25)
_VERSION_MAJOR: Final = 3
_LONGEST_BYTES: Final = 16_384 + 256


class RecordEnds:
    """Says of each piece of a stream whether a record ends in it; holds at most a header.

    What is no record any more (a line has lost bytes) counts as an end for good: that is for OpenSSL to judge.
    """

    def __init__(self) -> None:
        self._header = b""
        self._rest = 0
        self._lost = False

    def feed(self, data: bytes | bytearray) -> bool:
        """Take the next piece."""
        place, ended = 0, self._lost
        while place < len(data) and not self._lost:
            if self._rest:
                length = min(self._rest, len(data) - place)
                self._rest -= length
                ended = ended or not self._rest
            else:
                length = min(_HEADER_BYTES - len(self._header), len(data) - place)
                self._header += data[place : place + length]
                if len(self._header) == _HEADER_BYTES:
                    ended = self._begin() or ended
            place += length
        return ended

    def _begin(self) -> bool:
        """Read a whole header; returns whether there is nothing to wait for."""
        kind, major, _, *size = self._header
        self._header, self._rest = b"", int.from_bytes(bytes(size), "big")
        self._lost = (
            kind not in _CONTENT_TYPES or major != _VERSION_MAJOR or not 0 < self._rest <= _LONGEST_BYTES
        )
        return self._lost
