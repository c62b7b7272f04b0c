"""Gestures and conditions in, commands out: the recorder without clock, thread or I/O."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from device.recording.core import (
    BUTTON,
    AddBookmark,
    AddTrigger,
    Command,
    EndClip,
    LogPress,
    OpenClip,
    RecorderCore,
    RecorderPolicy,
    Refuse,
    Signal,
    SignalKind,
    StateChanged,
)
from device.recording.machine import RECORDING_STATES, Event, Outcome, State
from evidence.documents.fields import Ended

S = 1_000_000_000
POLICY = RecorderPolicy(confirm_ns=5 * S, limit_ns=600 * S)


def ready(policy: RecorderPolicy = POLICY) -> RecorderCore:
    core = RecorderCore(policy)
    core.condition(Event.KEYFRAME, 0)
    return core


def without_state(commands: list[Command]) -> list[Command]:
    return [command for command in commands if not isinstance(command, StateChanged)]


def test_the_press_that_starts_never_stops_however_long_it_is_gripped() -> None:
    core = ready()
    opened = without_state(core.press(1, 10 * S))
    assert opened == [LogPress(BUTTON, 10 * S, Outcome.START), OpenClip(BUTTON, 10 * S)]
    assert core.hold(1, 13 * S) == []
    assert core.release(1, 10 * S, short=False) == []
    assert core.state is State.RECORDING


def test_the_starting_press_let_go_is_no_bookmark() -> None:
    core = ready()
    core.press(1, 10 * S)
    assert core.release(1, 10 * S, short=True) == []


def test_a_hold_begun_while_recording_stops_at_the_end_of_the_hold() -> None:
    core = ready()
    core.press(1, 10 * S)
    core.release(1, 10 * S, short=True)
    assert without_state(core.press(2, 20 * S)) == [LogPress(BUTTON, 20 * S, Outcome.NOTED)]
    stopped = without_state(core.hold(2, 23 * S))
    assert stopped == [LogPress(BUTTON, 23 * S, Outcome.STOP), EndClip(Ended.STOPPED, 23 * S)]
    assert core.release(2, 20 * S, short=False) == []


def test_a_short_press_while_recording_is_a_bookmark_at_its_first_edge() -> None:
    core = ready()
    core.press(1, 10 * S)
    core.release(1, 10 * S, short=True)
    core.press(2, 20 * S)
    marked = core.release(2, 20 * S, short=True)
    assert AddBookmark(20 * S) in marked
    assert Signal(SignalKind.BOOKMARK) in marked


@pytest.mark.parametrize("later_ns", [-S // 100, 0, S // 2, S - 1])
def test_a_press_that_came_with_another_trigger_is_a_trigger_and_does_not_stop(later_ns: int) -> None:
    core = ready()
    core.trigger("holster", 10 * S)
    added = core.press(1, 10 * S + later_ns)
    assert AddTrigger(BUTTON, 10 * S + later_ns) in added
    assert core.hold(1, 14 * S) == []
    assert core.state is State.RECORDING


def test_a_press_a_second_after_another_trigger_can_stop() -> None:
    core = ready()
    core.trigger("holster", 10 * S)
    assert not any(isinstance(command, AddTrigger) for command in core.press(1, 11 * S))
    assert EndClip(Ended.STOPPED, 14 * S) in core.hold(1, 14 * S)


def test_all_who_pressed_before_the_first_keyframe_are_in_the_clip_that_opens_with_it() -> None:
    core = RecorderCore(POLICY)
    assert without_state(core.press(1, 1 * S)) == [LogPress(BUTTON, 1 * S, Outcome.PENDING)]
    core.trigger("holster", 2 * S)
    core.trigger("door", 3 * S)
    opened = without_state(core.condition(Event.KEYFRAME, 4 * S))
    assert opened == [OpenClip(BUTTON, 1 * S), AddTrigger("holster", 2 * S), AddTrigger("door", 3 * S)]
    assert core.hold(1, 5 * S) == []  # gripped since before the clip


def test_the_trigger_that_waited_counts_as_the_one_that_opened() -> None:
    core = RecorderCore(POLICY)
    core.trigger("holster", 1 * S)
    core.condition(Event.KEYFRAME, 1 * S + S // 10)
    assert AddTrigger(BUTTON, 1 * S + S // 2) in core.press(1, 1 * S + S // 2)


@pytest.mark.parametrize("event", [Event.CAMERA_FAILED, Event.STORAGE_BLOCKED, Event.BATTERY_CRITICAL])
def test_presses_that_waited_in_vain_are_all_refused_once(event: Event) -> None:
    core = RecorderCore(POLICY)
    core.press(1, 1 * S)
    core.trigger("holster", 2 * S)
    refused = [command for command in core.condition(event, 3 * S) if isinstance(command, Refuse)]
    assert [(refusal.source, refusal.at_ns) for refusal in refused] == [(BUTTON, S), ("holster", 2 * S)]
    assert not any(isinstance(command, Refuse) for command in core.condition(event, 4 * S))


def test_what_waits_while_starting_is_bounded() -> None:
    core = RecorderCore(POLICY)
    for number in range(1000):
        core.trigger("loose", number)
    opened = without_state(core.condition(Event.KEYFRAME, S))
    assert opened[0] == OpenClip("loose", 0)
    assert len(opened) <= 32


def test_the_time_limit_counts_from_the_edge() -> None:
    core = ready()
    core.press(1, 10 * S)
    assert core.next_deadline_ns == 610 * S
    assert core.tick(610 * S - 1) == []
    assert EndClip(Ended.TIME_LIMIT, 610 * S) in core.tick(615 * S)
    assert core.next_deadline_ns is None


def test_a_confirmation_that_does_not_come_lets_recording_go_on_and_the_limit_stays() -> None:
    core = ready(RecorderPolicy(confirm_stop=True, confirm_ns=5 * S, limit_ns=600 * S))
    core.press(1, 10 * S)
    core.press(2, 20 * S)
    assert Signal(SignalKind.CONFIRM_WANTED) in core.hold(2, 23 * S)
    assert core.next_deadline_ns == 28 * S
    assert not any(isinstance(command, EndClip) for command in core.tick(28 * S))
    assert core.state is State.RECORDING
    assert core.next_deadline_ns == 610 * S


def test_the_confirming_press_stops_at_its_edge_and_is_nothing_else() -> None:
    core = ready(RecorderPolicy(confirm_stop=True, confirm_ns=5 * S, limit_ns=600 * S))
    core.press(1, 10 * S)
    core.press(2, 20 * S)
    core.hold(2, 23 * S)
    assert EndClip(Ended.STOPPED, 24 * S) in core.press(3, 24 * S)
    assert core.hold(3, 27 * S) == []
    assert core.release(3, 24 * S, short=True) == []
    assert core.state is State.READY


def test_a_press_held_over_the_end_of_a_clip_means_nothing_for_the_next() -> None:
    core = ready()
    core.press(1, 10 * S)
    core.press(2, 608 * S)  # still down when the limit comes
    core.tick(610 * S)
    core.trigger("holster", 610 * S + 1)
    assert core.hold(2, 611 * S) == []
    assert core.state is State.RECORDING


def test_the_seconds_before_a_camera_fault_can_still_be_had() -> None:
    core = ready()
    core.condition(Event.CAMERA_FAILED, 10 * S)
    saved = without_state(core.press(1, 11 * S, footage=True))
    assert saved[1:] == [OpenClip(BUTTON, 11 * S), EndClip(Ended.FAULT, 11 * S)]
    assert core.state is State.FAULT
    assert Refuse(BUTTON, 50 * S, State.FAULT) in core.press(2, 50 * S, footage=False)


class AnyHands(RuleBasedStateMachine):
    """Whatever hands, camera and storage do: clips open and end in turn, and no gesture works twice."""

    @initialize(confirm=st.booleans())
    def begin(self, confirm: bool) -> None:
        self.core = RecorderCore(RecorderPolicy(confirm_stop=confirm, confirm_ns=5 * S, limit_ns=60 * S))
        self.now_ns = 0
        self.next_press = 0
        self.down: dict[int, int] = {}
        self.held: set[int] = set()
        self.open = False
        self.opened_by: int | None = None

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, OpenClip):
                assert not self.open
                self.open = True
            elif isinstance(command, EndClip):
                assert self.open
                self.open = False
            elif isinstance(command, AddTrigger | AddBookmark):
                assert self.open

    @rule(later_ns=st.integers(0, 20 * S))
    def time_passes(self, later_ns: int) -> None:
        self.now_ns += later_ns
        self.take(self.core.tick(self.now_ns))
        deadline_ns = self.core.next_deadline_ns
        assert deadline_ns is None or deadline_ns > self.now_ns

    @rule(footage=st.booleans())
    def press(self, footage: bool) -> None:
        self.next_press += 1
        was = self.core.state
        commands = self.core.press(self.next_press, self.now_ns, footage=footage)
        self.take(commands)
        self.down[self.next_press] = self.now_ns
        if was not in RECORDING_STATES:
            self.opened_by = self.next_press
        assert sum(isinstance(command, LogPress) for command in commands) == 1
        if was in {State.READY, State.STARTING}:
            assert not any(isinstance(command, Refuse) for command in commands)

    @rule(footage=st.booleans())
    def trigger(self, footage: bool) -> None:
        self.take(self.core.trigger("holster", self.now_ns, footage=footage))

    @precondition(lambda self: self.down)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        press = data.draw(st.sampled_from(sorted(self.down)))
        commands = self.core.hold(press, self.now_ns)
        if press == self.opened_by or press in self.held:
            assert commands == []
        self.held.add(press)
        self.take(commands)

    @precondition(lambda self: self.down)
    @rule(data=st.data(), short=st.booleans())
    def release(self, data: st.DataObject, short: bool) -> None:
        press = data.draw(st.sampled_from(sorted(self.down)))
        began_ns = self.down.pop(press)
        commands = self.core.release(press, began_ns, short=short)
        if press == self.opened_by or press in self.held or not short:
            assert commands == []
        self.take(commands)
        assert self.core.release(press, began_ns, short=short) == []

    @rule(
        event=st.sampled_from(
            [
                Event.KEYFRAME,
                Event.CAMERA_FAILED,
                Event.STORAGE_BLOCKED,
                Event.STORAGE_OK,
                Event.WRITER_FULL,
                Event.WRITER_FAILED,
                Event.BATTERY_CRITICAL,
                Event.SHUTDOWN,
            ]
        )
    )
    def condition(self, event: Event) -> None:
        if event is not Event.SHUTDOWN or self.now_ns % 3 == 0:  # so that not every run ends at once
            self.take(self.core.condition(event, self.now_ns))

    @invariant()
    def a_clip_is_open_exactly_in_the_recording_states(self) -> None:
        if hasattr(self, "core"):
            assert self.open == (self.core.state in RECORDING_STATES)


TestAnyHands = AnyHands.TestCase
TestAnyHands.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
