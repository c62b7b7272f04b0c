"""Writing and reading a payload: every split, every cut, every kind of damage."""

import io
import itertools
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.age import (
    CHUNK_BYTES,
    AgeChunkError,
    AgeError,
    AgeHeaderError,
    AgeNoIdentityError,
    AgeReader,
    AgeStateError,
    AgeTruncatedError,
    AgeWriter,
    Identity,
    PublicIdentity,
    decrypt_file,
    salvage_file,
)
from evidence.age.stream import SEALED_CHUNK_BYTES, ChunkOpener, ChunkSealer

Encrypt = Callable[..., bytes]
KEY = bytes(range(32))
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 77]


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def decrypt(data: bytes, identity: Identity) -> tuple[bytes, AgeError | None]:
    """Return what was released and the error, which must agree about how much that is."""
    out = io.BytesIO()
    failure: AgeError | None = None
    try:
        plaintext_bytes = decrypt_file(io.BytesIO(data), out, [identity]).plaintext_bytes
    except AgeError as error:
        failure = error
        plaintext_bytes = error.plaintext_bytes
    assert plaintext_bytes == len(out.getvalue())
    return out.getvalue(), failure


def sealed(plaintext: bytes) -> bytes:
    out = io.BytesIO()
    sealer = ChunkSealer(KEY, out.write)
    sealer.write(plaintext)
    sealer.close()
    return out.getvalue()


@pytest.mark.parametrize("size", [4 * CHUNK_BYTES, 4 * CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 1, 9 * CHUNK_BYTES])
def test_chunks_that_come_in_one_piece_go_out_in_runs_of_four(size: int) -> None:
    plaintext = noise(size)
    pieces: list[bytes] = []
    sealer = ChunkSealer(KEY, lambda piece: pieces.append(bytes(piece)))
    sealer.write(plaintext)
    whole = (size - 1) // CHUNK_BYTES  # the last chunk may be full, and is held back
    runs = [4] * (whole // 4) + [whole % 4] * (whole % 4 > 0)
    assert [len(piece) // SEALED_CHUNK_BYTES for piece in pieces] == runs
    assert sealer.plaintext_sealed == whole * CHUNK_BYTES
    sealer.close()
    one_by_one = io.BytesIO()
    slow = ChunkSealer(KEY, one_by_one.write)
    for start in range(0, size, CHUNK_BYTES - 1):
        slow.write(plaintext[start : start + CHUNK_BYTES - 1])
    slow.close()
    assert b"".join(pieces) == one_by_one.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(size: int, any_identity: PublicIdentity, encrypt: Encrypt) -> None:
    plaintext = noise(size)
    file = encrypt([any_identity.recipient()], [plaintext])
    assert decrypt(file, any_identity) == (plaintext, None)


@given(
    pieces=st.lists(st.integers(0, 2 * CHUNK_BYTES + 3), max_size=6),
    feeds=st.lists(st.integers(1, 90_000), min_size=1),
)
@settings(max_examples=60, deadline=None)
def test_neither_side_cares_how_bytes_are_split(pieces: list[int], feeds: list[int]) -> None:
    plaintext = noise(sum(pieces))
    out = io.BytesIO()
    sealer = ChunkSealer(KEY, out.write)
    position = 0
    for size in pieces:
        sealer.write(memoryview(plaintext)[position : position + size])
        position += size
    sealer.close()
    assert out.getvalue() == sealed(plaintext)
    back = io.BytesIO()
    opener = ChunkOpener(KEY, back.write)
    position = 0
    for size in itertools.cycle(feeds):
        if position >= len(out.getvalue()):
            break
        opener.feed(out.getvalue()[position : position + size])
        position += size
    opener.finish()
    assert back.getvalue() == plaintext


@given(
    steps=st.lists(
        st.one_of(st.just("flush"), st.sampled_from([1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])),
        max_size=8,
    )
)
@settings(max_examples=80, deadline=None)
def test_the_writers_figures_add_up_at_every_step(identity: PublicIdentity, steps: list[str | int]) -> None:
    file = io.BytesIO()
    writer = AgeWriter([identity.recipient()], file.write)
    assert file.getvalue().startswith(writer.header_bytes)
    start = len(writer.header_bytes) + 16
    written = b""
    for number, step in enumerate(steps):
        full = writer.pending == CHUNK_BYTES
        if isinstance(step, int):
            assert writer.write(noise(step, number)) == step
            written += noise(step, number)
        else:
            assert writer.flush_full() is full
            assert writer.pending < CHUNK_BYTES
        assert writer.bytes_in == len(written) == writer.plaintext_sealed + writer.pending
        assert writer.room == CHUNK_BYTES - writer.pending
        assert writer.plaintext_sealed % CHUNK_BYTES == 0
        assert writer.ciphertext_bytes == len(file.getvalue())
        assert writer.ciphertext_bytes == start + writer.plaintext_sealed // CHUNK_BYTES * SEALED_CHUNK_BYTES
    if writer.pending == 0 and writer.plaintext_sealed:
        with pytest.raises(AgeStateError, match="final age chunk would be empty"):
            writer.close()
        writer.write(b"filler")
        written += b"filler"
    writer.close()
    assert writer.closed
    assert writer.plaintext_sealed == len(written)
    assert decrypt(file.getvalue(), identity) == (written, None)


def test_a_full_chunk_waits_unless_more_is_promised(identity: PublicIdentity) -> None:
    file = io.BytesIO()
    writer = AgeWriter([identity.recipient()], file.write)
    writer.write(noise(CHUNK_BYTES))
    assert writer.plaintext_sealed == 0
    assert writer.flush_full()
    assert not writer.flush_full()
    live, error = decrypt(file.getvalue(), identity)
    assert live == noise(CHUNK_BYTES)
    assert isinstance(error, AgeTruncatedError)


def test_a_closed_writer_takes_nothing(identity: PublicIdentity) -> None:
    writer = AgeWriter([identity.recipient()], lambda _: None)
    writer.close()
    for call in (writer.close, writer.flush_full, lambda: writer.write(b"x")):
        with pytest.raises(AgeStateError, match="closed"):
            call()


def test_after_a_failing_sink_no_nonce_is_used_twice(identity: PublicIdentity) -> None:
    def sink(data: memoryview) -> None:
        if len(data) == SEALED_CHUNK_BYTES:
            raise OSError(28, "No space left on device")

    writer = AgeWriter([identity.recipient()], sink)
    with pytest.raises(OSError, match="No space"):
        writer.write(bytes(CHUNK_BYTES + 1))
    with pytest.raises(AgeStateError, match="broken"):
        writer.write(b"x")
    with pytest.raises(AgeStateError, match="broken"):
        writer.close()
    assert writer.closed


def test_abandoning_leaves_an_interrupted_file_and_no_plaintext_in_memory(identity: PublicIdentity) -> None:
    file = io.BytesIO()
    writer = AgeWriter([identity.recipient()], file.write)
    writer.write(noise(CHUNK_BYTES + 500))
    writer.abandon()
    assert writer.closed
    assert not any(writer._sealer._pending)
    out = io.BytesIO()
    file.seek(0)
    result = salvage_file(file, out, [identity])
    assert (result.complete, result.plaintext_bytes) == (False, CHUNK_BYTES)
    assert out.getvalue() == noise(CHUNK_BYTES)


def test_closing_forgets_the_plaintext(identity: PublicIdentity) -> None:
    writer = AgeWriter([identity.recipient()], lambda _: None)
    writer.write(b"a face")
    writer.close()
    assert not any(writer._sealer._pending)


def cuts(header_and_nonce: int, total: int) -> Iterator[int]:
    """Return every length near a boundary of the file."""
    boundaries = [
        0,
        header_and_nonce - 16,
        header_and_nonce,
        *range(header_and_nonce, total, SEALED_CHUNK_BYTES),
        total,
    ]
    near = {boundary + delta for boundary in boundaries for delta in range(-18, 19)}
    return iter(sorted(cut for cut in near if 0 <= cut < total))


@pytest.mark.parametrize("size", [0, 5, CHUNK_BYTES, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 40])
def test_every_cut_releases_whole_chunks_and_says_so(
    size: int, identity: PublicIdentity, encrypt: Encrypt
) -> None:
    plaintext = noise(size)
    file = encrypt([identity.recipient()], [plaintext])
    header = file.index(b"\n", file.index(b"\n---") + 1) + 1
    for cut in cuts(header + 16, len(file)):
        released, error = decrypt(file[:cut], identity)
        whole = max(0, cut - header - 16) // SEALED_CHUNK_BYTES
        assert released == plaintext[: whole * CHUNK_BYTES], cut
        assert type(error) is (AgeHeaderError if cut < header else AgeTruncatedError), cut


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_one_flipped_bit_is_found_where_it_is(
    data: st.DataObject, identity: PublicIdentity, encrypt: Encrypt
) -> None:
    plaintext = noise(2 * CHUNK_BYTES + 40)
    file = bytearray(encrypt([identity.recipient()], [plaintext]))
    header = file.index(b"\n", file.index(b"\n---") + 1) + 1
    place = data.draw(
        st.one_of(
            st.integers(0, header + 15),
            st.integers(header + 16, len(file) - 1),
            st.integers(len(file) - 56, len(file) - 1),
        )
    )
    file[place] ^= 1 << data.draw(st.integers(0, 7))
    released, error = decrypt(bytes(file), identity)
    if place < header:
        assert isinstance(error, AgeHeaderError | AgeNoIdentityError)
        assert released == b""
        return
    chunk = max(0, place - header - 16) // SEALED_CHUNK_BYTES
    assert released == plaintext[: chunk * CHUNK_BYTES]
    assert type(error) is (AgeTruncatedError if chunk == 2 else AgeChunkError)


@pytest.mark.parametrize("size", [CHUNK_BYTES, 2 * CHUNK_BYTES])
@pytest.mark.parametrize("extra", [1, 16, 17, SEALED_CHUNK_BYTES])
def test_data_after_a_full_final_chunk_is_not_authentic(
    size: int, extra: int, identity: PublicIdentity, encrypt: Encrypt
) -> None:
    file = encrypt([identity.recipient()], [noise(size)])
    released, error = decrypt(file + bytes(extra), identity)
    assert released == noise(size)
    assert isinstance(error, AgeChunkError)
    assert "follows the end" in str(error)


def test_chunks_exchanged_between_places_are_refused() -> None:
    payload = sealed(noise(3 * CHUNK_BYTES + 1))
    first, second = payload[:SEALED_CHUNK_BYTES], payload[SEALED_CHUNK_BYTES : 2 * SEALED_CHUNK_BYTES]
    out = io.BytesIO()
    opener = ChunkOpener(KEY, out.write)
    with pytest.raises(AgeChunkError, match="chunk 0"):
        opener.feed(second + first + payload[2 * SEALED_CHUNK_BYTES :])
    assert out.getvalue() == b""


def test_an_empty_final_chunk_after_others_is_refused() -> None:
    out = io.BytesIO()
    sealer = ChunkSealer(KEY, out.write)
    sealer.write(noise(CHUNK_BYTES))
    sealer.flush_full()
    sealer._seal_pending(final=True)  # what `close` refuses to make
    opener = ChunkOpener(KEY, lambda _: None)
    opener.feed(out.getvalue())
    with pytest.raises(AgeTruncatedError, match="ends early"):
        opener.finish()


def test_a_live_chunk_is_released_before_anything_follows(identity: PublicIdentity) -> None:
    released = io.BytesIO()
    reader = AgeReader([identity], released.write)
    writer = AgeWriter([identity.recipient()], reader.feed)
    assert reader.header is not None
    writer.write(noise(CHUNK_BYTES))
    writer.flush_full()
    assert released.getvalue() == noise(CHUNK_BYTES)
    writer.write(b"rest")
    writer.close()
    reader.finish()
    assert reader.plaintext_bytes == CHUNK_BYTES + 4


def test_salvage_does_not_forgive_damage(identity: PublicIdentity, encrypt: Encrypt) -> None:
    file = bytearray(encrypt([identity.recipient()], [noise(3 * CHUNK_BYTES)]))
    whole = salvage_file(io.BytesIO(file), io.BytesIO(), [identity])
    assert (whole.complete, whole.plaintext_bytes, whole.kinds) == (True, 3 * CHUNK_BYTES, ("X25519",))
    file[300] ^= 1
    with pytest.raises(AgeChunkError):
        salvage_file(io.BytesIO(file), io.BytesIO(), [identity])


def test_the_chunk_counter_crosses_a_byte(identity: PublicIdentity, encrypt: Encrypt) -> None:
    plaintext = bytes(257 * CHUNK_BYTES + 1)
    released, error = decrypt(encrypt([identity.recipient()], [plaintext]), identity)
    assert error is None
    assert released == plaintext
