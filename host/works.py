"""What an agent does with one opened store: custody log, catalogue, checkpoints and the bays that fill it.

A store that was unplugged and comes back on another device is another opened store: its works end, and others
begin (`host.agent`).
"""

import contextlib
import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from docklink.messages import WearerAssignment
from docklink.tls import DockTrust
from evidence.errors import EvidenceError
from evidence.holdings import HoldingsError, load_store
from evidence.signer import Signer
from evidence.storage import StorageError, publish_file
from host.bays import Bay, BayKeeper, BayStatus, BayTimes, way_of
from host.catalogue import Catalogue, CatalogueIndex
from host.config import BaySection, DockConfig
from host.custody import CheckpointKeeper, CustodyLog
from host.offload import DeviceLogs, NoticeBoard, Station
from host.store import FileStore, StoreState, Trust, format_store
from host.upkeep import Upkeep
from host.wearers import Wearers

__all__ = ["Shared", "Works"]

_logger = logging.getLogger(__name__)
_CATCH_UP_NS = 60 * 1_000_000_000
_JOIN_S = 20.0
_MIB = 1024 * 1024


class Shared(msgspec.Struct, frozen=True):
    """What outlives an opened store."""

    config: DockConfig
    signer: Signer
    trust: Trust
    upkeep: Upkeep
    link_trust: Callable[[], DockTrust]
    wearers: Wearers
    board: NoticeBoard
    on_bay: Callable[[BayStatus], object]
    now_utc_ns: Callable[[], int] = time.time_ns


class Works:
    """Opens all when it is made; `start` lets the bays look, `look` does what is due, `close` ends it."""

    def __init__(self, shared: Shared) -> None:
        """Open the store, formatting one where there never was one.

        Raises:
            StoreInUseError: another agent has it.
            EvidenceError: it, or its custody log, cannot be used.
        """
        config = shared.config
        state = Path(config.dock.state)
        self._shared = shared
        self.store = _open_store(config)
        with contextlib.ExitStack() as opened:
            opened.callback(self.store.close)
            self.custody = CustodyLog(self.store.root / "custody.jsonl", self.store.store_id)
            opened.callback(self.custody.close)
            path = state / "catalogue.db"
            opener = functools.partial(Catalogue, path, timeout_s=2.0)
            self.index = CatalogueIndex(opener, self.store, self.custody, path=path)
            self.station = Station(
                self.store,
                self.custody,
                shared.signer,
                shared.trust,
                dock_id=config.dock.id,
                index=self.index,
                logs=DeviceLogs(state / "logs"),
                board=shared.board,
                upkeep=shared.upkeep,
                offloads=config.limits.offloads,
                part_bytes=config.limits.part_mib * _MIB,
                clock_error_ns=config.clock.error_ms * 1_000_000,
                now_utc_ns=shared.now_utc_ns,
            )
            opened.pop_all()
        self.checkpoints = CheckpointKeeper(
            self.custody,
            self.store.store_id,
            shared.signer,
            self.store.root / "checkpoints",
            copies=tuple(Path(each) for each in config.custody.copies),
            every_entries=config.custody.checkpoint_entries,
            every_ns=int(config.custody.checkpoint_minutes * 60e9),
        )
        self.bays = tuple(self._bay(section) for section in config.bay)
        self.keeper = BayKeeper(self.bays, lambda detail: self.station.announce("fault", None, detail))
        self._health = StoreState.READY
        self._caught_up_ns: int | None = None
        self._copy_errors: dict[str, str] = {}

    def start(self) -> None:
        """Hold the log against its checkpoints, and let the bays look."""
        for trouble in self.checkpoints.begin(time.monotonic_ns()):
            self.station.announce("fork", None, trouble)
        if self.custody.tail is not None:
            self.station.announce(
                "fault", None, f"{self.custody.tail.bytes} bytes of an entry were cut off the custody log"
            )
        for bay in self.bays:
            bay.start()

    def look(self) -> StoreState:
        """Do what is due: the store's state told, the catalogue caught up, checkpoints made; may take long."""
        now_ns = time.monotonic_ns()
        state = self._look_at_store()
        if state is not StoreState.GONE:
            self.checkpoints.look(now_ns, self._shared.now_utc_ns())
            self._tell_of_checkpoints()
            if self._caught_up_ns is None or now_ns - self._caught_up_ns >= _CATCH_UP_NS:
                self._caught_up_ns = now_ns
                self._catch_up()
        return state

    def returned(self) -> bool:
        """Whether the store is gone for these works, and lies in its place again on another device."""
        if self.store.health().state is not StoreState.GONE:
            return False
        try:
            return load_store(self.store.root).store == self.store.store_id
        except HoldingsError:
            return False

    def close(self) -> None:
        """End the sessions, make a last checkpoint, and let go of the store."""
        for bay in self.bays:
            bay.stop()
        for bay in self.bays:
            if bay.alive and not bay.join(_JOIN_S):
                _logger.error("bay %s does not end", bay.name)
        if self.store.health().state is not StoreState.GONE:
            self.checkpoints.finish(time.monotonic_ns(), self._shared.now_utc_ns())
        self.index.close()
        self.custody.close()
        self.store.close()

    def _bay(self, section: BaySection) -> Bay:
        shared, times = self._shared, self._shared.config.timeouts
        return Bay(
            section.name,
            way_of(section, times.connect_s),
            self.station,
            shared.link_trust,
            BayTimes(link=times.link, line_s=times.line_s, look_s=times.look_s, retry_s=times.retry_s),
            wearer_of=lambda device: shared.wearers.pending(device, shared.now_utc_ns()),
            wearer_told=self._wearer_told,
            on_change=shared.on_bay,
        )

    def _wearer_told(self, device: str, assignment: WearerAssignment) -> None:
        try:
            self._shared.wearers.told(device, assignment)
        except StorageError as error:
            self.station.announce("fault", device, str(error))

    def _look_at_store(self) -> StoreState:
        """Say when the store's state changes, and let waiting bays try at once when it is mended."""
        health = self.store.health()
        before, self._health = self._health, health.state
        if health.state is before:
            return before
        if health.state is StoreState.READY:
            self.station.board.tell("store_ready", None, None, f"the store is ready again, it was {before}")
            for bay in self.bays:
                bay.look()
        else:
            self.station.announce("fault", None, f"the store is {health.state}: {health.detail}")
        return health.state

    def _tell_of_checkpoints(self) -> None:
        status = self.checkpoints.status
        errors = {"the store": status.error} | {each.place: each.error for each in status.copies}
        for place, error in errors.items():
            if error and self._copy_errors.get(place) != error:
                self.station.announce("fault", None, f"no checkpoint in {place}: {error}")
        self._copy_errors = errors

    def _catch_up(self) -> None:
        try:
            self.index.catch_up()
        except EvidenceError as error:
            self.station.announce("fault", None, f"the catalogue cannot be brought up to date: {error}")


def _open_store(config: DockConfig) -> FileStore:
    """Open the store; an empty place is formatted once; later it is a disk that is not mounted."""
    root, mark = Path(config.store.path), Path(config.dock.state) / f"store-{config.store.id}.formatted"
    empty = not root.exists() or (root.is_dir() and not any(root.iterdir()))
    if empty and not mark.exists():
        format_store(root, config.store.id)
    store = FileStore(
        root,
        store_id=config.store.id,
        reserve_bytes=config.store.reserve_mib * _MIB,
        memory=Path(config.dock.state) / "remembered.db",
    )
    if not mark.exists():
        publish_file(mark, b"")
    return store
