"""Letting clips go: never without a durable receipt, and never without a tombstone.

A receipt that is good makes a clip *releasable*: `receipt.p7s`, then `receipt.json`, whose presence counts. It
is deleted once the policy's hold time is over, or earlier, the oldest first, while space is needed. The hold is
measured on the monotonic clock within the boot that the receipt names, by UTC across boots; where neither
tells, a clip stays until its space is needed. UTC that nobody vouches for (`system`) tells nothing.
"""

import logging
import threading
import time
from collections.abc import Callable

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from device.vault.layout import VaultLayout
from device.vault.receipts import ReceiptRefusedError, check_receipt
from device.vault.recovery import PostLog
from device.vault.sealed import SealedFacts, SealedShelf
from device.vault.tombstones import bury, dig, finish_burials
from device.vault.trust import AgencyTrust
from docklink.messages import ClipState
from evidence.attestations import read_bounded
from evidence.clock import ClockSource, UtcMapping, parse_utc
from evidence.cms import CMS_LIMIT_BYTES
from evidence.documents import Receipt, Verdict
from evidence.errors import EvidenceError, ExplainedError
from evidence.storage import StorageError, publish_file

__all__ = ["HoldClock", "Releases", "held_ns"]

_log = logging.getLogger(__name__)


class HoldClock(msgspec.Struct, frozen=True):
    """The moment at which a hold time is judged: both clocks, and the boot that the monotonic one is of."""

    boot: str
    mapping: UtcMapping


def held_ns(receipt: Receipt, now: HoldClock) -> int | None:
    """Return how long a clip has surely been held since its receipt, `None` where no clock tells."""
    if receipt.boot == now.boot:
        return now.mapping.monotonic_ns - receipt.monotonic_ns
    if now.mapping.utc_ns is None or now.mapping.source in (ClockSource.NONE, ClockSource.SYSTEM):
        return None
    return now.mapping.utc_ns - (now.mapping.error_ns or 0) - parse_utc(receipt.utc)


class _Releasable(msgspec.Struct, frozen=True):
    facts: SealedFacts
    receipt: Receipt
    taken_ns: int | None = None  # by our own clock, if it came in this run


class Releases:
    """The states of all clips, and their way out. Thread-safe; one receipt or release at a time."""

    def __init__(
        self,
        layout: VaultLayout,
        public_key: ec.EllipticCurvePublicKey,
        trust: Callable[[], AgencyTrust],
        post_log: PostLog,
        *,
        recovery_state: Callable[[str], str | None] = lambda _: None,
        writing: Callable[[], bool] = lambda: False,
        give_up_reserve: Callable[[], None] = lambda: None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Take a vault.

        Args:
            layout: where things lie.
            public_key: our own, of manifests.
            trust: whom receipts count from, now.
            post_log: takes events for the event log.
            recovery_state: `RecoveryReport.state_of`.
            writing: whether the writer of a clip is at work.
            give_up_reserve: makes room for a receipt or a tombstone on a full storage.
            now_ns: the monotonic clock.
        """
        self.shelf = SealedShelf(layout.clips, layout.tombstones, public_key)
        self._layout = layout
        self._trust = trust
        self._post_log = post_log
        self._recovery_state = recovery_state
        self._writing = writing
        self._give_up_reserve = give_up_reserve
        self._now_ns = now_ns
        self._lock = threading.RLock()
        self._releasable: dict[str, _Releasable] | None = None
        self._half_done = False

    def state_of(self, clip: str) -> ClipState | None:
        """Say how far a clip has come, `None` if there is none of that name.

        Raises:
            StorageError: storage does not answer.
        """
        if not (self._layout.clips / clip).is_dir():
            return ClipState.RELEASED if (self._layout.tombstones / clip).is_dir() else None
        if self._recovery_state(clip) is not None:
            return ClipState.RECOVERING
        if self.shelf.clip(clip) is not None:
            return ClipState.RELEASABLE if clip in self._all_releasable() else ClipState.SEALED
        sealed = (self._layout.clips / clip / "manifest.json").exists()
        return ClipState.RECORDING if self._writing() and not sealed else ClipState.RECOVERING

    def accept(self, clip: str, document: bytes, cms: bytes) -> None:
        """Take a receipt; when this returns the clip is releasable, durably, or released already.

        The first good receipt stays; a second one is checked and changes nothing.

        Raises:
            ReceiptRefusedError: it is not good, or there is no sealed clip that it could be for.
            StorageError: storage refuses; the clip is not releasable.
        """
        with self._lock:
            here = (self._layout.clips / clip).is_dir()
            facts = self.shelf.clip(clip) if here else self.shelf.tombstone(clip)
            if facts is None:
                raise ReceiptRefusedError("there is no sealed clip of that name", found=clip)
            receipt = self._check(facts, document, cms, measurable=here)
            if not here or clip in self._all_releasable():
                return
            self._keep_room(lambda: self._publish(clip, document, cms))
            self._all_releasable()[clip] = _Releasable(facts, receipt, self._now_ns())
            self._log_receipt(receipt)

    def finish(self) -> None:
        """Finish what an earlier run left half done.

        Raises:
            StorageError: storage refuses; the next run tries again.
        """
        with self._lock:
            for clip in finish_burials(self._layout):
                self._post_log("released", self._now_ns(), {"clip": clip, "cause": "resumed"}, urgent=True)
            for name, _ in self._oldest_first():
                if (self._layout.tombstones / name).is_dir():
                    self._release_one(name, "resumed")
            self._half_done = False

    def release(self, now: HoldClock, hold_ns: int, space_needed: Callable[[], bool]) -> tuple[str, ...]:
        """Release what is due, oldest first; returns what was released.

        What storage or a damaged file refuses is logged and stays, and keeps none of the others.

        Raises:
            StorageError: the vault cannot be read.
        """
        released = []
        with self._lock:
            if self._half_done:
                self.finish()
            for name, held in self._oldest_first():
                cause = "hold" if self._is_due(held, now, hold_ns) else "space"
                if cause == "space" and not space_needed():
                    continue
                if self._release_one(name, cause):
                    released.append(name)
        return tuple(released)

    def _is_due(self, held: _Releasable, now: HoldClock, hold_ns: int) -> bool:
        if hold_ns == 0:
            return True
        since_ns = held_ns(held.receipt, now)
        if since_ns is not None and held.taken_ns is not None:
            since_ns = min(since_ns, now.mapping.monotonic_ns - held.taken_ns)
        return since_ns is not None and since_ns >= hold_ns

    def _release_one(self, name: str, cause: str) -> bool:
        try:
            receipt = self._read_receipt(name)
            if receipt is None:
                self._all_releasable().pop(name, None)
                return False
            facts = self._all_releasable()[name].facts
            self._keep_room(lambda: dig(self._layout, name, facts.start_sha256))
            detail = {"clip": name, "cause": cause, "store": receipt.store, "verdict": str(receipt.verdict)}
            self._post_log("released", self._now_ns(), detail, urgent=True)
            bury(self._layout, name)
        except ExplainedError as error:
            _log.error("releasing %s: %s", name, error)
            self._alarm(name, "release", str(error))
            self._half_done = True
            if not isinstance(error, StorageError):
                self._all_releasable().pop(name, None)  # it will be no better the next time
            return False
        self._all_releasable().pop(name, None)
        return True

    def _oldest_first(self) -> list[tuple[str, _Releasable]]:
        def age(item: tuple[str, _Releasable]) -> tuple[int, int]:
            place = item[1].facts.place
            return place.generation, place.number

        return sorted(self._all_releasable().items(), key=age)

    def _all_releasable(self) -> dict[str, _Releasable]:
        """Return the clips that have a good receipt; looked through once, kept up to date from then on."""
        with self._lock:
            if self._releasable is None:
                found: dict[str, _Releasable] = {}
                for path in sorted(self._layout.clips.glob("[!.]*/receipt.json")):
                    name = path.parent.name
                    facts, receipt = self.shelf.clip(name), self._read_receipt(name)
                    if facts is not None and receipt is not None:
                        found[name] = _Releasable(facts, receipt)
                self._releasable = found
            return self._releasable

    def _read_receipt(self, name: str) -> Receipt | None:
        """Read a clip's receipt again and check it in full; one that is not good counts as none."""
        directory = self._layout.clips / name
        facts = self.shelf.clip(name)
        if facts is None:
            return None
        try:
            document = read_bounded(directory / "receipt.json")
            cms = read_bounded(directory / "receipt.p7s", CMS_LIMIT_BYTES)
            return self._check(facts, document, cms, measurable=True)
        except OSError as error:
            _log.error("receipt of %s: %s", name, error.strerror)
        except StorageError as error:
            _log.error("receipt of %s: %s", name, error)
        except (EvidenceError, ReceiptRefusedError) as error:
            self._alarm(name, "receipt", str(error))
        return None

    def _check(self, facts: SealedFacts, document: bytes, cms: bytes, *, measurable: bool) -> Receipt:
        name = facts.place.clip
        receipt = check_receipt(
            document,
            cms,
            facts,
            self._trust(),
            lambda file: self.shelf.digest(name, file) if measurable else facts.files[file],
        )
        if measurable and receipt.verdict is Verdict.STORED:
            self._check_sizes(facts)
        return receipt

    def _check_sizes(self, facts: SealedFacts) -> None:
        """Hold what lies here against what was sealed: a store that read something else holds another clip."""
        for name, figures in facts.files.items():
            path = self._layout.clips / facts.place.clip / name
            try:
                size = path.stat().st_size
            except OSError as error:
                raise StorageError(f"cannot look at {name}", error) from error
            if size != figures.bytes:
                raise ReceiptRefusedError(
                    f"{name} is not as it was sealed",
                    expected=f"{figures.bytes} bytes",
                    found=f"{size} bytes",
                    remedy="the clip belongs into quarantine",
                )

    def _publish(self, clip: str, document: bytes, cms: bytes) -> None:
        directory = self._layout.clips / clip
        publish_file(directory / "receipt.p7s", cms)
        publish_file(directory / "receipt.json", document)

    def _keep_room(self, work: Callable[[], None]) -> None:
        """Do it; a full storage costs the reserve, once."""
        try:
            work()
        except StorageError as error:
            if not error.full:
                raise
            self._give_up_reserve()
            work()

    def _log_receipt(self, receipt: Receipt) -> None:
        detail: dict[str, str | int | bool | None] = {
            "clip": receipt.clip,
            "store": receipt.store,
            "verdict": str(receipt.verdict),
            "custody_entries": receipt.custody.entries,
            "custody_head": receipt.custody.head,
        }
        self._post_log("receipt", self._now_ns(), detail, urgent=True)

    def _alarm(self, clip: str, what: str, detail: str) -> None:
        self._post_log(
            "integrity", self._now_ns(), {"clip": clip, "what": what, "detail": detail[:500]}, urgent=True
        )
