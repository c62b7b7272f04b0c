"""ASCII armor, strict (C2SP age, "ASCII armor"; RFC 7468 section 3, figure 3).

White space, at most `MAX_OUTER_WHITESPACE` bytes each, may stand before and after the block; lines may end in
LF or CRLF; nothing else deviates from the one encoding that a writer would make.
"""

import binascii
import enum

from evidence.age.errors import AgeArmorError, AgeTruncatedError

__all__ = ["ARMOR_BEGIN", "MAX_OUTER_WHITESPACE", "ArmorDecoder"]

ARMOR_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
_ARMOR_END = b"-----END AGE ENCRYPTED FILE-----"
MAX_OUTER_WHITESPACE = 1024
_COLUMNS = 64
_BYTES_PER_LINE = 48
_LONGEST_LINE = MAX_OUTER_WHITESPACE + 2  # white space before the block may be one line
_WHITESPACE = b" \t\r\n\v\f"


class _Part(enum.Enum):
    BEFORE = enum.auto()
    LINES = enum.auto()
    END = enum.auto()
    AFTER = enum.auto()


class ArmorDecoder:
    """Takes armored bytes in pieces of any size and returns what they encode."""

    def __init__(self) -> None:
        self._part = _Part.BEFORE
        self._line = b""
        self._outer = 0

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of all lines that are complete.

        Raises:
            AgeArmorError: the armor is not canonical.
        """
        buffer = self._line + data
        start = 0
        decoded = []
        while self._part is not _Part.AFTER and (end := buffer.find(b"\n", start)) >= 0:
            decoded.append(self._take_line(buffer[start:end].removesuffix(b"\r")))
            start = end + 1
        rest = buffer[start:]
        if self._part is _Part.AFTER:
            self._take_after(rest)
            rest = b""
        if len(rest) > _LONGEST_LINE:
            raise _malformed(f"lines of at most {_COLUMNS} characters", "a longer one")
        self._line = rest
        return b"".join(decoded)

    def finish(self) -> None:
        """Take the end of the input.

        Raises:
            AgeArmorError: the last line is malformed.
            AgeTruncatedError: the input ended before the line that ends the armor.
        """
        line, self._line = self._line.removesuffix(b"\r"), b""
        if self._part in (_Part.LINES, _Part.END) and line == _ARMOR_END:
            self._part = _Part.AFTER  # the last newline may be missing
        if self._part is not _Part.AFTER:
            raise AgeTruncatedError("the armored age file ends early", expected="its END line", found="the end")

    def _take_line(self, line: bytes) -> bytes:
        match self._part:
            case _Part.BEFORE:
                self._take_before(line)
            case _ if line == _ARMOR_END:
                self._part = _Part.AFTER
            case _Part.LINES:
                return self._decode(line)
            case _:
                raise _malformed("the END line after a short line", "another")
        return b""

    def _take_before(self, line: bytes) -> None:
        if line == ARMOR_BEGIN:
            self._part = _Part.LINES
            self._outer = 0
            return
        if line.strip(_WHITESPACE):
            raise _malformed("its BEGIN line first", "another")
        self._count_outer(len(line) + 1)

    def _take_after(self, data: bytes) -> None:
        if data.strip(_WHITESPACE):
            raise _malformed("nothing after the END line", "more")
        self._count_outer(len(data))

    def _count_outer(self, count: int) -> None:
        self._outer += count
        if self._outer > MAX_OUTER_WHITESPACE:
            raise _malformed(f"at most {MAX_OUTER_WHITESPACE} bytes of white space around it", "more")

    def _decode(self, line: bytes) -> bytes:
        if not line or len(line) > _COLUMNS:
            raise _malformed(f"lines of 1 to {_COLUMNS} characters", str(len(line)))
        try:
            data = binascii.a2b_base64(line, strict_mode=True)
        except binascii.Error as error:
            raise _malformed("canonical base64", "another line") from error
        if binascii.b2a_base64(data, newline=False) != line:
            raise _malformed("canonical base64", "another line")
        if len(data) < _BYTES_PER_LINE:
            self._part = _Part.END
        return data


def _malformed(expected: str, found: str) -> AgeArmorError:
    return AgeArmorError("the ASCII armor of the age file is malformed", expected=expected, found=found)
