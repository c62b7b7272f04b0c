"""One session with a camera: who it is, its clock, its head, its tombstones, its clips, and what is missing."""

import hashlib
from collections.abc import Sequence

import msgspec

from docklink.client import DockClient
from docklink.errors import PeerRefusedError, ProtocolError
from docklink.httpclient import AnswerError
from docklink.messages import ClipEntry, Device, SignedDocument, TombstoneEntry, WearerAssignment
from evidence.clock import format_utc, parse_utc
from evidence.cms import CmsSigner, sign_cms, verify_cms
from evidence.documents import EpochGrant, Head, Receipt, decode, encode
from evidence.errors import EvidenceError, ExplainedError
from evidence.storage import StorageError
from host.custody import HeadStanding
from host.offload.accounts import Completeness
from host.offload.clip import ClipOffload, Outcome, Watch
from host.offload.clockwork import CameraClock, exchange_clock
from host.offload.machine import Step
from host.offload.queue import list_clips, queue_of
from host.offload.station import Docking, Station
from host.store import HeadOutcome, HeadVerdict, SignedBytes, StoreError, StoreGoneError, clip_key
from host.upkeep import Tended, tend

__all__ = ["SessionReport", "Settings", "run_session"]

_MOST_TOMBSTONES = 100_000


class Settings(msgspec.Struct, frozen=True):
    """What is to be told to the camera in this session."""

    wearer: WearerAssignment | None = None


class SessionReport(msgspec.Struct, frozen=True):
    """What a session came to. `error` ended it early: a `LinkError`, or what the store said.

    `config` says what is the matter with the configuration that is here for the camera, empty if nothing is.
    """

    device: Device
    outcomes: tuple[Outcome, ...]
    waiting: int
    completeness: Completeness | None
    wearer_told: bool
    error: ExplainedError | None = None
    config: str = ""

    @property
    def stored(self) -> int:
        """Clips that this store holds, verified, and whose receipt the camera has."""
        return sum(each.ending is Step.STORED for each in self.outcomes)


def run_session(
    camera: DockClient, station: Station, docking: Docking, settings: Settings, watch: Watch
) -> SessionReport:
    """Do all there is to do with a camera that is docked.

    Raises:
        PeerRefusedError: the camera is not the one that was docked, or says that it is another.
        LinkError: the session failed before the clips.
        StorageError: the store failed before the clips.
        EvidenceError: the store cannot be used.
    """
    device = camera.device()
    if not docking.device == camera.peer.subject_id == device.device:
        raise PeerRefusedError(
            "the camera says that it is another", expected=docking.device, found=str(device.device)
        )
    if camera.peer.expired:
        station.announce("certificate_expired", docking.device, "the camera's link certificate has expired")
    for entry in device.health or ():
        if entry.level == "alarm":
            station.announce("camera_alarm", docking.device, f"{entry.part}: {entry.detail}")
    clock = exchange_clock(
        camera,
        error_ns=station.clock_error_ns,
        now_utc_ns=station.now_utc_ns,
        monotonic_ns=station.monotonic_ns,
    )
    verdict = _take_head(camera, station, docking)
    _take_log(camera, station, docking.device)
    _take_tombstones(camera, station, docking.device)
    _drop_ended_fetches(station, docking.device)
    told = _tell_wearer(camera, station, docking, settings.wearer)
    tended = _tend(camera, station, docking, device, verdict, clips_done=False)
    entries = list_clips(camera.clips())
    outcomes, error = _offload(camera, station, docking, entries=entries, clock=clock, watch=watch)
    ended = {each.clip for each in outcomes if each.ending in (Step.STORED, Step.GONE)}
    queue = queue_of(entries, station, docking)
    completeness = _complete(station, verdict, entries) if error is None else None
    if error is None and docking.upkeep.held_back:
        tended = _tend(camera, station, docking, device, verdict, clips_done=True)
    if error is None and (tended.renewed or tended.configured):
        device = camera.device()
    return SessionReport(
        device=device,
        outcomes=tuple(outcomes),
        waiting=sum(entry.clip not in ended for entry, _ in queue),
        completeness=completeness,
        wearer_told=told,
        error=error,
        config=tended.config,
    )


def _tend(
    camera: DockClient,
    station: Station,
    docking: Docking,
    device: Device,
    verdict: HeadVerdict | None,
    *,
    clips_done: bool,
) -> Tended:
    """Renew and configure a camera whose head is good: it is who its evidence key says that it is."""
    if verdict is None:
        return Tended()
    return tend(camera, station, docking, device, clips_done=clips_done)


def _offload(
    camera: DockClient,
    station: Station,
    docking: Docking,
    *,
    entries: Sequence[ClipEntry],
    clock: CameraClock,
    watch: Watch,
) -> tuple[list[Outcome], ExplainedError | None]:
    outcomes: list[Outcome] = []
    queue = tuple(queue_of(entries, station, docking))
    watch.queue(tuple((entry.clip, entry.bytes) for entry, _ in queue))
    for entry, key in queue:
        offload = ClipOffload(
            camera,
            key,
            station,
            docking,
            announced_bytes=entry.bytes,
            moment=clock.moment,
            watch=watch,
        )
        outcome = offload.run()
        outcomes.append(outcome)
        if outcome.ending is Step.INTERRUPTED:
            docking.broke(entry.clip, reached_bytes=outcome.reached_bytes)
            station.board.tell("clip_interrupted", key.device, key.clip, str(outcome.error))
            return outcomes, outcome.error
        if outcome.ending is Step.STOPPED:
            station.announce("fault", key, f"the store failed: {outcome.error}")
            return outcomes, outcome.error
        if outcome.ending in (Step.REFUSED, Step.NO_ROOM):
            station.announce("fault", key, str(outcome.error))
    return outcomes, None


def _take_head(camera: DockClient, station: Station, docking: Docking) -> HeadVerdict | None:
    """Keep the camera's head; one that is behind is told to begin a new epoch."""
    device = docking.device
    try:
        shown = camera.head()
    except AnswerError as error:
        station.announce("fault", device, f"the camera shows no head: {error.problem.detail[:200]}")
        return None
    verdict = _judge(station, docking, shown)
    if verdict is None or not verdict.alarm:
        return verdict
    station.announce(
        "integrity_alarm",
        device,
        f"head {verdict.outcome.value}: shown number {verdict.shown.number} of generation "
        f"{verdict.shown.generation}, known number {verdict.highest.number} of generation "
        f"{verdict.highest.generation}",
    )
    station.log(
        "head_alarm",
        device=device,
        detail={
            "outcome": verdict.outcome.value,
            "shown": verdict.shown.number,
            "known": verdict.highest.number,
        },
    )
    if not _shows_lost_past(verdict) or docking.upkeep.key_revoked_utc_ns is not None:
        return verdict
    return _grant_epoch(camera, station, docking, verdict.highest) or verdict


def _shows_lost_past(verdict: HeadVerdict) -> bool:
    """Whether the camera does not have what was seen of it; a fork at a number that it has, it went on from."""
    fork = verdict.outcome is HeadOutcome.FORK and verdict.highest.number >= verdict.shown.number
    return verdict.outcome is HeadOutcome.BEHIND or fork


def _grant_epoch(camera: DockClient, station: Station, docking: Docking, highest: Head) -> HeadVerdict | None:
    device = docking.device
    grant = encode(
        EpochGrant(
            device=device,
            epoch=highest.epoch,
            generation=highest.generation,
            number=highest.number,
            start_sha256=highest.start_sha256,
            dock=station.dock_id,
            utc=format_utc(station.now_utc_ns()),
        )
    )
    try:
        renewed = camera.open_epoch(SignedDocument(document=grant, cms=sign_cms(grant, station.signer)))
    except AnswerError as error:
        station.announce("fault", device, f"no new epoch: {error.problem.detail[:200]}")
        return None
    return _judge(station, docking, renewed)


def _judge(station: Station, docking: Docking, shown: SignedDocument) -> HeadVerdict | None:
    device = docking.device
    try:
        _require_device(decode(shown.document, Head), device)
        verdict = station.store.keep_head(SignedBytes(document=shown.document, cms=shown.cms), station.trust)
        signer = verify_cms(shown.document, shown.cms)
        station.note_head(verdict.shown, signer)
        _note_revocation(station, docking, signer)
    except (StorageError, StoreGoneError):
        raise
    except EvidenceError as error:
        station.announce("integrity_alarm", device, f"a head that does not count: {error}")
        return None
    return verdict


def _note_revocation(station: Station, docking: Docking, signer: CmsSigner) -> None:
    """Find out whether the camera was reported lost: its clips are read, and it gets nothing any more."""
    since_ns = station.trust.revocations.standing(signer, station.trust.roots).revoked_utc_ns
    docking.upkeep.key_revoked_utc_ns = since_ns
    if since_ns is not None:
        station.announce(
            "integrity_alarm",
            docking.device,
            f"the camera's key is revoked from {format_utc(since_ns)} on: keep the camera",
        )


def _require_device(head: Head, device: str) -> None:
    if head.device != device:
        raise EvidenceError("the head is of another device", expected=device, found=head.device)


def _take_log(camera: DockClient, station: Station, device: str) -> None:
    """Fetch the event log, with the key that signed the head."""
    signed = station.head_signed_by(device)
    if station.logs is None or signed is None:
        return
    try:
        station.logs.take(camera, device, *signed)
    except AnswerError as error:
        station.announce("fault", device, f"the camera shows no event log: {error.problem.detail[:200]}")
    except (StorageError, StoreGoneError):
        raise
    except EvidenceError as error:
        station.announce("integrity_alarm", device, f"the event log does not count: {error}")


def _take_tombstones(camera: DockClient, station: Station, device: str) -> None:
    after = station.accounts.tombstones_known_up_to(device)
    for count, entry in enumerate(camera.tombstones(after)):
        if count == _MOST_TOMBSTONES:
            raise ProtocolError("a list of tombstones without end", expected=f"at most {_MOST_TOMBSTONES}")
        if station.accounts.has_tombstone(device, entry.clip):
            continue
        try:
            _take_tombstone(station, device, entry)
        except (StorageError, StoreGoneError):
            raise
        except EvidenceError as error:
            station.announce("integrity_alarm", device, f"tombstone {entry.clip} does not count: {error}")


def _take_tombstone(station: Station, device: str, entry: TombstoneEntry) -> None:
    """Keep what is left of a clip, and hold the custody head that its receipt carries against our log."""
    files = {
        "journal.jsonl": entry.start,
        "manifest.json": entry.manifest.document,
        "manifest.p7s": entry.manifest.cms,
        "receipt.json": entry.receipt.document,
        "receipt.p7s": entry.receipt.cms,
    }
    receipt = decode(entry.receipt.document, Receipt)
    if receipt.device != device or receipt.clip != entry.clip:
        raise EvidenceError("the tombstone is of another device or clip", found=receipt.clip)
    _refuse_revoked(station, entry, receipt)
    _note_acceptance(station, device, entry)
    stone, conflict = station.store.keep_tombstone(files, station.trust)
    station.accounts.add_tombstone(stone.manifest, stone.receipt.store)
    if conflict is not None:
        station.announce("fork", device, f"two tombstones for {entry.clip}")
    if stone.receipt.store != station.store.store_id:
        return
    standing = station.custody.look_up(stone.receipt.custody)
    if standing is not HeadStanding.KNOWN:
        station.announce("fork", device, f"the custody log does not hold the head of {entry.clip}: {standing}")


def _refuse_revoked(station: Station, entry: TombstoneEntry, receipt: Receipt) -> None:
    """Refuse a tombstone whose receipt is by a revoked dock, or later than its camera was revoked."""
    revocations, roots = station.trust.revocations, station.trust.roots
    dock = revocations.standing(verify_cms(entry.receipt.document, entry.receipt.cms), roots)
    if dock.revoked_utc_ns is not None:
        raise EvidenceError(
            f"the key of {receipt.store} is revoked from {format_utc(dock.revoked_utc_ns)} on",
            found="a receipt whose time nobody independent attests",
        )
    camera = revocations.standing(verify_cms(entry.manifest.document, entry.manifest.cms), roots)
    if camera.revoked_utc_ns is not None and parse_utc(receipt.utc) >= camera.revoked_utc_ns:
        raise EvidenceError(
            "the camera's key was revoked before the clip was first seen",
            expected=f"before {format_utc(camera.revoked_utc_ns)}",
            found=receipt.utc,
        )


def _drop_ended_fetches(station: Station, device: str) -> None:
    """Delete what was fetched of clips that their camera has released since, on another store's receipt."""
    for key in station.store.partials():
        if key.device != device or not station.accounts.has_tombstone(device, key.clip):
            continue
        try:
            station.store.open_partial(key, 0).discard()
        except StoreGoneError:
            raise
        except StoreError as error:
            station.announce("fault", key, f"an ended fetch cannot be deleted: {error}")


def _note_acceptance(station: Station, device: str, entry: TombstoneEntry) -> None:
    """A tombstone with our own receipt shows that the camera took it, should a crash have kept that unsaid."""
    key = clip_key(device, entry.clip, hashlib.sha256(entry.manifest.document).hexdigest())
    if station.is_confirmed(key):
        return
    stored, apart = station.store.find(key), station.quarantined(key)
    ours = station.store.receipt_of(stored) if stored else None
    if ours is None and apart is not None:
        ours = station.store.quarantine_receipt_of(apart)
    if ours == SignedBytes(document=entry.receipt.document, cms=entry.receipt.cms):
        station.confirm(key, station.now_utc_ns())


def _tell_wearer(
    camera: DockClient, station: Station, docking: Docking, wearer: WearerAssignment | None
) -> bool:
    device = docking.device
    if wearer is None or docking.upkeep.key_revoked_utc_ns is not None:
        return False
    try:
        camera.assign_wearer(wearer)
    except AnswerError as error:
        station.announce("fault", device, f"the camera takes no wearer: {error.problem.detail[:200]}")
        return False
    station.log("wearer_assigned", device=device, detail={"wearer": wearer.wearer, "end": wearer.end_utc})
    return True


def _complete(
    station: Station, verdict: HeadVerdict | None, entries: Sequence[ClipEntry]
) -> Completeness | None:
    if verdict is None:
        return None
    on_camera = tuple((each.epoch, each.number) for each in entries)
    found = station.accounts.completeness(verdict.shown, on_camera)
    _announce_gaps(station, found, "")
    for head in station.store.heads(found.device):
        if head.epoch != found.epoch:
            earlier = station.accounts.completeness(head, on_camera)
            _announce_gaps(station, earlier, f" of generation {head.generation}")
    return found


def _announce_gaps(station: Station, found: Completeness, of: str) -> None:
    for first, last in found.missing:
        station.announce("clip_missing", found.device, f"numbers {first} to {last}{of} are nowhere")
    for fork in found.forks:
        station.announce("fork", found.device, f"{fork}{of}")
