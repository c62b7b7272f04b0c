"""Decoders of JSON, one a type, each made under one lock: every module takes them from here.

msgspec (0.22.0) works out what it has to know of a structure when that is first used for reading, and two
threads that do so at the same time end the process with SIGSEGV: two cameras that were docked together were
enough. Once made, a decoder is safe to use from any thread.
"""

import threading
from typing import Any, TypeVar

import msgspec

__all__ = ["json_decoder"]

DecodedT = TypeVar("DecodedT")
_lock = threading.RLock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def json_decoder(kind: type[DecodedT]) -> msgspec.json.Decoder[DecodedT]:
    """Return the decoder of a type."""
    found = _decoders.get(kind)
    if found is None:
        with _lock:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return found
