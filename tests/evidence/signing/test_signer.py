"""Keys and certificates as files, and what is wrong with them."""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from evidence.errors import EvidenceError
from evidence.roles import Role
from evidence.signer import (
    _ORDER,
    SignatureError,
    SignerError,
    SoftwareSigner,
    load_signer,
    verify_digest,
)

if TYPE_CHECKING:
    from tests.evidence.signing.conftest import Pki

DIGEST = hashlib.sha256(b"x").digest()


@pytest.fixture
def directory(tmp_path: Path, pki: "Pki") -> Path:
    return Path(shutil.copytree(pki.directory / "camera", tmp_path / "camera"))


def test_the_order_is_that_of_the_curve() -> None:
    """The generator times order is the neutral point: order - 1 is the greatest private key there is."""
    assert ec.derive_private_key(_ORDER - 1, ec.SECP256R1()).private_numbers().private_value == _ORDER - 1
    with pytest.raises(ValueError, match=r".*"):
        ec.derive_private_key(_ORDER, ec.SECP256R1())


def test_signatures_have_one_form(pki: "Pki") -> None:
    signer = pki.signer(Role.CAMERA_EVIDENCE)
    for _ in range(20):
        signature = signer.sign_digest(DIGEST)
        r, s = decode_dss_signature(signature)
        assert s <= _ORDER // 2
        verify_digest(signer.public_key, DIGEST, signature)
        with pytest.raises(SignatureError, match="one form"):
            verify_digest(signer.public_key, DIGEST, encode_dss_signature(r, _ORDER - s))


@pytest.mark.parametrize(
    "signature", [b"", b"\x30\x00", bytes(70), encode_dss_signature(0, 0), encode_dss_signature(1, 1)]
)
def test_what_is_no_signature(signature: bytes, pki: "Pki") -> None:
    with pytest.raises(SignatureError):
        verify_digest(pki.signer(Role.CAMERA_EVIDENCE).public_key, DIGEST, signature)


def test_a_signature_with_bytes_behind_it(pki: "Pki") -> None:
    signer = pki.signer(Role.CAMERA_EVIDENCE)
    with pytest.raises(SignatureError):
        verify_digest(signer.public_key, DIGEST, signer.sign_digest(DIGEST) + b"\0")


@pytest.mark.parametrize("name", ["evidence.key", "evidence.pem"])
def test_a_missing_file_is_named(name: str, directory: Path) -> None:
    (directory / name).unlink()
    with pytest.raises(SignerError, match=f"{name}.*No such file.*preroll keys issue"):
        load_signer(directory, Role.CAMERA_EVIDENCE)


@pytest.mark.parametrize("name", ["evidence.key", "evidence.pem"])
@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"]
)
def test_an_unusable_file_is_named_and_not_quoted(name: str, content: bytes, directory: Path) -> None:
    (directory / name).write_bytes(content)
    with pytest.raises(SignerError, match=name) as caught:
        load_signer(directory, Role.CAMERA_EVIDENCE)
    assert "garbage" not in str(caught.value)


def test_key_and_certificate_that_are_no_pair(directory: Path) -> None:
    shutil.copy(directory / "link.key", directory / "evidence.key")
    with pytest.raises(SignerError, match="do not belong together"):
        load_signer(directory, Role.CAMERA_EVIDENCE)


def test_a_key_with_a_password(directory: Path, pki: "Pki") -> None:
    key = pki.signer(Role.CAMERA_EVIDENCE)._private_key
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (directory / "evidence.key").write_bytes(pem)
    with pytest.raises(SignerError, match="unencrypted"):
        load_signer(directory, Role.CAMERA_EVIDENCE)


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())])
def test_a_key_of_another_kind(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, directory: Path
) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "evidence.key").write_bytes(pem)
    with pytest.raises(SignerError, match="P-256"):
        load_signer(directory, Role.CAMERA_EVIDENCE)


def test_a_signer_needs_a_certificate(pki: "Pki") -> None:
    with pytest.raises(EvidenceError, match="no certificate"):
        SoftwareSigner(pki.signer(Role.CAMERA_EVIDENCE)._private_key, ())
