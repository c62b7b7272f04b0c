"""What an evidence store is, whatever it is made of: the file system now, others later.

Calls that change something return once it is durable. All may raise `StorageError` (the storage is full,
read-only, failing or gone); nothing is lost then, and the call may be made again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.attestations import Tombstone
from evidence.documents import Disposal, Head, Manifest, NamedBlob, Reread, UnreadableRange
from host.store.heads import HeadVerdict
from host.store.readback import ClipFiles, Trust
from host.store.values import (
    ClipKey,
    Conflict,
    Held,
    Publication,
    Quarantined,
    ReadBack,
    SignedBytes,
    Space,
    StoredClip,
    StoreHealth,
)

__all__ = ["DamagedClip", "EvidenceStore", "Partial", "PartialWriter", "VerifiedClip"]


class PartialWriter(Protocol):
    """Appends to one file of a fetch; what was appended is synced every few MiB, and at `close` by no means."""

    @property
    def size_bytes(self) -> int:
        """Bytes of the file so far (not: on storage)."""

    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data` behind what is there."""

    def sync(self) -> None:
        """Return once everything appended is on storage."""

    def close(self) -> None:
        """Let go of the file; promises nothing about storage."""


class Partial(Protocol):
    """A clip being fetched; it survives the process, and is resumed by whoever opens it again."""

    @property
    def key(self) -> ClipKey:
        """Which clip."""

    @property
    def files(self) -> ClipFiles:
        """What there is, read from storage."""

    def put(self, name: str, data: bytes) -> None:
        """Store a small file whole (manifest, signature, journal), durably, in place of one that was there."""

    def writer(self, name: str, start: int) -> PartialWriter:
        """Go on with a large file (ciphertext, tail) at a byte; what lies beyond is cut off."""

    def resume_point(self, manifest: Manifest, public_key: ec.EllipticCurvePublicKey) -> int:
        """Return from which byte of the ciphertext to go on, by what storage really holds; 0 without a journal.

        Raises:
            TamperedError: the journal that was fetched is not good; fetch it again.
        """

    def follow(self, manifest: Manifest, public_key: ec.EllipticCurvePublicKey) -> None:
        """Allow that the ciphertext is read back from storage beside the writer that is opened next.

        `manifest` was found good, `public_key` is its camera's, and the journal was `put`. A large fetch ends
        sooner then; what `verify` promises is the same.
        """

    def discard(self) -> None:
        """Delete what was fetched, and close."""

    def close(self) -> None:
        """Stop fetching for now: what was fetched stays, the promise of space ends."""


class VerifiedClip(msgspec.Struct, frozen=True):
    """A fetched clip that was synced, read back from storage and found good; only `verify` makes one."""

    partial: Partial
    read_back: ReadBack


class DamagedClip(msgspec.Struct, frozen=True):
    """A directory among the clips that cannot be read as one; it is kept, and shown."""

    place: str
    reason: str


class EvidenceStore(Protocol):
    """Keeps clips for good. Thread-safe; one process at a time."""

    @property
    def store_id(self) -> str:
        """The store's id, as it stands in receipts."""

    def space(self) -> Space:
        """Room that is there, promised, and to stay free."""

    def health(self) -> StoreHealth:
        """What can be done now; never raises."""

    def partials(self) -> tuple[ClipKey, ...]:
        """Fetches that were begun and not finished."""

    def open_partial(self, key: ClipKey, expected_bytes: int) -> Partial:
        """Begin or resume a fetch, and promise it the space that it still needs.

        Raises:
            StoreFullError: it does not fit; nothing was begun.
            StoreError: somebody fetches this clip already.
        """

    def verify(
        self, partial: Partial, trust: Trust, advance: Callable[[int], object] = lambda _: None
    ) -> VerifiedClip:
        """Sync what was fetched, read it back from storage, verify it.

        Raises:
            VerificationError: it is not a clip that its camera signed.
        """

    def publish(self, verified: VerifiedClip, trust: Trust, utc_ns: int) -> Publication:
        """Put a verified clip in its place, atomically; the partial is gone from then on."""

    def find(self, key: ClipKey) -> StoredClip | None:
        """Return a clip that is in its place."""

    def clips(self) -> Iterator[StoredClip | DamagedClip]:
        """Yield all clips in their places, by device and name."""

    def confirm(
        self, stored: StoredClip, trust: Trust, advance: Callable[[int], object] = lambda _: None
    ) -> Held:
        """Sync and read back a clip that is in its place, as after a crash between publishing and receipt.

        Raises:
            VerificationError: it is damaged.
        """

    def attach_receipt(self, held: Held, receipt: SignedBytes) -> None:
        """Keep a receipt with its clip; one that is there stays."""

    def receipt_of(self, stored: StoredClip) -> SignedBytes | None:
        """Return the receipt of a clip, if it has one."""

    def quarantine(
        self,
        partial: Partial,
        reasons: Sequence[str],
        utc_ns: int,
        unreadable: Sequence[UnreadableRange] = (),
    ) -> Quarantined:
        """Set what was fetched apart, with the reasons; again for the same clip, the newer takes its place."""

    def quarantined(self) -> tuple[Quarantined, ...]:
        """List what lies apart."""

    def read_quarantined(self, clip: Quarantined) -> tuple[Manifest, tuple[NamedBlob, ...], Reread]:
        """Sync and read back what lies apart, unjudged: its manifest, the digests of its files, the way.

        Raises:
            StoreError: its manifest cannot be read or another file is missing: no receipt can be for it.
        """

    def attach_quarantine_receipt(self, clip: Quarantined, receipt: SignedBytes) -> None:
        """Keep the receipt of a clip that was released from quarantine."""

    def quarantine_receipt_of(self, clip: Quarantined) -> SignedBytes | None:
        """Return it."""

    def keep_head(self, head: SignedBytes, trust: Trust) -> HeadVerdict:
        """Judge a camera's signed head by those kept, and keep it if it is the highest of its epoch.

        Raises:
            EvidenceError: it is not good.
        """

    def heads(self, device: str | None = None) -> tuple[Head, ...]:
        """Return the highest head of each epoch."""

    def keep_tombstone(self, files: Mapping[str, bytes], trust: Trust) -> tuple[Tombstone, Conflict | None]:
        """Keep what is left of a clip that its camera released, on the word of some store of the agency.

        Raises:
            EvidenceError: it is not good.
        """

    def tombstones(self) -> Iterator[tuple[Manifest, str]]:
        """Yield the kept tombstones: the manifest, and the id of the store whose receipt it is."""

    def disposals(self) -> Iterator[Disposal]:
        """Yield the records of lawful deletions."""

    def close(self) -> None:
        """Let another agent open the store."""
