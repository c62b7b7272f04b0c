"""Post-quantum hybrid recipients and identities: ML-KEM-768 with X25519 in HPKE (C2SP age, RFC 9180).

KEM MLKEM768-X25519 (0x647a, X-Wing), HKDF-SHA256, ChaCha20Poly1305, base mode. A seed of 32 bytes is expanded
by SHAKE-256 to the ML-KEM seed (64 bytes) and the X25519 secret (32 bytes), as draft-ietf-hpke-pq says.
"""

import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from evidence.age import bech32
from evidence.age.base64 import decode_unpadded, encode_unpadded
from evidence.age.errors import AgeHeaderError, AgeKeyError
from evidence.age.header import Stanza
from evidence.age.keys import check_stanza

__all__ = ["KIND", "HybridIdentity", "HybridRecipient"]

KIND = "mlkem768x25519"
_RECIPIENT_PREFIX = "age1pq"
_IDENTITY_PREFIX = "AGE-SECRET-KEY-PQ-"
_SEED_BYTES = 32
_MLKEM_SEED_BYTES = 64
_MLKEM_KEY_BYTES = 1184
_KEY_BYTES = 1216
_MLKEM_CIPHERTEXT_BYTES = 1088
_ENC_BYTES = 1120
_INFO = b"age-encryption.org/mlkem768x25519"


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


class HybridRecipient:
    """An encapsulation key, `age1pq1…`: 1184 bytes ML-KEM-768, then 32 bytes X25519."""

    kind = KIND

    def __init__(self, public_key: bytes) -> None:
        """Take 1216 bytes.

        Raises:
            AgeKeyError: another length, coefficients out of range, or an X25519 point that yields no secret.
        """
        if len(public_key) != _KEY_BYTES:
            raise AgeKeyError(
                "not a hybrid recipient", expected=f"{_KEY_BYTES} bytes", found=f"{len(public_key)}"
            )
        self._bytes = public_key
        x25519 = X25519PublicKey.from_public_bytes(public_key[_MLKEM_KEY_BYTES:])
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(public_key[:_MLKEM_KEY_BYTES])
            X25519PrivateKey.generate().exchange(x25519)
        except ValueError as error:
            raise AgeKeyError(
                "not a hybrid recipient", expected="two valid public keys", found="another"
            ) from error
        self._key = hpke.MLKEM768X25519PublicKey(mlkem, x25519)

    @classmethod
    def parse(cls, text: str) -> "HybridRecipient":
        """Read `age1pq1…`.

        Raises:
            AgeKeyError: it is another text.
        """
        prefix, key = bech32.decode(text)
        if prefix != _RECIPIENT_PREFIX:
            raise AgeKeyError("not a hybrid recipient", expected="age1pq1…", found="another prefix")
        return cls(key)

    def wrap(self, file_key: bytes) -> Stanza:
        """Return a stanza with a fresh encapsulation."""
        sealed = _suite().encrypt(file_key, self._key, _INFO)
        return Stanza(args=(KIND, encode_unpadded(sealed[:_ENC_BYTES]).decode()), body=sealed[_ENC_BYTES:])

    def __str__(self) -> str:
        return bech32.encode(_RECIPIENT_PREFIX, self._bytes)

    def __repr__(self) -> str:
        return f"HybridRecipient({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HybridRecipient) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)


class HybridIdentity:
    """A seed of 32 bytes, `AGE-SECRET-KEY-PQ-1…`."""

    kind = KIND

    def __init__(self, seed: bytes) -> None:
        """Take 32 bytes.

        Raises:
            AgeKeyError: another length.
        """
        if len(seed) != _SEED_BYTES:
            raise AgeKeyError("not a hybrid identity", expected=f"{_SEED_BYTES} bytes", found=f"{len(seed)}")
        self._seed = seed
        expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + 32)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        self._key = hpke.MLKEM768X25519PrivateKey(mlkem, self._x25519)
        self._public = mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "HybridIdentity":
        """Make a new one."""
        return cls(os.urandom(_SEED_BYTES))

    @classmethod
    def parse(cls, text: str) -> "HybridIdentity":
        """Read `AGE-SECRET-KEY-PQ-1…`.

        Raises:
            AgeKeyError: it is another text.
        """
        prefix, seed = bech32.decode(text)
        if prefix != _IDENTITY_PREFIX:
            raise AgeKeyError("not a hybrid identity", expected="AGE-SECRET-KEY-PQ-1…", found="another prefix")
        return cls(seed)

    def recipient(self) -> HybridRecipient:
        """Return the encapsulation key."""
        return HybridRecipient(self._public)

    def secret_text(self) -> str:
        """Return `AGE-SECRET-KEY-PQ-1…`; a secret."""
        return bech32.encode(_IDENTITY_PREFIX, self._seed)

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key of the first stanza for this identity.

        Raises:
            AgeHeaderError: a hybrid stanza is malformed, or its X25519 share yields the all-zero secret.
        """
        encapsulations = [(_encapsulation(stanza), stanza.body) for stanza in stanzas if stanza.kind == KIND]
        keys = (self._unwrap(enc, body) for enc, body in encapsulations)
        return next((key for key in keys if key is not None), None)

    def _unwrap(self, enc: bytes, body: bytes) -> bytes | None:
        try:  # HPKE reports a low-order share like a wrong key; the format wants it told apart
            self._x25519.exchange(X25519PublicKey.from_public_bytes(enc[_MLKEM_CIPHERTEXT_BYTES:]))
        except ValueError as error:
            raise AgeHeaderError(
                "a hybrid stanza is malformed", expected="a share of full order", found="another"
            ) from error
        try:
            return _suite().decrypt(enc + body, self._key, _INFO)
        except InvalidTag:
            return None  # addressed to someone else

    def __repr__(self) -> str:
        return "HybridIdentity()"


def _encapsulation(stanza: Stanza) -> bytes:
    check_stanza(stanza, arguments=2)
    enc = decode_unpadded(stanza.args[1].encode())
    if len(enc) != _ENC_BYTES:
        raise AgeHeaderError(
            "a hybrid stanza is malformed", expected=f"{_ENC_BYTES} bytes", found=str(len(enc))
        )
    return enc
