"""Signed checkpoints of the custody log: made by the store, kept by somebody else, held against it later."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evidence.attestations import read_bounded
from evidence.clock import format_utc
from evidence.cms import CMS_LIMIT_BYTES, sign_cms
from evidence.custody.entries import CustodyError
from evidence.custody.reading import read_checkpoint
from evidence.documents import Checkpoint, encode
from evidence.signer import Signer
from evidence.storage import StorageError, publish_file
from host.custody.log import CustodyLog

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["SignedCheckpoint", "keep_checkpoint", "make_checkpoint", "read_checkpoints"]


class SignedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint, its exact bytes, and its signature (DER): what is handed to the second party."""

    checkpoint: Checkpoint
    document: bytes
    cms: bytes


def make_checkpoint(log: CustodyLog, store: str, signer: Signer, utc_ns: int) -> SignedCheckpoint:
    """Sign how far the log has come (role dock-receipt).

    Raises:
        CustodyError: the log is empty.
    """
    head = log.head
    if head is None:
        raise CustodyError("nothing to sign: the custody log is empty")
    checkpoint = Checkpoint(store=store, entries=head.entries, head=head.head, utc=format_utc(utc_ns))
    document = encode(checkpoint)
    return SignedCheckpoint(checkpoint=checkpoint, document=document, cms=sign_cms(document, signer))


def keep_checkpoint(directory: Path, signed: SignedCheckpoint) -> Path:
    """Write a checkpoint as `ENTRIES.json` and `.p7s`; a copy belongs out of reach of who keeps the store.

    Raises:
        StorageError: storage refuses.
    """
    path = directory / f"{signed.checkpoint.entries:012d}.json"
    publish_file(path.with_suffix(".p7s"), signed.cms)
    publish_file(path, signed.document)
    return path


def read_checkpoints(
    directory: Path, roots: "tuple[x509.Certificate, ...]", store: str | None = None
) -> tuple[Checkpoint, ...]:
    """Read and verify all checkpoints in a directory.

    Raises:
        EvidenceError: one is not good, or of another store.
        StorageError: one cannot be read.
    """
    try:
        return tuple(
            read_checkpoint(
                read_bounded(path), read_bounded(path.with_suffix(".p7s"), CMS_LIMIT_BYTES), roots, store
            )
            for path in sorted(directory.glob("*.json"))
        )
    except OSError as error:
        raise StorageError("cannot read the checkpoints", error) from error
