"""X25519 recipients and identities: what every `age` opens (C2SP age, "The X25519 recipient type")."""

from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from evidence.age import bech32
from evidence.age.base64 import decode_unpadded, encode_unpadded
from evidence.age.errors import AgeHeaderError, AgeKeyError
from evidence.age.header import Stanza
from evidence.age.keys import check_stanza, derive

__all__ = ["KIND", "X25519Identity", "X25519Recipient"]

KIND = "X25519"
_RECIPIENT_PREFIX = "age"
_IDENTITY_PREFIX = "AGE-SECRET-KEY-"
_KEY_BYTES = 32
_INFO = b"age-encryption.org/v1/X25519"
_ZERO_NONCE = bytes(12)  # each wrap key is used once


class X25519Recipient:
    """A public key, `age1…`."""

    kind = KIND

    def __init__(self, public_key: bytes) -> None:
        """Take 32 bytes.

        Raises:
            AgeKeyError: another length, or a point that yields no secret.
        """
        if len(public_key) != _KEY_BYTES:
            raise AgeKeyError(
                "not an X25519 recipient", expected=f"{_KEY_BYTES} bytes", found=f"{len(public_key)}"
            )
        self._bytes = public_key
        self._key = X25519PublicKey.from_public_bytes(public_key)
        try:
            X25519PrivateKey.generate().exchange(self._key)
        except ValueError as error:
            raise AgeKeyError(
                "not an X25519 recipient", expected="a point of full order", found="another"
            ) from error

    @classmethod
    def parse(cls, text: str) -> "X25519Recipient":
        """Read `age1…`.

        Raises:
            AgeKeyError: it is another text.
        """
        prefix, key = bech32.decode(text)
        if prefix != _RECIPIENT_PREFIX:
            raise AgeKeyError("not an X25519 recipient", expected="age1…", found="another prefix")
        return cls(key)

    def wrap(self, file_key: bytes) -> Stanza:
        """Return a stanza with a fresh ephemeral share."""
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        wrap_key = derive(ephemeral.exchange(self._key), salt=share + self._bytes, info=_INFO)
        body = ChaCha20Poly1305(wrap_key).encrypt(_ZERO_NONCE, file_key, None)
        return Stanza(args=(KIND, encode_unpadded(share).decode()), body=body)

    def __str__(self) -> str:
        return bech32.encode(_RECIPIENT_PREFIX, self._bytes)

    def __repr__(self) -> str:
        return f"X25519Recipient({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, X25519Recipient) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)


class X25519Identity:
    """A secret key, `AGE-SECRET-KEY-1…`."""

    kind = KIND

    def __init__(self, secret: bytes) -> None:
        """Take 32 bytes.

        Raises:
            AgeKeyError: another length.
        """
        if len(secret) != _KEY_BYTES:
            raise AgeKeyError("not an X25519 identity", expected=f"{_KEY_BYTES} bytes", found=f"{len(secret)}")
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self._public = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "X25519Identity":
        """Make a new one."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> "X25519Identity":
        """Read `AGE-SECRET-KEY-1…`.

        Raises:
            AgeKeyError: it is another text.
        """
        prefix, secret = bech32.decode(text)
        if prefix != _IDENTITY_PREFIX:
            raise AgeKeyError("not an X25519 identity", expected="AGE-SECRET-KEY-1…", found="another prefix")
        return cls(secret)

    def recipient(self) -> X25519Recipient:
        """Return the public key."""
        return X25519Recipient(self._public)

    def secret_text(self) -> str:
        """Return `AGE-SECRET-KEY-1…`; a secret."""
        return bech32.encode(_IDENTITY_PREFIX, self._key.private_bytes_raw())

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key of the first stanza for this identity.

        Raises:
            AgeHeaderError: an X25519 stanza is malformed, or its share yields the all-zero secret.
        """
        shares = [(_share(stanza), stanza.body) for stanza in stanzas if stanza.kind == KIND]
        keys = (self._unwrap(share, body) for share, body in shares)
        return next((key for key in keys if key is not None), None)

    def _unwrap(self, share: bytes, body: bytes) -> bytes | None:
        try:
            secret = self._key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise AgeHeaderError(
                "an X25519 stanza is malformed", expected="a share of full order", found="another"
            ) from error
        wrap_key = derive(secret, salt=share + self._public, info=_INFO)
        try:
            return ChaCha20Poly1305(wrap_key).decrypt(_ZERO_NONCE, body, None)
        except InvalidTag:
            return None  # addressed to someone else

    def __repr__(self) -> str:
        return f"X25519Identity(of {self.recipient()})"


def _share(stanza: Stanza) -> bytes:
    check_stanza(stanza, arguments=2)
    share = decode_unpadded(stanza.args[1].encode())
    if len(share) != _KEY_BYTES:
        raise AgeHeaderError(
            "an X25519 stanza is malformed", expected="a share of 32 bytes", found=str(len(share))
        )
    return share
