"""Reading an age file from start to end: header, then every chunk as soon as it is authentic."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from evidence.age.armor import ArmorDecoder
from evidence.age.envelope import NONCE_BYTES, open_header, payload_key
from evidence.age.errors import AgeArmorError, AgeError, AgeTruncatedError
from evidence.age.header import Header, HeaderParser
from evidence.age.keys import Identity
from evidence.age.stream import SEALED_CHUNK_BYTES, ChunkOpener, Sink

__all__ = ["AgeReader", "BinarySource", "BinaryTarget", "DecryptResult", "decrypt_file", "salvage_file"]

_READ_BYTES = 4 * SEALED_CHUNK_BYTES
_FIRST_READ_BYTES = 2 * 1024
_WHITESPACE = b" \t\r\n\v\f"
_BEGIN_MARK = b"-----BEGIN"


class BinarySource(Protocol):
    """What `decrypt_file` reads from: blocking; no bytes mean the end."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""
        ...


class BinaryTarget(Protocol):
    """What `decrypt_file` writes to."""

    def write(self, data: memoryview, /) -> object:
        """Take all of `data`, which is reused afterwards."""
        ...


class DecryptResult(msgspec.Struct, frozen=True):
    """What came out: bytes of plaintext, whether the final chunk was there, and how the file was made.

    `kinds` are the types of its stanzas in their order, one a recipient.
    """

    plaintext_bytes: int
    complete: bool
    armored: bool
    kinds: tuple[str, ...]


class AgeReader:
    """Takes a binary age file in pieces of any size; authenticated plaintext goes to `sink` at once.

    Every error carries `plaintext_bytes`, what `sink` had been given before.
    """

    def __init__(self, identities: Sequence[Identity], sink: Sink) -> None:
        self._identities = identities
        self._sink = sink
        self._parser = HeaderParser()
        self._header: Header | None = None
        self._file_key = b""
        self._nonce = b""
        self._opener: ChunkOpener | None = None

    @property
    def header(self) -> Header | None:
        """The header, once it is whole and authentic."""
        return self._header

    @property
    def plaintext_bytes(self) -> int:
        """Bytes of plaintext that the sink has."""
        return 0 if self._opener is None else self._opener.plaintext_bytes

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            AgeHeaderError: the header is malformed or not authentic.
            AgeNoIdentityError: no identity fits.
            AgeChunkError: a chunk before the last fails.
        """
        try:
            self._feed(memoryview(data))
        except AgeError as error:
            error.plaintext_bytes = self.plaintext_bytes
            raise

    def finish(self) -> None:
        """Take the end of the file.

        Raises:
            AgeHeaderError: it ends within its header.
            AgeTruncatedError: it ends before its final chunk, or that chunk fails.
        """
        try:
            self._finish()
        except AgeError as error:
            error.plaintext_bytes = self.plaintext_bytes
            raise

    def _feed(self, rest: memoryview) -> None:
        if self._header is None:
            rest = rest[self._parser.feed(rest) :]
            if not self._parser.complete:
                return
            header = self._parser.finish()
            self._file_key = open_header(header, self._identities)
            self._header = header
        if self._opener is None:
            missing = NONCE_BYTES - len(self._nonce)
            self._nonce += bytes(rest[:missing])
            rest = rest[missing:]
            if len(self._nonce) < NONCE_BYTES:
                return
            self._opener = ChunkOpener(payload_key(self._file_key, self._nonce), self._sink)
            self._file_key = b""
        self._opener.feed(rest)

    def _finish(self) -> None:
        if self._header is None:
            self._parser.finish()  # says how far the header went
        if self._opener is None:
            raise AgeTruncatedError(
                "the age file ends early",
                expected=f"{NONCE_BYTES} bytes after its header",
                found=f"{len(self._nonce)}",
            )
        self._opener.finish()


def decrypt_file(source: BinarySource, target: BinaryTarget, identities: Sequence[Identity]) -> DecryptResult:
    """Decrypt an age file, binary or armored, and write only what is authentic.

    What was written before an error stays written; the error says how much (`plaintext_bytes`).

    Raises:
        AgeHeaderError: the header is malformed or not authentic; this is no age file.
        AgeArmorError: the armor is malformed.
        AgeNoIdentityError: no identity fits.
        AgeChunkError: a chunk before the last fails.
        AgeTruncatedError: the file ends early, or only its last chunk fails.
    """
    reader = AgeReader(identities, target.write)
    armored = _read_all(reader, source)
    return _result(reader, complete=True, armored=armored)


def salvage_file(source: BinarySource, target: BinaryTarget, identities: Sequence[Identity]) -> DecryptResult:
    """Decrypt a binary age file like `decrypt_file`, but take an early end as an answer.

    What is written ends with the last whole authentic chunk: all that there is of an interrupted recording.

    Raises:
        AgeHeaderError, AgeNoIdentityError, AgeChunkError: as `decrypt_file`.
    """
    reader = AgeReader(identities, target.write)
    try:
        _read_binary(reader, source.read(_READ_BYTES), source)
    except AgeTruncatedError:
        return _result(reader, complete=False, armored=False)
    return _result(reader, complete=True, armored=False)


def _read_all(reader: AgeReader, source: BinarySource) -> bool:
    """Push the whole file through the reader; return whether it was armored."""
    start = source.read(_FIRST_READ_BYTES)
    while len(start) < _FIRST_READ_BYTES and (more := source.read(_FIRST_READ_BYTES - len(start))):
        start += more
    armored = start.lstrip(_WHITESPACE).startswith(_BEGIN_MARK)
    if armored:
        _read_armored(reader, start, source)
    else:
        _read_binary(reader, start, source)
    return armored


def _read_binary(reader: AgeReader, data: bytes, source: BinarySource) -> None:
    while data:
        reader.feed(data)
        data = source.read(_READ_BYTES)
    reader.finish()


def _read_armored(reader: AgeReader, data: bytes, source: BinarySource) -> None:
    decoder = ArmorDecoder()
    try:
        while data:
            reader.feed(decoder.feed(data))
            data = source.read(_READ_BYTES)
        decoder.finish()
    except (AgeArmorError, AgeTruncatedError) as error:
        error.plaintext_bytes = reader.plaintext_bytes
        if isinstance(error, AgeTruncatedError) and reader.header is None:
            reader.finish()  # cut off within its header, an armored file is not authentic
        raise
    reader.finish()


def _result(reader: AgeReader, *, complete: bool, armored: bool) -> DecryptResult:
    stanzas = () if reader.header is None else reader.header.stanzas
    kinds = tuple(stanza.kind for stanza in stanzas)
    return DecryptResult(
        plaintext_bytes=reader.plaintext_bytes, complete=complete, armored=armored, kinds=kinds
    )
