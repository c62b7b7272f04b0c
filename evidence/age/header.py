"""The textual header of an age file: strict grammar, nothing else (C2SP age, "Header").

`HeaderParser` takes bytes as they come and holds no more than `MAX_HEADER_BYTES`; `serialise` is its inverse.
What the stanzas mean is not judged here, but for the rule that a passphrase stanza stands alone.
"""

import enum
import hashlib
import hmac

import msgspec

from evidence.age.base64 import decode_unpadded, encode_unpadded
from evidence.age.errors import AgeHeaderError

__all__ = ["MAX_HEADER_BYTES", "Header", "HeaderParser", "Stanza", "parse_header", "serialise"]

MAX_HEADER_BYTES = 1 << 20
"""Longer headers are refused: room for 600 post-quantum recipients, and a bound on memory."""

_INTRO = b"age-encryption.org/v1\n"
_ANY_VERSION = b"age-encryption.org/"
_COLUMNS = 64
_BYTES_PER_LINE = 48
_MAC_BYTES = 32
_MARK = b"---"
_ARGUMENT_CHARACTERS = bytes(range(33, 127))


class Stanza(msgspec.Struct, frozen=True):
    """One recipient stanza: its arguments, the first of which is the type, and its body, decoded."""

    args: tuple[str, ...]
    body: bytes

    @property
    def kind(self) -> str:
        """The type of recipient that the stanza is for."""
        return self.args[0]


class Header(msgspec.Struct, frozen=True):
    """A header that fits the grammar; `raw` is its exact bytes up to and including the last newline.

    `mac` is the HMAC-SHA-256 as written: until `authenticate` has been called with the file key, it is a claim.
    """

    stanzas: tuple[Stanza, ...]
    mac: bytes
    raw: bytes

    def authenticate(self, mac_key: bytes) -> None:
        """Check the MAC over everything up to and including the mark `---`.

        Raises:
            AgeHeaderError: the header was altered or made for another file key.
        """
        signed = self.raw[: self.raw.rindex(b"\n" + _MARK) + 1 + len(_MARK)]
        if not hmac.compare_digest(hmac.digest(mac_key, signed, hashlib.sha256), self.mac):
            raise AgeHeaderError("the age header is not authentic", expected="a matching MAC", found="another")


def serialise(stanzas: tuple[Stanza, ...], mac_key: bytes) -> bytes:
    """Write the header for these stanzas, MAC and last newline included.

    Raises:
        AgeHeaderError: no stanza, an empty or unprintable argument, or more than `MAX_HEADER_BYTES`.
    """
    if not stanzas:
        raise AgeHeaderError("an age header needs a recipient", expected="at least one stanza", found="none")
    unsigned = _INTRO + b"".join(_serialise_stanza(stanza) for stanza in stanzas) + _MARK
    mac = hmac.digest(mac_key, unsigned, hashlib.sha256)
    header = unsigned + b" " + encode_unpadded(mac) + b"\n"
    if len(header) > MAX_HEADER_BYTES:
        raise _too_long()
    return header


def parse_header(data: bytes) -> Header:
    """Parse a header at the start of `data`; what follows it is not looked at.

    Raises:
        AgeHeaderError: it is malformed, too long, or cut off.
    """
    parser = HeaderParser()
    parser.feed(data)
    return parser.finish()


def _serialise_stanza(stanza: Stanza) -> bytes:
    args = [argument.encode() for argument in stanza.args]
    _check_arguments(args)
    body = encode_unpadded(stanza.body)
    lines = [body[start : start + _COLUMNS] for start in range(0, len(body) + 1, _COLUMNS)]
    return b"-> " + b" ".join(args) + b"\n" + b"\n".join(lines) + b"\n"


def _check_arguments(args: list[bytes]) -> None:
    if not args or not all(args) or any(argument.translate(None, _ARGUMENT_CHARACTERS) for argument in args):
        raise AgeHeaderError(
            "a stanza of the age header is malformed",
            expected="`-> ` and printable arguments, one space between them",
            found="another line",
        )


class _Part(enum.Enum):
    INTRO = enum.auto()
    STANZA_OR_END = enum.auto()
    BODY = enum.auto()
    DONE = enum.auto()


class HeaderParser:
    """Takes a header in pieces of any size; events in, a `Header` out."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._line_start = 0
        self._part = _Part.INTRO
        self._stanzas: list[Stanza] = []
        self._args: tuple[str, ...] = ()
        self._body: list[bytes] = []
        self._mac = b""

    @property
    def complete(self) -> bool:
        """Whether the last line has been read."""
        return self._part is _Part.DONE

    def feed(self, data: bytes | memoryview) -> int:
        """Take what belongs to the header and return how many bytes that was; fewer than given once complete.

        Raises:
            AgeHeaderError: the header is malformed or longer than `MAX_HEADER_BYTES`.
        """
        before = len(self._raw)
        if self.complete:
            return 0
        self._raw += data[: MAX_HEADER_BYTES + 1 - before]
        self._check_start()
        searched = max(self._line_start, before)
        while not self.complete:
            newline = self._raw.find(b"\n", searched)
            if newline < 0:
                if len(self._raw) > MAX_HEADER_BYTES:
                    raise _too_long()
                return len(self._raw) - before
            line = bytes(self._raw[self._line_start : newline])
            self._line_start = searched = newline + 1
            self._take_line(line)
        if self._line_start > MAX_HEADER_BYTES:
            raise _too_long()
        del self._raw[self._line_start :]
        return self._line_start - before

    def finish(self) -> Header:
        """Return the header.

        Raises:
            AgeHeaderError: the input ended before the header did.
        """
        if not self.complete:
            raise AgeHeaderError(
                "the age header is cut off",
                expected="a line with its MAC",
                found=f"the end after {len(self._raw)} bytes",
            )
        return Header(stanzas=tuple(self._stanzas), mac=self._mac, raw=bytes(self._raw))

    def _check_start(self) -> None:
        """Refuse what is no age file at its first differing byte, not after a megabyte without a newline."""
        if self._part is not _Part.INTRO or _INTRO.startswith(start := bytes(self._raw[: len(_INTRO)])):
            return
        if start.startswith(_ANY_VERSION):
            raise AgeHeaderError(
                "not an age file of version 1",
                expected=_INTRO.decode().strip(),
                found="another version or line ending",
            )
        raise AgeHeaderError(
            "not an age file", expected="a first line that names age-encryption.org", found="another"
        )

    def _take_line(self, line: bytes) -> None:
        match self._part:
            case _Part.INTRO:
                self._part = _Part.STANZA_OR_END
            case _Part.BODY:
                self._take_body_line(line)
            case _ if line.startswith(_MARK):
                self._take_end(line)
            case _:
                self._take_arguments(line)

    def _take_arguments(self, line: bytes) -> None:
        if not line.startswith(b"-> "):
            raise AgeHeaderError(
                "the age header is malformed", expected="a line that starts with `-> ` or `--- `"
            )
        args = line.removeprefix(b"-> ").split(b" ")
        _check_arguments(args)
        self._args = tuple(argument.decode("ascii") for argument in args)
        self._part = _Part.BODY

    def _take_body_line(self, line: bytes) -> None:
        if len(line) > _COLUMNS:
            raise AgeHeaderError(
                "a stanza of the age header is malformed",
                expected=f"lines of at most {_COLUMNS} characters",
                found=str(len(line)),
            )
        self._body.append(decode_unpadded(line))
        if len(line) < _COLUMNS:
            self._stanzas.append(Stanza(args=self._args, body=b"".join(self._body)))
            self._body.clear()
            self._part = _Part.STANZA_OR_END

    def _take_end(self, line: bytes) -> None:
        if not line.startswith(_MARK + b" ") or not self._stanzas:
            raise AgeHeaderError(
                "the age header is malformed",
                expected="one stanza or more, then `--- ` and the MAC",
                found="another end",
            )
        self._mac = decode_unpadded(line[len(_MARK) + 1 :])
        if len(self._mac) != _MAC_BYTES:
            raise AgeHeaderError(
                "the MAC of the age header is malformed",
                expected=f"{_MAC_BYTES} bytes",
                found=f"{len(self._mac)}",
            )
        if len(self._stanzas) > 1 and any(stanza.kind == "scrypt" for stanza in self._stanzas):
            raise AgeHeaderError(
                "the age header mixes recipients",
                expected="a passphrase stanza alone",
                found="others beside it",
            )
        self._part = _Part.DONE


def _too_long() -> AgeHeaderError:
    return AgeHeaderError(
        "the age header is too long", expected=f"at most {MAX_HEADER_BYTES} bytes", found="more"
    )
