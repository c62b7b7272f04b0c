"""The agent of a dock: the store, the bays, the socket, from a configuration; run, stop, status."""

import functools
import logging
import threading
import time
from pathlib import Path

from docklink.messages import WearerAssignment
from docklink.tls import DockTrust
from evidence.clock import format_utc
from evidence.errors import EvidenceError
from evidence.paths import load_roots
from evidence.revocation import load_revocations
from evidence.roles import Role
from evidence.signer import load_signer
from evidence.storage import StorageError, make_directory, publish_file
from host.bays import Bay, BayTimes, way_of
from host.catalogue import Catalogue, CatalogueIndex
from host.config import BaySection, DockConfig
from host.control import (
    Answer,
    AskAssign,
    AskRelease,
    AskStatus,
    ControlServer,
    DockStatus,
    QuarantineEntry,
    StoreStatus,
)
from host.custody import CustodyLog
from host.offload import DeviceLogs, Station
from host.store import CameraMoment, FileStore, StoreError, Trust, format_store
from host.wearers import Wearers

__all__ = ["DockAgent", "socket_path"]

_logger = logging.getLogger(__name__)
_ROUND_S = 1.0
_CATCH_UP_S = 60.0
_JOIN_S = 20.0
_MIB = 1024 * 1024


def socket_path(config: DockConfig) -> Path:
    """Return where the agent with this configuration answers."""
    return Path(config.dock.state) / "agent.sock"


class DockAgent:
    """Opens everything when it is made; `run` until `stop`. One agent a store."""

    def __init__(self, config: DockConfig) -> None:
        """Open the store, formatting one where there is nothing yet.

        Raises:
            StoreInUseError: another agent has the store.
            EvidenceError: keys, roots or store cannot be used.
        """
        self._config = config
        self._stopping = threading.Event()
        state = Path(config.dock.state)
        if not state.is_dir():
            state.parent.mkdir(parents=True, exist_ok=True)
            make_directory(state)
        keys = Path(config.dock.keys)
        self._roots = load_roots(Path(config.dock.root))
        revocations = load_revocations([Path(each) for each in config.dock.crls])
        signer = load_signer(keys, Role.DOCK_RECEIPT)
        self._wearers = Wearers(state / "wearers.json")
        self._store = _open_store(config)
        try:
            self._custody = CustodyLog(self._store.root / "custody.jsonl", self._store.store_id)
            opener = functools.partial(Catalogue, state / "catalogue.db", timeout_s=2.0)
            self._index = CatalogueIndex(opener, self._store, self._custody)
            self._station = Station(
                self._store,
                self._custody,
                signer,
                Trust(self._roots, revocations),
                dock_id=config.dock.id,
                index=self._index,
                logs=DeviceLogs(state / "logs"),
                offloads=config.limits.offloads,
                part_bytes=config.limits.part_mib * _MIB,
                clock_error_ns=config.clock.error_ms * 1_000_000,
            )
        except EvidenceError:
            self._store.close()
            raise
        self.bays = tuple(self._bay(section) for section in config.bay)
        self._control: ControlServer | None = None

    @property
    def station(self) -> Station:
        """What the bays share."""
        return self._station

    def run(self) -> None:
        """Run until `stop`; then everything is closed.

        Raises:
            EvidenceError: the socket cannot be made.
        """
        try:
            self._control = ControlServer(socket_path(self._config), self._answer)
            for bay in self.bays:
                bay.start()
            self._supervise()
        finally:
            self._close()

    def stop(self) -> None:
        """End `run`; from a signal handler or another thread."""
        self._stopping.set()

    def status(self) -> DockStatus:
        """Say how everything stands."""
        health = self._store.health()
        head = self._custody.head
        return DockStatus(
            dock=self._config.dock.id,
            utc=format_utc(time.time_ns()),
            store=StoreStatus(
                store=self._store.store_id,
                state=health.state.value,
                detail=health.detail,
                free_bytes=health.space.free_bytes if health.space else None,
                total_bytes=health.space.total_bytes if health.space else None,
                catalogue=self._index.reason,
            ),
            bays=tuple(bay.status for bay in self.bays),
            quarantine=self._quarantine(),
            notices=self._station.notices,
            custody_entries=head.entries if head else 0,
        )

    def assign(self, device: str, assignment: WearerAssignment) -> None:
        """Assign a camera; it is told as soon as it is docked and not recording.

        Raises:
            StorageError: it cannot be kept.
        """
        self._wearers.assign(device, assignment)
        for bay in self.bays:
            if bay.status.device == device:
                bay.look()

    def release(self, clip: str, reason: str, operator: str) -> int:
        """Release a clip from quarantine, all that lie there under its name; returns how many.

        Raises:
            StoreError: none lies there, or its manifest cannot be read.
            StorageError: storage refuses.
        """
        apart = [each for each in self._station.all_quarantined() if each.key.clip == clip]
        if not apart:
            raise StoreError(f"{clip} is not in quarantine", remedy="see `preroll dock status`")
        for each in apart:
            manifest, _, _ = self._store.read_quarantined(each)
            now_ns = time.time_ns()
            moment = CameraMoment(now_ns, manifest.start.boot, manifest.start.monotonic_ns)
            self._station.intake.release(each, reason, operator, moment)
            self._station.note_quarantine(each)
        for bay in self.bays:
            bay.look()
        return len(apart)

    def _quarantine(self) -> tuple[QuarantineEntry, ...]:
        try:
            apart = self._station.all_quarantined()
        except EvidenceError as error:
            self._station.announce("fault", None, f"the quarantine cannot be read: {error}")
            return ()
        return tuple(
            QuarantineEntry(each.key.clip, each.key.device, each.note.reasons, each.receipted) for each in apart
        )

    def _bay(self, section: BaySection) -> Bay:
        times = self._config.timeouts
        return Bay(
            section.name,
            way_of(section, times.connect_s),
            self._station,
            self._trust,
            BayTimes(link=times.link, line_s=times.line_s, look_s=times.look_s, retry_s=times.retry_s),
            wearer_of=lambda device: self._wearers.pending(device, time.time_ns()),
            wearer_told=self._wearer_told,
        )

    def _trust(self) -> DockTrust:
        keys = Path(self._config.dock.keys)
        return DockTrust(
            chain=keys / f"{Role.DOCK_LINK.file_stem}.pem",
            key=keys / f"{Role.DOCK_LINK.file_stem}.key",
            roots=self._roots,
            now_utc_ns=time.time_ns(),
        )

    def _wearer_told(self, device: str, assignment: WearerAssignment) -> None:
        try:
            self._wearers.told(device, assignment)
        except StorageError as error:
            self._station.announce("fault", device, str(error))

    def _supervise(self) -> None:
        """Watch over the bays, and keep the catalogue from falling behind."""
        next_catch_up_s = 0.0
        reported: set[str] = set()
        while not self._stopping.wait(_ROUND_S if next_catch_up_s else 0.0):
            for bay in self.bays:
                if not bay.alive and bay.name not in reported:
                    reported.add(bay.name)
                    self._station.announce(
                        "fault", None, f"bay {bay.name} has stopped working; restart the agent"
                    )
            if time.monotonic() >= next_catch_up_s:
                next_catch_up_s = time.monotonic() + _CATCH_UP_S
                self._catch_up()

    def _catch_up(self) -> None:
        try:
            self._index.catch_up()
        except StorageError as error:
            self._station.announce("fault", None, f"the catalogue cannot be brought up to date: {error}")

    def _answer(self, question: AskStatus | AskAssign | AskRelease) -> Answer:
        if isinstance(question, AskAssign):
            self.assign(question.device, question.assignment)
            return Answer(detail=f"{question.device} is told {question.assignment.wearer} when it is docked")
        if isinstance(question, AskRelease):
            count = self.release(question.clip, question.reason, question.operator)
            return Answer(detail=f"{count} released; the camera gets the receipt when it is docked")
        return Answer(status=self.status())

    def _close(self) -> None:
        for bay in self.bays:
            bay.stop()
        for bay in self.bays:
            if bay.alive and not bay.join(_JOIN_S):
                _logger.error("bay %s does not end", bay.name)
        if self._control is not None:
            self._control.close()
        self._index.close()
        self._custody.close()
        self._store.close()


def _open_store(config: DockConfig) -> FileStore:
    """Open the store; an empty place is formatted once; later it is a disk that is not mounted."""
    root, mark = Path(config.store.path), Path(config.dock.state) / f"store-{config.store.id}.formatted"
    empty = not root.exists() or (root.is_dir() and not any(root.iterdir()))
    if empty and not mark.exists():
        format_store(root, config.store.id)
    store = FileStore(root, store_id=config.store.id, reserve_bytes=config.store.reserve_mib * _MIB)
    if not mark.exists():
        publish_file(mark, b"")
    return store
