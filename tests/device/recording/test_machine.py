"""Every state crossed with every event."""

import itertools
from pathlib import Path

import pytest

from device.recording.diagram import recorder_page
from device.recording.machine import RECORDING_STATES, STEP, Action, Event, Outcome, State

PRESSES = (Event.PRESS, Event.PRESS_EMPTY, Event.TRIGGER, Event.TRIGGER_EMPTY)
ENDS = {action for action in Action if action.value.startswith("end the clip")}
OPENS = {Action.OPEN, Action.OPEN_PENDING}

every_cell = pytest.mark.parametrize(
    ("confirm", "state", "event"), list(itertools.product((False, True), State, Event))
)


@every_cell
def test_every_state_has_a_row_for_every_event(confirm: bool, state: State, event: Event) -> None:
    assert (state, event) in STEP[confirm]


@every_cell
def test_a_clip_opens_and_ends_exactly_when_the_state_says_so(
    confirm: bool, state: State, event: Event
) -> None:
    step = STEP[confirm][state, event]
    opened = sum(action in OPENS for action in step.actions)
    ended = sum(action in ENDS for action in step.actions)
    before = int(state in RECORDING_STATES)
    after = int(step.state in RECORDING_STATES)
    assert before + opened - ended == after


@every_cell
def test_only_cannot_record_refuses(confirm: bool, state: State, event: Event) -> None:
    step = STEP[confirm][state, event]
    if Action.REFUSE in step.actions and event in PRESSES:
        nothing_there = state is State.FAULT and event in {Event.PRESS_EMPTY, Event.TRIGGER_EMPTY}
        assert state in {State.BLOCKED, State.CLOSED} or nothing_there
        assert step.outcome is Outcome.REFUSED


@every_cell
def test_whatever_a_hand_does_has_an_outcome_for_the_log(confirm: bool, state: State, event: Event) -> None:
    made_by_hand = event in {*PRESSES, Event.BOOKMARK, Event.HOLD}
    assert (STEP[confirm][state, event].outcome is not None) == made_by_hand


@pytest.mark.parametrize("event", PRESSES)
def test_a_press_while_ready_or_starting_is_never_lost(event: Event) -> None:
    assert Action.OPEN in STEP[False][State.READY, event].actions
    assert Action.REMEMBER in STEP[False][State.STARTING, event].actions
    assert Action.OPEN_PENDING in STEP[False][State.PENDING, Event.KEYFRAME].actions


def test_a_stop_without_its_confirmation_goes_on_recording() -> None:
    asked = STEP[True][State.RECORDING, Event.HOLD]
    assert asked.state is State.CONFIRMING
    assert STEP[True][State.CONFIRMING, Event.CONFIRM_TIMEOUT].state is State.RECORDING
    assert STEP[True][State.CONFIRMING, Event.PRESS].actions == (Action.END_STOPPED,)


def test_the_page_is_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "recorder.md"
    assert page.read_text(encoding="utf-8") == recorder_page(), "run `make docs`"
