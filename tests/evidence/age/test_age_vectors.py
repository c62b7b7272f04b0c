"""The age project's test vectors, each as one test through `preroll clip decrypt`.

`scripts/fetch-age-vectors` puts the pinned package into the cache; without it these tests skip.
https://github.com/C2SP/CCTV/tree/main/age
"""

import base64
import hashlib
import io
import os
import re
import tarfile
import zlib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from evidence.age import AgePlaintext, Identity, generate_identity, parse_header, parse_identity
from evidence.age.envelope import NONCE_BYTES, _mac_key, payload_key
from evidence.age.header import serialise
from evidence.age.stream import ChunkSealer
from preroll.commands.clip_decrypt import command
from preroll.exits import Exit

PACKAGE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "preroll" / "cctv-age-0.2.0.tgz"
SHA512 = "1fiGAaWr+snqgu8+uCC7qPeApAuueOESET2npKe0FVLY+Huf+Kkia89Rybx/uoGNCml31SgAjiQIeFOY4K3New=="
ABSENT = "age's test vectors are not in the cache: run scripts/fetch-age-vectors (needs npm)"
ENTRY = re.compile(r'^// \.\./testdata/(\w+)\nvar \w+ = __toBinary\("([^"]*)"\);', re.MULTILINE)
COUNT = 143

STATUS = {
    "success": Exit.DONE,
    "no match": Exit.CANNOT_TELL,
    "HMAC failure": Exit.NOT_AUTHENTIC,
    "header failure": Exit.NOT_AUTHENTIC,
    "armor failure": Exit.NOT_AUTHENTIC,
    "payload failure": Exit.INCOMPLETE,  # but for those below: the last chunk is missing or fails
}
STATUS_BY_NAME = {
    # Data after a chunk that says it is the last: it is not cut off, it is something else.
    "armor_garbage_encoded": Exit.NOT_AUTHENTIC,
    "stream_trailing_garbage_long": Exit.NOT_AUTHENTIC,
    "stream_trailing_garbage_short": Exit.NOT_AUTHENTIC,
    "stream_two_final_chunks": Exit.NOT_AUTHENTIC,
    "stream_two_final_chunks_full": Exit.NOT_AUTHENTIC,
    "stream_two_final_chunks_second": Exit.NOT_AUTHENTIC,
    # The header is authentic, and then the file ends.
    "armor_no_end_line": Exit.INCOMPLETE,
    "stream_no_nonce": Exit.INCOMPLETE,
    "stream_short_nonce": Exit.INCOMPLETE,
}


class Vector(msgspec.Struct, frozen=True):
    """One file of the kit, its attributes parsed."""

    name: str
    expect: str
    payload_sha256: str | None
    identities: tuple[str, ...]
    passphrases: tuple[str, ...]
    armored: bool
    file_key: bytes | None
    data: bytes


def load_vectors() -> list[Vector]:
    if not PACKAGE.exists():
        return []
    content = PACKAGE.read_bytes()
    assert base64.b64encode(hashlib.sha512(content).digest()).decode() == SHA512, (
        f"{PACKAGE} is not the pinned one"
    )
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        index = archive.extractfile("package/index.js")
        assert index is not None
        text = index.read().decode()
    return [parse_vector(name, base64.b64decode(encoded)) for name, encoded in ENTRY.findall(text)]


def parse_vector(name: str, content: bytes) -> Vector:
    head, _, data = content.partition(b"\n\n")
    pairs = [line.split(": ", 1) for line in head.decode().splitlines()]
    single = dict(pairs)
    if "compressed" in single:
        assert single["compressed"] == "zlib"
        data = zlib.decompress(data)
    return Vector(
        name=name,
        expect=single["expect"],
        payload_sha256=single.get("payload"),
        identities=tuple(value for key, value in pairs if key == "identity"),
        passphrases=tuple(value for key, value in pairs if key == "passphrase"),
        armored="armored" in single,
        file_key=bytes.fromhex(single["file key"]) if "file key" in single else None,
        data=data,
    )


VECTORS = load_vectors()


def named(vectors: list[Vector]) -> list[object]:
    skipped = pytest.param(None, id="absent", marks=pytest.mark.skip(reason=ABSENT))
    return [pytest.param(vector, id=vector.name) for vector in vectors] or [skipped]


@pytest.mark.skipif(not VECTORS, reason=ABSENT)
def test_the_kit_is_whole() -> None:
    assert len(VECTORS) == COUNT
    assert set(STATUS_BY_NAME) < {vector.name for vector in VECTORS}


@pytest.mark.parametrize("vector", named(VECTORS))
def test_vector(vector: Vector, tmp_path: Path) -> None:
    source = tmp_path / "file.age"
    source.write_bytes(vector.data)
    expected = STATUS_BY_NAME.get(vector.name, STATUS[vector.expect])
    for number, keys in enumerate(key_arguments(vector, tmp_path)):
        output = tmp_path / f"plaintext-{number}"
        result = CliRunner().invoke(command, [*keys, str(source), "-o", str(output)])
        assert result.exit_code == expected, result.output
        released = output.read_bytes() if output.exists() else b""
        if vector.payload_sha256 is None:
            assert released == b""
        else:
            assert hashlib.sha256(released).hexdigest() == vector.payload_sha256
        errors = result.stderr.splitlines()
        assert len(errors) == (0 if expected is Exit.DONE else 1)
        assert all(line.startswith("preroll: ") for line in errors)


def key_arguments(vector: Vector, directory: Path) -> list[list[str]]:
    """Return the ways to call the command: all identities at once, and each passphrase by itself."""
    identities = list(vector.identities)
    if not identities and not vector.passphrases:
        identities = [generate_identity().secret_text()]
    ways = []
    if identities:
        path = directory / "identities.txt"
        path.write_text("".join(f"{identity}\n" for identity in identities))
        ways.append(["-i", str(path)])
    for number, passphrase in enumerate(vector.passphrases):
        path = directory / f"passphrase-{number}"
        path.write_text(passphrase + "\n")
        ways.append(["--passphrase-file", str(path)])
    return ways


@pytest.mark.parametrize(
    "vector",
    named([v for v in VECTORS if v.expect in ("success", "payload failure", "no match") and not v.armored]),
)
def test_the_header_is_written_as_it_was_read(vector: Vector) -> None:
    header = parse_header(vector.data)
    assert vector.file_key is not None
    assert serialise(header.stanzas, _mac_key(vector.file_key)) == header.raw


@pytest.mark.parametrize(
    "vector", named([v for v in VECTORS if v.expect == "success" and v.identities and not v.armored])
)
def test_the_payload_is_written_as_it_was_read_and_seeks(vector: Vector) -> None:
    identities: list[Identity] = [parse_identity(text) for text in vector.identities]
    plaintext = AgePlaintext(io.BytesIO(vector.data), identities)
    content = plaintext.read_range(0, plaintext.plaintext_bytes)
    assert hashlib.sha256(content).hexdigest() == vector.payload_sha256
    assert vector.file_key is not None
    nonce_start = len(plaintext.header.raw)
    nonce = vector.data[nonce_start : nonce_start + NONCE_BYTES]
    sealed = io.BytesIO()
    sealer = ChunkSealer(payload_key(vector.file_key, nonce), sealed.write)
    sealer.write(content)
    sealer.close()
    assert sealed.getvalue() == vector.data[nonce_start + NONCE_BYTES :]
