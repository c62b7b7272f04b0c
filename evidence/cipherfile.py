"""The encrypted file of a clip while it grows: age chunks, digests for the journal, a storage that is full."""

import hashlib
import itertools
from collections.abc import Callable, Sequence

from evidence.age.keys import Recipient
from evidence.age.stream import SEALED_CHUNK_BYTES
from evidence.age.writer import AgeWriter
from evidence.ahead import WorkThread
from evidence.documents import Blob
from evidence.storage import AppendFile, StorageError

__all__ = ["CipherFile"]

_PIECES = 4  # of memory: one is filled, and so many less one are being written or wait for it
_PIECE_CHUNKS = 12  # a fragment at 10 Mbit/s


class CipherFile:
    """Plaintext in, ciphertext appended to `file` chunk by chunk; three digests run along.

    When storage is full, `give_up_reserve` is called once and the write goes on from the byte at which it
    stopped; `full` then says that the clip should end.

    In a hurry another thread hashes and appends what is sealed, and does what is given to `then`, one after the
    other as without it, while the caller seals what comes next: some 3 MiB ahead at most, and in memory.
    """

    def __init__(
        self, recipients: Sequence[Recipient], file: AppendFile, give_up_reserve: Callable[[], None]
    ) -> None:
        self._file = file
        self._give_up_reserve = give_up_reserve
        self._whole = hashlib.sha256()
        self._interval = hashlib.sha256()
        self._plaintext = hashlib.sha256()
        self._work = WorkThread("clip-storage", _PIECES - 1)
        self._memory: itertools.cycle[memoryview] | None = None
        self.full = False
        self._age = AgeWriter(recipients, self._store)

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of the file so far: header, nonce, sealed chunks."""
        return self._age.ciphertext_bytes

    @property
    def plaintext_sealed(self) -> int:
        """Bytes of plaintext that those bytes hold."""
        return self._age.plaintext_sealed

    @property
    def pending_bytes(self) -> int:
        """Bytes of plaintext that wait in the unfilled chunk."""
        return self._age.pending

    @property
    def header(self) -> Blob:
        """Size and digest of the age header."""
        header = self._age.header_bytes
        return Blob(bytes=len(header), sha256=hashlib.sha256(header).hexdigest())

    @property
    def ciphertext(self) -> Blob:
        """Size and digest of the file so far."""
        return Blob(bytes=self.ciphertext_bytes, sha256=self._whole.hexdigest())

    @property
    def plaintext(self) -> Blob:
        """Size and digest of the plaintext taken so far."""
        return Blob(bytes=self._age.bytes_in, sha256=self._plaintext.hexdigest())

    def hurry(self, *, on: bool) -> None:
        """Begin to use the other thread, or wait until it has done all and do without it.

        Raises:
            StorageError: storage refused, and it was not that it was full for the first time.
        """
        if on == (self._memory is not None):
            return
        if on:
            sizes = [_PIECE_CHUNKS * SEALED_CHUNK_BYTES] * _PIECES
            self._memory = itertools.cycle([memoryview(bytearray(size)) for size in sizes])
            self._age.use_memory(next(self._memory))
            return
        self._work.wait()
        self._work.close()
        self._memory = None
        self._age.use_memory(None)

    def then(self, job: Callable[[], object]) -> None:
        """Do something behind all that was written so far; in a hurry in the other thread.

        Raises:
            EvidenceError: what the job raised, or in a hurry one before it; or storage refused, as in `write`.
        """
        if self._memory is None:
            job()
        else:
            self._work.put(job)

    def write(self, data: bytes | memoryview) -> None:
        """Take plaintext.

        Raises:
            StorageError: storage refuses (in a hurry: did so), and not because it is full for the first time.
        """
        self._age.write(data)
        self._plaintext.update(data)

    def flush_full(self) -> None:
        """Release a full chunk at once; the caller promises that more follows."""
        self._age.flush_full()

    def sync(self) -> str:
        """Put everything sealed so far on storage; returns the digest of what came since the last call.

        In a hurry only for what is given to `then`.

        Raises:
            StorageError: storage refuses.
        """
        self._file.sync()
        digest = self._interval.hexdigest()
        self._interval = hashlib.sha256()
        return digest

    def close(self) -> None:
        """Seal the last chunk. The file is still to be synced."""
        self._age.close()

    def abandon(self) -> None:
        """Forget the plaintext that was not sealed, and release the file."""
        self._work.close()
        self._age.abandon()
        self._file.close()

    def release(self) -> None:
        """Release the file."""
        self._work.close()
        self._file.close()

    def _store(self, piece: memoryview) -> None:
        if self._memory is None:
            self._append(piece)
            return
        self._work.put(lambda: self._append(piece))
        # What was given with this memory is done: the thread is fewer jobs behind than there are pieces.
        self._age.use_memory(next(self._memory))

    def _append(self, piece: memoryview) -> None:
        before = self._file.size_bytes
        try:
            self._file.append(piece)
        except StorageError as error:
            if not error.full or self.full:
                raise
            self.full = True
            self._give_up_reserve()
            self._file.append(piece[self._file.size_bytes - before :])
        self._whole.update(piece)
        self._interval.update(piece)
