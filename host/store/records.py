"""Heads, tombstones and disposals of a file-system store: signed documents beside the clips."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from evidence.attestations import Tombstone, read_bounded, read_tombstone
from evidence.decoding import json_decoder
from evidence.documents import Disposal, Head, Manifest, Receipt, decode
from evidence.errors import EvidenceError
from evidence.storage import (
    StorageError,
    create_file,
    make_directory,
    publish_file,
    remove_file,
    rename,
    sync_directory,
)
from host.store.errors import StoreError
from host.store.heads import HeadOutcome, HeadVerdict, judge_head, read_shown_head
from host.store.layout import StoreLayout
from host.store.readback import Trust
from host.store.shelves import list_directory, manifest_of, write_pair
from host.store.values import MANIFEST, ClipKey, Conflict, SignedBytes

__all__ = ["TOMBSTONE_FILES", "Records"]

TOMBSTONE_FILES = ("journal.jsonl", MANIFEST, "manifest.p7s", "receipt.json", "receipt.p7s")
_PENDING_SUFFIX = ".pending"
_FORKS = "forks"


class _Pending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head on its way into its two files, so that a crash between them leaves no pair that does not match."""

    document: str
    cms: str


class Records:
    """The signed documents of an opened store; the store's lock serialises the calls."""

    def __init__(self, layout: StoreLayout) -> None:
        """Finish what a crash left half done.

        Raises:
            StorageError: storage refuses.
        """
        self._layout = layout
        for device in list_directory(layout.heads):
            for path in sorted(device.glob(f".*{_PENDING_SUFFIX}")):
                self._finish_head(path)

    def keep_head(self, signed: SignedBytes, trust: Trust) -> HeadVerdict:
        """Judge a head; keep it if it is the highest of its epoch, in `forks/` if it contradicts one."""
        shown = read_shown_head(signed, trust)
        verdict = judge_head(self.heads(shown.device), shown)
        device = self._layout.heads / shown.device
        if verdict.keep:
            self._layout.make_way(device)
            pending = device / f".{shown.epoch}{_PENDING_SUFFIX}"
            both = (base64.b64encode(part).decode("ascii") for part in (signed.document, signed.cms))
            publish_file(pending, msgspec.json.encode(_Pending(*both)))
            self._finish_head(pending)
        elif verdict.outcome is HeadOutcome.FORK:
            self._layout.make_way(device)
            self._layout.make_way(device / _FORKS)
            digest = hashlib.sha256(signed.document).hexdigest()
            write_pair(device / _FORKS / f"{shown.epoch}-{digest[:16]}.json", signed)
        return verdict

    def heads(self, device: str | None = None) -> tuple[Head, ...]:
        """Return the highest head of each epoch; an unreadable one is an error, it could hide a rollback."""
        devices = [self._layout.heads / device] if device else list_directory(self._layout.heads)
        found = []
        try:
            for directory in devices:
                if directory.is_dir():
                    found += [decode(read_bounded(path), Head) for path in sorted(directory.glob("*.json"))]
        except OSError as error:
            raise StorageError("cannot read the heads of the store", error) from error
        return tuple(found)

    def keep_tombstone(self, files: Mapping[str, bytes], trust: Trust) -> tuple[Tombstone, Conflict | None]:
        """Verify and keep a tombstone; of two for one clip name both are kept, the second out of sight."""
        if tuple(sorted(files)) != TOMBSTONE_FILES:
            raise StoreError(
                "not a tombstone", expected=", ".join(TOMBSTONE_FILES), found=f"{len(files)} files"
            )
        manifest = decode(files[MANIFEST], Manifest)
        digest = hashlib.sha256(files[MANIFEST]).hexdigest()
        draft = self._layout.partial / f".tombstone-{digest}" / manifest.clip
        self._layout.throw_away(draft.parent)
        make_directory(draft.parent)
        make_directory(draft)
        try:
            for name, data in files.items():
                create_file(draft / name, data)
            sync_directory(draft)
            try:
                stone = read_tombstone(draft, trust.roots)
            except OSError as error:
                raise StorageError("cannot read a tombstone back", error) from error
            conflict = self._place_tombstone(draft, ClipKey(manifest.device, manifest.clip, digest))
        finally:
            self._layout.throw_away(draft.parent)
        return stone, conflict

    def tombstones(self) -> Iterator[tuple[Manifest, str]]:
        """Yield manifests of released clips, with the store that signed for each."""
        for device in list_directory(self._layout.tombstones):
            for directory in list_directory(device):
                try:
                    receipt = decode(read_bounded(directory / "receipt.json"), Receipt)
                except OSError as error:
                    raise StorageError(f"cannot read the tombstone {directory.name}", error) from error
                yield manifest_of(directory), receipt.store

    def disposals(self) -> Iterator[Disposal]:
        """Yield the records of lawful deletions (`evidence.dispose` writes them)."""
        try:
            for path in sorted(self._layout.disposals.glob("*.json")):
                yield decode(read_bounded(path), Disposal)
        except OSError as error:
            raise StorageError("cannot read the disposals of the store", error) from error

    def _place_tombstone(self, draft: Path, key: ClipKey) -> Conflict | None:
        target = self._layout.tombstones / key.device / key.clip
        self._layout.make_way(target.parent)
        conflict = None
        if target.exists():
            other = hashlib.sha256(_bytes_of(target / MANIFEST)).hexdigest()
            if other == key.manifest_sha256:
                return None
            conflict = Conflict(what="manifest", other=ClipKey(key.device, key.clip, other))
            target = target.with_name(f".fork-{key.clip}-{key.manifest_sha256[:16]}")
            if target.exists():
                return conflict
        rename(draft, target)
        sync_directory(target.parent)
        return conflict

    def _finish_head(self, pending: Path) -> None:
        """Write the two files of a head, then remove what they were written from; may be done twice."""
        try:
            both = json_decoder(_Pending).decode(_bytes_of(pending))
            signed = SignedBytes(document=base64.b64decode(both.document), cms=base64.b64decode(both.cms))
        except (msgspec.MsgspecError, ValueError) as error:
            raise StoreError(
                f"cannot use {pending.name}", expected="a head on its way", remedy="move the file away"
            ) from error
        epoch = pending.name[1 : -len(_PENDING_SUFFIX)]
        write_pair(pending.with_name(f"{epoch}.json"), signed)
        remove_file(pending)
        sync_directory(pending.parent)


def _bytes_of(path: Path) -> bytes:
    try:
        return read_bounded(path)
    except OSError as error:
        raise StorageError(f"cannot read {path.name}", error) from error
    except StorageError:
        raise
    except EvidenceError as error:
        raise StoreError(f"cannot use {path.name}", found=str(error)) from error
