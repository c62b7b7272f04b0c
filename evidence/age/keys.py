"""What every kind of recipient and identity has in common."""

from collections.abc import Sequence
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from evidence.age.errors import AgeHeaderError
from evidence.age.header import Stanza

__all__ = [
    "FILE_KEY_BYTES",
    "WRAPPED_BYTES",
    "Identity",
    "PublicIdentity",
    "Recipient",
    "check_stanza",
    "derive",
]

FILE_KEY_BYTES = 16
WRAPPED_BYTES = FILE_KEY_BYTES + 16
"""A file key and its authentication tag: the body of every native stanza."""


class Recipient(Protocol):
    """A public key that a file can be encrypted to; its `str` is the text that names it."""

    @property
    def kind(self) -> str:
        """The type of its stanzas; all recipients of a file have the same."""
        ...

    def wrap(self, file_key: bytes) -> Stanza:
        """Return a fresh stanza that carries the file key (16 bytes) to the holder of the identity."""
        ...


class Identity(Protocol):
    """A secret that opens files."""

    @property
    def kind(self) -> str:
        """The type of the stanzas that it opens."""
        ...

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key, or `None` if no stanza is for this identity.

        Raises:
            AgeHeaderError: a stanza of its kind is malformed.
            AgeNoIdentityError: this machine cannot do the work that a stanza asks for.
        """
        ...


class PublicIdentity(Identity, Protocol):
    """An identity that has a recipient, unlike a passphrase."""

    def recipient(self) -> Recipient:
        """Return the recipient that belongs to it."""
        ...

    def secret_text(self) -> str:
        """Return the text of an identity file's line; a secret."""
        ...


def derive(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA-256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(secret)


def check_stanza(stanza: Stanza, arguments: int) -> None:
    """Check the number of arguments, the type included, and that the body can only be a file key.

    The length is checked before decryption so that no one can craft a body that opens under many keys.

    Raises:
        AgeHeaderError: one of them is another.
    """
    if len(stanza.args) != arguments:
        raise AgeHeaderError(
            f"a stanza of type {stanza.kind} is malformed",
            expected=f"{arguments} arguments",
            found=str(len(stanza.args)),
        )
    if len(stanza.body) != WRAPPED_BYTES:
        raise AgeHeaderError(
            f"a stanza of type {stanza.kind} is malformed",
            expected=f"{WRAPPED_BYTES} bytes",
            found=str(len(stanza.body)),
        )
