"""The encrypted file of a clip while it grows: age chunks, digests for the journal, a storage that is full."""

import hashlib
from collections.abc import Callable, Sequence

from evidence.age.keys import Recipient
from evidence.age.writer import AgeWriter
from evidence.digests import DigestThread, SideDigest
from evidence.documents import Blob
from evidence.storage import AppendFile, StorageError

__all__ = ["CipherFile"]


class CipherFile:
    """Plaintext in, ciphertext appended to `file` chunk by chunk; three digests run along.

    When storage is full, `give_up_reserve` is called once and the write goes on from the byte at which it
    stopped; `full` then says that the clip should end.

    Attributes:
        hurrying: two of the digests are computed in another thread meanwhile, for more CPU time in all.
    """

    def __init__(
        self, recipients: Sequence[Recipient], file: AppendFile, give_up_reserve: Callable[[], None]
    ) -> None:
        self._file = file
        self._give_up_reserve = give_up_reserve
        self._hashing = DigestThread()
        self._whole = SideDigest(self._hashing)
        self._interval = hashlib.sha256()
        self._plaintext = SideDigest(self._hashing)
        self.full = False
        self.hurrying = False
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

    def write(self, data: bytes | memoryview) -> None:
        """Take plaintext; while `hurrying`, `data` must stay as they are until the next call that takes some.

        Raises:
            StorageError: storage refuses, and it is not that it is full for the first time.
        """
        self._age.write(data)
        self._plaintext.update(data, aside=self.hurrying)

    def flush_full(self) -> None:
        """Release a full chunk at once; the caller promises that more follows."""
        self._age.flush_full()

    def sync(self) -> str:
        """Put everything sealed so far on storage; returns the digest of what came since the last call.

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
        self._hashing.close()
        self._age.abandon()
        self._file.close()

    def release(self) -> None:
        """Release the file."""
        self._hashing.close()
        self._file.close()

    def _store(self, piece: memoryview) -> None:
        before = self._file.size_bytes
        try:
            self._file.append(piece)
        except StorageError as error:
            if not error.full or self.full:
                raise
            self.full = True
            self._give_up_reserve()
            self._file.append(piece[self._file.size_bytes - before :])
        self._whole.update(piece, aside=self.hurrying)
        self._interval.update(piece)
        self._whole.wait()  # the memory of the piece is used again
