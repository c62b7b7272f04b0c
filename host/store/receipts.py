"""Receipts: what a store signs for, and only after it read the clip back from storage (docs/formats.md).

`Held` comes from a store that published a clip or read it again; `CustodyHead` comes from an entry that is on
storage. A receipt needs both, and is itself on storage before it is returned.
"""

from collections.abc import Sequence

import msgspec

from evidence.clock import format_utc
from evidence.cms import sign_cms
from evidence.documents import (
    CustodyHead,
    Manifest,
    NamedBlob,
    Receipt,
    Reread,
    UnreadableRange,
    Verdict,
    decode,
    encode,
)
from evidence.signer import Signer
from host.store.protocol import EvidenceStore
from host.store.values import Held, Quarantined, SignedBytes

__all__ = ["CameraMoment", "issue_quarantine_receipt", "issue_receipt"]


class CameraMoment(msgspec.Struct, frozen=True):
    """One instant on two clocks: UTC of the dock (ns since 1970), the camera's boot id and monotonic time."""

    utc_ns: int
    boot: str
    monotonic_ns: int


def issue_receipt(
    store: EvidenceStore, held: Held, custody: CustodyHead, moment: CameraMoment, signer: Signer
) -> SignedBytes:
    """Return the receipt of a clip, durably kept beside it; one that is there already is returned as it is.

    Raises:
        StorageError: storage refuses; there is no receipt.
    """
    there = store.receipt_of(held.stored)
    if there is not None:
        return there
    read = held.read_back
    receipt = _receipt(store.store_id, read.manifest, read.files, read.way, custody=custody, moment=moment)
    store.attach_receipt(held, _signed(receipt, signer))
    kept = store.receipt_of(held.stored)
    assert kept is not None  # it was just attached
    return kept


def issue_quarantine_receipt(
    store: EvidenceStore,
    clip: Quarantined,
    read: tuple[Manifest, tuple[NamedBlob, ...], Reread],
    *,
    custody: CustodyHead,
    moment: CameraMoment,
    signer: Signer,
) -> SignedBytes:
    """Return a receipt with verdict `quarantined`, once an operator released the clip.

    `read` is what `read_quarantined` returned; what the camera could not read is listed.

    Raises:
        StorageError: storage refuses; there is no receipt.
    """
    there = store.quarantine_receipt_of(clip)
    if there is not None:
        return there
    manifest, files, way = read
    receipt = _receipt(
        store.store_id,
        manifest,
        files,
        way,
        custody=custody,
        moment=moment,
        verdict=Verdict.QUARANTINED,
        unreadable=clip.note.unreadable,
    )
    store.attach_quarantine_receipt(clip, _signed(receipt, signer))
    kept = store.quarantine_receipt_of(clip)
    assert kept is not None  # it was just attached
    return kept


def _receipt(
    store: str,
    manifest: Manifest,
    files: Sequence[NamedBlob],
    way: Reread,
    *,
    custody: CustodyHead,
    moment: CameraMoment,
    verdict: Verdict = Verdict.STORED,
    unreadable: Sequence[UnreadableRange] = (),
) -> Receipt:
    return Receipt(
        version=1,
        device=manifest.device,
        epoch=manifest.epoch,
        generation=manifest.generation,
        number=manifest.number,
        clip=manifest.clip,
        files=tuple(files),
        verdict=verdict,
        unreadable=tuple(unreadable),
        store=store,
        reread=way,
        utc=format_utc(moment.utc_ns),
        boot=moment.boot,
        monotonic_ns=moment.monotonic_ns,
        custody=custody,
    )


def _signed(receipt: Receipt, signer: Signer) -> SignedBytes:
    document = encode(receipt)
    decode(document, Receipt)  # what a camera would refuse is refused here, before it is signed
    return SignedBytes(document=document, cms=sign_cms(document, signer))
