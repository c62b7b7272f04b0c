"""The quarantine of a file-system store: what did not verify, kept apart, byte for byte, with the reasons."""

from pathlib import Path

from evidence.documents import Manifest, NamedBlob, Reread
from evidence.holdings import clip_number
from evidence.storage import StorageError, publish_file, rename, sync_directory, sync_file
from host.store.direct import OpenFile
from host.store.errors import StoreError
from host.store.layout import StoreLayout
from host.store.partial import DirectoryFiles
from host.store.readback import digests_of, receiptable
from host.store.shelves import (
    NOTE,
    list_directory,
    load_quarantined,
    manifest_of,
    note_bytes,
    read_pair,
    write_pair,
)
from host.store.values import CLIP_FILES, TAIL, ClipKey, Quarantined, QuarantineNote, SignedBytes

__all__ = ["Quarantine", "sync_clip"]

_RECEIPT = "receipt.json"


def sync_clip(directory: Path) -> None:
    """Put the files of a clip and their names on storage.

    Raises:
        StorageError: storage refuses.
    """
    for name in (*CLIP_FILES, TAIL):
        if (directory / name).exists():
            sync_file(directory / name)
    sync_directory(directory)


class Quarantine:
    """`quarantine/DEVICE/` of an opened store; the store's lock serialises what changes it."""

    def __init__(self, layout: StoreLayout, opener: OpenFile) -> None:
        self._layout = layout
        self._opener = opener

    def set_apart(
        self, directory: Path, key: ClipKey, note: QuarantineNote, *, replace: bool = True
    ) -> Quarantined:
        """Move a directory into quarantine; an earlier fetch of the same clip may give way, if unreleased.

        Raises:
            StorageError: storage refuses; the directory is where it was, or in quarantine.
        """
        device = self._layout.quarantine / key.device
        self._layout.make_way(device)
        publish_file(directory / NOTE, note_bytes(key, note))
        place = self._free_place(device, key, replace=replace)
        if place.exists():
            self._layout.throw_away(place)
        rename(directory, place)
        sync_directory(device)
        sync_directory(directory.parent)
        return Quarantined(key=key, place=place.name, note=note, receipted=False)

    def clips(self) -> tuple[Quarantined, ...]:
        """List what lies apart."""
        found = []
        for device in list_directory(self._layout.quarantine):
            for directory in list_directory(device):
                try:
                    found.append(load_quarantined(directory))
                except FileNotFoundError:
                    continue  # somebody else put it there; `clip verify` shows it
                except OSError as error:
                    raise StorageError(f"cannot read the quarantine of {device.name}", error) from error
        return tuple(found)

    def read(self, clip: Quarantined) -> tuple[Manifest, tuple[NamedBlob, ...], Reread]:
        """Sync and read back what lies apart, unjudged."""
        directory = self._place(clip)
        manifest = manifest_of(directory)
        sync_clip(directory)
        sync_directory(directory.parent)
        return (manifest, *receiptable(*digests_of(DirectoryFiles(directory, self._opener))))

    def attach_receipt(self, clip: Quarantined, receipt: SignedBytes) -> None:
        """Keep a receipt; one that is there stays."""
        if self.receipt_of(clip) is None:
            write_pair(self._place(clip) / _RECEIPT, receipt)

    def receipt_of(self, clip: Quarantined) -> SignedBytes | None:
        """Return the receipt of a clip that was released."""
        return read_pair(self._place(clip) / _RECEIPT)

    def _free_place(self, device: Path, key: ClipKey, *, replace: bool) -> Path:
        for clip in self.clips() if replace else ():
            if clip.key == key and not clip.receipted:
                return device / clip.place
        taken = {path.name for path in list_directory(device)}
        count = 2
        place = key.clip
        while place in taken:
            place = f"{key.clip}.{count}"
            count += 1
        return device / place

    def _place(self, clip: Quarantined) -> Path:
        name, _, suffix = clip.place.partition(".")
        if clip_number(name) is None or (suffix and not suffix.isdigit()):
            raise StoreError("not a place in quarantine", found=ascii(clip.place[:80]))
        return self._layout.quarantine / clip.key.device / clip.place
