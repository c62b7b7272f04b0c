"""Any byte range without reading what lies before it."""

import io
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.age import (
    CHUNK_BYTES,
    AgeChunkError,
    AgeHeaderError,
    AgeNoIdentityError,
    AgePlaintext,
    AgeTruncatedError,
    PublicIdentity,
    generate_identity,
    read_header,
)
from evidence.age.stream import SEALED_CHUNK_BYTES

Encrypt = Callable[..., bytes]
PLAINTEXT = random.Random(7).randbytes(4 * CHUNK_BYTES + 1000)


class Watched(io.BytesIO):
    """Remembers which bytes were read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads: list[tuple[int, int]] = []

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        data = super().read(size)
        self.reads.append((start, start + len(data)))
        return data


@pytest.fixture(scope="module")
def file(identity: PublicIdentity, encrypt: Encrypt) -> bytes:
    return encrypt([identity.recipient()], [PLAINTEXT])


@given(offset=st.integers(0, len(PLAINTEXT) + 10), length=st.integers(0, 2 * CHUNK_BYTES))
@settings(max_examples=60, deadline=None)
def test_any_range(file: bytes, identity: PublicIdentity, offset: int, length: int) -> None:
    with AgePlaintext(io.BytesIO(file), [identity]) as plaintext:
        assert plaintext.read_range(offset, length) == PLAINTEXT[offset : offset + length]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_sizes_at_the_boundaries(size: int, any_identity: PublicIdentity, encrypt: Encrypt) -> None:
    file = encrypt([any_identity.recipient()], [PLAINTEXT[:size]])
    plaintext = AgePlaintext(io.BytesIO(file), [any_identity])
    assert plaintext.complete
    assert plaintext.plaintext_bytes == size
    assert io.BufferedReader(plaintext).read() == PLAINTEXT[:size]


def test_it_is_a_file(file: bytes, identity: PublicIdentity) -> None:
    plaintext = AgePlaintext(io.BytesIO(file), [identity])
    assert plaintext.readable()
    assert plaintext.seekable()
    assert plaintext.seek(-10, io.SEEK_END) == len(PLAINTEXT) - 10
    assert plaintext.read(100) == PLAINTEXT[-10:]
    assert plaintext.read(1) == b""
    plaintext.seek(5)
    assert plaintext.seek(5, io.SEEK_CUR) == plaintext.tell() == 10
    with pytest.raises(ValueError, match="no such place"):
        plaintext.seek(-1)
    with pytest.raises(ValueError, match="no such place"):
        plaintext.seek(0, 9)


def test_nothing_before_the_range_is_read(file: bytes, identity: PublicIdentity) -> None:
    source = Watched(file)
    plaintext = AgePlaintext(source, [identity])
    payload = len(plaintext.header.raw) + 16
    source.reads.clear()
    plaintext.read_range(3 * CHUNK_BYTES + 5, 10)
    assert source.reads == [(payload + 3 * SEALED_CHUNK_BYTES, payload + 4 * SEALED_CHUNK_BYTES)]
    source.reads.clear()
    plaintext.read_range(3 * CHUNK_BYTES + 50, 10)  # the same chunk again
    assert source.reads == []


def test_a_damaged_chunk_is_found_when_it_is_read(file: bytes, identity: PublicIdentity) -> None:
    damaged = bytearray(file)
    damaged[len(file) - 2 * SEALED_CHUNK_BYTES] ^= 1
    plaintext = AgePlaintext(io.BytesIO(damaged), [identity])
    assert plaintext.read_range(0, 100) == PLAINTEXT[:100]
    with pytest.raises(AgeChunkError, match="chunk 2"):
        plaintext.read_range(2 * CHUNK_BYTES, 1)
    assert plaintext.read_range(CHUNK_BYTES, 9) == PLAINTEXT[CHUNK_BYTES : CHUNK_BYTES + 9]


@pytest.mark.parametrize("lost", [1, 1000, 1015, 1016, 1017, SEALED_CHUNK_BYTES, SEALED_CHUNK_BYTES + 1016])
def test_an_interrupted_file_ends_with_its_last_whole_chunk(
    file: bytes, identity: PublicIdentity, lost: int
) -> None:
    cut = file[: len(file) - lost]
    with pytest.raises(AgeTruncatedError):
        AgePlaintext(io.BytesIO(cut), [identity])
    plaintext = AgePlaintext(io.BytesIO(cut), [identity], interrupted=True)
    chunks = 4 if lost <= 1016 else (4 * SEALED_CHUNK_BYTES + 1016 - lost) // SEALED_CHUNK_BYTES
    assert not plaintext.complete
    assert plaintext.plaintext_bytes == chunks * CHUNK_BYTES
    assert plaintext.read_range(0, len(PLAINTEXT)) == PLAINTEXT[: chunks * CHUNK_BYTES]


def test_a_torn_last_chunk_is_left_out_and_an_older_defect_is_not(
    file: bytes, identity: PublicIdentity
) -> None:
    torn = bytearray(file[: len(file) - 1016])
    torn[-100] ^= 1
    assert AgePlaintext(io.BytesIO(torn), [identity], interrupted=True).plaintext_bytes == 3 * CHUNK_BYTES
    torn[-SEALED_CHUNK_BYTES - 100] ^= 1
    with pytest.raises(AgeChunkError, match="chunk 2"):
        AgePlaintext(io.BytesIO(torn), [identity], interrupted=True)


@pytest.mark.parametrize("payload", [0, 10, 16, 30])
def test_a_file_without_a_chunk_is_empty_when_interrupted(
    file: bytes, identity: PublicIdentity, payload: int
) -> None:
    header = read_header(io.BytesIO(file))
    cut = io.BytesIO(file[: len(header.raw) + payload])
    with pytest.raises(AgeTruncatedError):
        AgePlaintext(cut, [identity])
    assert AgePlaintext(cut, [identity], interrupted=True).read() == b""


def test_the_header_stands_alone(file: bytes) -> None:
    source = io.BytesIO(b"before" + file)
    source.seek(6)
    header = read_header(source)
    assert file.startswith(header.raw)
    assert source.tell() == 6 + len(header.raw)
    with pytest.raises(AgeHeaderError):
        read_header(io.BytesIO(header.raw[:-1]))


def test_a_stranger_opens_nothing(file: bytes) -> None:
    with pytest.raises(AgeNoIdentityError):
        AgePlaintext(io.BytesIO(file), [generate_identity()])
