"""Canonical bytes of signed documents: one spelling for each value, and nothing else is read.

Reading encodes again and compares, so doubled keys, keys out of order, white space, escapes that need not be
and numbers in another spelling all fail in one place (docs/formats.md, "Rules that hold for every signed
document").
"""

from typing import TypeVar

import msgspec

from evidence.decoding import json_decoder
from evidence.errors import EvidenceError

__all__ = ["DocumentError", "decode", "encode"]

DocumentT = TypeVar("DocumentT", bound=msgspec.Struct)
_encoder = msgspec.json.Encoder()


class DocumentError(EvidenceError):
    """Bytes that are no canonical document of the expected type."""


def encode(document: msgspec.Struct) -> bytes:
    """Return the canonical bytes of a document: UTF-8, fields in their declared order, no white space."""
    return _encoder.encode(document)


def decode(data: bytes | msgspec.Raw, kind: type[DocumentT]) -> DocumentT:
    """Read canonical bytes as a document of one type.

    Raises:
        DocumentError: not JSON, a field is missing, unknown or out of range (the error names it), or the bytes
            are not the canonical ones.
    """
    name = str(kind.__struct_config__.tag or kind.__name__)
    try:
        document = json_decoder(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DocumentError(
            f"not a {name} document", expected="the fields of docs/formats.md", found=_described(error)
        ) from error
    if _encoder.encode(document) != bytes(data):
        raise DocumentError(
            f"not a {name} document",
            expected="canonical bytes",
            found="the same values in another spelling",
            remedy="key order, white space, doubled keys or escapes differ",
        )
    return document


def _described(error: Exception) -> str:
    """Name the field, not the value: control characters of a hostile document stay out of terminals."""
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are not UTF-8"
    if isinstance(error, RecursionError):
        return "values nested too deeply"
    return ascii(str(error)[:200])[1:-1]
