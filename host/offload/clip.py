"""One clip on its way from a camera into the store: the actions behind the steps of `host.offload.machine`.

Whatever ends this, what was fetched stays in the store's `partial/`, and the next one to begin goes on there.
"""

import hashlib
from collections.abc import Callable
from contextlib import closing
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from docklink.client import DockClient
from docklink.errors import LinkError, ProtocolError
from docklink.httpclient import AnswerError
from docklink.messages import SignedDocument
from evidence.cms import CMS_LIMIT_BYTES
from evidence.documents import Manifest, Receipt, decode
from evidence.errors import EvidenceError, ExplainedError
from evidence.lines import TamperedError
from host.offload.machine import ENDINGS, Event, Step, failure_of, next_step
from host.offload.salvage import Salvage
from host.offload.station import Docking, Station
from host.store import (
    CameraMoment,
    ClipKey,
    Partial,
    SignedBytes,
    StoredClip,
    VerificationError,
    camera_manifest,
)
from host.store.protocol import PartialWriter
from host.store.values import CIPHERTEXT, JOURNAL, MANIFEST, SIGNATURE, TAIL

__all__ = ["ClipOffload", "Outcome", "Watch"]

_MANIFEST_LIMIT_BYTES = 16 * 1024 * 1024
_JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
_FOLLOW_FROM_BYTES = 4 * 1024 * 1024
"""Less is read back in no time once it is there."""


class Watch(msgspec.Struct, frozen=True):
    """Who hears of an offload: of each step before it is taken; of bytes done, and of how many, of a clip.

    `queue` hears of all clips that a session is going to take, in order, with their bytes.
    """

    step: Callable[[Step, str], object] = lambda _step, _clip: None
    progress: Callable[[str, int, int], object] = lambda _clip, _done, _total: None
    queue: Callable[[tuple[tuple[str, int], ...]], object] = lambda _clips: None


class Outcome(msgspec.Struct, frozen=True):
    """How it ended; `fetched_bytes` of large files came over the link this time, from `resumed_at` on.

    `reached_bytes` is how far the last of them has come.
    """

    clip: str
    ending: Step
    error: ExplainedError | None = None
    fetched_bytes: int = 0
    resumed_at: int = 0
    reached_bytes: int = 0


class ClipOffload:
    """Runs the steps for one clip of one session; use it once."""

    def __init__(
        self,
        camera: DockClient,
        key: ClipKey,
        station: Station,
        docking: Docking,
        *,
        announced_bytes: int,
        moment: Callable[[], CameraMoment],
        watch: Watch,
    ) -> None:
        self._camera = camera
        self._key = key
        self._station = station
        self._docking = docking
        self._announced_bytes = announced_bytes
        self._moment = moment
        self._watch = watch
        self._partial: Partial | None = None
        self._manifest: Manifest | None = None
        self._manifest_files: dict[str, bytes] = {}
        self._public_key: ec.EllipticCurvePublicKey | None = None
        self._stored: StoredClip | None = None
        self._receipt: SignedBytes | None = None
        self._reasons: list[str] = []
        self._fetched = 0
        self._resumed_at = 0
        self._reached = 0
        self._actions: Final = {
            Step.LOOK: self._look,
            Step.MANIFEST: self._fetch_manifest,
            Step.RESERVE: self._reserve,
            Step.JOURNAL: self._fetch_journal,
            Step.CIPHERTEXT: self._fetch_ciphertext,
            Step.TAIL: self._fetch_tail,
            Step.SALVAGE: self._salvage,
            Step.TAKE: self._take,
            Step.SET_APART: self._set_apart,
            Step.HAND_OVER: self._hand_over,
            Step.CONFIRM: self._confirm,
        }

    def run(self) -> Outcome:
        """Take the steps until an ending. The session has failed if `error` is a `LinkError`."""
        step, error = Step.LOOK, None
        try:
            while step not in ENDINGS:
                self._watch.step(step, self._key.clip)
                try:
                    event = self._actions[step]()
                except ExplainedError as failure:
                    event, error = failure_of(step, failure), failure
                    self._reasons.append(str(failure))
                step = next_step(step, event)
        finally:
            if self._partial:
                self._partial.close()
        return Outcome(self._key.clip, step, error, self._fetched, self._resumed_at, self._reached)

    def _look(self) -> Event:
        """See what the store has of it: the clip, a released or an unreleased one in quarantine, or nothing."""
        try:
            there = self._station.intake.present(self._key, self._moment())
        except VerificationError as error:
            self._station.announce("integrity_alarm", self._key, f"the copy in the store is damaged: {error}")
            return Event.DAMAGED
        if there is not None:
            self._stored, self._receipt = there.stored, there.receipt
            return Event.HELD
        apart = self._station.quarantined(self._key)
        if apart is None or self._key in self._station.store.partials():
            return Event.ABSENT
        self._receipt = self._station.store.quarantine_receipt_of(apart)
        return Event.RELEASED if self._receipt else Event.APART

    def _fetch_manifest(self) -> Event:
        """Fetch manifest and signature, and hold them against the agency before anything touches storage."""
        content = self._camera.read_file(
            self._key.clip, MANIFEST, limit_bytes=_MANIFEST_LIMIT_BYTES, sha256=self._key.manifest_sha256
        )
        cms = self._camera.read_file(self._key.clip, SIGNATURE, limit_bytes=CMS_LIMIT_BYTES)
        self._manifest_files = {SIGNATURE: cms, MANIFEST: content}
        self._manifest, self._public_key = camera_manifest(content, cms, self._key, self._station.trust)
        return Event.BAD if self._docking.mistrusts(self._key) else Event.GOOD

    def _reserve(self) -> Event:
        """Begin or resume the fetch; the sizes are those that the camera signed."""
        manifest = self._verified_manifest()
        blobs = (manifest.ciphertext, manifest.journal, manifest.tail)
        signed_bytes = sum(each.bytes for each in blobs if each)
        self._open(signed_bytes + sum(len(data) for data in self._manifest_files.values()))
        return Event.GOOD

    def _fetch_journal(self) -> Event:
        """Fetch the journal, unless the one that the manifest names is there from before."""
        figures = self._verified_manifest().journal
        if self._holds(JOURNAL, figures.bytes, figures.sha256):
            return Event.GOOD
        if figures.bytes > _JOURNAL_LIMIT_BYTES:
            raise VerificationError("the journal is too long", expected=f"at most {_JOURNAL_LIMIT_BYTES} bytes")
        self._opened().put(JOURNAL, self._read_journal(figures.bytes, figures.sha256))
        return Event.GOOD

    def _fetch_ciphertext(self) -> Event:
        """Fetch from the last sync point that storage really holds; in parts, each in its turn."""
        manifest, blob = self._verified_manifest(), self._verified_manifest().ciphertext
        assert self._public_key is not None  # it came with the manifest
        if blob is None:
            return Event.GOOD
        try:
            start = self._opened().resume_point(manifest, self._public_key)
        except TamperedError:
            self._docking.mistrust(self._key)
            raise
        self._resumed_at = start
        if blob.bytes - start >= max(start, _FOLLOW_FROM_BYTES):  # else more would be read anew than comes
            self._opened().follow(manifest, self._public_key)
        self._fetch_large(CIPHERTEXT, start, blob.bytes, blob.sha256)
        return Event.GOOD

    def _fetch_tail(self) -> Event:
        """Fetch what was set apart behind a capped tail, from where this docking's last session broke off.

        It has one digest and no sync points: what another docking left of it counts whole or not at all.
        """
        blob = self._verified_manifest().tail
        if blob is None or self._holds(TAIL, blob.bytes, blob.sha256):
            return Event.GOOD
        start = min(self._docking.tails[self._key], self._opened().files.size_bytes(TAIL) or 0)
        self._reached = start
        try:
            self._fetch_large(TAIL, start, blob.bytes, blob.sha256)
        finally:
            self._docking.tails[self._key] = self._reached
        if start and not self._holds(TAIL, blob.bytes, blob.sha256):
            self._fetch_large(TAIL, 0, blob.bytes, blob.sha256)
        return Event.GOOD

    def _salvage(self) -> Event:
        """Fetch what the camera has, as it is, up to the size that it announced: what is set apart is whole."""
        if self._partial is None:
            self._open(self._announced_bytes)
        left = self._announced_bytes
        self._docking.mistrust(self._key)
        for name in (JOURNAL, CIPHERTEXT, TAIL):
            try:
                left -= self._fetch_unjudged(name, left)
            except AnswerError as error:
                self._reasons.append(f"{name}: {error.problem.detail[:200]}")
        return Event.GOOD if self._manifest is not None else Event.BAD

    def _take(self) -> Event:
        """Have the store sync, read back, verify, publish, log and sign."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            turn.tick()
            self._watch.progress(self._key.clip, min(done, self._announced_bytes), self._announced_bytes)

        with self._station.turns.turn() as turn:
            taken = self._station.intake.take(self._opened(), self._moment(), advance)
        for conflict in taken.conflicts:
            self._station.announce("fork", self._key, f"another {conflict.what} for its number")
        if taken.stored is None or taken.receipt is None:
            self._station.announce("clip_quarantined", self._key, "another clip has its name")
            self._station.note_quarantine(taken.quarantined)
            return Event.APART
        self._stored, self._receipt = taken.stored, taken.receipt
        custody = decode(taken.receipt.document, Receipt).custody
        self._station.note_stored(taken.stored, new=taken.new, custody=custody)
        return Event.GOOD

    def _set_apart(self) -> Event:
        unreadable = self._docking.salvage(self._key).unreadable
        reasons = (*self._reasons, *(f"{each.bytes} bytes unreadable at {each.start}" for each in unreadable))
        apart = self._station.intake.set_apart(self._opened(), reasons or ("?",), self._moment(), unreadable)
        self._station.note_quarantine(apart)
        self._station.announce("clip_quarantined", self._key, self._reasons[0] if self._reasons else "")
        return Event.GOOD

    def _hand_over(self) -> Event:
        assert self._receipt is not None  # every way here brings one
        self._camera.send_receipt(
            self._key.clip, SignedDocument(document=self._receipt.document, cms=self._receipt.cms)
        )
        return Event.GOOD

    def _confirm(self) -> Event:
        """Note, once, that the camera holds the receipt."""
        self._station.confirm(self._key, self._moment().utc_ns)
        return Event.GOOD

    def _open(self, expected_bytes: int) -> None:
        self._partial = self._station.store.open_partial(self._key, expected_bytes)
        for name, data in self._manifest_files.items():
            self._partial.put(name, data)

    def _fetch_large(self, name: str, start: int, size_bytes: int, sha256: str) -> None:
        writer = self._opened().writer(name, start)
        with closing(writer):
            while (at := writer.size_bytes) < size_bytes:
                with self._station.turns.turn() as turn:
                    stop = min(size_bytes, at + self._station.part_bytes)
                    part = self._camera.request_part(self._key.clip, name, sha256=None, start=at, stop=stop)
                    if (part.sha256, part.total_bytes) != (sha256, size_bytes):
                        self._docking.mistrust(self._key)
                        raise ProtocolError(
                            f"the camera has another {name} than it signed for",
                            expected=f"{size_bytes} bytes",
                            found=f"{part.total_bytes} bytes",
                        )
                    for chunk in part:
                        writer.append(memoryview(chunk))
                        self._fetched += len(chunk)
                        self._reached = writer.size_bytes
                        turn.tick()
                        self._watch.progress(self._key.clip, writer.size_bytes, size_bytes)
            writer.sync()

    def _read_journal(self, size_bytes: int, sha256: str) -> bytes:
        """Read on where the last session of this docking broke off: a long one may need several."""
        data = self._docking.begun_journal(self._key)
        while len(data) < size_bytes:
            part = self._camera.request_part(self._key.clip, JOURNAL, sha256=sha256, start=len(data))
            if part.total_bytes != size_bytes:
                raise ProtocolError("the camera has another journal than it signed for")
            for chunk in part:
                data += chunk
        self._docking.end_journal()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ProtocolError("the journal has another digest than the camera says", expected=sha256)
        return bytes(data)

    def _fetch_unjudged(self, name: str, limit_bytes: int) -> int:
        """Fetch a file whatever it is; returns its size. The session is over if it is larger than announced."""
        if name == JOURNAL:
            data = self._camera.read_file(
                self._key.clip, name, limit_bytes=min(limit_bytes, _JOURNAL_LIMIT_BYTES)
            )
            self._opened().put(name, data)
            return len(data)
        salvage = self._docking.salvage(self._key) if name == CIPHERTEXT else Salvage()
        start = min(salvage.done_bytes, self._opened().files.size_bytes(name) or 0)
        writer = self._opened().writer(name, start)
        with closing(writer):
            try:
                self._salvage_on(name, writer, salvage, limit_bytes)
                writer.sync()
            except AnswerError:
                raise  # it has no such file, or is busy: nothing about the card
            except LinkError:
                salvage.broke(writer.size_bytes)
                raise
            finally:
                salvage.done_bytes = self._reached = writer.size_bytes
            return writer.size_bytes

    def _salvage_on(self, name: str, writer: PartialWriter, salvage: Salvage, limit_bytes: int) -> None:
        """Fetch to the end, past what the card does not give."""
        while salvage.total_bytes is None or writer.size_bytes < salvage.total_bytes:
            at = writer.size_bytes
            if skipped := salvage.skip(at):
                writer.append(bytes(skipped))
                continue
            stop = at + self._station.part_bytes
            part = self._camera.request_part(self._key.clip, name, sha256=None, start=at, stop=stop)
            salvage.total_bytes = part.total_bytes
            if part.total_bytes > limit_bytes:
                raise ProtocolError(f"{name} is larger than announced", expected=f"{limit_bytes} bytes")
            for chunk in part:
                writer.append(memoryview(chunk))
                self._fetched += len(chunk)

    def _holds(self, name: str, size_bytes: int, sha256: str) -> bool:
        """Say whether storage has just this file from before."""
        files = self._opened().files
        if files.size_bytes(name) != size_bytes:
            return False
        digest = hashlib.sha256()
        with closing(files.open(name)) as reader:
            while data := reader.read(1 << 20):
                digest.update(data)
        return digest.hexdigest() == sha256

    def _verified_manifest(self) -> Manifest:
        if self._manifest is None:
            raise EvidenceError("no manifest that counts", found=self._key.clip)
        return self._manifest

    def _opened(self) -> Partial:
        if self._partial is None:
            raise EvidenceError("the fetch was not begun", found=self._key.clip)
        return self._partial
