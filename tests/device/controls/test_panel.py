"""The whole gesture table from mock pins to events, lights by virtual time, and the thread around it."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from device.controls.bench_board import BenchBoard
from device.controls.config import BUTTON, ControlsConfig, SerialTriggerConfig
from device.controls.edges import Edge, EdgeInput
from device.controls.gestures import Held, PressBegan, ReleasedLong, ReleasedShort, Stuck, Unstuck
from device.controls.outputs import GpioOutputs, MemoryLines
from device.controls.panel import ControlEvent, ControlPanel, PanelCore
from device.controls.patterns import FAULT_LEVELS, IndicatorState, Line, Signal
from device.controls.triggers import Trigger, TriggerPortState
from device.errors import DeviceError

MS = 1_000_000
S = 1_000_000_000
WAIT_S = 20


class Rig:
    """A panel's core on a bench board in virtual time: edges go in as they come, deadlines are kept exactly."""

    def __init__(self, board: BenchBoard, clock: Any) -> None:
        self.board, self.clock = board, clock
        self.events: list[ControlEvent] = []
        self.start_ns = clock()
        self.outputs = GpioOutputs(board.factory, board.config.lights)
        self.core = PanelCore(board.config, self.outputs, self.events.append, clock())

    def claim(self) -> None:
        factory, config = self.board.factory, self.board.config
        lines = [EdgeInput(factory, config.button.pin, BUTTON, self.core.edge, now_ns=self.clock)]
        lines += [
            EdgeInput(
                factory,
                line.pin,
                line.name,
                self.core.edge,
                active_low=line.edge == "falling",
                pull=line.pull,
                now_ns=self.clock,
            )
            for line in config.triggers
        ]
        self.core.watch_levels(lines)

    def wait(self, ns: int) -> None:
        until_ns = self.clock() + ns
        while self.clock() < until_ns:
            self.core.advance(self.clock())
            self.clock.now_ns = min(max(self.core.next_deadline_ns(), self.clock() + 1), until_ns)
        self.core.advance(self.clock())

    def press(self, ns: int) -> None:
        self.board.press()
        self.wait(ns)
        self.board.release()
        self.wait(100 * MS)

    def said(self) -> list[tuple[str, int]]:
        """(kind, ms from the start) of every event."""
        return [(type(event).__name__, (event.at_ns - self.start_ns) // MS) for event in self.events]


@pytest.fixture
def rig(board: BenchBoard, clock: Any) -> Rig:
    rig = Rig(board, clock)
    rig.claim()
    return rig


def test_short_press_then_hold_then_stuck(rig: Rig) -> None:
    rig.press(300 * MS)
    rig.press(4 * S)
    rig.press(61 * S)
    assert rig.said() == [
        ("PressBegan", 0),
        ("ReleasedShort", 300),
        ("PressBegan", 400),
        ("Held", 3_400),
        ("ReleasedLong", 4_400),
        ("PressBegan", 4_500),
        ("Held", 7_500),
        ("Stuck", 64_500),
        ("Unstuck", 65_500),
        ("ReleasedLong", 65_500),
    ]
    assert {type(event) for event in rig.events} == {
        PressBegan,
        Held,
        ReleasedShort,
        ReleasedLong,
        Stuck,
        Unstuck,
    }


def test_press_is_posted_within_its_own_edge(rig: Rig) -> None:
    rig.board.press()
    assert rig.said() == [("PressBegan", 0)]


def test_bouncing_contact_is_one_press(rig: Rig) -> None:
    for pause_ms in (1, 2, 1, 3, 2):
        rig.board.press()
        rig.wait(pause_ms * MS)
        rig.board.release()
        rig.wait(pause_ms * MS)
    rig.wait(S)
    assert rig.said() == [("PressBegan", 0), ("ReleasedShort", 16)]


def test_a_press_of_a_microsecond_counts(rig: Rig) -> None:
    rig.press(1_000)
    assert [kind for kind, _ in rig.said()] == ["PressBegan", "ReleasedShort"]


def test_button_down_at_the_claim_is_a_press(board: BenchBoard, clock: Any) -> None:
    rig = Rig(board, clock)
    board.press()
    rig.wait(5 * S)
    rig.claim()
    rig.wait(S)
    board.release()
    rig.wait(S)
    assert rig.said() == [("PressBegan", 5_000), ("ReleasedShort", 6_000)]


def test_triggers_beside_the_button(rig: Rig) -> None:
    rig.board.trigger("holster", active=True)
    rig.wait(5 * MS)
    rig.board.trigger("holster", active=False)
    rig.wait(5 * MS)
    rig.board.trigger("holster", active=True)
    rig.wait(S)
    rig.board.trigger("blue_light", active=True)
    assert rig.events == [
        Trigger("holster", rig.start_ns),
        Trigger("blue_light", rig.start_ns + 1_010 * MS),
    ]


def test_a_press_whose_edge_was_lost_is_found_by_its_level(rig: Rig) -> None:
    pin = rig.board.factory.pin(17)
    pin._state = False
    rig.wait(600 * MS)
    assert rig.said() == [("PressBegan", 250)]
    pin._state = True
    rig.wait(2 * S)
    assert rig.said() == [("PressBegan", 250), ("ReleasedShort", 750)]
    assert rig.core.recovered == 2


def test_an_edge_that_is_only_on_its_way_keeps_its_own_time(rig: Rig) -> None:
    pin = rig.board.factory.pin(17)
    pin._state = False
    rig.wait(300 * MS)
    assert rig.events == []
    rig.core.edge(Edge(BUTTON, rig.start_ns + 249 * MS, active=True))
    rig.wait(S)
    assert rig.said() == [("PressBegan", 249)]
    assert rig.core.recovered == 0


def test_a_press_found_by_its_level_is_measured_by_its_own_edge_once_that_comes(rig: Rig) -> None:
    rig.wait(10 * MS)
    rig.board.factory.pin(17)._state = False
    rig.wait(600 * MS)
    assert rig.said() == [("PressBegan", 250)]
    rig.core.edge(Edge(BUTTON, rig.start_ns + 10 * MS, active=True))
    rig.wait(2_420 * MS)
    assert rig.said() == [("PressBegan", 250), ("Held", 3_010)]
    assert rig.core.button.dated == 1


def test_a_release_that_comes_late_by_half_a_second_keeps_its_own_time(rig: Rig) -> None:
    rig.board.press()
    rig.wait(3_010 * MS)
    rig.board.factory.pin(17)._state = True
    rig.wait(600 * MS)
    rig.core.edge(Edge(BUTTON, rig.start_ns + 3_010 * MS, active=False))
    rig.wait(S)
    assert rig.said() == [("PressBegan", 0), ("Held", 3_000), ("ReleasedLong", 3_010)]
    assert rig.core.recovered == 0


def test_a_press_whose_release_was_lost_is_no_hold(rig: Rig) -> None:
    rig.board.press()
    rig.wait(2_900 * MS)
    rig.board.factory.pin(17)._state = True
    rig.wait(3 * S)
    assert rig.said() == [("PressBegan", 0), ("ReleasedShort", 2_999)]
    assert rig.core.recovered == 1


def test_a_press_whose_release_comes_late_is_no_hold(rig: Rig) -> None:
    pin = rig.board.factory.pin(17)
    rig.board.press()
    rig.wait(2_900 * MS)
    pin._state = True  # opened; the edge is on its way
    rig.wait(200 * MS)
    assert rig.said() == [("PressBegan", 0)]
    assert rig.core.doubted > 0
    rig.core.edge(Edge(BUTTON, rig.start_ns + 2_900 * MS, active=False))
    rig.wait(S)
    assert rig.said() == [("PressBegan", 0), ("ReleasedShort", 2_900)]


def test_a_hold_is_told_once_its_contact_reads_closed_again(rig: Rig) -> None:
    pin = rig.board.factory.pin(17)
    rig.board.press()
    rig.wait(2_990 * MS)
    pin._state = True  # a bounce that nobody told
    rig.wait(40 * MS)
    assert rig.said() == [("PressBegan", 0)]
    pin._state = False
    rig.wait(40 * MS)
    assert rig.said() == [("PressBegan", 0), ("Held", 3_000)]


def test_a_line_that_cannot_be_read_is_counted_and_the_rest_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_line: object) -> bool:
        raise DeviceError("gone")

    monkeypatch.setattr(EdgeInput, "is_active", fail)
    rig.press(S)
    assert [kind for kind, _ in rig.said()] == ["PressBegan", "ReleasedShort"]
    assert rig.core.level_errors > 0


def test_recording_light_on_the_pins_lapses_without_progress(rig: Rig) -> None:
    rig.core.indicators.show(IndicatorState.RECORDING, rig.clock())
    rig.core.indicators.renew(rig.clock(), rig.clock() + 2 * S)
    rig.wait(S)
    assert (rig.board.is_high(22), rig.board.is_high(27)) == (True, False)
    rig.wait(S)
    assert (rig.board.is_high(22), rig.board.is_high(27)) == (True, True)
    assert rig.core.indicators.showing is IndicatorState.FAULT


def test_lights_that_fail_do_not_stop_the_button(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_outputs: object, _line: Line, *, on: bool) -> None:
        raise DeviceError("burnt")

    monkeypatch.setattr(GpioOutputs, "set", fail)
    rig.wait(3 * S)
    rig.press(S)
    assert [kind for kind, _ in rig.said()] == ["PressBegan", "ReleasedShort"]
    assert rig.core.output_errors > 0


# From here on with the thread, on the real clock.

Events = queue.SimpleQueue[ControlEvent]
Build = Callable[..., ControlPanel]


@pytest.fixture
def live_board(controls: ControlsConfig) -> Iterator[BenchBoard]:
    board = BenchBoard(controls)
    yield board
    board.close()


@pytest.fixture
def events() -> Events:
    return queue.SimpleQueue()


def test_a_press_before_start_counts_from_its_edge(
    live_board: BenchBoard, controls: ControlsConfig, events: Events
) -> None:
    panel = ControlPanel(controls, live_board.factory, events.put)
    assert panel.faults == []
    live_board.press()
    stamped_ns = live_board.factory.now_ns()
    live_board.release()
    panel.start()
    began = events.get(timeout=WAIT_S)
    assert isinstance(began, PressBegan)
    assert began.at_ns <= stamped_ns
    released = events.get(timeout=WAIT_S)
    assert isinstance(released, ReleasedShort)
    assert released.press_id == began.press_id
    assert panel.last_turn_ns > stamped_ns
    panel.close()
    assert not panel.is_alive()


def test_close_leaves_all_off_or_the_fault_on(live_board: BenchBoard, controls: ControlsConfig) -> None:
    for fault in (False, True):
        lines = MemoryLines()
        panel = ControlPanel(controls, live_board.factory, lambda _: None, outputs=lines)
        panel.start()
        panel.show(IndicatorState.CANNOT_RECORD)
        panel.close(fault=fault)
        assert lines.levels() == (FAULT_LEVELS if fault else frozenset())


def test_show_signal_and_renew_come_from_other_threads(
    live_board: BenchBoard, controls: ControlsConfig
) -> None:
    switched = threading.Semaphore(0)

    class Telling(MemoryLines):
        def set(self, line: Line, *, on: bool) -> None:
            super().set(line, on=on)
            switched.release()

    lines = Telling()
    panel = ControlPanel(controls, live_board.factory, lambda _: None, outputs=lines)
    panel.start()
    panel.show(IndicatorState.RECORDING)
    panel.renew(live_board.factory.now_ns() + 2 * S)
    panel.signal(Signal.STARTED)
    while (Line.BUZZER, True) not in lines.history:
        assert switched.acquire(timeout=WAIT_S)
    assert Line.RED in lines.levels()
    assert panel.core.indicators.showing is IndicatorState.RECORDING
    panel.set_policy(panel.core.indicators.policy)
    panel.close()


def test_what_cannot_be_claimed_is_a_fault_and_the_rest_works(live_board: BenchBoard, events: Events) -> None:
    taken = GpioOutputs(live_board.factory, live_board.config.lights)
    panel = ControlPanel(live_board.config, live_board.factory, events.put)
    assert ["for red can't be claimed" in str(fault) for fault in panel.faults] == [True]
    panel.start()
    live_board.press()
    assert isinstance(events.get(timeout=WAIT_S), PressBegan)
    panel.close()
    taken.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_panel_that_dies_shows_the_fault(live_board: BenchBoard, controls: ControlsConfig) -> None:
    posted = threading.Event()

    def post(_event: ControlEvent) -> None:
        posted.set()
        raise RuntimeError("a bug in the recorder")

    lines = MemoryLines()
    panel = ControlPanel(controls, live_board.factory, post, outputs=lines)
    panel.start()
    live_board.press()
    assert posted.wait(WAIT_S)
    panel._thread.join(WAIT_S)
    assert not panel.is_alive()
    assert lines.levels() == FAULT_LEVELS
    panel.close(fault=True)


def test_serial_ports_belong_to_the_panel(events: Events, live_board: BenchBoard) -> None:
    port = SerialTriggerConfig("/nonexistent/port", names=("siren",))
    panel = ControlPanel(ControlsConfig(serial_triggers=(port,)), live_board.factory, events.put)
    panel.start()
    gone = events.get(timeout=WAIT_S)
    assert isinstance(gone, TriggerPortState)
    assert not gone.connected
    panel.close()
