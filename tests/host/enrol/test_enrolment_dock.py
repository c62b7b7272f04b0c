"""Enrolment at the dock's end, against a camera's real desk; and the agency's register of it."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from device.dockport.enrolwindow import Stage
from device.identity import has_identity, read_facts
from docklink.errors import StreamClosedError, StreamError
from docklink.server import TcpPort
from docklink.streams import ByteStream
from docklink.tls import CameraTrust, DockTrust
from evidence.roles import Role
from evidence.signer import load_signer
from host.bays import Way, way_of
from host.config import BaySection
from host.enrol import (
    TRANSITIONS,
    AgencyDesk,
    Confirmation,
    EnrolError,
    Enroller,
    EnrolmentRecord,
    Outcome,
    Policy,
    RecordEvent,
    Register,
    Shown,
    Step,
    UncertainError,
    Wanted,
    usb_number_of,
)
from tests.device.dockport.enrolbench import DEVICE, SERIAL, EnrolBench, make_agency

OTHER = "100000000badcafe"


class BenchWay:
    """A way to the camera of a bench; `streams` says what each opening gives."""

    name = "bench"
    serial = False
    attached = True

    def __init__(self, bench: EnrolBench) -> None:
        self.bench = bench
        self.wrap: Callable[[ByteStream], ByteStream] = lambda stream: stream
        self.opened = 0

    def present(self) -> bool:
        return True

    def concerns(self, event: object) -> bool:
        return False

    def open(self) -> ByteStream:
        self.opened += 1
        return self.wrap(self.bench.stream())


class Table:
    """An operator, an agency and a bay."""

    def __init__(self, bench: EnrolBench) -> None:
        self.bench = bench
        self.way = BenchWay(bench)
        self.register = Register(bench.agency)
        self.answer: Confirmation | str = Confirmation.OPERATOR
        self.shown: list[Shown] = []
        self.said: list[str] = []
        self.on_confirm: Callable[[], object] = lambda: None
        self.on_pause: Callable[[], object] = lambda: None
        self.now_s = 0.0
        self.trust: Callable[[], DockTrust] | None = None

    def enroll(self, way: Way | None = None, **changes: object) -> Enroller:
        agency = AgencyDesk(self.bench.agency)
        wanted = Wanted(
            device=DEVICE,
            serial=SERIAL,
            dock="dock7",
            bay="1",
            policy=Policy(None, agency.recipients()),
        )
        return Enroller(
            way or self.way,
            msgspec.structs.replace(wanted, **changes),
            agency,
            self.register,
            confirm=self._confirm,
            say=self.said.append,
            trust=self.trust,
            pause=self._pause,
            now_s=lambda: self.now_s,
        )

    def events(self) -> list[RecordEvent]:
        return [each.event for each in self.register.records()]

    def _confirm(self, shown: Shown) -> Confirmation | str:
        self.shown.append(shown)
        self.on_confirm()
        return self.answer

    def _pause(self, seconds: float) -> None:
        self.now_s += seconds
        self.on_pause()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    bench = EnrolBench(tmp_path / "camera", make_agency(tmp_path))
    table = Table(bench)
    with table.register.held():
        yield table
    bench.close()


def nobodys(table: Table) -> bool:
    return not has_identity(table.bench.keys) and not table.bench.files()


def test_every_step_knows_every_outcome() -> None:
    working = set(Step) - {Step.ENROLLED, Step.FAILED, Step.UNCERTAIN}
    assert set(TRANSITIONS) == {(step, outcome) for step in working for outcome in Outcome}
    assert TRANSITIONS[Step.INSTALL, Outcome.LOST] is Step.CHECK
    reached = {following for (step, _), following in TRANSITIONS.items() if step is not Step.CHECK}
    assert Step.UNCERTAIN not in reached
    for step in (Step.LOOK, Step.ASK, Step.BEGIN, Step.CONFIRM):
        assert all(TRANSITIONS[step, each] is not Step.INSTALL for each in Outcome)


def test_a_camera_is_enrolled_confirmed_and_registered(table: Table) -> None:
    table.bench.desk.button(held=True)
    done = table.enroll().run()
    assert table.shown == [Shown(table.bench.fingerprint, AgencyDesk(table.bench.agency).fingerprint)]
    assert done.confirmed is Confirmation.OPERATOR
    assert load_signer(table.bench.keys, Role.CAMERA_EVIDENCE).chain == done.issued.evidence
    assert table.events() == [RecordEvent.ISSUED, RecordEvent.INSTALLED]
    last = table.register.records()[-1]
    assert (last.device, last.serial, last.confirmed) == (DEVICE, SERIAL, Confirmation.OPERATOR)
    assert last.camera_fingerprint == table.bench.fingerprint
    assert {path.name for path in done.kept.iterdir()} == {"evidence.pem", "link.pem"}
    assert last.evidence_certificate == done.kept.name


def test_it_waits_for_the_button(table: Table) -> None:
    def press() -> None:
        if table.now_s > 2:
            table.bench.desk.button(held=True)

    table.on_pause = press
    table.enroll().run()
    assert any("button" in each for each in table.said)
    assert has_identity(table.bench.keys)


def test_nobody_holds_the_button_in_time(table: Table) -> None:
    with pytest.raises(EnrolError, match=r"60 s is over.*button"):
        table.enroll().run()
    assert nobodys(table)
    assert table.events() == []


def test_the_operator_says_no(table: Table) -> None:
    table.bench.desk.button(held=True)
    table.answer = "the operator says no"
    with pytest.raises(EnrolError, match="says no"):
        table.enroll().run()
    assert nobodys(table)
    assert table.events() == [RecordEvent.DECLINED]
    table.answer = Confirmation.OPERATOR
    table.enroll().run()
    assert has_identity(table.bench.keys)


def test_the_operator_takes_too_long(table: Table) -> None:
    table.bench.desk.button(held=True)
    table.on_confirm = lambda: setattr(table, "now_s", 61.0)
    with pytest.raises(EnrolError, match="60 s is over"):
        table.enroll().run()
    assert nobodys(table)
    assert table.events() == []


def test_the_button_is_let_go_while_people_compare(table: Table) -> None:
    table.bench.desk.button(held=True)
    table.on_confirm = lambda: table.bench.desk.button(held=False)
    with pytest.raises(EnrolError, match=r"keeps nothing.*button"):
        table.enroll().run()
    assert nobodys(table)
    assert table.events() == [RecordEvent.ISSUED, RecordEvent.REFUSED]
    assert table.register.holder(DEVICE, OTHER) is None


@pytest.mark.parametrize("wrong", [{"serial": OTHER}, {"usb": OTHER}], ids=["camera", "usb"])
def test_another_board_is_not_taken(table: Table, wrong: dict[str, Any]) -> None:
    table.bench.desk.button(held=True)
    with pytest.raises(EnrolError, match="another camera is in bay 1"):
        table.enroll(**wrong).run()
    assert nobodys(table)
    assert table.shown == []


def test_an_id_that_is_taken_needs_a_reason(table: Table, tmp_path: Path) -> None:
    table.bench.desk.button(held=True)
    table.enroll().run()
    second = EnrolBench(tmp_path / "second", table.bench.agency)
    second.desk.button(held=True)
    table.way.bench = second
    with pytest.raises(EnrolError, match="cam0042 is taken"):
        table.enroll().run()
    with pytest.raises(EnrolError, match="in the store"):
        table.enroll(device="cam0043", known="a camera of that id in the store").run()
    assert not has_identity(second.keys)
    table.enroll(replace="the first one fell into the canal").run()
    facts = read_facts(second.keys)
    assert facts is not None
    assert facts.device == DEVICE
    assert table.register.records()[-1].reason == "the first one fell into the canal"
    second.close()


class CutAfter:
    """A stream that breaks when `broken` is set: the camera hears everything, the dock nothing more."""

    name = "cut"

    def __init__(self, inner: ByteStream, broken: threading.Event) -> None:
        self._inner = inner
        self._broken = broken

    def read(self, limit: int, timeout_s: float) -> bytes | bytearray:
        data = self._inner.read(limit, timeout_s)
        if self._broken.is_set():
            raise StreamClosedError("the cable is out")
        return data

    def write(self, data: bytes | bytearray | memoryview, timeout_s: float) -> None:
        self._inner.write(data, timeout_s)

    def close(self) -> None:
        self._inner.close()


def test_an_answer_that_was_lost_is_looked_for_and_said(table: Table) -> None:
    """The camera has its identity, the dock does not know: it says so, and another board cannot get the id."""
    broken = threading.Event()
    table.way.wrap = lambda stream: CutAfter(stream, broken)
    table.bench.desk.button(held=True)
    table.on_confirm = broken.set
    trust = DockTrust(
        table.bench.agency.parent / "dock" / "dock-link.pem",
        table.bench.agency.parent / "dock" / "dock-link.key",
        (AgencyDesk(table.bench.agency).root,),
        0,
    )
    table.trust = lambda: trust
    with pytest.raises(UncertainError):
        table.enroll().run()
    assert table.bench.desk.stage is Stage.DONE
    assert table.way.opened > 2
    assert table.events() == [RecordEvent.ISSUED, RecordEvent.UNCERTAIN]
    assert table.register.holder(DEVICE, SERIAL) is None
    assert table.register.holder(DEVICE, OTHER) is not None


def test_an_answer_that_was_lost_is_found_out(table: Table) -> None:
    """The camera shows the certificate that was issued: it is enrolled."""
    broken = threading.Event()
    table.way.wrap = lambda stream: CutAfter(stream, broken)
    table.bench.desk.button(held=True)
    table.on_confirm = broken.set
    keys, agency = table.bench.keys, AgencyDesk(table.bench.agency)
    dock = table.bench.agency.parent / "dock"
    table.trust = lambda: DockTrust(
        dock / "dock-link.pem", dock / "dock-link.key", (agency.root,), time.time_ns()
    )

    def restart() -> None:
        if has_identity(keys):
            broken.clear()
            table.bench.trust = CameraTrust(keys / "link.pem", keys / "link.key", (agency.root,), 0)

    table.on_pause = restart
    table.enroll().run()
    assert table.events() == [RecordEvent.ISSUED, RecordEvent.INSTALLED]


def test_a_link_that_breaks_before_is_come_back_to(table: Table) -> None:
    failures = iter([True, True, False])

    def wrap(stream: ByteStream) -> ByteStream:
        if next(failures, False):
            stream.close()
            raise StreamError("nothing there")
        return stream

    table.way.wrap = wrap
    table.bench.desk.button(held=True)
    table.enroll().run()
    assert table.way.opened == 3


def _record(event: RecordEvent, serial: str = SERIAL) -> EnrolmentRecord:
    return EnrolmentRecord(
        utc="2026-11-22T03:54:53.000000Z",
        event=event,
        device=DEVICE,
        serial=serial,
        dock="dock7",
        bay="1",
        camera_fingerprint="0" * 64,
        agency_fingerprint="1" * 64,
    )


def test_a_tcp_bay_does_as_well(table: Table) -> None:
    port = TcpPort("127.0.0.1", 0)
    thread = threading.Thread(target=port.run, args=(table.bench.server(),), daemon=True)
    thread.start()
    table.bench.desk.button(held=True)
    try:
        way = way_of(BaySection(name="1", tcp=f"127.0.0.1:{port.port}"), 5.0)
        table.enroll(way=way).run()
    finally:
        port.close()
        thread.join(20)
    assert has_identity(table.bench.keys)


R = RecordEvent


@pytest.mark.parametrize(
    ("events", "same", "other"),
    [
        ([], True, True),
        ([R.DECLINED], True, True),
        ([R.ISSUED], True, False),
        ([R.ISSUED, R.REFUSED], True, True),
        ([R.ISSUED, R.UNCERTAIN], True, False),
        ([R.ISSUED, R.INSTALLED], False, False),
        ([R.ISSUED, R.INSTALLED, R.ISSUED, R.REFUSED], False, False),
        ([R.ISSUED, R.INSTALLED, R.DECLINED], False, False),
    ],
    ids=str,
)
def test_who_can_have_an_id(tmp_path: Path, events: list[RecordEvent], same: bool, other: bool) -> None:
    register = Register(tmp_path)
    with register.held():
        for event in events:
            register.append(_record(event))
        assert (register.holder(DEVICE, SERIAL) is None) is same
        assert (register.holder(DEVICE, OTHER) is None) is other
        assert register.holder("cam0043", OTHER) is None


def test_the_register_outlives_a_crash_and_keeps_others_out(tmp_path: Path) -> None:
    register = Register(tmp_path)
    with register.held():
        register.append(_record(R.ISSUED))
        with pytest.raises(EnrolError, match="another camera"), Register(tmp_path).held():
            pass
    path = tmp_path / "enrolments.jsonl"
    path.write_bytes(path.read_bytes() + b'{"utc":"2026')
    assert [each.event for each in register.records()] == [R.ISSUED]
    with register.held():
        register.append(_record(R.INSTALLED))
    assert [each.event for each in register.records()] == [R.ISSUED, R.INSTALLED]
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(EnrolError, match="line 1"):
        register.records()


def test_what_usb_shows_of_a_bay(tmp_path: Path) -> None:
    device = tmp_path / "ttyACM0"
    device.touch()
    link = tmp_path / "bay1"
    link.symlink_to(device)
    ports = [SimpleNamespace(device=str(device), serial_number=SERIAL)]
    assert usb_number_of(BaySection(name="1", serial=str(link)), lambda: ports) == SERIAL
    assert usb_number_of(BaySection(name="1", serial=str(tmp_path / "ttyS9")), lambda: ports) is None
    assert usb_number_of(BaySection(name="1", usb=OTHER), lambda: ports) == OTHER
    assert usb_number_of(BaySection(name="1", tcp="10.0.0.2:8443"), lambda: ports) is None
