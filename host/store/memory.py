"""An evidence store in memory: for tests, the simulated dock and demonstrations; it keeps the same promises.

Beside the protocol it can lose power (`power_cut`: what was not synced becomes zeros) and refuse (`refuse`).
"""

import errno
import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from evidence.attestations import Tombstone, read_tombstone
from evidence.clock import format_utc
from evidence.documents import (
    Disposal,
    DocumentError,
    Head,
    Manifest,
    NamedBlob,
    Reread,
    UnreadableRange,
    decode,
)
from evidence.errors import EvidenceError
from evidence.storage import StorageError
from host.store.errors import StoreError, StoreFullError
from host.store.heads import HeadVerdict, judge_head, read_shown_head
from host.store.memoryfiles import MemoryFiles, MemoryPartial
from host.store.protocol import DamagedClip, Partial, VerifiedClip
from host.store.readback import Trust, digests_of, read_back, receiptable
from host.store.shelves import stored_of
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

__all__ = ["MemoryStore"]


class MemoryStore:
    """An `EvidenceStore` that ends with the process."""

    def __init__(self, store_id: str, *, total_bytes: int, reserve_bytes: int = 0) -> None:
        self._id = store_id
        self._total_bytes = total_bytes
        self._reserve_bytes = reserve_bytes
        self._lock = threading.RLock()
        self._partials: dict[ClipKey, MemoryFiles] = {}
        self._open: dict[ClipKey, MemoryPartial] = {}
        self._clips: dict[tuple[str, str], MemoryFiles] = {}
        self._receipts: dict[ClipKey, SignedBytes] = {}
        self._apart: dict[tuple[str, str], tuple[Quarantined, MemoryFiles]] = {}
        self._apart_receipts: dict[tuple[str, str], SignedBytes] = {}
        self._heads: dict[tuple[str, str], Head] = {}
        self._tombstones: dict[tuple[str, str], list[tuple[str, Tombstone]]] = {}
        self._records: list[Disposal] = []
        self._refusal: OSError | None = None

    @property
    def store_id(self) -> str:
        """The store's id."""
        return self._id

    def refuse(self, error: OSError | None) -> None:
        """From now on, refuse every change with this error, or no more."""
        self._refusal = error

    def power_cut(self) -> None:
        """Lose what was not synced: files keep their length, and zeros are where the bytes were."""
        with self._lock:
            for files in self._partials.values():
                for name, data in files.content.items():
                    synced = files.synced.get(name, 0)
                    data[synced:] = bytes(len(data) - synced)
            self._open.clear()

    def allow(self, size: int) -> None:
        """Refuse a change of so many bytes, if it has to be refused."""
        if self._refusal is not None:
            raise StorageError("the store refuses", self._refusal)
        if size > self._free():
            raise StorageError("the store is full", OSError(errno.ENOSPC, "no space left"))

    def space(self) -> Space:
        """Room that is there, promised, and to stay free."""
        with self._lock:
            promised = sum(partial.missing_bytes for partial in self._open.values())
        return Space(self._total_bytes, self._free(), promised, self._reserve_bytes)

    def health(self) -> StoreHealth:
        """What can be done now."""
        if self._refusal is not None:
            states = {errno.EROFS: StoreState.READ_ONLY, errno.ENOENT: StoreState.GONE}
            state = states.get(self._refusal.errno or 0, StoreState.FAILING)
            return StoreHealth(state, str(self._refusal), None)
        space = self.space()
        state = StoreState.READY if space.available_bytes else StoreState.FULL
        return StoreHealth(state, f"{space.available_bytes} bytes available", space)

    def partials(self) -> tuple[ClipKey, ...]:
        """Fetches that were begun and not finished."""
        return tuple(sorted(self._partials))

    def open_partial(self, key: ClipKey, expected_bytes: int) -> MemoryPartial:
        """Begin or resume a fetch."""
        with self._lock:
            if key in self._open:
                raise StoreError(f"{key.clip} is being fetched already", remedy="wait for that fetch to end")
            files = self._partials.get(key) or MemoryFiles({})
            partial = MemoryPartial(self, key, files, expected_bytes)
            available = self.space().available_bytes
            if partial.missing_bytes > available:
                raise StoreFullError(
                    f"no room for {key.clip}",
                    expected=f"{partial.missing_bytes} bytes",
                    found=f"{available} bytes available in {self._id}",
                )
            self.allow(0)
            self._partials[key] = files
            self._open[key] = partial
            return partial

    def verify(
        self, partial: Partial, trust: Trust, advance: Callable[[int], object] = lambda _: None
    ) -> VerifiedClip:
        """Sync what was fetched, read it back, verify it."""
        ours = self.require_open(partial)
        self.allow(0)
        ours.clip_files.sync()
        return VerifiedClip(ours, read_back(ours.files, ours.key, trust, advance))

    def publish(self, verified: VerifiedClip, trust: Trust, utc_ns: int) -> Publication:
        """Put a verified clip in its place."""
        ours, read, key = self.require_open(verified.partial), verified.read_back, verified.partial.key
        with self._lock:
            self.allow(0)
            conflicts = tuple(self._conflicts(read.manifest, key))
            place = (key.device, key.clip)
            there = self._clips.get(place)
            if there is not None:
                try:
                    other = self._stored(there)
                    if other.key == key:
                        held = self.confirm(other, trust)
                        ours.discard()
                        return Publication(held, new=False, conflicts=conflicts)
                except EvidenceError as error:
                    self._set_apart(there, key, f"damaged in the store: {error}", utc_ns)
                    self._receipts.pop(key, None)
                else:
                    apart = self._set_apart(ours.clip_files, key, "another clip has its name", utc_ns)
                    ours.discard()
                    return Publication(None, new=True, conflicts=conflicts, quarantined=apart)
            self._clips[place] = ours.clip_files
            ours.discard()
            return Publication(Held(self._stored(ours.clip_files), read), new=True, conflicts=conflicts)

    def find(self, key: ClipKey) -> StoredClip | None:
        """Return a clip that is in its place."""
        files = self._clips.get((key.device, key.clip))
        if files is None:
            return None
        try:
            stored = self._stored(files)
        except DocumentError:
            return None
        return stored if stored.key == key else None

    def clips(self) -> Iterator[StoredClip | DamagedClip]:
        """Yield all clips in their places."""
        for (device, name), files in sorted(self._clips.items(), key=lambda item: item[0]):
            try:
                yield self._stored(files)
            except DocumentError as error:
                yield DamagedClip(f"{device}/{name}", str(error))

    def confirm(
        self, stored: StoredClip, trust: Trust, advance: Callable[[int], object] = lambda _: None
    ) -> Held:
        """Read back a clip that is in its place."""
        files = self._clips[stored.key.device, stored.key.clip]
        return Held(self._stored(files), read_back(files, stored.key, trust, advance))

    def attach_receipt(self, held: Held, receipt: SignedBytes) -> None:
        """Keep a receipt with its clip; one that is there stays."""
        self.allow(len(receipt.document))
        self._receipts.setdefault(held.stored.key, receipt)

    def receipt_of(self, stored: StoredClip) -> SignedBytes | None:
        """Return the receipt of a clip, if it has one."""
        return self._receipts.get(stored.key)

    def quarantine(
        self,
        partial: Partial,
        reasons: Sequence[str],
        utc_ns: int,
        unreadable: Sequence[UnreadableRange] = (),
    ) -> Quarantined:
        """Set what was fetched apart, with the reasons."""
        ours = self.require_open(partial)
        with self._lock:
            self.allow(0)
            ours.clip_files.sync()
            note = QuarantineNote(tuple(reasons), format_utc(utc_ns), ours.expected_bytes, tuple(unreadable))
            found = self._place_apart(ours.clip_files, ours.key, note)
            ours.discard()
        return found

    def quarantined(self) -> tuple[Quarantined, ...]:
        """List what lies apart."""
        return tuple(
            Quarantined(clip.key, clip.place, clip.note, receipted=place in self._apart_receipts)
            for place, (clip, _) in sorted(self._apart.items(), key=lambda item: item[0])
        )

    def read_quarantined(self, clip: Quarantined) -> tuple[Manifest, tuple[NamedBlob, ...], Reread]:
        """Read back what lies apart, unjudged."""
        files = self._apart[clip.key.device, clip.place][1]
        try:
            manifest = decode(bytes(files.content.get(MANIFEST, b"")), Manifest)
        except DocumentError as error:
            raise StoreError(f"{clip.place} has no manifest that can be read") from error
        return (manifest, *receiptable(*digests_of(files)))

    def attach_quarantine_receipt(self, clip: Quarantined, receipt: SignedBytes) -> None:
        """Keep the receipt of a clip that was released from quarantine."""
        self.allow(len(receipt.document))
        self._apart_receipts.setdefault((clip.key.device, clip.place), receipt)

    def quarantine_receipt_of(self, clip: Quarantined) -> SignedBytes | None:
        """Return it."""
        return self._apart_receipts.get((clip.key.device, clip.place))

    def keep_head(self, head: SignedBytes, trust: Trust) -> HeadVerdict:
        """Judge a camera's signed head by those kept, and keep it if it is the highest of its epoch."""
        shown = read_shown_head(head, trust)
        with self._lock:
            verdict = judge_head(self.heads(shown.device), shown)
            if verdict.keep:
                self.allow(0)
                self._heads[shown.device, shown.epoch] = shown
        return verdict

    def heads(self, device: str | None = None) -> tuple[Head, ...]:
        """Return the highest head of each epoch."""
        return tuple(head for place, head in sorted(self._heads.items()) if device in (None, place[0]))

    def keep_tombstone(self, files: Mapping[str, bytes], trust: Trust) -> tuple[Tombstone, Conflict | None]:
        """Keep what is left of a clip that its camera released."""
        manifest = decode(files[MANIFEST], Manifest)
        with tempfile.TemporaryDirectory() as directory:  # what judges tombstones reads directories
            place = Path(directory) / manifest.clip
            place.mkdir()
            for name, data in files.items():
                (place / Path(name).name).write_bytes(data)
            stone = read_tombstone(place, trust.roots)
        digest = hashlib.sha256(files[MANIFEST]).hexdigest()
        with self._lock:
            self.allow(0)
            kept = self._tombstones.setdefault((manifest.device, manifest.clip), [])
            if all(each != digest for each, _ in kept):
                kept.append((digest, stone))
            first = kept[0][0]
        other = ClipKey(manifest.device, manifest.clip, first)
        return stone, None if first == digest else Conflict("manifest", other)

    def tombstones(self) -> Iterator[tuple[Manifest, str]]:
        """Yield the kept tombstones."""
        for kept in self._tombstones.values():
            yield kept[0][1].manifest, kept[0][1].receipt.store

    def disposals(self) -> Iterator[Disposal]:
        """Yield the records of lawful deletions."""
        yield from self._records

    def close(self) -> None:
        """End all fetches."""
        self._open.clear()

    def require_open(self, partial: Partial) -> MemoryPartial:
        """Require that a fetch is one of this store, and not closed."""
        if not isinstance(partial, MemoryPartial) or self._open.get(partial.key) is not partial:
            raise StoreError("the fetch is closed, or of another store", found=partial.key.clip)
        return partial

    def end(self, partial: MemoryPartial, *, delete: bool) -> None:
        """End a fetch."""
        with self._lock:
            self._open.pop(partial.key, None)
            if delete:
                self._partials.pop(partial.key, None)

    def _free(self) -> int:
        held = (*self._partials.values(), *self._clips.values(), *(files for _, files in self._apart.values()))
        return max(0, self._total_bytes - sum(files.total for files in held))

    def _stored(self, files: MemoryFiles) -> StoredClip:
        content = bytes(files.content.get(MANIFEST, b""))
        stored = stored_of(decode(content, Manifest), content, receipted=False)
        return (
            stored_of(decode(content, Manifest), content, receipted=True)
            if stored.key in self._receipts
            else stored
        )

    def _conflicts(self, manifest: Manifest, key: ClipKey) -> Iterator[Conflict]:
        for other in self.clips():
            if isinstance(other, DamagedClip) or other.key == key:
                continue
            if (other.key.device, other.epoch, other.number) == (key.device, manifest.epoch, manifest.number):
                what = "line 0" if other.start_sha256 != manifest.start_sha256 else "manifest"
                yield Conflict(what, other.key)

    def _set_apart(self, files: MemoryFiles, key: ClipKey, reason: str, utc_ns: int) -> Quarantined:
        note = QuarantineNote((reason[:1000],), format_utc(utc_ns), files.total)
        return self._place_apart(files, key, note)

    def _place_apart(self, files: MemoryFiles, key: ClipKey, note: QuarantineNote) -> Quarantined:
        count, place = 1, key.clip
        while (key.device, place) in self._apart:
            there = self._apart[key.device, place][0]
            if there.key == key and (key.device, place) not in self._apart_receipts:
                break
            count += 1
            place = f"{key.clip}.{count}"
        apart = Quarantined(key, place, note, receipted=False)
        self._apart[key.device, place] = (apart, files)
        return apart
