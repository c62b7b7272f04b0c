"""The camera behind the dock's requests: one method for each route of `docklink.api`."""

import logging
import threading
from collections.abc import Callable
from typing import BinaryIO, Literal, cast

from device.dockport.camera import DockedCamera
from device.dockport.clockset import ClockDesk, clock_report
from device.dockport.configdesk import ConfigDesk, revoked_serials
from device.dockport.linkidentity import LinkIdentity, LinkIdentityError
from device.dockport.listing import Listing
from device.dockport.numberdesk import NumberDesk
from device.dockport.pacedfile import PacedFile
from device.recording.events import HealthLevel, HealthNote
from device.recording.machine import State
from device.vault.dockstate import Shift
from device.vault.receipts import ReceiptRefusedError
from device.vault.recovery import Load
from device.vault.release import Releases
from device.vault.trust import AgencyTrust
from docklink.messages import (
    Battery,
    ClipPage,
    ClipState,
    ClockReport,
    ClockStep,
    Device,
    EnrolStep,
    HealthEntry,
    Probe,
    ProbeEcho,
    RecorderState,
    RenewBegin,
    RenewStep,
    SignedDocument,
    SigningRequest,
    SigningRequests,
    Storage,
    TombstonePage,
    WearerAssignment,
)
from docklink.peers import Peer
from docklink.service import FileAnswer, Lines, RefusalError
from evidence.clock import format_utc
from evidence.storage import StorageError

__all__ = ["DockService"]

_log = logging.getLogger(__name__)
_STATES = {
    State.STARTING: RecorderState.STARTING,
    State.PENDING: RecorderState.PENDING,
    State.READY: RecorderState.READY,
    State.RECORDING: RecorderState.RECORDING,
    State.CONFIRMING: RecorderState.CONFIRMING,
    State.FAULT: RecorderState.FAULT,
    State.BLOCKED: RecorderState.FAULT,
    State.CLOSED: RecorderState.FAULT,
}


class DockService:
    """Implements `docklink.service.CameraService`. Thread-safe: each port serves one session in its thread."""

    def __init__(
        self,
        camera: DockedCamera,
        releases: Releases,
        link: LinkIdentity,
        trust: Callable[[], AgencyTrust],
        *,
        released_soon: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the camera's parts; `released_soon` hears that a clip has become releasable."""
        self._camera = camera
        self._releases = releases
        self._link = link
        self._trust = trust
        self._released_soon = released_soon
        self._listing = Listing(camera, releases)
        self._clock = ClockDesk(camera)
        self._numbers = NumberDesk(camera, trust)
        self.configs = ConfigDesk(camera, trust)
        self._session = threading.local()
        self._lock = threading.Lock()
        self._sessions = 0

    @property
    def sessions(self) -> int:
        """Sessions in which a dock has asked for something."""
        with self._lock:
            return self._sessions

    def end_session(self) -> None:
        """End the session of this thread, if it had come to a request."""
        self._clock.end_session()
        if getattr(self._session, "open", False):
            self._session.open = False
            with self._lock:
                self._sessions -= 1

    def device(self, peer: Peer) -> Device:
        """Return identity and state."""
        self._greet(peer)
        camera = self._camera
        space = camera.vault.space()
        facts = camera.vault.layout.facts
        policy, health = camera.policy(), camera.health()
        battery = health.battery
        return Device(
            device=facts.device,
            epoch=facts.epoch,
            generation=facts.generation,
            firmware=camera.firmware,
            recorder=_STATES[camera.status().state],
            battery=Battery(battery.percent if battery else None, battery.charging if battery else None),
            storage=Storage(space.total_bytes, space.free_bytes, self._listing.waiting()),
            temperature_millicelsius=health.temperature_millicelsius,
            clock=clock_report(camera),
            config=policy.reference,
            wearer=camera.memory.wearer_at(camera.clock.read()),
            link_not_after_utc=format_utc(self._link.files.not_after_utc_ns),
            serial=camera.serial,
            health=tuple(_entry(note) for note in health.notes),
        )

    def head(self, peer: Peer) -> SignedDocument:
        """Return the head, signed now."""
        self._greet(peer)
        return self._numbers.head()

    def clips(self, peer: Peer, after_clip: str | None) -> ClipPage:
        """List clips."""
        self._greet(peer)
        return self._listing.clips(after_clip)

    def file(self, peer: Peer, clip: str, name: str) -> FileAnswer:
        """Open a file of a sealed clip; its digest is the sealed one, its size what is there."""
        self._greet(peer)
        self._require_readable(clip)
        facts = self._releases.shelf.clip(clip)
        path = self._camera.vault.layout.clips / clip / name
        if facts is None or name not in facts.files:
            raise RefusalError(404, "no such file")
        try:
            size = path.stat().st_size
        except FileNotFoundError as error:
            raise RefusalError(404, "no such file") from error
        return FileAnswer(lambda: cast("BinaryIO", PacedFile(path, self._load)), size, facts.files[name].sha256)

    def receipt(self, peer: Peer, clip: str, receipt: SignedDocument) -> None:
        """Take a receipt; the clip is releasable, durably, when this returns."""
        self._greet(peer)
        state = self._releases.state_of(clip)
        if state is None:
            raise RefusalError(404, "no such clip")
        if state not in (ClipState.SEALED, ClipState.RELEASABLE, ClipState.RELEASED):
            raise RefusalError(409, "the clip is not sealed")
        try:
            self._releases.accept(clip, receipt.document, receipt.cms)
        except ReceiptRefusedError as error:
            _log.warning("receipt for %s by %s refused: %s", clip, peer.subject_id, error)
            self._camera.note(
                "receipt_refused", {"clip": clip, "dock": peer.subject_id, "reason": str(error)[:500]}
            )
            raise RefusalError(403, str(error)) from error
        except StorageError as error:
            raise RefusalError(503, str(error)) from error
        self._released_soon()

    def log(self, peer: Peer, after_index: int) -> Lines:
        """Return lines of the event log; what a dock asks to go on after, it has."""
        self._greet(peer)
        self._camera.log.docked(after_index)
        return self._listing.lines(after_index)

    def clock(self, peer: Peer, step: ClockStep) -> ProbeEcho | ClockReport:
        """Echo a probe, or set the clock."""
        if isinstance(step, Probe):
            return self._clock.probe(step)
        self._greet(peer)
        return self._clock.set(peer, step)

    def config(self, peer: Peer, config: SignedDocument) -> None:
        """Take a configuration."""
        self._greet(peer)
        self.configs.take(config)

    def wearer(self, peer: Peer, assignment: WearerAssignment) -> None:
        """Take an assignment, for clips that start from now on."""
        self._greet(peer)
        if self._camera.recording:
            raise RefusalError(409, "recording: a clip has one wearer")
        wearer = assignment.wearer
        shift = None if wearer is None else Shift(wearer, assignment.start_utc, assignment.end_utc)
        try:
            self._camera.memory.assign(shift)
        except StorageError as error:
            raise RefusalError(503, str(error)) from error
        detail = {"wearer": wearer, "start": assignment.start_utc, "end": assignment.end_utc}
        self._camera.note("wearer", {**detail, "dock": peer.subject_id})

    def epoch(self, peer: Peer, grant: SignedDocument) -> SignedDocument:
        """Open a new epoch."""
        self._greet(peer)
        return self._numbers.open_epoch(grant)

    def tombstones(self, peer: Peer, after_clip: str | None) -> TombstonePage:
        """List tombstones."""
        self._greet(peer)
        return self._listing.tombstones(after_clip)

    def renew(self, peer: Peer, step: RenewStep) -> SigningRequest | None:
        """Begin or end the renewal of the link certificate."""
        self._greet(peer)
        if isinstance(step, RenewBegin):
            return SigningRequest(self._link.begin())
        if not self._link.begun:
            raise RefusalError(409, "no renewal was begun")
        try:
            files = self._link.install(step.link, self._trust(), self._camera.memory.time_floor_utc_ns)
        except LinkIdentityError as error:
            raise RefusalError(403, str(error)) from error
        except StorageError as error:
            raise RefusalError(503, str(error)) from error
        self._camera.note("renewed", {"not_after": format_utc(files.not_after_utc_ns), "dock": peer.subject_id})
        return None

    def enrol(self, peer: Peer, step: EnrolStep) -> SigningRequests | None:
        """Refuse: a camera that runs has an identity."""
        del peer, step
        raise RefusalError(409, "this camera has an identity")

    def revoked(self) -> frozenset[int]:
        """Return the serial numbers that the policy in force revokes."""
        return revoked_serials(self._camera.policy())

    def _require_readable(self, clip: str) -> None:
        state = self._releases.state_of(clip)
        if state is None:
            raise RefusalError(404, "no such clip")
        if state is ClipState.RELEASED:
            raise RefusalError(410, "the clip is released")
        if not state.readable:
            raise RefusalError(409, "the clip is not sealed")

    def _load(self) -> Load:
        return Load(recording=self._camera.recording, caught_up=self._camera.status().caught_up)

    def _greet(self, peer: Peer) -> None:
        """Note the first request of a session."""
        if getattr(self._session, "open", False):
            return
        self._session.open = True
        with self._lock:
            self._sessions += 1
        self._camera.note("docked", {"dock": peer.subject_id, "certificate": peer.fingerprint})


def _entry(note: HealthNote) -> HealthEntry:
    level: Literal["alarm", "warning"] = "alarm" if note.level is HealthLevel.ALARM else "warning"
    return HealthEntry(note.part, level, note.detail[:200])
