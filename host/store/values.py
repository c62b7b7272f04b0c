"""Values that stores take and give. A step that needs the one before it takes that step's value as argument."""

import enum
from typing import Annotated

import msgspec

from evidence.documents import Manifest, NamedBlob, Reread, UnreadableRange
from evidence.documents.fields import ClipName, Count, DeviceId, Digest, Text, Utc
from host.store.errors import StoreError

__all__ = [
    "CIPHERTEXT",
    "CLIP_FILES",
    "JOURNAL",
    "MANIFEST",
    "SIGNATURE",
    "TAIL",
    "ClipKey",
    "Conflict",
    "Held",
    "Publication",
    "QuarantineNote",
    "Quarantined",
    "ReadBack",
    "SignedBytes",
    "Space",
    "StoreHealth",
    "StoreState",
    "StoredClip",
    "clip_key",
]

CIPHERTEXT, JOURNAL, MANIFEST, SIGNATURE = "clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s"
TAIL = "tail.bin"
CLIP_FILES = (CIPHERTEXT, JOURNAL, MANIFEST, SIGNATURE)
"""The four files of a receipt, in its order; a clip may have `tail.bin` beside them."""


class ClipKey(msgspec.Struct, frozen=True, order=True):
    """Which clip: two clips are one exactly if their manifests are the same bytes."""

    device: DeviceId
    clip: ClipName
    manifest_sha256: Digest


def clip_key(device: str, clip: str, manifest_sha256: str) -> ClipKey:
    """Make a key of words that came from elsewhere: each is held against its grammar, so that paths are safe.

    Raises:
        StoreError: one is not in its grammar, or the name is of another device.
    """
    try:
        key = msgspec.convert((device, clip, manifest_sha256), tuple[DeviceId, ClipName, Digest])
    except msgspec.ValidationError as error:
        raise StoreError("not the key of a clip", found=ascii(str(error)[:120])[1:-1]) from error
    if clip.partition("-")[2].rpartition("-")[0] != device:
        raise StoreError("the clip's name is of another device", expected=device, found=clip)
    return ClipKey(*key)


class Space(msgspec.Struct, frozen=True):
    """Room in a store: free on its file system, promised to fetches under way, and to stay free."""

    total_bytes: int
    free_bytes: int
    promised_bytes: int
    reserve_bytes: int

    @property
    def available_bytes(self) -> int:
        """What a new fetch may take."""
        return max(0, self.free_bytes - self.promised_bytes - self.reserve_bytes)


class StoreState(enum.StrEnum):
    """What can be done with a store now."""

    READY = "ready"
    FULL = "full"
    READ_ONLY = "read_only"
    GONE = "gone"
    FAILING = "failing"


class StoreHealth(msgspec.Struct, frozen=True):
    """The state of a store, with the reason for people."""

    state: StoreState
    detail: str
    space: Space | None


class ReadBack(msgspec.Struct, frozen=True):
    """What was read again from storage, after it was synced: the proof that a receipt rests on."""

    files: tuple[NamedBlob, ...]
    way: Reread
    manifest: Manifest
    manifest_sha256: str


class StoredClip(msgspec.Struct, frozen=True):
    """A clip in its place in the store; its place in the numbering as its manifest says."""

    key: ClipKey
    epoch: str
    generation: int
    number: int
    start_sha256: str
    previous_start: str | None
    stored_bytes: int
    complete: bool
    receipted: bool


class Held(msgspec.Struct, frozen=True):
    """A clip in its place, durably, that was read back from storage: what a receipt may be signed for.

    Only a store makes one: by publishing what it verified, or by reading again what it has.
    """

    stored: StoredClip
    read_back: ReadBack


class Conflict(msgspec.Struct, frozen=True):
    """One number that was given twice: `what` is `line 0` (a fork) or `manifest`, `other` the clip before."""

    what: str
    other: ClipKey


class Publication(msgspec.Struct, frozen=True):
    """What publishing came to. `new` is false if the store had this clip already.

    With a conflict both are kept. `held` is `None` if the conflicting clip has the same name: this one then
    lies in quarantine, where a release finds it.
    """

    held: Held | None
    new: bool
    conflicts: tuple[Conflict, ...] = ()
    quarantined: "Quarantined | None" = None


class QuarantineNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`quarantine.json`: why a clip lies apart, since when, and what the camera could not read."""

    reasons: tuple[Text, ...]
    utc: Utc
    expected_bytes: Count
    unreadable: tuple[UnreadableRange, ...] = ()


class Quarantined(msgspec.Struct, frozen=True):
    """A clip in quarantine; `place` is the name of its directory."""

    key: ClipKey
    place: Annotated[str, "the name, with a suffix if several clips of that name lie there"]
    note: QuarantineNote
    receipted: bool


class SignedBytes(msgspec.Struct, frozen=True):
    """A signed document as it was received or will be sent: its exact bytes, and its CMS signature (DER)."""

    document: bytes
    cms: bytes
