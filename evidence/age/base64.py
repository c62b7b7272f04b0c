"""Base64 as the age header writes it: RFC 4648 section 4, no padding, canonical (C2SP age, "Conventions")."""

import binascii

from evidence.age.errors import AgeHeaderError

__all__ = ["decode_unpadded", "encode_unpadded"]


def encode_unpadded(data: bytes) -> bytes:
    """Encode without padding and without a line break."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=")


def decode_unpadded(text: bytes) -> bytes:
    """Decode strictly.

    Raises:
        AgeHeaderError: a character outside the alphabet, padding, a line break, or unused bits that are set.
    """
    if b"=" not in text:
        try:
            data = binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
        except binascii.Error:
            data = None
        if data is not None and encode_unpadded(data) == text:
            return data
    raise AgeHeaderError(
        "a value in the age header is malformed",
        expected="canonical base64 without padding",
        found=f"{len(text)} other characters",
    )
