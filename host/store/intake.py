"""From a fetched clip to a receipt that may be handed out, in the one order that loses nothing.

    fetched → synced, read back, verified → published → custody entry → receipt, kept → handed out

Killed at any step and started again, it ends with one copy, one custody trail and one receipt.
"""

from collections.abc import Callable

import msgspec

from evidence.documents import CustodyHead, UnreadableRange
from evidence.signer import Signer
from host.custody.log import CustodyLog
from host.store.protocol import EvidenceStore, Partial
from host.store.readback import Trust
from host.store.receipts import CameraMoment, issue_quarantine_receipt, issue_receipt
from host.store.values import (
    CIPHERTEXT,
    ClipKey,
    Conflict,
    Held,
    Publication,
    Quarantined,
    SignedBytes,
    StoredClip,
)

__all__ = ["Intake", "Taken"]


class Taken(msgspec.Struct, frozen=True):
    """A clip that the store holds, and its receipt; with conflicts somebody has to be told.

    `quarantined` is set, and `receipt` is not, if the clip has the name of another one.
    """

    stored: StoredClip | None
    receipt: SignedBytes | None
    new: bool
    conflicts: tuple[Conflict, ...] = ()
    quarantined: Quarantined | None = None


class Intake:
    """Takes clips into one store, with its custody log and the dock's receipt key. Thread-safe."""

    def __init__(self, store: EvidenceStore, custody: CustodyLog, signer: Signer, trust: Trust) -> None:
        self._store = store
        self._custody = custody
        self._signer = signer
        self._trust = trust

    def present(self, key: ClipKey, moment: CameraMoment) -> Taken | None:
        """Return what is held of a clip, with its receipt; `None` means: fetch it.

        A clip whose receipt a crash prevented is read back again first. One that turns out damaged counts as
        absent; a new fetch then takes its place.

        Raises:
            VerificationError: the copy in the store is damaged.
            StorageError: storage refuses.
        """
        stored = self._store.find(key)
        if stored is None:
            return None
        receipt = self._store.receipt_of(stored)
        if receipt is None:
            held = self._store.confirm(stored, self._trust)
            return self._sign(held, moment, new=False)
        return Taken(stored, receipt, new=False)

    def take(
        self, partial: Partial, moment: CameraMoment, advance: Callable[[int], object] = lambda _: None
    ) -> Taken:
        """Verify what was fetched, publish it, log it, sign for it.

        Raises:
            VerificationError: it is no clip that its camera signed; quarantine it.
            StorageError: storage refuses; call again, or `present` after a restart.
        """
        verified = self._store.verify(partial, self._trust, advance)
        done = self._store.publish(verified, self._trust, moment.utc_ns)
        if done.held is None:
            self._log_conflicts(done, verified.partial.key, moment)
            return Taken(None, None, new=True, conflicts=done.conflicts, quarantined=done.quarantined)
        if done.conflicts:
            self._log_conflicts(done, done.held.stored.key, moment)
        return self._sign(done.held, moment, new=done.new, conflicts=done.conflicts)

    def set_apart(
        self,
        partial: Partial,
        reasons: tuple[str, ...],
        moment: CameraMoment,
        unreadable: tuple[UnreadableRange, ...] = (),
    ) -> Quarantined:
        """Put a clip that did not verify into quarantine, with what its camera could not read, and log it.

        Raises:
            StorageError: storage refuses.
        """
        apart = self._store.quarantine(partial, reasons, moment.utc_ns, unreadable)
        self._log_quarantine(apart, moment, reasons[0] if reasons else "")
        return apart

    def release(self, clip: Quarantined, reason: str, operator: str, moment: CameraMoment) -> SignedBytes:
        """Give a clip in quarantine its receipt, on a named operator's word.

        Raises:
            StoreError: its manifest cannot be read, or another file is missing.
            StorageError: storage refuses.
        """
        there = self._store.quarantine_receipt_of(clip)
        if there is not None:
            return there
        read = self._store.read_quarantined(clip)
        head = self._logged(
            "quarantine_released", clip.key, moment, once=True, operator=operator, reason=reason
        )
        return issue_quarantine_receipt(
            self._store, clip, read, custody=head, moment=moment, signer=self._signer
        )

    def _sign(
        self, held: Held, moment: CameraMoment, *, new: bool, conflicts: tuple[Conflict, ...] = ()
    ) -> Taken:
        whole = next((file for file in held.read_back.files if file.name == CIPHERTEXT), None)
        head = self._logged(
            "clip_stored",
            held.stored.key,
            moment,
            once=not new,
            epoch=held.stored.epoch,
            number=held.stored.number,
            bytes=whole.bytes if whole else 0,
            sha256=whole.sha256 if whole else None,
            reread=held.read_back.way.value,
        )
        receipt = issue_receipt(self._store, held, head, moment, self._signer)
        return Taken(held.stored, receipt, new=new, conflicts=conflicts)

    def _logged(
        self, kind: str, key: ClipKey, moment: CameraMoment, *, once: bool, **detail: str | int | bool | None
    ) -> CustodyHead:
        """Log something; if it can only happen `once`, an entry from before a crash counts (this scans)."""
        there = self._custody.find(kind, key.manifest_sha256) if once else None
        return there or self._custody.append(
            kind,
            utc_ns=moment.utc_ns,
            device=key.device,
            clip=key.clip,
            manifest_sha256=key.manifest_sha256,
            detail=detail,
        )

    def _log_quarantine(self, apart: Quarantined, moment: CameraMoment, reason: str) -> None:
        self._custody.append(
            "clip_quarantined",
            utc_ns=moment.utc_ns,
            device=apart.key.device,
            clip=apart.key.clip,
            manifest_sha256=apart.key.manifest_sha256,
            detail={"place": apart.place, "reason": reason[:1000]},
        )

    def _log_conflicts(self, done: Publication, key: ClipKey, moment: CameraMoment) -> None:
        for conflict in done.conflicts:
            self._logged(
                "fork",
                key,
                moment,
                once=True,
                what=conflict.what.replace(" ", "_"),
                other=conflict.other.clip,
                other_manifest=conflict.other.manifest_sha256,
            )
        if done.quarantined:
            self._log_quarantine(done.quarantined, moment, "another clip has its name")
