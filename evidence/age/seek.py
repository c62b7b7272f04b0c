"""Any byte range of an age file, without reading what lies before it (C2SP age, "Payload": seeking)."""

import io
import os
from collections.abc import Sequence
from typing import BinaryIO

from evidence.age.envelope import NONCE_BYTES, open_header, payload_key
from evidence.age.errors import AgeChunkError, AgeTruncatedError
from evidence.age.header import Header, HeaderParser
from evidence.age.keys import Identity
from evidence.age.stream import CHUNK_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES, ChunkCipher

__all__ = ["AgePlaintext", "read_header"]

_HEADER_READ_BYTES = 4096


def read_header(file: BinaryIO) -> Header:
    """Parse the header of a binary age file from its current position; the file stands after the header then.

    Raises:
        AgeHeaderError: it is malformed, too long, or cut off.
    """
    start = file.tell()
    parser = HeaderParser()
    while not parser.complete and (data := file.read(_HEADER_READ_BYTES)):
        parser.feed(data)
    header = parser.finish()
    file.seek(start + len(header.raw))
    return header


class AgePlaintext(io.RawIOBase):
    """The plaintext of a binary age file as a seekable, read-only file.

    Opening authenticates the header and the last chunk, and with it the length. Of an interrupted file (only
    with `interrupted=True`) the plaintext ends with the last whole authentic chunk; `complete` tells which.
    Every other chunk is authenticated when it is read. The encrypted file stays the caller's to close. Wrap
    this in `io.BufferedReader` for small reads.
    """

    def __init__(self, file: BinaryIO, identities: Sequence[Identity], *, interrupted: bool = False) -> None:
        """Open `file`, which starts at position 0.

        Raises:
            AgeHeaderError: the header is malformed or not authentic.
            AgeNoIdentityError: no identity fits.
            AgeTruncatedError: the last chunk is missing or fails, and `interrupted` is false.
            AgeChunkError: the last whole chunk of an interrupted file fails.
        """
        super().__init__()
        self._file = file
        file.seek(0)
        self.header = read_header(file)
        file_key = open_header(self.header, identities)
        nonce = file.read(NONCE_BYTES)
        if len(nonce) < NONCE_BYTES and not interrupted:
            raise AgeTruncatedError(
                "the age file ends early", expected="a nonce after its header", found="the end"
            )
        self._cipher = ChunkCipher(payload_key(file_key, nonce))
        self._payload_start = len(self.header.raw) + NONCE_BYTES
        self._payload_bytes = max(0, file.seek(0, os.SEEK_END) - self._payload_start)
        self._chunk = memoryview(bytearray(CHUNK_BYTES))
        self._chunk_index = -1
        self._position = 0
        self._chunks, self.complete = self._open_end()
        if not self.complete and not interrupted:
            raise AgeTruncatedError(
                "the age file ends early or its last chunk is damaged", expected="a final chunk", found="none"
            )
        encrypted = self._payload_bytes if self.complete else self._chunks * SEALED_CHUNK_BYTES
        self.plaintext_bytes = encrypted - self._chunks * TAG_BYTES

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte of the plaintext and return its place.

        Raises:
            ValueError: the place would be negative, or `whence` is unknown.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.plaintext_bytes}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"no such place: {offset} from {whence}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the place of the next byte to be read."""
        return self._position

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12
        """Fill `buffer` from the current place with as much as one chunk holds; 0 at the end.

        Raises:
            AgeChunkError: the chunk fails authentication.
        """
        target = memoryview(buffer).cast("B")
        index, offset = divmod(self._position, CHUNK_BYTES)
        wanted = min(len(target), CHUNK_BYTES - offset, max(0, self.plaintext_bytes - self._position))
        if wanted:
            self._load(index)
            target[:wanted] = self._chunk[offset : offset + wanted]
            self._position += wanted
        return wanted

    def read_range(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of plaintext from `offset` on, fewer at the end.

        Raises:
            AgeChunkError: a chunk fails authentication.
        """
        self.seek(offset)
        pieces = bytearray(max(0, min(length, self.plaintext_bytes - offset)))
        filled = 0
        while filled < len(pieces):
            filled += self.readinto(memoryview(pieces)[filled:])
        return bytes(pieces)

    def _open_end(self) -> tuple[int, bool]:
        """Authenticate the end; return how many chunks count, and whether the last of them is final."""
        whole, rest = divmod(self._payload_bytes, SEALED_CHUNK_BYTES)
        size = rest or SEALED_CHUNK_BYTES
        chunks = whole + (rest > 0)
        may_be_final = chunks > 0 and (size > TAG_BYTES or (size == TAG_BYTES and chunks == 1))
        if may_be_final and self._try_chunk(chunks - 1, size, final=True):
            return chunks, True
        if whole and not rest and not self._try_chunk(whole - 1, SEALED_CHUNK_BYTES, final=False):
            whole -= 1  # only the last chunk fails: what a torn write leaves
        if whole and not self._try_chunk(whole - 1, SEALED_CHUNK_BYTES, final=False):
            raise _damaged(whole - 1)
        return whole, False

    def _load(self, index: int) -> None:
        if index == self._chunk_index:
            return
        final = self.complete and index == self._chunks - 1
        size = min(SEALED_CHUNK_BYTES, self._payload_bytes - index * SEALED_CHUNK_BYTES)
        if not self._try_chunk(index, size, final=final):
            raise _damaged(index)

    def _try_chunk(self, index: int, size: int, *, final: bool) -> bool:
        self._chunk_index = -1
        self._file.seek(self._payload_start + index * SEALED_CHUNK_BYTES)
        sealed = self._file.read(size)
        if len(sealed) != size:
            return False
        if not self._cipher.open(index, memoryview(sealed), self._chunk[: size - TAG_BYTES], final=final):
            return False
        self._chunk_index = index
        return True


def _damaged(index: int) -> AgeChunkError:
    return AgeChunkError(
        "the age file is damaged or was altered",
        expected=f"chunk {index} (of 64 KiB, from 0) to authenticate",
        found="that it fails",
    )
