"""Whether a clip's directory holds a manifest that this camera signed; anything else there is not believed."""

import enum
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric import ec

from evidence.documents import Manifest, decode
from evidence.errors import EvidenceError
from evidence.lines import LINE_LIMIT_BYTES
from evidence.storage import StorageError

__all__ = ["SealState", "open_regular", "read_seal_state"]

_MANIFEST_LIMIT_BYTES = 16 * 1024 * 1024


class SealState(enum.StrEnum):
    """What the presence of `manifest.json` comes to."""

    SEALED = "sealed"
    """It is there, and its signature, by our own key, is good."""
    UNSEALED = "unsealed"
    """It is not there; a `manifest.p7s` alone is the remains of a crash."""
    UNSIGNED = "unsigned"
    """It is there, and nothing says that this camera made it."""


def read_seal_state(directory: Path, public_key: ec.EllipticCurvePublicKey) -> SealState:
    """Say whether a clip is sealed by the holder of this key, for this clip and this line 0.

    Reads no ciphertext: whether manifest and bytes agree is verification's question.

    Raises:
        StorageError: a file that is there cannot be read.
    """
    from evidence.cms import CMS_LIMIT_BYTES, verify_cms  # noqa: PLC0415 - x509: 80 ms of CPU

    document = _read(directory / "manifest.json", _MANIFEST_LIMIT_BYTES)
    if document is None:
        return SealState.UNSEALED
    signature = _read(directory / "manifest.p7s", CMS_LIMIT_BYTES)
    line0 = _first_line(directory / "journal.jsonl")
    try:
        signer = verify_cms(document, signature or b"")
        manifest = decode(document, Manifest)
    except EvidenceError:
        return SealState.UNSIGNED
    ours = (
        signer.leaf.public_key() == public_key
        and manifest.clip == directory.name
        and manifest.start_sha256 == hashlib.sha256(line0).hexdigest()
    )
    return SealState.SEALED if ours else SealState.UNSIGNED


def open_regular(path: Path) -> BinaryIO | None:
    """Open a file for reading, `None` if it is not there.

    Raises:
        EvidenceError: it is a link, a device or a directory; a clip holds plain files.
        StorageError: it cannot be opened.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise EvidenceError(f"{path.name} is not a plain file", expected="a file of a clip")
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot open {path.name}", error) from error


def _read(path: Path, limit_bytes: int) -> bytes | None:
    """Read a file; one that is too long is cut, and so has no good signature."""
    try:
        file = open_regular(path)
    except StorageError:
        raise
    except EvidenceError:
        return b""
    if file is None:
        return None
    with file:
        try:
            return file.read(limit_bytes)
        except OSError as error:
            raise StorageError(f"cannot read {path.name}", error) from error


def _first_line(path: Path) -> bytes:
    file = open_regular(path)
    if file is None:
        return b""
    with file:
        try:
            return file.readline(LINE_LIMIT_BYTES)
        except OSError as error:
            raise StorageError(f"cannot read {path.name}", error) from error
