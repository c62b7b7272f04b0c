"""The evidence store on a file system: one directory a clip, published by one rename (docs/store.md)."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from evidence.attestations import Tombstone
from evidence.clock import format_utc
from evidence.documents import Disposal, Head, Manifest, NamedBlob, Reread, UnreadableRange
from evidence.errors import EvidenceError
from evidence.storage import (
    StorageError,
    make_directory,
    remove_file,
    rename,
    sync_directory,
)
from host.store.direct import OpenFile, open_file
from host.store.errors import StoreError, StoreFullError, StoreGoneError
from host.store.heads import HeadVerdict
from host.store.layout import StoreLayout, open_layout
from host.store.partial import DirectoryFiles, FilePartial
from host.store.protocol import DamagedClip, Partial, VerifiedClip
from host.store.quarantine import Quarantine, sync_clip
from host.store.readback import Trust, camera_manifest, read_back
from host.store.records import Records
from host.store.remembered import ClipMemory
from host.store.shelves import (
    NOTE,
    conflicts_with,
    load_stored,
    read_pair,
    walk,
    write_pair,
)
from host.store.values import (
    MANIFEST,
    ClipKey,
    Conflict,
    Held,
    Publication,
    Quarantined,
    QuarantineNote,
    SignedBytes,
    Space,
    StoredClip,
    StoreHealth,
    StoreState,
)

__all__ = ["FileStore"]

_RECEIPT = "receipt.json"


class FileStore:
    """An `EvidenceStore` in a directory; holds the store's lock until it is closed."""

    def __init__(
        self,
        root: Path,
        *,
        store_id: str | None = None,
        reserve_bytes: int = 0,
        opener: OpenFile = open_file,
        memory: Path | None = None,
    ) -> None:
        """Open a store that `format_store` made; `reserve_bytes` of its file system stay free.

        `memory` is a file outside the store that spares a later start the reading of all manifests.

        Raises:
            StoreInUseError: another agent has it.
            StoreError: there is none, or another one than `store_id`.
            StorageError: the file system refuses.
        """
        self._layout: StoreLayout = open_layout(root, store_id)
        self._reserve_bytes = reserve_bytes
        self._opener = opener
        self._memory = ClipMemory(memory) if memory else None
        self._lock = threading.RLock()
        self._open: dict[ClipKey, FilePartial] = {}
        self._quarantine = Quarantine(self._layout, opener)
        try:
            self._records = Records(self._layout)
        except EvidenceError:
            self._layout.close()
            raise

    @property
    def store_id(self) -> str:
        """The store's id."""
        return self._layout.store_id

    @property
    def root(self) -> Path:
        """Where it lies."""
        return self._layout.root

    def space(self) -> Space:
        """Room that is there, promised, and to stay free."""
        try:
            found = os.statvfs(self._layout.root)
        except OSError as error:
            raise StorageError("cannot ask the store for its space", error) from error
        with self._lock:
            promised = sum(partial.missing_bytes for partial in self._open.values())
        return Space(
            total_bytes=found.f_blocks * found.f_frsize,
            free_bytes=found.f_bavail * found.f_frsize,
            promised_bytes=promised,
            reserve_bytes=self._reserve_bytes,
        )

    def health(self) -> StoreHealth:
        """What can be done now."""
        try:
            self._layout.require_present()
            read_only = bool(os.statvfs(self._layout.root).f_flag & os.ST_RDONLY)
            space = self.space()
        except StoreGoneError as error:
            return StoreHealth(StoreState.GONE, str(error), None)
        except (StorageError, OSError) as error:
            return StoreHealth(StoreState.FAILING, str(error), None)
        if read_only:
            return StoreHealth(StoreState.READ_ONLY, "the file system is mounted read-only", space)
        if space.available_bytes == 0:
            detail = f"{space.free_bytes} bytes free, {space.reserve_bytes} of them in reserve"
            return StoreHealth(StoreState.FULL, detail, space)
        return StoreHealth(StoreState.READY, f"{space.available_bytes} bytes available", space)

    def partials(self) -> tuple[ClipKey, ...]:
        """Fetches that were begun and not finished."""
        return self._layout.partial_keys()

    def open_partial(self, key: ClipKey, expected_bytes: int) -> FilePartial:
        """Begin or resume a fetch, and promise it the space that it still needs."""
        with self._lock:
            self._layout.require_present()
            if key in self._open:
                raise StoreError(f"{key.clip} is being fetched already", remedy="wait for that fetch to end")
            directory = self._layout.partial_of(key)
            partial = FilePartial(
                directory, key, expected_bytes, opener=self._opener, closed=self._partial_closed
            )
            space = self.space()
            if partial.missing_bytes > space.available_bytes:
                raise StoreFullError(
                    f"no room for {key.clip}",
                    expected=f"{partial.missing_bytes} bytes",
                    found=f"{space.available_bytes} bytes available in {self.store_id}",
                    remedy="dispose of what is past its retention period, or give the store more space",
                )
            if not directory.is_dir():
                make_directory(directory)
                sync_directory(self._layout.partial)
            self._open[key] = partial
            return partial

    def verify(
        self, partial: Partial, trust: Trust, advance: Callable[[int], object] = lambda _: None
    ) -> VerifiedClip:
        """Sync what was fetched, read it back from storage, verify it."""
        ours = self._ours(partial)
        ours.close_writers()
        if (ours.directory / NOTE).exists():  # a crash came between the note and the quarantine
            remove_file(ours.directory / NOTE)
        sync_clip(ours.directory)
        before = ours.verified(advance)
        return VerifiedClip(ours, read_back(ours.files, ours.key, trust, advance, before=before))

    def publish(self, verified: VerifiedClip, trust: Trust, utc_ns: int) -> Publication:
        """Put a verified clip in its place, atomically."""
        partial, read = self._ours(verified.partial), verified.read_back
        key, place = partial.key, self._layout.clip(partial.key)
        with self._lock:
            self._layout.require_present()
            self._layout.make_way(place.parent)
            conflicts = conflicts_with(place.parent, read.manifest, key)
            if place.exists():
                done = self._already_there(partial, place, conflicts, trust, utc_ns)
                if done:
                    return done
            rename(partial.directory, place)
            sync_directory(place.parent)
            sync_directory(self._layout.partial)
            partial.close()
        return Publication(Held(self._stored(place), read), new=True, conflicts=conflicts)

    def find(self, key: ClipKey) -> StoredClip | None:
        """Return a clip that is in its place."""
        try:
            found = load_stored(self._layout.clip(key))
        except FileNotFoundError:
            return None
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(f"cannot read {key.clip}", error) from error
        except EvidenceError:
            return None  # damaged: `clips` shows it, and a new fetch sets it apart
        return found if found.key == key else None

    def clips(self) -> Iterator[StoredClip | DamagedClip]:
        """Yield all clips in their places."""
        return self._memory.walk(self._layout.clips) if self._memory else walk(self._layout.clips)

    def confirm(
        self, stored: StoredClip, trust: Trust, advance: Callable[[int], object] = lambda _: None
    ) -> Held:
        """Sync and read back a clip that is in its place."""
        place = self._layout.clip(stored.key)
        sync_clip(place)
        sync_directory(place.parent)
        sync_directory(place.parent.parent)
        read = read_back(DirectoryFiles(place, self._opener), stored.key, trust, advance)
        return Held(self._stored(place), read)

    def attach_receipt(self, held: Held, receipt: SignedBytes) -> None:
        """Keep a receipt with its clip; one that is there stays."""
        path = self._layout.clip(held.stored.key) / _RECEIPT
        if read_pair(path) is None:
            write_pair(path, receipt)

    def receipt_of(self, stored: StoredClip) -> SignedBytes | None:
        """Return the receipt of a clip, if it has one."""
        return read_pair(self._layout.clip(stored.key) / _RECEIPT)

    def quarantine(
        self,
        partial: Partial,
        reasons: Sequence[str],
        utc_ns: int,
        unreadable: Sequence[UnreadableRange] = (),
    ) -> Quarantined:
        """Set what was fetched apart, with the reasons."""
        ours = self._ours(partial)
        ours.close_writers()
        note = QuarantineNote(
            reasons=tuple(reason[:1000] for reason in reasons),
            utc=format_utc(utc_ns),
            expected_bytes=ours.expected_bytes,
            unreadable=tuple(unreadable),
        )
        sync_clip(ours.directory)
        with self._lock:
            self._layout.require_present()
            found = self._quarantine.set_apart(ours.directory, ours.key, note)
            ours.close()
        return found

    def quarantined(self) -> tuple[Quarantined, ...]:
        """List what lies apart."""
        return self._quarantine.clips()

    def read_quarantined(self, clip: Quarantined) -> tuple[Manifest, tuple[NamedBlob, ...], Reread]:
        """Sync and read back what lies apart, unjudged."""
        return self._quarantine.read(clip)

    def attach_quarantine_receipt(self, clip: Quarantined, receipt: SignedBytes) -> None:
        """Keep the receipt of a clip that was released from quarantine."""
        self._quarantine.attach_receipt(clip, receipt)

    def quarantine_receipt_of(self, clip: Quarantined) -> SignedBytes | None:
        """Return it."""
        return self._quarantine.receipt_of(clip)

    def keep_head(self, head: SignedBytes, trust: Trust) -> HeadVerdict:
        """Judge a camera's signed head by those kept, and keep it if it is the highest of its epoch."""
        with self._lock:
            self._layout.require_present()
            return self._records.keep_head(head, trust)

    def heads(self, device: str | None = None) -> tuple[Head, ...]:
        """Return the highest head of each epoch."""
        return self._records.heads(device)

    def keep_tombstone(self, files: Mapping[str, bytes], trust: Trust) -> tuple[Tombstone, Conflict | None]:
        """Keep what is left of a clip that its camera released."""
        with self._lock:
            self._layout.require_present()
            return self._records.keep_tombstone(files, trust)

    def tombstones(self) -> Iterator[tuple[Manifest, str]]:
        """Yield the kept tombstones."""
        return self._records.tombstones()

    def disposals(self) -> Iterator[Disposal]:
        """Yield the records of lawful deletions."""
        return self._records.disposals()

    def close(self) -> None:
        """Let another agent open the store."""
        with self._lock:
            for partial in tuple(self._open.values()):
                partial.close()
        self._layout.close()

    def _ours(self, partial: Partial) -> FilePartial:
        if not isinstance(partial, FilePartial) or self._open.get(partial.key) is not partial:
            raise StoreError("the fetch is closed, or of another store", found=partial.key.clip)
        return partial

    def _partial_closed(self, partial: FilePartial, delete: bool) -> None:
        with self._lock:
            self._open.pop(partial.key, None)
            if delete:
                self._layout.throw_away(partial.directory)

    def _stored(self, place: Path) -> StoredClip:
        try:
            return load_stored(place)
        except OSError as error:
            raise StorageError(f"cannot read {place.name}", error) from error

    def _already_there(
        self,
        partial: FilePartial,
        place: Path,
        conflicts: tuple[Conflict, ...],
        trust: Trust,
        utc_ns: int,
    ) -> Publication | None:
        """Deal with a clip of that name in that place; `None` if the place is free now."""
        note = QuarantineNote(reasons=(), utc=format_utc(utc_ns), expected_bytes=partial.expected_bytes)
        try:
            there = self._stored(place)
            self._require_signed(there, place, trust)
            if there.key == partial.key:
                held = self.confirm(there, trust)
                partial.discard()
                return Publication(held, new=False, conflicts=conflicts)
        except EvidenceError as error:
            if isinstance(error, StorageError):
                raise
            reason = f"damaged in the store: {error}"
            self._quarantine.set_apart(place, partial.key, _because(note, reason), replace=False)
            return None
        reason = f"another clip of that name is in its place, with manifest {there.key.manifest_sha256}"
        apart = self._quarantine.set_apart(partial.directory, partial.key, _because(note, reason))
        partial.close()
        return Publication(None, new=True, conflicts=conflicts, quarantined=apart)

    @staticmethod
    def _require_signed(there: StoredClip, place: Path, trust: Trust) -> None:
        """Tell another clip of that name from a damaged one."""
        pair = read_pair(place / MANIFEST)
        if pair is None:
            raise StoreError(f"{place.name} lacks its signature")
        camera_manifest(pair.document, pair.cms, there.key, trust)


def _because(note: QuarantineNote, reason: str) -> QuarantineNote:
    return QuarantineNote(
        reasons=(*note.reasons, reason[:1000]),
        utc=note.utc,
        expected_bytes=note.expected_bytes,
        unreadable=note.unreadable,
    )
