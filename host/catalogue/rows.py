"""Rows of the catalogue as values, and how they follow from what store and custody log say."""

import msgspec

from evidence.custody.entries import CustodyEntry
from evidence.documents import Head
from host.store.values import Quarantined, StoredClip

__all__ = [
    "OFFLOAD_KINDS",
    "CameraRow",
    "ClipRow",
    "OffloadRow",
    "SessionRow",
    "camera_row",
    "clip_row",
    "offload_row",
    "quarantined_row",
]

OFFLOAD_KINDS = frozenset(("clip_stored", "clip_quarantined", "quarantine_released", "receipt_accepted"))
"""Kinds of custody entries that tell the story of offloads."""


class CameraRow(msgspec.Struct, frozen=True):
    """A camera, and how far its highest known head says that it has come."""

    device: str
    epoch: str | None = None
    generation: int | None = None
    number: int | None = None
    as_of_utc: str | None = None


class ClipRow(msgspec.Struct, frozen=True):
    """A clip in its place, or in quarantine (`place`: `clips`, `quarantine`)."""

    device: str
    clip: str
    manifest_sha256: str
    epoch: str
    generation: int
    number: int
    stored_bytes: int
    complete: bool
    place: str
    receipted: bool


class OffloadRow(msgspec.Struct, frozen=True):
    """An entry of the custody log about the taking of a clip."""

    custody_index: int
    utc: str
    kind: str
    device: str | None
    clip: str | None
    manifest_sha256: str | None
    ciphertext_bytes: int | None


class SessionRow(msgspec.Struct, frozen=True):
    """One docking; `session` is the index of its custody entry."""

    session: int
    device: str
    bay: str
    docked_utc: str
    undocked_utc: str | None = None


def clip_row(stored: StoredClip) -> ClipRow:
    """Say of a clip in its place what the catalogue says."""
    return ClipRow(
        device=stored.key.device,
        clip=stored.key.clip,
        manifest_sha256=stored.key.manifest_sha256,
        epoch=stored.epoch,
        generation=stored.generation,
        number=stored.number,
        stored_bytes=stored.stored_bytes,
        complete=stored.complete,
        place="clips",
        receipted=stored.receipted,
    )


def quarantined_row(clip: Quarantined) -> ClipRow:
    """Say of a clip in quarantine what is known without believing it: its name, and the number in that."""
    return ClipRow(
        device=clip.key.device,
        clip=clip.key.clip,
        manifest_sha256=clip.key.manifest_sha256,
        epoch="",
        generation=0,
        number=int(clip.key.clip.rpartition("-")[2]),
        stored_bytes=clip.note.expected_bytes,
        complete=False,
        place="quarantine",
        receipted=clip.receipted,
    )


def camera_row(head: Head) -> CameraRow:
    """Say of a camera what its head says."""
    return CameraRow(
        device=head.device,
        epoch=head.epoch,
        generation=head.generation,
        number=head.number,
        as_of_utc=head.utc,
    )


def offload_row(entry: CustodyEntry) -> OffloadRow | None:
    """Take a custody entry, if it is about an offload."""
    if entry.kind not in OFFLOAD_KINDS:
        return None
    size = entry.detail.get("bytes")
    return OffloadRow(
        custody_index=entry.index,
        utc=entry.utc,
        kind=entry.kind,
        device=entry.device,
        clip=entry.clip,
        manifest_sha256=entry.manifest_sha256,
        ciphertext_bytes=size if isinstance(size, int) else None,
    )
