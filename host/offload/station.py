"""What all bays of a dock share, and what one bay remembers of a camera as long as it is docked."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.cms import CmsSigner
from evidence.documents import CustodyHead, Head
from evidence.signer import Signer
from evidence.storage import StorageError
from host.catalogue import Catalogue, CatalogueIndex
from host.catalogue.rows import camera_row, clip_row, quarantined_row
from host.custody import CustodyLog
from host.offload.accounts import Accounts
from host.offload.devicelog import DeviceLogs
from host.offload.notices import Notice, NoticeBoard
from host.offload.salvage import Salvage
from host.offload.slots import Turns
from host.store import ClipKey, EvidenceStore, Intake, Quarantined, StoredClip, Trust
from host.upkeep import Upkeep, UpkeepMemory

__all__ = ["Docking", "Notice", "Station"]

_BREAKS_UNTIL_MISTRUST = 3
_BREAKS_UNTIL_LEFT = 8
_CONFIRMED = "receipt_accepted"


class Docking:
    """One camera in one bay, from its arrival to its departure; sessions come and go meanwhile."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.breaks: Counter[str] = Counter()
        self.tails: Counter[ClipKey] = Counter()
        """How many bytes of `tail.bin` were fetched; this process wrote them, so no power cut came after."""
        self.upkeep = UpkeepMemory()
        self._mistrusted: set[ClipKey] = set()
        self._journal: tuple[ClipKey, bytearray] | None = None
        self._reached: Counter[str] = Counter()
        self._salvages: dict[ClipKey, Salvage] = {}

    def salvage(self, key: ClipKey) -> Salvage:
        """Return how far the ciphertext of a clip was fetched as it is."""
        return self._salvages.setdefault(key, Salvage())

    def begun_journal(self, key: ClipKey) -> bytearray:
        """Return what was fetched of a clip's journal in this docking, to go on with; of one clip at a time."""
        if self._journal is None or self._journal[0] != key:
            self._journal = (key, bytearray())
        return self._journal[1]

    def end_journal(self) -> None:
        """Forget what was fetched: it is whole, or was wrong."""
        self._journal = None

    def broke(self, clip: str, *, reached_bytes: int) -> None:
        """Note that a session broke in the middle of a clip: others come first then.

        It is progress to have come further than ever; to the same byte again, from a sync point, is none.
        """
        if reached_bytes > self._reached[clip]:
            self._reached[clip] = reached_bytes
            self.breaks[clip] = min(self.breaks[clip], 1)
        else:
            self.breaks[clip] += 1

    def leaves(self, clip: str) -> bool:
        """Whether a clip is left alone until the camera comes again: session after session broke at it."""
        return self.breaks[clip] >= _BREAKS_UNTIL_LEFT

    def mistrust(self, key: ClipKey) -> None:
        """Fetch this clip from now on as it is, and let verification judge."""
        self._mistrusted.add(key)

    def mistrusts(self, key: ClipKey) -> bool:
        """Whether the camera gave something else than it signed for, or broke off again and again."""
        return key in self._mistrusted or self.breaks[key.clip] >= _BREAKS_UNTIL_MISTRUST


class Station:
    """The store with everything around it. Thread-safe."""

    def __init__(
        self,
        store: EvidenceStore,
        custody: CustodyLog,
        signer: Signer,
        trust: Trust,
        *,
        dock_id: str,
        index: CatalogueIndex | None = None,
        logs: DeviceLogs | None = None,
        board: NoticeBoard | None = None,
        upkeep: Upkeep | None = None,
        offloads: int = 8,
        part_bytes: int = 8 * 1024 * 1024,
        patience_s: float = 5.0,
        clock_error_ns: int = 100_000_000,
        now_utc_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Read what the store and its log hold.

        Raises:
            StorageError: they cannot be read.
        """
        self.store = store
        self.custody = custody
        self.signer = signer
        self.trust = trust
        self.dock_id = dock_id
        self.intake = Intake(store, custody, signer, trust)
        self.turns = Turns(offloads, patience_s=patience_s, now_s=lambda: monotonic_ns() / 1e9)
        self.part_bytes = part_bytes
        self.clock_error_ns = clock_error_ns
        self.now_utc_ns = now_utc_ns
        self.monotonic_ns = monotonic_ns
        self.accounts = Accounts(store)
        self.logs = logs
        self.upkeep = upkeep or Upkeep()
        self._heads: dict[str, tuple[str, ec.EllipticCurvePublicKey]] = {}
        self._index = index
        self._lock = threading.Lock()
        self.board = board or NoticeBoard(now_utc_ns=now_utc_ns, monotonic_ns=monotonic_ns)
        self._quarantined: dict[ClipKey, Quarantined] = {each.key: each for each in store.quarantined()}
        self._confirmed = set(custody.manifests(_CONFIRMED))

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was announced last, the oldest first."""
        return self.board.notices

    def announce(self, kind: str, key: ClipKey | str | None, detail: str) -> None:
        """Tell people; the same thing is told once, and again after an hour."""
        device, clip = (key.device, key.clip) if isinstance(key, ClipKey) else (key, None)
        self.board.announce(kind, device, clip, detail)

    def log(
        self, kind: str, *, device: str | None, detail: Mapping[str, str | int | bool | None]
    ) -> int | None:
        """Append to the custody log; returns the entry's index. An alarm is announced where storage refuses."""
        try:
            head = self.custody.append(kind, utc_ns=self.now_utc_ns(), device=device, detail=detail)
        except StorageError as error:
            self.announce("fault", device, f"the custody log does not take {kind}: {error}")
            return None
        return head.entries

    def quarantined(self, key: ClipKey) -> Quarantined | None:
        """Return the clip from quarantine, if it lies there."""
        with self._lock:
            return self._quarantined.get(key)

    def all_quarantined(self) -> tuple[Quarantined, ...]:
        """List what lies apart, from the store."""
        return self.store.quarantined()

    def note_quarantine(self, apart: Quarantined | None) -> None:
        """Take note of a clip that was set apart, or whose receipt was given."""
        if apart is None:
            return
        with self._lock:
            self._quarantined[apart.key] = apart
        self.note(lambda catalogue: catalogue.put_clip(quarantined_row(apart)))

    def note_stored(self, stored: StoredClip, *, new: bool, custody: CustodyHead | None = None) -> None:
        """Take note of a clip in its place; `custody` is the head that its receipt names."""
        self.accounts.add(stored)
        row = msgspec.structs.replace(clip_row(stored), receipted=True)
        self.note(lambda catalogue: catalogue.put_clip(row))
        how = "stored" if new else "found in the store"
        self.board.tell("clip_stored", stored.key.device, stored.key.clip, how, custody)

    def note_head(self, head: Head, signer: CmsSigner) -> None:
        """Take note of a camera's head, which was verified, and of the key that signed it."""
        key = signer.leaf.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)  # `verify_cms` used it
        with self._lock:
            self._heads[head.device] = (head.epoch, key)
        self.note(lambda catalogue: catalogue.put_camera(camera_row(head)))

    def head_signed_by(self, device: str) -> tuple[str, ec.EllipticCurvePublicKey] | None:
        """Return the epoch and the key of a camera's last good head."""
        with self._lock:
            return self._heads.get(device)

    def note(self, change: Callable[[Catalogue], None]) -> None:
        """Put something into the catalogue, if there is one that takes it."""
        if self._index is not None:
            self._index.note(change)

    def is_confirmed(self, key: ClipKey) -> bool:
        """Whether the log says that the camera holds the receipt."""
        with self._lock:
            return key.manifest_sha256 in self._confirmed

    def confirm(self, key: ClipKey, utc_ns: int) -> None:
        """Log, once for each clip, that its camera holds the receipt.

        Raises:
            StorageError: storage refuses.
        """
        with self._lock:
            if key.manifest_sha256 in self._confirmed:
                return
            self.custody.append(
                _CONFIRMED,
                utc_ns=utc_ns,
                device=key.device,
                clip=key.clip,
                manifest_sha256=key.manifest_sha256,
            )
            self._confirmed.add(key.manifest_sha256)
