"""Writing an age file: pushed, never pulled."""

import enum
import os
from collections.abc import Sequence

from evidence.age.envelope import NONCE_BYTES, payload_key, seal_header
from evidence.age.errors import AgeStateError
from evidence.age.keys import FILE_KEY_BYTES, Recipient
from evidence.age.stream import CHUNK_BYTES, ChunkSealer, Sink

__all__ = ["AgeWriter"]


class _State(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"
    BROKEN = "broken"


_OPEN, _BROKEN = _State.OPEN, _State.BROKEN  # looked up at every frame


class AgeWriter:
    """Encrypts what it is given to `recipients` and hands the file to `sink`, header first, chunk by chunk.

    The header and the nonce are in the sink when the constructor returns. The sink must take each piece whole
    and may not keep it: the memory is used again. If the sink raises, the file's end is unknown; the writer is
    broken then and refuses all but `abandon`.

    Plaintext is held in memory until its chunk of 64 KiB is full and a byte follows; `flush_full` releases a
    full chunk at once.
    """

    def __init__(self, recipients: Sequence[Recipient], sink: Sink) -> None:
        """Write the header and the nonce.

        Raises:
            AgeKeyError: there is no recipient, or kinds are mixed.
        """
        file_key = os.urandom(FILE_KEY_BYTES)
        nonce = os.urandom(NONCE_BYTES)
        self._header = seal_header(file_key, recipients)
        self._sink = sink
        self._state = _State.BROKEN  # until the first bytes are out
        self._ciphertext_bytes = 0
        self._sealer = ChunkSealer(payload_key(file_key, nonce), self._emit)
        self._emit(memoryview(self._header + nonce))
        self._state = _State.OPEN

    @property
    def header_bytes(self) -> bytes:
        """The exact header, up to and including the newline after its MAC."""
        return self._header

    @property
    def bytes_in(self) -> int:
        """Bytes of plaintext taken."""
        return self._sealer.plaintext_sealed + self._sealer.pending_bytes

    @property
    def plaintext_sealed(self) -> int:
        """Bytes of plaintext whose ciphertext the sink has."""
        return self._sealer.plaintext_sealed

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes that the sink has: header, nonce, sealed chunks."""
        return self._ciphertext_bytes

    @property
    def pending(self) -> int:
        """Bytes of plaintext in the chunk that is not sealed yet, 0 to 65,536."""
        return self._sealer.pending_bytes

    @property
    def room(self) -> int:
        """Bytes of plaintext that fit into the running chunk before it is full."""
        return CHUNK_BYTES - self._sealer.pending_bytes

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._state is not _OPEN

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take plaintext, all of it, and return its length.

        Raises:
            AgeStateError: the writer is closed or broken.
        """
        self._require_open()
        self._state = _BROKEN
        size = self._sealer.write(data)
        self._state = _OPEN
        return size

    def flush_full(self) -> bool:
        """Release a full chunk as not final; return whether there was one. The caller promises a further byte.

        Raises:
            AgeStateError: the writer is closed or broken.
        """
        self._require_open()
        self._state = _State.BROKEN
        released = self._sealer.flush_full()
        self._state = _State.OPEN
        return released

    def close(self) -> None:
        """Seal and write the final chunk.

        Raises:
            AgeStateError: the writer is closed or broken; or a chunk was released early and nothing follows it:
                write a filler and close again.
        """
        self._require_open()
        self._sealer.check_closable()
        self._state = _State.BROKEN
        self._sealer.close()
        self._state = _State.CLOSED
        self._sealer.wipe()

    def use_memory(self, memory: memoryview | None) -> None:
        """Seal into this memory, whole `SEALED_CHUNK_BYTES`, from now on; `None`: into some of its own."""
        self._sealer.use_memory(memory)

    def abandon(self) -> None:
        """Forget the plaintext that was not sealed; the file has no final chunk, as after a power cut."""
        self._sealer.wipe()
        if self._state is _State.OPEN:
            self._state = _State.CLOSED

    def _emit(self, piece: memoryview) -> None:
        self._sink(piece)
        self._ciphertext_bytes += len(piece)

    def _require_open(self) -> None:
        if self._state is not _OPEN:
            raise AgeStateError(
                "the age writer takes nothing more", expected="an open one", found=self._state.value
            )
