"""From recipients to a header, from a header and identities to the file key, and the keys derived from it."""

from collections.abc import Sequence

from evidence.age.errors import AgeHeaderError, AgeNoIdentityError
from evidence.age.header import Header, serialise
from evidence.age.keyfiles import check_one_kind
from evidence.age.keys import FILE_KEY_BYTES, Identity, Recipient, derive

__all__ = ["NONCE_BYTES", "open_header", "payload_key", "seal_header"]

NONCE_BYTES = 16
"""Length of the payload's nonce, the first bytes after the header."""

_TAGGED = ("p256tag", "mlkem768p256tag")


def seal_header(file_key: bytes, recipients: Sequence[Recipient]) -> bytes:
    """Return a header that carries `file_key` (16 bytes) to each recipient, in their order.

    A new header before an old payload (nonce and chunks) makes the same file readable for others.

    Raises:
        AgeKeyError: there is no recipient, or kinds are mixed.
        AgeHeaderError: so many recipients that no reader would take it.
    """
    if len(file_key) != FILE_KEY_BYTES:
        raise AgeHeaderError("not a file key", expected=f"{FILE_KEY_BYTES} bytes", found=str(len(file_key)))
    check_one_kind(recipients)
    return serialise(tuple(recipient.wrap(file_key) for recipient in recipients), _mac_key(file_key))


def open_header(header: Header, identities: Sequence[Identity]) -> bytes:
    """Return the file key (16 bytes) with the first identity that fits; the header is authentic then.

    Raises:
        AgeNoIdentityError: none fits.
        AgeHeaderError: a stanza of an identity's kind is malformed, or the MAC is wrong.
    """
    for identity in identities:
        file_key = identity.unwrap(header.stanzas)
        if file_key is not None:
            header.authenticate(_mac_key(file_key))
            return file_key
    raise _no_identity(header, identities)


def payload_key(file_key: bytes, nonce: bytes) -> bytes:
    """Return the key (32 bytes) of the payload that starts with `nonce`."""
    return derive(file_key, salt=nonce, info=b"payload")


def _mac_key(file_key: bytes) -> bytes:
    return derive(file_key, salt=b"", info=b"header")


def _no_identity(header: Header, identities: Sequence[Identity]) -> AgeNoIdentityError:
    kinds = sorted({stanza.kind for stanza in header.stanzas})
    given = {identity.kind for identity in identities}
    if kinds == ["scrypt"]:
        what = "the passphrase is wrong" if "scrypt" in given else "the age file is locked with a passphrase"
        return AgeNoIdentityError(
            what, expected="its passphrase", found="another" if "scrypt" in given else "none"
        )
    if any(kind in _TAGGED for kind in kinds):
        return AgeNoIdentityError(
            "no given identity opens the age file",
            remedy="its tagged recipients need the hardware key that they name, and the plugin of `age` for it",
        )
    return AgeNoIdentityError(
        "no given identity opens the age file",
        expected=f"one for its {len(header.stanzas)} recipients ({', '.join(kinds)[:80]})",
        found=f"{len(identities)} that fit none",
    )
