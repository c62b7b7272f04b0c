"""Passphrases, for reading only: the scrypt stanza (C2SP age, "The scrypt recipient type"; RFC 7914)."""

import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from evidence.age.base64 import decode_unpadded
from evidence.age.errors import AgeHeaderError, AgeKeyError, AgeNoIdentityError
from evidence.age.header import Stanza
from evidence.age.keys import check_stanza

__all__ = ["KIND", "MAX_WORK_FACTOR", "PassphraseIdentity"]

KIND = "scrypt"
MAX_WORK_FACTOR = 22
"""The limit of `age` itself: 2**22 rounds take 4 GiB and some 15 s. A file must not be able to ask for more."""

_LABEL = b"age-encryption.org/v1/scrypt"
_SALT_BYTES = 16
_BLOCK_SIZE = 8
_WORK_FACTOR = re.compile(r"[1-9][0-9]*", re.ASCII)


class PassphraseIdentity:
    """A passphrase, as bytes."""

    kind = KIND

    def __init__(self, passphrase: bytes, *, max_work_factor: int = MAX_WORK_FACTOR) -> None:
        """Take the passphrase.

        Raises:
            AgeKeyError: it is empty.
        """
        if not passphrase:
            raise AgeKeyError("the passphrase is empty", expected="at least one character")
        self._passphrase = passphrase
        self._max_work_factor = max_work_factor

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key; `None` if the passphrase is wrong or the file has none.

        Raises:
            AgeHeaderError: the stanza is malformed, is not alone, or asks for too much work.
            AgeNoIdentityError: this machine has not the memory that it asks for.
        """
        stanza = next((stanza for stanza in stanzas if stanza.kind == KIND), None)
        if stanza is None:
            return None
        if len(stanzas) > 1:
            raise AgeHeaderError(
                "a passphrase stanza is not alone", expected="1 stanza", found=str(len(stanzas))
            )
        salt, work_factor = self._parameters(stanza)
        wrap_key = _scrypt(self._passphrase, _LABEL + salt, work_factor)
        try:
            return ChaCha20Poly1305(wrap_key).decrypt(bytes(12), stanza.body, None)
        except InvalidTag:
            return None  # a wrong passphrase

    def _parameters(self, stanza: Stanza) -> tuple[bytes, int]:
        check_stanza(stanza, arguments=3)
        _, salt_text, factor_text = stanza.args
        salt = decode_unpadded(salt_text.encode())
        if len(salt) != _SALT_BYTES:
            raise AgeHeaderError(
                "a scrypt stanza is malformed", expected="a salt of 16 bytes", found=str(len(salt))
            )
        if not _WORK_FACTOR.fullmatch(factor_text):
            raise AgeHeaderError(
                "a scrypt stanza is malformed", expected="a decimal work factor", found="another text"
            )
        if len(factor_text) > len(str(self._max_work_factor)) or int(factor_text) > self._max_work_factor:
            raise AgeHeaderError(
                "a scrypt stanza asks for too much work",
                expected=f"at most {self._max_work_factor}",
                found="more",
            )
        return salt, int(factor_text)

    def __repr__(self) -> str:
        return "PassphraseIdentity()"


def _scrypt(passphrase: bytes, salt: bytes, work_factor: int) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415 -- a camera never needs it

    try:
        return Scrypt(salt=salt, length=32, n=1 << work_factor, r=_BLOCK_SIZE, p=1).derive(passphrase)
    except MemoryError as error:
        need_mib = (128 * _BLOCK_SIZE << work_factor) >> 20
        raise AgeNoIdentityError(
            "the passphrase cannot be tried here", expected=f"{need_mib} MiB of free memory", found="less"
        ) from error
