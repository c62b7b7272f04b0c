"""ASCII armor: what may vary and what may not."""

import base64
import io
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.age import (
    CHUNK_BYTES,
    AgeArmorError,
    AgeError,
    AgeHeaderError,
    AgeTruncatedError,
    PublicIdentity,
    decrypt_file,
)
from evidence.age.armor import MAX_OUTER_WHITESPACE, ArmorDecoder

Encrypt = Callable[..., bytes]
BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----\n"
END = b"-----END AGE ENCRYPTED FILE-----\n"


def armored(data: bytes) -> bytes:
    text = base64.b64encode(data)
    return BEGIN + b"".join(text[at : at + 64] + b"\n" for at in range(0, len(text), 64)) + END


def decoded(text: bytes, piece: int = 1 << 20) -> bytes:
    decoder = ArmorDecoder()
    out = b"".join(decoder.feed(text[at : at + piece]) for at in range(0, len(text), piece))
    decoder.finish()
    return out


@given(st.binary(max_size=300), st.integers(1, 80))
def test_what_is_armored_reads_back_in_pieces_of_any_size(data: bytes, piece: int) -> None:
    assert decoded(armored(data), piece) == data
    assert decoded(armored(data).replace(b"\n", b"\r\n"), piece) == data
    assert decoded(armored(data).removesuffix(b"\n"), piece) == data


@pytest.mark.parametrize("outside", [b"\n", b" \t\r\n\v\f\n", b" " * (MAX_OUTER_WHITESPACE - 1) + b"\n"])
def test_white_space_outside_is_allowed(outside: bytes) -> None:
    assert decoded(outside + armored(b"x") + outside) == b"x"
    assert decoded(outside + armored(b"x") + outside, 7) == b"x"


@pytest.mark.parametrize(
    "text",
    [
        b" " * MAX_OUTER_WHITESPACE + b"\n" + armored(b"x"),
        b"\n" * 2000 + armored(b"x"),
        armored(b"x") + b"\n" * 2000,
        b" " * 10_000,
        BEGIN + b"A" * 10_000,
        b" " + armored(b"x"),
        armored(b"x").lower(),
        b"x\n" + armored(b"x"),
        armored(b"x") + b"x",
        armored(b"x") + armored(b"x"),
        armored(b"x").replace(b"eA==", b"eB=="),
        armored(b"x").replace(b"eA==", b"eA="),
        armored(b"x").replace(b"eA==", b"eA"),
        armored(b"x").replace(b"eA==", b" eA=="),
        armored(b"x").replace(b"eA==", b"eA== "),
        armored(b"x").replace(b"eA==\n", b"eA==\n\n"),
        armored(b"x").replace(b"eA==\n", b"\neA==\n"),
        armored(b"x").replace(b"eA==", b"eA==eA=="),
        armored(bytes(100)).replace(b"\n", b"", 2),
        armored(bytes(48)).replace(b"AAAA\n", b"\nAAAA\n"),
    ],
)
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(AgeArmorError):
        decoded(text)
    with pytest.raises(AgeArmorError):
        decoded(text, 5)


@pytest.mark.parametrize("lost", [len(END), len(END) - 5, 2, len(END) + 3])
def test_an_armor_without_its_end_is_cut_off(lost: int) -> None:
    with pytest.raises(AgeTruncatedError):
        decoded(armored(bytes(100))[:-lost])


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_our_error(text: bytes) -> None:
    for data in (text, BEGIN + text, armored(b"x") + text):
        try:
            decoded(data)
        except (AgeArmorError, AgeTruncatedError):
            continue
        assert armored(decoded(data)).split() == data.split()


def test_an_armored_file_decrypts(identity: PublicIdentity, encrypt: Encrypt) -> None:
    plaintext = bytes(range(256)) * 1000
    text = armored(encrypt([identity.recipient()], [plaintext]))
    for variant in (text, b"\r\n \n" + text.replace(b"\n", b"\r\n") + b"\n\n"):
        out = io.BytesIO()
        assert decrypt_file(io.BytesIO(variant), out, [identity]).armored
        assert out.getvalue() == plaintext


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_cut_armored_file_releases_whole_chunks_only(
    data: st.DataObject, identity: PublicIdentity, encrypt: Encrypt
) -> None:
    plaintext = bytes(range(256)) * 600
    text = armored(encrypt([identity.recipient()], [plaintext]))
    cut = data.draw(st.one_of(st.integers(1, 400), st.integers(1, len(text) - 2)))
    out = io.BytesIO()
    with pytest.raises(AgeError) as caught:
        decrypt_file(io.BytesIO(text[:cut]), out, [identity])
    assert isinstance(caught.value, AgeTruncatedError | AgeHeaderError)
    assert caught.value.plaintext_bytes == len(out.getvalue())
    assert len(out.getvalue()) % CHUNK_BYTES == 0
    assert plaintext.startswith(out.getvalue())
