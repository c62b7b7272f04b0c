"""Which numbers of each camera a store can account for, from what it holds (`evidence.numbering`).

For the dock's daily use: clips that were published were verified then, and tombstones when they were kept.
`preroll clip verify` over the store judges everything anew.
"""

from collections.abc import Iterator

from evidence.documents import Disposal, Head, Manifest
from evidence.numbering import Account, Fact, HeadFact, Place, account
from host.custody.log import CustodyLog
from host.store.protocol import EvidenceStore
from host.store.values import StoredClip

__all__ = ["accounts", "log_disposals"]


def accounts(store: EvidenceStore, device: str | None = None) -> tuple[Account, ...]:
    """Give account of each (device, epoch), of one camera or of all.

    Raises:
        StorageError: the store cannot be read.
    """
    heads = [_head_fact(head) for head in store.heads(device)]
    return account((fact for fact in _facts(store) if device in (None, fact.place.device)), heads)


def log_disposals(store: EvidenceStore, custody: CustodyLog, utc_ns: int) -> int:
    """Enter disposals into the custody log that were made without the agent; returns how many.

    To be called at start: `preroll clip dispose` writes the record and knows no log.

    Raises:
        StorageError: store or log refuse.
    """
    logged = {
        read.entry.manifest_sha256
        for read in custody.entries(containing='"clip_disposed"')
        if read.entry.kind == "clip_disposed"
    }
    count = 0
    for record in store.disposals():
        if record.manifest_sha256 in logged:
            continue
        custody.append(
            "clip_disposed",
            utc_ns=utc_ns,
            device=record.device,
            clip=record.clip,
            manifest_sha256=record.manifest_sha256,
            detail={"operator": record.operator, "reason": record.reason, "record_utc": record.utc},
        )
        count += 1
    return count


def _facts(store: EvidenceStore) -> Iterator[Fact]:
    for stored in store.clips():
        if isinstance(stored, StoredClip):
            yield _clip_fact(stored)
    for manifest, by in store.tombstones():
        yield _tombstone_fact(manifest, "known" if by == store.store_id else "elsewhere")
    for record in store.disposals():
        yield _disposal_fact(record)


def _clip_fact(stored: StoredClip) -> Fact:
    return Fact(
        place=Place(device=stored.key.device, generation=stored.generation, epoch=stored.epoch),
        number=stored.number,
        kind="here",
        source=stored.key.clip,
        start_sha256=stored.start_sha256,
        previous_start=stored.previous_start,
        manifest_sha256=stored.key.manifest_sha256,
    )


def _tombstone_fact(manifest: Manifest, kind: str) -> Fact:
    return Fact(
        place=Place(device=manifest.device, generation=manifest.generation, epoch=manifest.epoch),
        number=manifest.number,
        kind=kind,
        source=f"tombstone of {manifest.clip}",
        start_sha256=manifest.start_sha256,
        previous_start=manifest.start.previous_start,
    )


def _disposal_fact(record: Disposal) -> Fact:
    return Fact(
        place=Place(device=record.device, generation=record.generation, epoch=record.epoch),
        number=record.number,
        kind="disposed",
        source=f"disposal of {record.clip}",
        manifest_sha256=record.manifest_sha256,
    )


def _head_fact(head: Head) -> HeadFact:
    return HeadFact(
        place=Place(device=head.device, generation=head.generation, epoch=head.epoch),
        number=head.number,
        start_sha256=head.start_sha256,
        utc=head.utc,
        source=f"head of {head.device}",
    )
