"""Making the catalogue anew from what is true: the store's clips and heads, and the custody log."""

from collections.abc import Iterator

import msgspec

from host.catalogue.catalogue import Catalogue
from host.catalogue.rows import (
    CameraRow,
    ClipRow,
    OffloadRow,
    SessionRow,
    camera_row,
    clip_row,
    offload_row,
    quarantined_row,
)
from host.custody.log import CustodyLog
from host.store.protocol import EvidenceStore
from host.store.values import StoredClip

__all__ = ["rebuild"]


def rebuild(catalogue: Catalogue, store: EvidenceStore, custody: CustodyLog) -> None:
    """Replace everything in the catalogue, in one transaction.

    Raises:
        CatalogueError: the catalogue cannot be written.
        StorageError: store or log cannot be read.
    """
    catalogue.replace_all(
        clip_rows=_clips(store),
        camera_rows=_cameras(store),
        offload_rows=_offloads(custody),
        session_rows=_sessions(custody),
    )


def _clips(store: EvidenceStore) -> Iterator[ClipRow]:
    for stored in store.clips():
        if isinstance(stored, StoredClip):
            yield clip_row(stored)
    for apart in store.quarantined():
        yield quarantined_row(apart)


def _cameras(store: EvidenceStore) -> Iterator[CameraRow]:
    """Yield each camera once: with its highest head, or with none if only its clips are known."""
    highest: dict[str, CameraRow] = {}
    for head in sorted(store.heads(), key=lambda each: (each.generation, each.number)):
        highest[head.device] = camera_row(head)
    for stored in store.clips():
        if isinstance(stored, StoredClip):
            highest.setdefault(stored.key.device, CameraRow(device=stored.key.device))
    yield from highest.values()


def _offloads(custody: CustodyLog) -> Iterator[OffloadRow]:
    for read in custody.entries():
        row = offload_row(read.entry)
        if row:
            yield row


def _sessions(custody: CustodyLog) -> Iterator[SessionRow]:
    """Pair `docked` with the next `undocked` of the same bay."""
    open_in: dict[str, SessionRow] = {}
    for read in custody.entries(containing="docked"):
        entry = read.entry
        bay = str(entry.detail.get("bay", ""))
        if entry.kind == "docked" and entry.device:
            before = open_in.pop(bay, None)
            if before:
                yield before  # the agent ended before the camera left
            open_in[bay] = SessionRow(entry.index, entry.device, bay, entry.utc)
        elif entry.kind == "undocked" and bay in open_in:
            yield msgspec.structs.replace(open_in.pop(bay), undocked_utc=entry.utc)
    yield from open_in.values()
