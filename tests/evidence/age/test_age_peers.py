"""Both ways with other implementations: rage (through pyrage) and the `age` of the distribution."""

import hashlib
import io
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from evidence.age import (
    CHUNK_BYTES,
    AgeNoIdentityError,
    AgeWriter,
    PassphraseIdentity,
    PublicIdentity,
    Stanza,
    decrypt_file,
    generate_identity,
    identity_file_text,
    parse_identity,
    payload_key,
)
from evidence.age.envelope import _mac_key
from evidence.age.header import serialise
from evidence.age.stream import ChunkSealer

Encrypt = Callable[..., bytes]
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 300_000]
AGE = shutil.which("age")
needs_age = pytest.mark.skipif(
    AGE is None, reason="the `age` command is not installed (Debian: apt-get install age)"
)


def noise(length: int) -> bytes:
    return random.Random(length).randbytes(length)


def ours(data: bytes, identity: PublicIdentity | PassphraseIdentity) -> bytes:
    out = io.BytesIO()
    decrypt_file(io.BytesIO(data), out, [identity])
    return out.getvalue()


@pytest.fixture
def identity_file(identity: PublicIdentity, tmp_path: Path) -> Path:
    path = tmp_path / "identity.txt"
    path.write_text(identity_file_text(identity, created_utc="2026-11-22T00:00:00Z"))
    return path


@pytest.mark.parametrize("size", SIZES)
def test_rage_reads_ours_and_we_read_rages(size: int, identity: PublicIdentity, encrypt: Encrypt) -> None:
    theirs = pyrage.x25519.Identity.from_str(identity.secret_text())
    other = generate_identity()
    file = encrypt([other.recipient(), identity.recipient()], [noise(size)])
    assert pyrage.decrypt(file, [theirs]) == noise(size)
    assert ours(pyrage.encrypt(noise(size), [theirs.to_public()]), identity) == noise(size)


def test_an_identity_of_rage_is_ours(encrypt: Encrypt) -> None:
    theirs = pyrage.x25519.Identity.generate()
    parsed = parse_identity(str(theirs))
    assert isinstance(parsed, type(generate_identity()))
    assert str(parsed.recipient()) == str(theirs.to_public())


def test_rage_and_we_read_the_same_passphrase_file() -> None:
    file = passphrase_file(b"footage", b"open sesame", work_factor=8)  # rage's own would cost seconds
    assert pyrage.passphrase.decrypt(file, "open sesame") == b"footage"
    assert ours(file, PassphraseIdentity(b"open sesame")) == b"footage"
    with pytest.raises(AgeNoIdentityError, match="passphrase is wrong"):
        ours(file, PassphraseIdentity(b"open sesame\n"))


def passphrase_file(plaintext: bytes, passphrase: bytes, *, work_factor: int) -> bytes:
    file_key, salt, nonce = bytes(range(16)), bytes(16), bytes(16)
    salted = b"age-encryption.org/v1/scrypt" + salt
    wrap_key = hashlib.scrypt(passphrase, salt=salted, n=1 << work_factor, r=8, p=1, dklen=32)
    body = ChaCha20Poly1305(wrap_key).encrypt(bytes(12), file_key, None)
    stanza = Stanza(args=("scrypt", "A" * 22, str(work_factor)), body=body)
    out = io.BytesIO(serialise((stanza,), _mac_key(file_key)) + nonce)
    out.seek(0, io.SEEK_END)
    sealer = ChunkSealer(payload_key(file_key, nonce), out.write)
    sealer.write(plaintext)
    sealer.close()
    return out.getvalue()


def test_a_file_released_chunk_by_chunk_is_one_that_rage_reads(identity: PublicIdentity) -> None:
    file = io.BytesIO()
    writer = AgeWriter([identity.recipient()], file.write)
    for _ in range(3):
        writer.write(noise(CHUNK_BYTES))
        assert writer.flush_full()
    writer.write(b"filler")
    writer.close()
    theirs = pyrage.x25519.Identity.from_str(identity.secret_text())
    assert pyrage.decrypt(file.getvalue(), [theirs]) == noise(CHUNK_BYTES) * 3 + b"filler"


@needs_age
@pytest.mark.parametrize("size", SIZES)
def test_age_reads_ours(size: int, identity: PublicIdentity, identity_file: Path, encrypt: Encrypt) -> None:
    file = encrypt([generate_identity().recipient(), identity.recipient()], [noise(size)])
    assert run_age(["-d", "-i", str(identity_file)], file) == noise(size)


@needs_age
@pytest.mark.parametrize("armor", [[], ["-a"]], ids=["binary", "armored"])
@pytest.mark.parametrize("size", SIZES)
def test_we_read_ages(size: int, armor: list[str], identity: PublicIdentity) -> None:
    assert ours(run_age([*armor, "-r", str(identity.recipient())], noise(size)), identity) == noise(size)


def run_age(arguments: list[str], data: bytes) -> bytes:
    assert AGE is not None
    return subprocess.run([AGE, *arguments], input=data, capture_output=True, check=True).stdout
