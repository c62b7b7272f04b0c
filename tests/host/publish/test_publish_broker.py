"""A publisher and a real broker: births and deaths, twins, ghosts, cameras that move (docs/mqtt.md)."""

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from host.bays.status import BayState
from host.publish import (
    BayPayload,
    CameraPayload,
    DockState,
    Outbox,
    Session,
    StatePayload,
    Topics,
    decode_payload,
    encode_payload,
)
from tests.host.publish.brokerbench import (
    PATIENCE_S,
    TOPICS,
    PublishBench,
    Watcher,
    bench,
    free_port,
    needs_mosquitto,
    wait_until,
)
from tests.host.publish.publishing import run_publisher

__all__ = ["bench"]
pytestmark = needs_mosquitto
UTC = "2026-11-22T09:00:00.000000Z"


def bay(name: str = "1", detail: str = "") -> BayPayload:
    return BayPayload(
        bay=name,
        utc=UTC,
        state=BayState.EMPTY,
        detail=detail,
        device=None,
        clip=None,
        step=None,
        done_bytes=0,
        clip_bytes=0,
        stored=0,
        failed_sessions=0,
    )


def camera(index: int, in_bay: str | None, device: str = "cam0042") -> CameraPayload:
    return CameraPayload(
        device=device,
        utc=UTC,
        as_of=(1, index),
        bay=in_bay,
        firmware="0.1.0",
        recorder="ready",
        battery_percent=80,
        charging=True,
        free_bytes=1,
        total_bytes=2,
        clock_error_ns=None,
        waiting=0,
        missing=0,
        wearer="w-7f3a",
    )


def truth(watcher: Watcher, device: str = "cam0042") -> CameraPayload:
    """Do as a reader does: of all that is retained, the greatest."""
    about = [each for each in watcher.messages if f"/camera/{device}" in each.topic]
    latest = {each.topic: bytes(each.payload) for each in about}
    said = [decode_payload(each, CameraPayload) for each in latest.values() if each]
    return max(said, key=lambda each: each.rank)


class Cable:
    """A way to the broker that can be cut: bytes vanish, nothing is closed or reset."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._taking = threading.Thread(target=self._accept, daemon=True)
        self._taking.start()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def close(self) -> None:
        """Close once no thread uses any of it: nobody else may get a descriptor that is still read."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._taking.join(PATIENCE_S)
        for each in self._ends:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for each in (self._listener, *self._ends):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is shut down
            while True:
                near, _ = self._listener.accept()
                self._ends.append(near)
                with contextlib.suppress(OSError):  # the broker is away: so is the other end
                    self._lay(near, socket.create_connection(("127.0.0.1", self._to_port)))
                    continue
                near.shutdown(socket.SHUT_RDWR)

    def _lay(self, near: socket.socket, far: socket.socket) -> None:
        self._ends.append(far)
        for one, other in ((near, far), (far, near)):
            thread = threading.Thread(target=self._carry, args=(one, other), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                if self._whole.is_set():
                    other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def process(bench: PublishBench, port: int, **more: object) -> Iterator[multiprocessing.process.BaseProcess]:
    """Run a publisher in a process of its own, to kill it."""
    arguments = (str(bench.directory), port)
    made = multiprocessing.get_context("spawn").Process(
        target=run_publisher, args=arguments, kwargs=more, daemon=True
    )
    made.start()
    try:
        yield made
    finally:
        made.kill()
        made.join(PATIENCE_S)


def test_a_clean_end_is_told_from_a_kill(bench: PublishBench) -> None:
    port = bench.broker().port
    watcher = bench.watcher(port)
    bench.publisher(port).end()
    watcher.wait(lambda: watcher.states() == ["online", "stopped"])
    with process(bench, port) as running:
        watcher.wait(lambda: watcher.states()[2:] == ["online"])
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)
        watcher.wait(lambda: watcher.states()[2:] == ["online", "offline"])
    dead = watcher.state()
    assert dead is not None
    assert (dead.session.number, dead.utc) == (2, None)  # which birth that death belongs to


def test_a_cut_cable_shows_as_offline(bench: PublishBench) -> None:
    port = bench.broker().port
    watcher = bench.watcher(port)
    cable = Cable(port)
    bench.stack.callback(cable.close)
    running = bench.publisher(cable.port, keepalive_s=1)
    watcher.wait(lambda: watcher.states() == ["online"])
    cable.cut()
    watcher.wait(lambda: watcher.states() == ["online", "offline"])
    running.wait_phase("waiting", "connecting")
    running.wait_trouble("connection lost")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_late_will_is_answered(bench: PublishBench, protocol: str) -> None:
    port = bench.broker().port
    watcher = bench.watcher(port)
    running = bench.publisher(port, protocol=protocol)
    watcher.wait(lambda: watcher.states() == ["online"])
    session = running.publisher._core.session
    late = StatePayload(dock="dock7", state=DockState.OFFLINE, session=session, utc=None)
    watcher.publish(TOPICS.state, encode_payload(late), retain=True)
    watcher.wait(lambda: watcher.states() == ["online", "offline", "online"])
    running.end()


def test_of_two_agents_with_one_id_one_steps_back_and_says_so(bench: PublishBench) -> None:
    port = bench.broker().port
    watcher = bench.watcher(port)
    one = bench.publisher(port, name="one.db")
    one.wait_phase("online")
    other_outbox = Outbox(bench.directory / "two.db")
    other_outbox.note_session(5)
    other_outbox.close()
    two = bench.publisher(port, name="two.db")
    one.wait_phase("yielded")
    two.wait_phase("online")
    assert "another agent is on the broker as dock dock7" in one.wait_trouble("another agent")
    number = one.publisher.event("fault")
    assert number == 1  # on disk, for later
    two.publisher.event("clip_stored")
    watcher.wait(lambda: [each.kind for each in watcher.events()] == ["clip_stored"])
    wait_until(lambda: (watcher.state() or _nobody()).session == two.publisher._core.session)
    assert watcher.states()[-1] == "online"
    two.end()
    one.end()
    again = bench.publisher(port, name="one.db")  # restarted, it comes above the other
    watcher.wait(lambda: [each.kind for each in watcher.events()] == ["clip_stored", "fault"])
    again.end()
    assert watcher.states()[-1] in ("online", "stopped")


def _nobody() -> StatePayload:
    return StatePayload(dock="", state=DockState.OFFLINE, session=Session(1, "0" * 16), utc=None)


def test_a_dock_with_a_new_disk_outlives_its_former_self(bench: PublishBench) -> None:
    port = bench.broker().port
    for _ in range(3):
        bench.publisher(port, name="old.db").end()
    watcher = bench.watcher(port)
    running = bench.publisher(port, name="new.db")
    watcher.wait(lambda: (watcher.state() or _nobody()).session.number == 4)
    running.wait_phase("online")


def test_a_camera_that_moved_while_its_first_dock_was_away(bench: PublishBench) -> None:
    port = bench.broker().port
    cable = Cable(port)
    bench.stack.callback(cable.close)
    other = Topics("preroll", "south", "dock9")
    first = bench.publisher(cable.port, name="a.db", keepalive_s=1)
    watcher = bench.watcher(port)
    first.publisher.show(camera(7, "1"))
    watcher.wait(lambda: bool(watcher.last(TOPICS.camera("cam0042"))))
    cable.cut()
    watcher.wait(lambda: watcher.states()[-1:] == ["offline"])
    first.publisher.show(camera(7, None))  # taken out, and the broker does not hear of it
    second = bench.publisher(port, name="b.db", topics=other, client_id="dock9")
    second.publisher.show(camera(9, "2"))
    watcher.wait(lambda: bool(watcher.last(other.camera("cam0042"))))
    meanwhile = bench.watcher(port)
    meanwhile.wait(lambda: sum("/camera/" in each.topic for each in meanwhile.messages) == 2)
    assert truth(meanwhile).bay == "2"
    cable.mend()
    watcher.wait(lambda: watcher.last(TOPICS.camera("cam0042")) == b"")
    late = bench.watcher(port)
    late.wait(lambda: bool(late.last(other.camera("cam0042"))))
    assert not late.last(TOPICS.camera("cam0042"))
    assert truth(late).as_of == (1, 9)
    wait_until(lambda: TOPICS.camera("cam0042") not in first.outbox.retained())
    first.publisher.show(camera(12, "1"))  # and back
    watcher.wait(lambda: truth(watcher).bay == "1")


def test_another_site_or_fewer_bays_leave_no_ghost(bench: PublishBench) -> None:
    port = bench.broker().port
    before = bench.publisher(port)
    for name in ("1", "2"):
        before.publisher.show(bay(name))
    before.publisher.show(camera(3, "1", "cam0001"))
    before.publisher.show(camera(3, None, "cam0002"))
    watcher = bench.watcher(port)
    watcher.wait(lambda: len({each.topic for each in watcher.messages}) == 5)
    before.end()
    fewer = bench.publisher(port, bays=("2",), retired=("cam0002",))
    watcher.wait(lambda: watcher.last(TOPICS.bay("1")) == watcher.last(TOPICS.camera("cam0002")) == b"")
    watcher.wait(lambda: decode_payload(watcher.last(TOPICS.camera("cam0001")), CameraPayload).bay is None)
    fewer.end()
    moved = bench.publisher(port, topics=Topics("preroll", "west", "dock7"), bays=("2",))
    moved.publisher.show(bay("2"))
    watcher.wait(lambda: watcher.last(TOPICS.state) == watcher.last(TOPICS.camera("cam0001")) == b"")
    wait_until(lambda: not any("/north/" in each for each in moved.outbox.retained()))
    late = bench.watcher(port)
    late.wait(lambda: bool(late.last("preroll/west/dock7/bay/2")))
    assert not [each.topic for each in late.messages if "/north/" in each.topic]


@pytest.mark.parametrize("persistence", [False, True], ids=["forgetful", "persistent"])
def test_retained_state_is_true_again_after_the_broker_was_killed(
    bench: PublishBench, persistence: bool
) -> None:
    broker = bench.broker(persistence=persistence)
    running = bench.publisher(broker.port)
    running.publisher.show(bay("1", "before"))
    running.publisher.show(bay("2", "before"))
    wait_until(lambda: running.publisher._core.flow.settled_all and running.publisher.status.phase == "online")
    broker.kill()
    running.wait_phase("waiting", "connecting")
    running.publisher.show(bay("1", "meanwhile"))
    assert running.publisher.event("fault") == 1
    broker.start()
    late = bench.watcher(broker.port)
    late.wait(lambda: {"online"} == set(late.states()[-1:]) and bool(late.last(TOPICS.bay("2"))))
    late.wait(lambda: decode_payload(late.last(TOPICS.bay("1")), BayPayload).detail == "meanwhile")
    late.wait(lambda: [each.number for each in late.events()] == [1])


def test_an_agent_that_never_reaches_a_broker_waits_for_nothing(bench: PublishBench, tmp_path: Path) -> None:
    running = bench.publisher(free_port())
    for _ in range(20):
        assert running.publisher.event("fault") is not None
        running.publisher.show(bay())
    running.wait_trouble("not reached")
    running.end()
    outbox = Outbox(tmp_path / "outbox.db")
    assert len(outbox.waiting(0, 100)) == 20
    outbox.close()


def test_names_that_would_be_levels_or_wildcards_are_refused(bench: PublishBench) -> None:
    port = bench.broker().port
    watcher = bench.watcher(port, "#")
    running = bench.publisher(port)
    for name in ("1/../../state", "+", "#", "a b", "", "ä"):
        running.publisher.show(msgspec.structs.replace(bay(), bay=name))
    assert running.publisher.event("fault", device="cam/1") is None
    assert running.publisher.status.lost == 1
    running.wait_trouble("expected")
    watcher.wait(lambda: bool(watcher.events()))
    running.end()
    watcher.wait(lambda: watcher.states()[-1:] == ["stopped"])
    assert {each.topic for each in watcher.messages} == {TOPICS.state, TOPICS.event}
    assert [each.kind for each in watcher.events()] == ["events_dropped"]
