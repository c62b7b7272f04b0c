"""Signing with P-256: the one seam behind which a key in a file or in a secure element may lie.

A secure element signs SHA-256 digests and gives nothing else away, so that is all that the protocol asks for.
Signatures are DER with `s` at most half the order of the curve: of the two signatures that anyone can make from
one, a reader takes this one alone, so a stored line has exactly one spelling.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from evidence.errors import EvidenceError
from evidence.roles import Role

if TYPE_CHECKING:  # x509 costs 80 ms of CPU to import; the journal needs none of it
    from cryptography import x509

__all__ = ["SignatureError", "Signer", "SignerError", "SoftwareSigner", "load_signer", "verify_digest"]

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256: SEC 2, 2.4.2
_PREHASHED = ec.ECDSA(Prehashed(hashes.SHA256()))


class SignerError(EvidenceError):
    """A key or its certificate is missing, unreadable, or does not fit the other."""


class SignatureError(EvidenceError):
    """A signature is not good."""


class Signer(Protocol):
    """A P-256 key with its certificates."""

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The key that verifies."""

    @property
    def chain(self) -> "tuple[x509.Certificate, ...]":
        """Certificates: the leaf, then the intermediates up to, and without, the root."""

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest (32 bytes); returns ECDSA in DER with the smaller `s`."""


class SoftwareSigner:
    """A `Signer` with its key in memory."""

    def __init__(self, private_key: ec.EllipticCurvePrivateKey, chain: "tuple[x509.Certificate, ...]") -> None:
        """Take a key and its certificates.

        Raises:
            SignerError: no certificate, or the key is not on P-256, or not the one that the leaf certifies.
        """
        if not isinstance(private_key.curve, ec.SECP256R1):
            raise SignerError("unusable key", expected="a key on P-256", found=private_key.curve.name)
        if not chain:
            raise SignerError("no certificate for the key", expected="the leaf and its intermediates")
        if chain[0].public_key() != private_key.public_key():
            raise SignerError(
                "key and certificate do not belong together",
                expected="the private key of the first certificate",
                found="another key",
                remedy="issue them again with `preroll keys issue`",
            )
        self._private_key = private_key
        self._public_key = private_key.public_key()
        self._chain = chain

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The key that verifies."""
        return self._public_key

    @property
    def chain(self) -> "tuple[x509.Certificate, ...]":
        """Certificates: the leaf, then the intermediates."""
        return self._chain

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest (32 bytes)."""
        return _with_small_s(self._private_key.sign(digest, _PREHASHED))


def verify_digest(public_key: ec.EllipticCurvePublicKey, digest: bytes, signature: bytes) -> None:
    """Verify an ECDSA signature (DER) over a SHA-256 digest.

    Raises:
        SignatureError: the signature is not good, or not in the one accepted form.
    """
    try:
        canonical = _with_small_s(signature) == signature
        public_key.verify(signature, digest, _PREHASHED)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError("the signature is not good") from error
    if not canonical:
        raise SignatureError(
            "the signature is not in its one form", expected="the smaller s", found="the other"
        )


def load_signer(directory: Path, role: Role) -> SoftwareSigner:
    """Load `DIR/ROLE.key` and `DIR/ROLE.pem` (leaf, then intermediates), as `preroll keys issue` writes them.

    Raises:
        SignerError: a file is missing, unreadable or of another kind, or the two do not belong together.
    """
    from cryptography import x509  # noqa: PLC0415 - 80 ms of CPU, which signing alone does not need
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - 20 ms, as above

    key_path = directory / f"{role.file_stem}.key"
    chain_path = directory / f"{role.file_stem}.pem"
    try:
        key = serialization.load_pem_private_key(_read(key_path, f"{role} key"), None)
    except (ValueError, TypeError) as error:  # TypeError: the key wants a password
        raise SignerError(
            f"unusable key file {key_path}", expected="an unencrypted PKCS#8 key in PEM form"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SignerError(f"unusable key file {key_path}", expected="a key on P-256", found="another kind")
    try:
        chain = tuple(x509.load_pem_x509_certificates(_read(chain_path, f"{role} certificate")))
        return SoftwareSigner(key, chain)
    except (ValueError, x509.InvalidVersion) as error:
        raise SignerError(
            f"unusable certificate file {chain_path}", expected="X.509 certificates in PEM form, the leaf first"
        ) from error


def _with_small_s(signature: bytes) -> bytes:
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _ORDER - s))


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SignerError(
            f"no {what}",
            expected=f"the file {path}",
            found=error.strerror or type(error).__name__,
            remedy="make it with `preroll keys issue`",
        ) from error
