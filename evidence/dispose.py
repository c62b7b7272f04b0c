"""Lawful deletion of a clip from a store: the signed record first, then the clip (docs/formats.md, "Store").

After a crash at any step the record is there or nothing has happened; run again, it goes on from there.
"""

import hashlib
import shutil
from pathlib import Path

import msgspec

from evidence.attestations import read_bounded
from evidence.clock import format_utc
from evidence.cms import CMS_LIMIT_BYTES, sign_cms, verify_cms
from evidence.documents import Disposal, Manifest, decode, encode
from evidence.errors import EvidenceError
from evidence.holdings import load_store
from evidence.paths import leaf_identity
from evidence.roles import Role
from evidence.signer import Signer
from evidence.storage import StorageError, publish_file, sync_directory

__all__ = ["DisposalError", "Disposed", "dispose"]

_REMAINS_PREFIX = ".disposed-"
_PLACES = ("clips", "quarantine")


class DisposalError(EvidenceError):
    """A clip cannot be disposed of; it is untouched."""


class Disposed(msgspec.Struct, frozen=True):
    """What was done: the record, and where its two files lie."""

    record: Disposal
    document: Path
    signature: Path


def dispose(clip: Path, reason: str, signer: Signer, utc_ns: int) -> Disposed:
    """Dispose of a clip of a store: `ROOT/clips/DEVICE/NAME` or `ROOT/quarantine/DEVICE/NAME`.

    Steps: record and signature on storage; the directory renamed out of the way; its files deleted. A record
    that is there already, for the same manifest, stays as it is, and the deletion goes on.

    Raises:
        DisposalError: no clip of a store, or a record of another clip is in its place.
        PathError: the signer is no custodian.
        DocumentError: the manifest is unreadable, or the reason unfit.
        StorageError: storage refuses.
    """
    clip = clip.resolve()
    operator = leaf_identity(signer.chain[0], Role.CUSTODIAN)
    root = _store_root(clip)
    store = load_store(root).store
    document = root / "disposals" / f"{clip.name}.json"
    remains = clip.with_name(f"{_REMAINS_PREFIX}{clip.name}")
    if document.exists():
        record = _earlier(document, clip)
    elif not clip.is_dir():
        raise DisposalError(f"no clip {clip}", expected="a clip's directory in a store")
    else:
        record = _record(clip, store=store, reason=reason, operator=operator, utc_ns=utc_ns)
        _publish(document, record, signer)
    _delete(clip, remains)
    return Disposed(record, document, document.with_suffix(".p7s"))


def _store_root(clip: Path) -> Path:
    if len(clip.parts) < len(("/", "clips", "DEVICE", "NAME")) or clip.parent.parent.name not in _PLACES:
        raise DisposalError(f"{clip} is no clip of a store", expected="STORE/clips/DEVICE/NAME")
    return clip.parent.parent.parent


def _record(clip: Path, *, store: str, reason: str, operator: str, utc_ns: int) -> Disposal:
    content = read_bounded(clip / "manifest.json")
    manifest = decode(content, Manifest)
    if manifest.clip != clip.name:
        raise DisposalError(
            "the directory is not named after the clip", expected=manifest.clip, found=clip.name
        )
    record = Disposal(
        clip=manifest.clip,
        device=manifest.device,
        epoch=manifest.epoch,
        generation=manifest.generation,
        number=manifest.number,
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        store=store,
        reason=reason,
        operator=operator,
        utc=format_utc(utc_ns),
    )
    return decode(encode(record), Disposal)  # refuses what a reader would refuse, before anything is deleted


def _publish(document: Path, record: Disposal, signer: Signer) -> None:
    """Publish the signature, then the document, whose presence means that the record holds."""
    content = encode(record)
    try:
        document.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError("cannot make the directory of disposals", error) from error
    sync_directory(document.parent.parent)
    publish_file(document.with_suffix(".p7s"), sign_cms(content, signer))
    publish_file(document, content)


def _earlier(document: Path, clip: Path) -> Disposal:
    """Read the record of an earlier try; it must be whole, and of the manifest that is still there, if any."""
    content = read_bounded(document)
    verify_cms(content, read_bounded(document.with_suffix(".p7s"), CMS_LIMIT_BYTES))
    record = decode(content, Disposal)
    try:
        found = hashlib.sha256(read_bounded(clip / "manifest.json")).hexdigest()
    except FileNotFoundError:
        found = record.manifest_sha256
    if (record.clip, record.manifest_sha256) != (clip.name, found):
        raise DisposalError("there is a disposal record of another clip of this name", found=str(document))
    return record


def _delete(clip: Path, remains: Path) -> None:
    try:
        if clip.is_dir():
            clip.rename(remains)
            sync_directory(clip.parent)
        if remains.is_dir():
            shutil.rmtree(remains)
            sync_directory(clip.parent)
    except OSError as error:
        raise StorageError(f"cannot delete {clip.name}; its disposal is on record", error) from error
