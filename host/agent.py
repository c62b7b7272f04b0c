"""The agent of a dock: the store, the bays, the socket, from a configuration; run, stop, status."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from docklink.messages import WearerAssignment
from docklink.tls import DockTrust
from evidence.clock import format_utc
from evidence.documents import CustodyHead
from evidence.errors import EvidenceError
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import load_signer
from evidence.storage import StorageError, make_directory
from host.badges import Aim, BadgeDesk, BadgeReader, Movement, Post, Roster, reader_of
from host.bays import Bay, BayStatus, PortEvent, PortMonitor, UdevMonitor
from host.clockwatch import ClockWatch
from host.config import DockConfig
from host.control import (
    Answer,
    Ask,
    AskAssign,
    AskLend,
    AskRelease,
    AskReturn,
    ControlServer,
    CustodyStatus,
    DockStatus,
    QuarantineEntry,
    StoreStatus,
)
from host.custody import HeadStanding
from host.metrics import begin_metrics
from host.offload import Notice, NoticeBoard, Station
from host.store import CameraMoment, StoreError, StoreState, Trust
from host.upkeep import open_upkeep
from host.wearers import Wearers
from host.works import Shared, Works

if TYPE_CHECKING:
    from host.publish import Reporter

__all__ = ["Change", "DockAgent", "Listener", "socket_path"]

_ROUND_S = 1.0
_REOPEN_NS = 2_000_000_000

Change = Notice | BayStatus
"""What a listener hears: something that was announced or done, or how a bay stands now."""
Listener = Callable[[Change], object]
"""Called by the thread that has the news, from several at a time; must return at once and never raise."""


def socket_path(config: DockConfig) -> Path:
    """Return where the agent with this configuration answers."""
    return Path(config.dock.state) / "agent.sock"


class DockAgent:
    """Opens everything when it is made; `run` until `stop`. One agent a store."""

    def __init__(
        self,
        config: DockConfig,
        *,
        now_utc_ns: Callable[[], int] = time.time_ns,
        monitor: PortMonitor | None = None,
        readers: Mapping[str, BadgeReader] | None = None,
    ) -> None:
        """Open the store, formatting one where there is nothing yet; `readers` take the place of devices.

        Raises:
            StoreInUseError: another agent has the store.
            EvidenceError: keys, roots or store cannot be used.
        """
        self._config = config
        self._now_utc_ns = now_utc_ns
        self._stopping = threading.Event()
        self._listeners: tuple[Listener, ...] = ()
        self._progress_ns = time.monotonic_ns()
        state = Path(config.dock.state)
        if not state.is_dir():
            state.parent.mkdir(parents=True, exist_ok=True)
            make_directory(state)
        self._roots = load_roots(Path(config.dock.root))
        opened = open_upkeep(config, self._roots)
        self._revocations = opened.revocations
        board = NoticeBoard(on_event=self._changed, now_utc_ns=now_utc_ns)
        opened.announce_to(lambda kind, device, detail: board.announce(kind, device, None, detail))
        self._wearers = Wearers(state / "wearers.json")
        self._shared = Shared(
            config=config,
            signer=load_signer(Path(config.dock.keys), Role.DOCK_RECEIPT),
            trust=Trust(self._roots, opened.revocations),
            upkeep=opened.upkeep,
            link_trust=self._trust,
            wearers=self._wearers,
            board=board,
            on_bay=self._changed,
            now_utc_ns=now_utc_ns,
        )
        self._works = Works(self._shared)
        self._desk = BadgeDesk(_posts(config, readers or {}), self._badge_shown, self._tell_of_badges)
        self._monitor: PortMonitor = monitor or UdevMonitor()
        self._no_hotplug = "not begun"
        self._reopened_ns = 0
        self._house = threading.Thread(target=self._keep_house, name="housekeeping")
        self._control: ControlServer | None = None
        self._reporter = self._begin_reports()
        parts = lambda: (self._works, self._reporter)  # noqa: E731 - either may be another later
        self._metrics = begin_metrics(config.metrics, parts, board, self.listen, now_utc_ns)

    @property
    def station(self) -> Station:
        """What the bays share; another one after a store came back on another device."""
        return self._works.station

    @property
    def bays(self) -> tuple[Bay, ...]:
        """The bays, as `station`."""
        return self._works.bays

    @property
    def progress_ns(self) -> int:
        """When, by the monotonic clock, the agent last saw that it gets on, once a second: for a watchdog.

        It stands still if all bays do, or if the thread that keeps house has died. One bay that does is
        announced, and is no reason to end the others.
        """
        return self._progress_ns

    def listen(self, listener: Listener) -> None:
        """Let somebody hear of every change from now on; at best before `run`."""
        self._listeners = (*self._listeners, listener)

    def run(self) -> None:
        """Run until `stop`; then everything is closed.

        Raises:
            EvidenceError: the socket cannot be made.
        """
        try:
            self._control = ControlServer(socket_path(self._config), self._answer)
            self._no_hotplug = self._monitor.start(self._plugged)
            self._works.start()
            self._desk.start()
            self._house.start()
            self._supervise()
        finally:
            self._stopping.set()
            self._monitor.close()
            self._desk.close()
            if self._house.ident is not None:  # else it was never started
                self._house.join()
            if self._metrics is not None:
                self._metrics.close()
            self._works.close()
            if self._reporter is not None:
                self._reporter.close()
            if self._control is not None:
                self._control.close()

    def stop(self) -> None:
        """End `run`; from a signal handler or another thread."""
        self._stopping.set()

    def status(self) -> DockStatus:
        """Say how everything stands."""
        works = self._works
        health = works.store.health()
        head = works.custody.head
        return DockStatus(
            dock=self._config.dock.id,
            utc=format_utc(self._now_utc_ns()),
            store=StoreStatus(
                store=works.store.store_id,
                state=health.state.value,
                detail=health.detail,
                free_bytes=health.space.free_bytes if health.space else None,
                total_bytes=health.space.total_bytes if health.space else None,
                catalogue=works.index.reason,
            ),
            bays=tuple(bay.status for bay in works.bays),
            quarantine=self._quarantine(),
            notices=self._shared.board.notices,
            custody_entries=head.entries if head else 0,
            custody=CustodyStatus(head.head if head else None, works.checkpoints.status),
            hotplug=self._no_hotplug or "udev",
            badges=self._desk.status,
            broker=None if self._reporter is None else self._reporter.status,
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
        works = self._works
        apart = [each for each in works.station.all_quarantined() if each.key.clip == clip]
        if not apart:
            raise StoreError(f"{clip} is not in quarantine", remedy="see `preroll dock status`")
        for each in apart:
            manifest, _, _ = works.store.read_quarantined(each)
            moment = CameraMoment(self._now_utc_ns(), manifest.start.boot, manifest.start.monotonic_ns)
            works.station.intake.release(each, reason, operator, moment)
            works.station.note_quarantine(each)
            works.station.board.tell("quarantine_released", each.key.device, clip, "released by an operator")
        for bay in works.bays:
            bay.look()
        return len(apart)

    def _quarantine(self) -> tuple[QuarantineEntry, ...]:
        try:
            apart = self.station.all_quarantined()
        except EvidenceError as error:
            self.station.announce("fault", None, f"the quarantine cannot be read: {error}")
            return ()
        return tuple(
            QuarantineEntry(each.key.clip, each.key.device, each.note.reasons, each.receipted) for each in apart
        )

    def _trust(self) -> DockTrust:
        keys = Path(self._config.dock.keys)
        return DockTrust(
            chain=keys / f"{Role.DOCK_LINK.file_stem}.pem",
            key=keys / f"{Role.DOCK_LINK.file_stem}.key",
            roots=self._roots,
            now_utc_ns=self._now_utc_ns(),
            revocations=self._revocations.serials,
        )

    def _badge_shown(self, device: str, wearer: str, shift_ns: int, movement: Movement | None) -> None:
        """Assign a camera to who showed a badge; one that was taken out cannot be told, so the log knows."""
        now_ns = self._now_utc_ns()
        assignment = WearerAssignment(
            wearer=wearer, start_utc=format_utc(now_ns), end_utc=format_utc(now_ns + shift_ns)
        )
        if movement is Movement.UNDOCKED:
            detail = {"wearer": wearer, "end": assignment.end_utc}
            self.station.log("camera_taken", device=device, detail=detail)
        try:
            self.assign(device, assignment)
        except StorageError as error:
            self.station.announce("fault", device, f"an assignment cannot be kept: {error}")
            return
        self._shared.board.tell("wearer_assigned", device, None, f"{wearer}, until {assignment.end_utc}")

    def _tell_of_badges(self, detail: str) -> None:
        self.station.announce("fault", None, detail)

    def _changed(self, change: Change) -> None:
        if isinstance(change, BayStatus):
            self._desk.bay_changed(change)
        for listener in self._listeners:
            listener(change)

    def _plugged(self, event: PortEvent) -> None:
        for bay in self.bays:
            bay.plugged(event)

    def _begin_reports(self) -> "Reporter | None":
        """Publish status over MQTT, where a broker is configured."""
        if self._config.mqtt is None:
            return None
        from host.publish import Reporter  # noqa: PLC0415 - a dock without a broker needs no paho

        reporter = Reporter(
            self._config,
            self._config.mqtt,
            lambda kind, detail: self._shared.board.announce(kind, None, None, detail),
            custody=lambda: self._works.custody,
            now_utc_ns=self._now_utc_ns,
        )
        self.listen(reporter.heard)
        return reporter

    def _report(self) -> None:
        """Let the reports say how the store stands."""
        if self._reporter is not None:
            health, head = self._works.store.health(), self._works.custody.head
            self._reporter.look(
                time.monotonic_ns(), self._works.store.store_id, health, head.entries if head else 0
            )

    def _supervise(self) -> None:
        """Watch over the bays and the clock; nothing here waits for storage."""
        clock = ClockWatch(self._now_utc_ns(), time.monotonic_ns())
        while not self._stopping.wait(_ROUND_S):
            now_ns = time.monotonic_ns()
            jump = clock.look(self._now_utc_ns(), now_ns)
            if jump:
                self.station.announce("clock_jumped", None, jump)
            if self._works.keeper.look(now_ns) and self._house.is_alive():
                self._progress_ns = now_ns

    def _keep_house(self) -> None:
        """Do what may take long: catalogue, checkpoints, a store that comes back."""
        while True:
            if self._works.look() is StoreState.GONE and self._works.returned():
                self._reopen()
            self._report()
            if self._stopping.wait(_ROUND_S):
                return

    def _reopen(self) -> None:
        """Go on with the store that came back on another device; the one that was opened before is let go."""
        now_ns = time.monotonic_ns()
        if now_ns - self._reopened_ns < _REOPEN_NS:
            return
        self._reopened_ns = now_ns
        before = self._works
        try:
            fresh = Works(self._shared)
        except EvidenceError as error:
            before.station.announce("fault", None, f"the store is back but cannot be opened: {error}")
            return
        before.close()
        self._works = fresh
        self._hold_against(before.custody.head)
        fresh.start()
        fresh.station.board.tell("store_ready", None, None, "the store is back on another device")

    def _hold_against(self, head: CustodyHead | None) -> None:
        """Tell if the custody log of a store that came back is not the one that went away."""
        try:
            same = head is None or self._works.custody.look_up(head) is HeadStanding.KNOWN
        except StorageError as error:
            self.station.announce("fault", None, str(error))
            return
        if head is not None and not same:
            self.station.announce(
                "fork", None, f"the store that came back lacks entry {head.entries} of its custody log"
            )

    def lend(self, name: str, seconds: float) -> None:
        """Leave the port of a bay to somebody else for so long.

        Raises:
            EvidenceError: there is no such bay, or it does not let go.
        """
        bay = self._bay_named(name)
        if not bay.lend(seconds):
            bay.take_back()
            raise EvidenceError(f"bay {name} does not let go of its port", remedy="try again")

    def _bay_named(self, name: str) -> Bay:
        found = next((bay for bay in self.bays if bay.name == name), None)
        if found is None:
            raise EvidenceError(
                f"no bay {name}", expected=" or ".join(bay.name for bay in self.bays) or "a bay that there is"
            )
        return found

    def _answer(self, question: Ask) -> Answer:
        if isinstance(question, AskLend):
            self.lend(question.bay, question.seconds)
            return Answer(detail=f"bay {question.bay} is free for {question.seconds:.0f} s")
        if isinstance(question, AskReturn):
            self._bay_named(question.bay).take_back()
            return Answer(detail=f"bay {question.bay} is looked after again")
        if isinstance(question, AskAssign):
            self.assign(question.device, question.assignment)
            return Answer(detail=f"{question.device} is told {question.assignment.wearer} when it is docked")
        if isinstance(question, AskRelease):
            count = self.release(question.clip, question.reason, question.operator)
            return Answer(detail=f"{count} released; the camera gets the receipt when it is docked")
        return Answer(status=self.status())


def _posts(config: DockConfig, readers: Mapping[str, BadgeReader]) -> tuple[Post, ...]:
    return tuple(
        Post(
            name=each.name,
            reader=readers.get(each.name) or reader_of(each),
            roster=Roster(Path(each.file)),
            aim=Aim(
                bay=each.bay,
                movement=Movement(each.next),
                wait_ns=int(each.wait_s * 1e9),
                shift_ns=int(each.hours * 3600e9),
            ),
        )
        for each in config.badge
    )
