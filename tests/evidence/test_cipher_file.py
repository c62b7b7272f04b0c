"""A clip's encrypted file on a storage that fills up: no byte doubled, none missing, every digest true."""

import errno
import hashlib
import os
import threading
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.age.reader import decrypt_file
from evidence.age.x25519 import X25519Identity
from evidence.cipherfile import CipherFile
from evidence.storage import StorageError


class Storage:
    """A file in memory with so much room; giving up the reserve makes more."""

    def __init__(self, room: int, *, error: int = errno.ENOSPC, reserve: int = 1 << 30) -> None:
        self.data = bytearray()
        self.room = room
        self.given_up = 0
        self.closed = False
        self._error = error
        self._reserve = reserve

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def append(self, data: bytes | memoryview) -> None:
        fits = min(len(data), self.room - len(self.data))
        self.data += memoryview(data)[:fits]
        if fits < len(data):
            raise StorageError("cannot write", OSError(self._error, os.strerror(self._error)))

    def sync(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def give_up(self) -> None:
        self.given_up += 1
        self.room += self._reserve


@pytest.fixture(scope="module")
def identity() -> X25519Identity:
    return X25519Identity.generate()


IDENTITY = X25519Identity.generate()


def _write(file: CipherFile, pieces: list[bytes]) -> None:
    for piece in pieces:
        file.write(piece)


def digest(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


@given(
    room=st.integers(300, 900_000),
    pieces=st.lists(st.integers(1, 90_000) | st.integers(90_000, 400_000), min_size=1, max_size=8),
    sync_after=st.integers(0, 7),
    hurries=st.sets(st.integers(0, 7)),
)
def test_wherever_storage_is_full_the_file_is_whole(
    room: int, pieces: list[int], sync_after: int, hurries: set[int]
) -> None:
    storage = Storage(room)
    file = CipherFile([IDENTITY.recipient()], storage, storage.give_up)
    plain = b""
    intervals: list[str] = []
    marks = []
    for number, size in enumerate(pieces):
        file.hurry(on=number in hurries)
        piece = bytes([number]) * size
        file.write(piece)
        plain += piece
        if number == sync_after:
            file.then(lambda: intervals.append(file.sync()))
            marks.append(file.ciphertext_bytes)
    file.hurry(on=False)
    file.close()
    intervals.append(file.sync())
    marks.append(file.ciphertext_bytes)
    opened = BytesIO()
    decrypt_file(BytesIO(storage.data), opened, [IDENTITY])
    assert opened.getvalue() == plain
    assert file.full == (len(storage.data) > room)
    assert storage.given_up == int(file.full)
    assert (file.ciphertext.bytes, file.ciphertext.sha256) == (len(storage.data), digest(storage.data))
    assert (file.plaintext.bytes, file.plaintext.sha256) == (len(plain), digest(plain))
    starts = [0, *marks[:-1]]
    file.release()
    assert intervals == [digest(storage.data[start:end]) for start, end in zip(starts, marks, strict=True)]
    header = file.header
    assert digest(storage.data[: header.bytes]) == header.sha256


def test_a_storage_that_stays_full_gives_up_once_and_then_says_so(identity: X25519Identity) -> None:
    storage = Storage(70_000, reserve=1000)
    file = CipherFile([identity.recipient()], storage, storage.give_up)
    with pytest.raises(StorageError) as caught:
        file.write(b"x" * 300_000)
    assert caught.value.full
    assert storage.given_up == 1
    assert file.full


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS])
def test_another_error_costs_no_reserve(error: int, identity: X25519Identity) -> None:
    storage = Storage(70_000, error=error)
    file = CipherFile([identity.recipient()], storage, storage.give_up)
    with pytest.raises(StorageError):
        file.write(b"x" * 300_000)
    assert (storage.given_up, file.full) == (0, False)
    file.abandon()
    assert storage.closed


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_an_error_behind_a_hurrying_writer_is_raised_to_it(error: int, identity: X25519Identity) -> None:
    storage = Storage(400_000, error=error, reserve=1000)
    file = CipherFile([identity.recipient()], storage, storage.give_up)
    file.hurry(on=True)
    with pytest.raises(StorageError):
        _write(file, [b"x" * 300_000] * 20)
    with pytest.raises(StorageError):
        file.hurry(on=False)
    assert file.full == (error == errno.ENOSPC)
    kept = bytes(storage.data)
    file.abandon()
    assert bytes(storage.data) == kept  # nothing behind the byte that storage refused


class SlowStorage(Storage):
    """A storage whose every append waits until somebody lets it go on."""

    def __init__(self) -> None:
        super().__init__(1 << 30)
        self.go_on = threading.Semaphore(0)

    def append(self, data: bytes | memoryview) -> None:
        assert self.go_on.acquire(timeout=60)
        super().append(data)


def test_memory_of_a_piece_is_used_again_only_when_it_is_on_storage(identity: X25519Identity) -> None:
    storage = SlowStorage()
    storage.go_on.release()  # the header
    file = CipherFile([identity.recipient()], storage, storage.give_up)
    file.hurry(on=True)
    pieces = [bytes([number]) * 700_001 for number in range(9)]
    writer = threading.Thread(target=_write, args=(file, pieces))
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()  # it is as far ahead as there is memory
    assert file.plaintext.bytes < 4 << 20
    storage.go_on.release(1000)
    writer.join(60)
    file.hurry(on=False)
    file.close()
    opened = BytesIO()
    decrypt_file(BytesIO(storage.data), opened, [identity])
    assert opened.getvalue() == b"".join(pieces)
    file.release()


def test_storage_holds_no_plaintext(identity: X25519Identity) -> None:
    storage = Storage(1 << 30)
    file = CipherFile([identity.recipient()], storage, storage.give_up)
    canary = b"canary-" * 40
    file.write(canary * 1000)
    file.close()
    assert canary[:14] not in storage.data
