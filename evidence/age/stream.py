"""The payload of an age file: the STREAM construction in chunks of 64 KiB (C2SP age, "Payload").

Both directions are pushed: bytes in, chunks out to a sink, no I/O of their own. Buffers are reused, so that a
sink must have taken (written, copied) a chunk when it returns.
"""

import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from evidence.age.errors import AgeChunkError, AgeStateError, AgeTruncatedError

__all__ = [
    "CHUNK_BYTES",
    "SEALED_CHUNK_BYTES",
    "TAG_BYTES",
    "ChunkCipher",
    "ChunkOpener",
    "ChunkSealer",
    "Sink",
]

CHUNK_BYTES = 64 * 1024
TAG_BYTES = 16
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
_FINAL_FLAG = 11  # offset in the nonce; the 11 bytes before it are the counter, big endian

_RUN_CHUNKS = 4  # handed over at once where they come in one piece: fewer writes, still in a core's cache

Sink = Callable[[memoryview], object]
"""Takes one chunk or several, whole; the memory is used again after it returns, unless it gave other memory."""


class ChunkCipher:
    """ChaCha20-Poly1305 under a payload key (32 bytes), with the nonce that belongs to a chunk's place."""

    def __init__(self, payload_key: bytes) -> None:
        self._aead = ChaCha20Poly1305(payload_key)
        self._nonce = bytearray(12)

    def seal(self, index: int, plaintext: memoryview, sealed: memoryview, *, final: bool) -> None:
        """Write ciphertext and tag of chunk `index` into `sealed`, `TAG_BYTES` longer than the plaintext."""
        self._aead.encrypt_into(self._nonce_of(index, final=final), plaintext, None, sealed)

    def open(self, index: int, sealed: memoryview, plaintext: memoryview, *, final: bool) -> bool:
        """Write the plaintext of chunk `index` into `plaintext`; false: it is not authentic, use nothing."""
        try:
            self._aead.decrypt_into(self._nonce_of(index, final=final), sealed, None, plaintext)
        except InvalidTag:
            return False
        return True

    def _nonce_of(self, index: int, *, final: bool) -> bytearray:
        struct.pack_into(
            ">Q", self._nonce, 3, index
        )  # 2**64 chunks are out of reach; the upper 3 bytes stay zero
        self._nonce[_FINAL_FLAG] = final
        return self._nonce


class ChunkSealer:
    """Splits plaintext into chunks and seals each as soon as it is known not to be the last."""

    def __init__(self, payload_key: bytes, sink: Sink) -> None:
        self._cipher = ChunkCipher(payload_key)
        self._sink = sink
        self._pending = bytearray(CHUNK_BYTES)
        self._pending_view = memoryview(self._pending)
        self.use_memory(None)
        self.pending_bytes = 0
        self.chunks = 0
        self.plaintext_sealed = 0

    def use_memory(self, memory: memoryview | None) -> None:
        """Seal into this memory from now on, as many chunks at once as it holds; `None`: into some of its own.

        A sink that keeps what it got gives other memory before it returns.
        """
        self._sealed = memory or memoryview(bytearray(_RUN_CHUNKS * SEALED_CHUNK_BYTES))
        self._run_chunks = len(self._sealed) // SEALED_CHUNK_BYTES

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take plaintext and return its length; a chunk leaves when it is full and a byte follows it."""
        rest = view = memoryview(data).cast("B")
        while self.pending_bytes + len(rest) > CHUNK_BYTES:
            rest = rest[self._seal_run(rest) :]
        end = self.pending_bytes + len(rest)
        self._pending_view[self.pending_bytes : end] = rest
        self.pending_bytes = end
        return len(view)

    def flush_full(self) -> bool:
        """Seal a full chunk as not final, the caller promising that more follows; say whether there was one."""
        if self.pending_bytes < CHUNK_BYTES:
            return False
        self._seal_pending(final=False)
        return True

    def close(self) -> None:
        """Seal the final chunk.

        Raises:
            AgeStateError: as `check_closable`.
        """
        self.check_closable()
        self._seal_pending(final=True)

    def check_closable(self) -> None:
        """Check that the final chunk would not be empty, or is the only one.

        Raises:
            AgeStateError: a full chunk left by `flush_full` and nothing followed; no final chunk is empty.
        """
        if self.pending_bytes == 0 and self.chunks:
            raise AgeStateError(
                "the final age chunk would be empty",
                expected="a byte after a chunk that was released early",
                found="none",
                remedy="write a filler, then close",
            )

    def wipe(self) -> None:
        """Overwrite the plaintext that is held back; what was not sealed is gone."""
        self._pending_view[:] = bytes(CHUNK_BYTES)
        self.pending_bytes = 0

    def _seal_pending(self, *, final: bool) -> None:
        self._seal(self._pending_view[: self.pending_bytes], final=final)
        self.pending_bytes = 0

    def _seal_run(self, plaintext: memoryview) -> int:
        """Seal whole chunks that a byte follows, as many as the memory holds; return the bytes it took.

        The pending chunk, if there is one, is filled and goes first; the others are sealed without a copy.
        """
        seal, sealed = self._cipher.seal, self._sealed
        taken = count = 0
        if self.pending_bytes:
            taken = CHUNK_BYTES - self.pending_bytes
            self._pending_view[self.pending_bytes :] = plaintext[:taken]
            seal(self.chunks, self._pending_view, sealed[:SEALED_CHUNK_BYTES], final=False)
            self.pending_bytes, count = 0, 1
        begin = taken - count * CHUNK_BYTES
        for number in range(count, min(self._run_chunks, (len(plaintext) - begin - 1) // CHUNK_BYTES)):
            start, place = begin + number * CHUNK_BYTES, number * SEALED_CHUNK_BYTES
            chunk = plaintext[start : start + CHUNK_BYTES]
            seal(self.chunks + number, chunk, sealed[place : place + SEALED_CHUNK_BYTES], final=False)
            taken, count = start + CHUNK_BYTES, number + 1
        self.chunks += count
        self._sink(sealed[: count * SEALED_CHUNK_BYTES])
        self.plaintext_sealed += count * CHUNK_BYTES
        return taken

    def _seal(self, plaintext: memoryview, *, final: bool) -> None:
        sealed = self._sealed[: len(plaintext) + TAG_BYTES]
        self._cipher.seal(self.chunks, plaintext, sealed, final=final)
        self.chunks += 1
        self._sink(sealed)
        self.plaintext_sealed += len(plaintext)


class ChunkOpener:
    """Authenticates chunks and releases each at once; a chunk of a live recording waits for no later byte.

    Data after the final chunk is an error, though that chunk was released.
    """

    def __init__(self, payload_key: bytes, sink: Sink) -> None:
        self._cipher = ChunkCipher(payload_key)
        self._sink = sink
        self._held = memoryview(bytearray(SEALED_CHUNK_BYTES))
        self._held_bytes = 0
        self._plaintext = memoryview(bytearray(CHUNK_BYTES))
        self._ended = False
        self._failed = False  # the full chunk in _held is damaged; the error depends on whether more follows
        self.chunks = 0
        self.plaintext_bytes = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Take ciphertext in pieces of any size.

        Raises:
            AgeChunkError: a chunk that is not the last fails, or data follows the final chunk.
        """
        rest = memoryview(data)
        while rest:
            if self._ended or self._failed:
                raise self._failure_before_end()
            in_place = self._held_bytes == 0 and len(rest) >= SEALED_CHUNK_BYTES
            if in_place and self._release(rest[:SEALED_CHUNK_BYTES], final=False):
                rest = rest[SEALED_CHUNK_BYTES:]
                continue
            taken = min(len(rest), SEALED_CHUNK_BYTES - self._held_bytes)
            self._held[self._held_bytes : self._held_bytes + taken] = rest[:taken]
            self._held_bytes += taken
            rest = rest[taken:]
            if self._held_bytes == SEALED_CHUNK_BYTES:
                self._open_full()

    def finish(self) -> None:
        """Take the end of the input: open the final chunk.

        Raises:
            AgeTruncatedError: there is none, or it fails.
        """
        if self._ended:
            return
        sealed = self._held[: self._held_bytes]
        if len(sealed) < TAG_BYTES or (len(sealed) == TAG_BYTES and self.chunks):
            raise AgeTruncatedError(
                "the age file ends early",
                expected="a final chunk",
                found=f"the end after {self.chunks} whole chunks and {len(sealed)} bytes",
            )
        if not self._release(sealed, final=True):
            raise AgeTruncatedError(
                "the age file ends early or its last chunk is damaged",
                expected=f"a final chunk after {self.chunks} whole ones",
                found=f"{len(sealed)} bytes that fail authentication",
            )
        self._ended = True

    def _open_full(self) -> None:
        if self._release(self._held, final=False):
            self._held_bytes = 0
        elif self._release(self._held, final=True):
            self._ended = True
        else:
            self._failed = True

    def _failure_before_end(self) -> AgeChunkError:
        if self._ended:
            return AgeChunkError(
                "data follows the end of the age file", expected="nothing after the final chunk", found="more"
            )
        return AgeChunkError(
            "the age file is damaged or was altered",
            expected=f"chunk {self.chunks} (of 64 KiB, from 0) to authenticate",
            found="that it fails, with data after it",
        )

    def _release(self, sealed: memoryview, *, final: bool) -> bool:
        plaintext = self._plaintext[: len(sealed) - TAG_BYTES]
        if not self._cipher.open(self.chunks, sealed, plaintext, final=final):
            return False
        self.chunks += 1
        self._sink(plaintext)
        self.plaintext_bytes += len(plaintext)
        return True
