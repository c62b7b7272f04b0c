"""Reading what lies in a file-system store: clips, quarantine, signed pairs. No state, no lock."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from evidence.attestations import read_bounded
from evidence.cms import CMS_LIMIT_BYTES
from evidence.decoding import json_decoder
from evidence.documents import DocumentError, Manifest, decode
from evidence.errors import EvidenceError
from evidence.holdings import clip_number
from evidence.storage import StorageError, publish_file
from host.store.errors import StoreError
from host.store.protocol import DamagedClip
from host.store.readback import MANIFEST_LIMIT_BYTES
from host.store.values import (
    MANIFEST,
    ClipKey,
    Conflict,
    Quarantined,
    QuarantineNote,
    SignedBytes,
    StoredClip,
    clip_key,
)

__all__ = [
    "NOTE",
    "conflicts_with",
    "list_directory",
    "load_quarantined",
    "load_stored",
    "manifest_of",
    "note_bytes",
    "read_pair",
    "stored_of",
    "walk",
    "write_pair",
]

NOTE = "quarantine.json"
_RECEIPT = "receipt.json"


def list_directory(directory: Path) -> list[Path]:
    """List the directories in a directory that are no work under way; none if it is not there.

    Raises:
        StorageError: it cannot be listed.
    """
    try:
        return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot list {directory.name}", error) from error


def walk(top: Path) -> Iterator[StoredClip | DamagedClip]:
    """Yield the clips below `top/DEVICE/`, by device and name.

    Raises:
        StorageError: a directory cannot be listed.
    """
    for device in list_directory(top):
        for directory in list_directory(device):
            try:
                yield load_stored(directory)
            except (EvidenceError, OSError) as error:
                if isinstance(error, StorageError):
                    raise
                yield DamagedClip(place=f"{device.name}/{directory.name}", reason=str(error))


def load_stored(directory: Path) -> StoredClip:
    """Read what the manifest of a clip in its place says; nothing is verified, that was done before.

    Raises:
        EvidenceError: it is not the manifest of a clip of that name and device.
        OSError: it cannot be read.
    """
    content = read_bounded(directory / MANIFEST, MANIFEST_LIMIT_BYTES)
    manifest = decode(content, Manifest)
    if (manifest.device, manifest.clip) != (directory.parent.name, directory.name):
        raise StoreError("a clip lies in another's place", expected=manifest.clip, found=str(directory))
    return stored_of(manifest, content, receipted=(directory / _RECEIPT).exists())


def stored_of(manifest: Manifest, content: bytes, *, receipted: bool) -> StoredClip:
    """Say of a manifest what the store says of a clip."""
    sizes = (manifest.ciphertext, manifest.journal, manifest.tail)
    return StoredClip(
        key=ClipKey(manifest.device, manifest.clip, hashlib.sha256(content).hexdigest()),
        epoch=manifest.epoch,
        generation=manifest.generation,
        number=manifest.number,
        start_sha256=manifest.start_sha256,
        previous_start=manifest.start.previous_start,
        stored_bytes=sum(each.bytes for each in sizes if each) + len(content),
        complete=manifest.complete,
        receipted=receipted,
    )


def conflicts_with(device: Path, manifest: Manifest, key: ClipKey) -> tuple[Conflict, ...]:
    """Find clips of a device that hold the same number of the same epoch, and are others.

    Raises:
        StorageError: the directory cannot be listed.
    """
    found = []
    for directory in list_directory(device):
        if clip_number(directory.name) != manifest.number:
            continue
        try:
            other = load_stored(directory)
        except (EvidenceError, OSError):
            continue  # `clips` shows it as damaged
        if other.epoch == manifest.epoch and other.key != key:
            what = "line 0" if other.start_sha256 != manifest.start_sha256 else "manifest"
            found.append(Conflict(what=what, other=other.key))
    return tuple(found)


def load_quarantined(directory: Path) -> Quarantined:
    """Read why a clip lies apart.

    Raises:
        EvidenceError: the note is not one.
        OSError: it cannot be read.
    """
    try:
        found = json_decoder(_NoteFile).decode(read_bounded(directory / NOTE))
    except msgspec.MsgspecError as error:
        raise StoreError(f"cannot use {NOTE}", found=ascii(str(error)[:120])[1:-1]) from error
    return Quarantined(
        key=clip_key(directory.parent.name, found.clip, found.manifest_sha256),
        place=directory.name,
        note=found.note,
        receipted=(directory / _RECEIPT).exists(),
    )


def note_bytes(key: ClipKey, note: QuarantineNote) -> bytes:
    """Write `quarantine.json`."""
    return msgspec.json.encode(_NoteFile(clip=key.clip, manifest_sha256=key.manifest_sha256, note=note))


class _NoteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    clip: str
    manifest_sha256: str
    note: QuarantineNote


def read_pair(path: Path) -> SignedBytes | None:
    """Read `NAME.json` and `NAME.p7s`; `None` unless both are there.

    Raises:
        StorageError: they cannot be read.
        EvidenceError: one is too long.
    """
    try:
        return SignedBytes(
            document=read_bounded(path), cms=read_bounded(path.with_suffix(".p7s"), CMS_LIMIT_BYTES)
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path.name}", error) from error


def write_pair(path: Path, pair: SignedBytes) -> None:
    """Publish the signature, then the document, whose presence means that the pair is whole.

    Raises:
        StorageError: storage refuses.
    """
    publish_file(path.with_suffix(".p7s"), pair.cms)
    publish_file(path, pair.document)


def manifest_of(directory: Path) -> Manifest:
    """Read a manifest that may be anything.

    Raises:
        StoreError: it is not one.
        StorageError: it cannot be read.
    """
    try:
        return decode(read_bounded(directory / MANIFEST, MANIFEST_LIMIT_BYTES), Manifest)
    except FileNotFoundError as error:
        raise StoreError(f"{directory.name} has no manifest") from error
    except OSError as error:
        raise StorageError(f"cannot read the manifest of {directory.name}", error) from error
    except DocumentError as error:
        raise StoreError(f"{directory.name} has no manifest that can be read", found=str(error)) from error
