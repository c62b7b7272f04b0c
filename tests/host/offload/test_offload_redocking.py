"""Any order of docking at two docks, kills, broken links, a failing card, and deletions by a real camera."""

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from docklink.client import open_session
from docklink.errors import LinkError
from docklink.faults import Cut, FaultyStream
from docklink.streams import connect_tcp
from evidence.attestations import read_tombstone
from evidence.check import Finding, check_sealed_clip
from evidence.documents import Receipt, decode
from evidence.roles import Role
from evidence.steps import Operation, set_step_hook
from evidence.storage import StorageError
from host.custody import CustodyLog
from host.offload import Docking, SessionReport, Settings, Station, Watch, run_session
from host.store import FileStore, Trust, format_store
from tests.device.dockport.dockbench import QUICK, Agency, DockBench, make_agency
from tests.device.vault_recovery.rig import DEVICE

TRAIL = ("clip_stored", "receipt_accepted")
CLIPS = 2
DOCKS = ("dock", "dock8")
STEPS = st.integers(0, 70)


class Killed(BaseException):
    """The process is gone."""


class Dock:
    """A dock's agent on a store of its own; `restart` is what a killed agent's successor finds."""

    def __init__(self, agency: Agency, who: str, root: Path) -> None:
        self.agency, self.who, self.root = agency, who, root
        format_store(root, f"{who}-a")
        self.start()

    def start(self) -> None:
        self.store = FileStore(self.root)
        self.custody = CustodyLog(self.root / "custody.jsonl", self.store.store_id)
        signer = self.agency.signer(self.who, Role.DOCK_RECEIPT)
        trust = Trust(self.agency.roots)
        self.station = Station(self.store, self.custody, signer, trust, dock_id=self.who, part_bytes=100_000)
        self.dockings = [Docking(DEVICE), Docking(DEVICE)]

    def stop(self) -> None:
        self.custody.close()
        self.store.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def place(self, clip: str) -> Path:
        return self.root / "clips" / DEVICE / clip

    def trail(self, clip: str) -> tuple[str, ...]:
        return tuple(
            read.entry.kind for read in self.custody.entries(containing=clip) if read.entry.clip == clip
        )


@contextmanager
def struck(root: Path, at: int, strike: Callable[[], None]) -> Iterator[None]:
    """Strike right before the `at`th operation on storage below a directory."""
    left = itertools.count(at, -1)

    def hook(_operation: Operation, path: Path) -> None:
        if path.is_relative_to(root) and next(left) == 0:
            strike()

    set_step_hook(hook)
    try:
        yield
    finally:
        set_step_hook(None)


def kill() -> None:
    raise Killed


def refuse() -> None:
    raise StorageError("the card does not answer", OSError(5, "Input/output error"))


class Redocking(RuleBasedStateMachine):
    """One camera with a real vault, two docks of two bays each."""

    agency: Agency

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        place = Path(self.directory.name)
        self.camera = DockBench(self.agency, place / "vault", clips=CLIPS)
        self.camera.hold(0)
        self.docks = {who: Dock(self.agency, who, place / who) for who in DOCKS}

    def teardown(self) -> None:
        if not hasattr(self, "camera"):
            return
        try:
            self.come_to_rest()
        finally:
            self.camera.stop()
            for dock in self.docks.values():
                dock.stop()
            self.directory.cleanup()

    @rule(who=st.sampled_from(DOCKS), bay=st.integers(0, 1))
    def visit(self, who: str, bay: int) -> None:
        """Dock, undisturbed."""
        self.session(who, bay)

    @rule(who=st.sampled_from(DOCKS), bay=st.integers(0, 1), at=st.integers(0, 700_000))
    def pulled_out(self, who: str, bay: int, at: int) -> None:
        """Undock at some byte; the next docking is another one."""
        self.session(who, bay, at)
        self.docks[who].dockings[bay] = Docking(DEVICE)

    @rule(who=st.sampled_from(DOCKS), bay=st.integers(0, 1), at=STEPS)
    def agent_dies(self, who: str, bay: int, at: int) -> None:
        """Kill the agent at some operation on its storage."""
        dock = self.docks[who]
        with struck(dock.root, at, kill):
            try:
                self.session(who, bay)
            except Killed:
                dock.restart()

    @rule(who=st.sampled_from(DOCKS), bay=st.integers(0, 1), at=st.integers(0, 15))
    def card_refuses(self, who: str, bay: int, at: int) -> None:
        """Let the camera's card fail once while it takes receipts."""
        with struck(self.camera.root, at, refuse):
            self.session(who, bay)

    @rule()
    def camera_lets_go(self) -> None:
        """Let the camera delete what it may."""
        self.camera.look()

    @rule(at=STEPS)
    def camera_dies_letting_go(self, at: int) -> None:
        """Kill the camera at some operation on its card, while it deletes."""
        with contextlib.suppress(Killed), struck(self.camera.root, at, kill):
            self.camera.look()
        self.camera_restarts()

    @rule()
    def camera_restarts(self) -> None:
        """Start the camera again."""
        self.camera.restart()
        self.camera.hold(0)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        for clip in self.camera.names if hasattr(self, "camera") else ():
            here, stone = self.camera.root / "clips" / clip, self.camera.root / "tombstones" / clip
            receipt = next(
                (each / "receipt.json" for each in (here, stone) if (each / "receipt.json").exists()), None
            )
            if not (here / "clip.mp4.age").exists():
                read_tombstone(stone, self.agency.roots)
            if receipt is not None:
                store = decode(receipt.read_bytes(), Receipt).store
                holder = self.docks[store.removesuffix("-a")].place(clip)
                assert check_sealed_clip(holder, self.agency.roots).finding is Finding.AUTHENTIC
                assert (holder / "receipt.json").read_bytes() == receipt.read_bytes()
            for dock in self.docks.values():
                trail = dock.trail(clip)
                assert trail == TRAIL[: len(trail)]
                assert (dock.place(clip) / "receipt.json").exists() <= (len(trail) > 0)
                assert not list((dock.root / "quarantine").glob("*/*"))

    def session(self, who: str, bay: int, cut_at: int | None = None) -> SessionReport | None:
        dock, tcp = self.docks[who], self.camera.port.tcp
        assert tcp is not None
        stream = FaultyStream(connect_tcp("127.0.0.1", tcp.number, 5), [] if cut_at is None else [Cut(cut_at)])
        try:
            with open_session(stream, self.agency.trust(who), timeouts=QUICK) as client:
                return run_session(client, dock.station, dock.dockings[bay], Settings(), Watch())
        except LinkError:
            return None

    def come_to_rest(self) -> None:
        """Visit each dock undisturbed, delete, show both what is left: each clip has a whole trail."""
        for who in DOCKS:
            self.visit(who, 0)
        self.camera.look()
        for clip in self.camera.names:
            read_tombstone(self.camera.root / "tombstones" / clip, self.agency.roots)
            assert not (self.camera.root / "clips" / clip).exists()
        for who, dock in self.docks.items():
            report = self.session(who, 1)
            assert report is not None
            assert report.completeness is not None
            assert (report.completeness.missing, report.waiting) == ((), 0)
            assert not list((dock.root / "partial").glob("notime*")), "a fetch without an end"
        self.nothing_is_lost_or_doubled()
        for clip in self.camera.names:
            assert TRAIL in [dock.trail(clip) for dock in self.docks.values()]


@pytest.mark.parametrize("examples", [6, pytest.param(60, marks=pytest.mark.long)])
def test_any_order_of_docking_killing_and_deleting(
    tmp_path_factory: pytest.TempPathFactory, examples: int
) -> None:
    class Here(Redocking):
        agency = make_agency(tmp_path_factory.mktemp("agency"))

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=8,
            deadline=None,
            database=None,
            suppress_health_check=checks,
        ),
    )
