"""Serial triggers over real pseudo-terminals."""

import os
import queue
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device.controls.config import SerialTriggerConfig
from device.controls.serial_ports import Backoff, SerialTriggers, TriggerSource, open_source
from device.controls.triggers import ModemReading, ModemTriggers, TextTriggers, Trigger, TriggerPortState
from device.errors import DeviceError

WAIT_S = 20


class Box:
    """A trigger box on one end of a pseudo-terminal, the camera's port at `path` on the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: list[int] = []

    def plug(self) -> None:
        self._ends = list(os.openpty())
        tty.setraw(self._ends[1])
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._ends[1]))

    def unplug(self) -> None:
        self.path.unlink()
        ends, self._ends = self._ends, []
        for end in ends:
            os.close(end)

    def say(self, data: bytes) -> None:
        os.write(self._ends[0], data)

    def close(self) -> None:
        if self._ends:
            self.unplug()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path / "ttyBOX")
    box.plug()
    yield box
    box.close()


Events = queue.SimpleQueue[Trigger | TriggerPortState]
Start = Callable[[SerialTriggerConfig], SerialTriggers]


@pytest.fixture
def events() -> Events:
    return queue.SimpleQueue()


@pytest.fixture
def start(events: Events) -> Iterator[Start]:
    running: list[SerialTriggers] = []

    def go(config: SerialTriggerConfig) -> SerialTriggers:
        port = SerialTriggers(config, events.put, backoff=Backoff(0.01, 0.05))
        running.append(port)
        port.start()
        return port

    yield go
    for port in running:
        port.close()


def test_a_line_from_the_box_is_a_trigger_with_its_time(box: Box, events: Events, start: Start) -> None:
    port = start(SerialTriggerConfig(str(box.path), names=("holster",)))
    connected = events.get(timeout=WAIT_S)
    assert isinstance(connected, TriggerPortState)
    assert connected.connected
    before_ns = time.monotonic_ns()
    box.say(b"noise\nholster 1\n")
    trigger = events.get(timeout=WAIT_S)
    assert isinstance(trigger, Trigger)
    assert trigger.source_name == "holster"
    assert before_ns <= trigger.at_ns <= time.monotonic_ns()
    assert port.garbage == 1


def test_unplugged_and_plugged_in_again(box: Box, events: Events, start: Start) -> None:
    start(SerialTriggerConfig(str(box.path), names=("holster",)))
    assert isinstance(events.get(timeout=WAIT_S), TriggerPortState)
    for n in range(2):
        box.unplug()
        gone = events.get(timeout=WAIT_S)
        assert isinstance(gone, TriggerPortState)
        assert not gone.connected
        assert gone.reason
        box.plug()
        # The port may first be found gone in another way, between the two.
        back = events.get(timeout=WAIT_S)
        while isinstance(back, TriggerPortState) and not back.connected:
            back = events.get(timeout=WAIT_S)
        assert isinstance(back, TriggerPortState)
        box.say(b"holster 0\n" if n else b"holster 1\n")
        if not n:
            assert isinstance(events.get(timeout=WAIT_S), Trigger)


def test_a_port_that_is_not_there_is_reported_once_however_often_it_is_tried(events: Events) -> None:
    tried = threading.Semaphore(0)

    def open_port(config: SerialTriggerConfig, decoder: TextTriggers | ModemTriggers) -> TriggerSource:
        tried.release()
        return open_source(config, decoder)

    config = SerialTriggerConfig("/nonexistent/port", names=("holster",))
    port = SerialTriggers(config, events.put, backoff=Backoff(0.001, 0.002), open_port=open_port)
    port.start()
    for _ in range(5):
        assert tried.acquire(timeout=WAIT_S)
    port.close()
    gone = events.get(timeout=WAIT_S)
    assert isinstance(gone, TriggerPortState)
    assert "can't be opened" in gone.reason
    assert events.empty()


def test_status_lines_that_a_port_does_not_have_are_explained(box: Box, events: Events, start: Start) -> None:
    start(SerialTriggerConfig(str(box.path), protocol="lines", lines={"cts": "holster"}))
    said = events.get(timeout=WAIT_S)
    assert isinstance(said, TriggerPortState)
    assert not said.connected
    assert "no modem status lines" in said.reason


def test_status_lines_through_a_port_in_memory(events: Events) -> None:
    readings: queue.SimpleQueue[ModemReading | None] = queue.SimpleQueue()
    opened: list[int] = []

    class MemoryPort:
        def __init__(self, decoder: ModemTriggers) -> None:
            self._decoder = decoder

        def poll(self) -> list[Trigger]:
            reading = readings.get(timeout=WAIT_S)
            if reading is None:
                raise OSError("unplugged")
            return self._decoder.reading(reading, 4)

        def cancel(self) -> None:
            readings.put(ModemReading(frozenset()))

        def close(self) -> None:
            opened.append(-1)

    def open_port(_config: SerialTriggerConfig, decoder: TextTriggers | ModemTriggers) -> MemoryPort:
        opened.append(1)
        if len(opened) == 3:
            raise DeviceError("still gone")
        assert isinstance(decoder, ModemTriggers)
        return MemoryPort(decoder)

    config = SerialTriggerConfig("x", protocol="lines", lines={"cd": "blue_light"})
    port = SerialTriggers(config, events.put, backoff=Backoff(0.001, 0.002), open_port=open_port)
    port.start()
    readings.put(ModemReading(frozenset()))
    readings.put(ModemReading(frozenset({"cd"})))
    readings.put(None)
    said = [events.get(timeout=WAIT_S) for _ in range(5)]
    port.close()
    assert said[1] == Trigger("blue_light", 4)
    states = [(state.connected, state.reason) for state in said if isinstance(state, TriggerPortState)]
    assert states == [(True, ""), (False, "unplugged"), (False, "still gone"), (True, "")]
    assert sum(opened) == 1, "every port but the one that failed to open has been closed"


def test_backoff_doubles_to_its_limit_and_starts_over() -> None:
    backoff = Backoff(0.5, 3)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_closing_before_starting_is_allowed(events: Events) -> None:
    SerialTriggers(SerialTriggerConfig("x", names=("a",)), events.put).close()
    assert events.empty()
