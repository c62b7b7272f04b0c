"""The recorder's state machine: a table, without clock, thread or I/O.

`STEP[state, event]` is what happens: the next state, the actions in order, and, for an event that somebody's
hand made, the outcome that goes into the event log. Every state has a row for every event; docs/recorder.md is
drawn from this table.

What a press means is judged from the state at the press's edge. The recorder (recorder.py) remembers that state
and turns a gesture into `BOOKMARK` or `HOLD` only if its press began while recording, so the press that started
a recording can never stop it, however long it is gripped.
"""

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

__all__ = ["RECORDING_STATES", "STEP", "Action", "Event", "Outcome", "State", "Step"]


class State(enum.StrEnum):
    """What the recorder is doing."""

    STARTING = "starting"
    """No keyframe has come yet."""
    PENDING = "pending"
    """Pressed before the first keyframe: the clip opens with it."""
    READY = "ready"
    """The ring fills; a press records."""
    RECORDING = "recording"
    """A clip is open."""
    CONFIRMING = "confirming"
    """A clip is open; the stop waits for its confirmation."""
    FAULT = "fault"
    """The camera gives no frames; what the ring still holds can be recorded."""
    BLOCKED = "cannot record"
    """Storage takes no clip, or the battery is at its last level."""
    CLOSED = "closed"
    """Shutting down."""


class Event(enum.StrEnum):
    """What can happen. The first seven are made by people."""

    PRESS = "press"
    """A press of the button or the edge of a trigger line; there are, or will be, frames to record."""
    PRESS_EMPTY = "press, nothing to record"
    """The same, while the camera gives no frames and the ring holds none of the window."""
    TRIGGER = "trigger"
    """The edge of a trigger line while something else may have started the clip already."""
    TRIGGER_EMPTY = "trigger, nothing to record"
    """The same, with nothing to record."""
    BOOKMARK = "short press begun while recording"
    HOLD = "hold begun while recording"
    CONFIRM_TIMEOUT = "no confirmation came"
    KEYFRAME = "keyframe"
    """A frame can be recorded again: the first keyframe, or the camera is back."""
    CAMERA_FAILED = "camera failed"
    STORAGE_BLOCKED = "storage takes no clip"
    STORAGE_OK = "storage takes clips"
    WRITER_FULL = "storage full while writing"
    WRITER_FAILED = "storage error while writing"
    TIME_LIMIT = "time limit"
    BATTERY_CRITICAL = "battery at its last level"
    SHUTDOWN = "shutdown"


class Action(enum.StrEnum):
    """What the recorder does, in the order given."""

    OPEN = "open a clip"
    OPEN_PENDING = "open a clip for the first remembered press, with the others as triggers"
    REMEMBER = "remember the press"
    ADD_TRIGGER = "add the trigger to the clip"
    BOOKMARK = "bookmark"
    ASK_CONFIRM = "ask for confirmation"
    KEEP = "go on recording"
    REFUSE = "refuse"
    END_STOPPED = "end the clip: stopped"
    END_TIME_LIMIT = "end the clip: time_limit"
    END_FULL = "end the clip: storage_full"
    END_FAULT = "end the clip: fault"
    END_BATTERY = "end the clip: low_battery"
    END_SHUTDOWN = "end the clip: shutdown"


class Outcome(enum.StrEnum):
    """What came of a press, as the event log says it (docs/formats.md)."""

    START = "start"
    PENDING = "pending"
    BOOKMARK = "bookmark"
    STOP = "stop"
    CONFIRM = "confirm"
    TRIGGER_ADDED = "trigger_added"
    REFUSED = "refused"
    IGNORED = "ignored"
    NOTED = "noted"
    """A press while recording, whose meaning its release or its hold will tell."""


class Step(msgspec.Struct, frozen=True):
    """One cell of the table."""

    state: State
    actions: tuple[Action, ...] = ()
    outcome: Outcome | None = None


RECORDING_STATES = frozenset({State.RECORDING, State.CONFIRMING})

_S, _E, _A, _O = State, Event, Action, Outcome

_Row = dict[Event, Step]


def _stay(state: State, *events: Event) -> _Row:
    return {event: Step(state) for event in events}


def _hands_ignored(state: State) -> _Row:
    """A gesture that belongs to a clip that has ended by itself in the meantime."""
    return {event: Step(state, outcome=_O.IGNORED) for event in (_E.BOOKMARK, _E.HOLD)}


def _refusing(state: State) -> _Row:
    presses = (_E.PRESS, _E.PRESS_EMPTY, _E.TRIGGER, _E.TRIGGER_EMPTY)
    return {event: Step(state, (_A.REFUSE,), _O.REFUSED) for event in presses}


def _pressable(state: State, step: Step) -> _Row:
    """States in which a press of any kind means `step`; frames are there or will come."""
    presses = (_E.PRESS, _E.PRESS_EMPTY, _E.TRIGGER, _E.TRIGGER_EMPTY)
    return dict.fromkeys(presses, step) | _hands_ignored(state)


def _ending() -> _Row:
    """How an open clip ends, whoever was about to stop it."""
    return {
        _E.TIME_LIMIT: Step(_S.READY, (_A.END_TIME_LIMIT,)),
        _E.CAMERA_FAILED: Step(_S.FAULT, (_A.END_FAULT,)),
        _E.WRITER_FULL: Step(_S.BLOCKED, (_A.END_FULL,)),
        _E.WRITER_FAILED: Step(_S.BLOCKED, (_A.END_FAULT,)),
        _E.BATTERY_CRITICAL: Step(_S.BLOCKED, (_A.END_BATTERY,)),
        _E.SHUTDOWN: Step(_S.CLOSED, (_A.END_SHUTDOWN,)),
    }


_TABLE: dict[State, _Row] = {
    _S.STARTING: _pressable(_S.STARTING, Step(_S.PENDING, (_A.REMEMBER,), _O.PENDING))
    | {
        _E.KEYFRAME: Step(_S.READY),
        _E.CAMERA_FAILED: Step(_S.FAULT),
        _E.STORAGE_BLOCKED: Step(_S.BLOCKED),
        _E.BATTERY_CRITICAL: Step(_S.BLOCKED),
        _E.SHUTDOWN: Step(_S.CLOSED),
    }
    # A clip of a moment ago may still end while the camera starts again; its writer's troubles are told by
    # STORAGE_BLOCKED as well.
    | _stay(_S.STARTING, _E.CONFIRM_TIMEOUT, _E.STORAGE_OK, _E.WRITER_FULL, _E.WRITER_FAILED, _E.TIME_LIMIT),
    _S.PENDING: _pressable(_S.PENDING, Step(_S.PENDING, (_A.REMEMBER,), _O.PENDING))
    | {
        _E.KEYFRAME: Step(_S.RECORDING, (_A.OPEN_PENDING,)),
        _E.CAMERA_FAILED: Step(_S.FAULT, (_A.REFUSE,)),
        _E.STORAGE_BLOCKED: Step(_S.BLOCKED, (_A.REFUSE,)),
        _E.BATTERY_CRITICAL: Step(_S.BLOCKED, (_A.REFUSE,)),
        _E.SHUTDOWN: Step(_S.CLOSED),
    }
    | _stay(_S.PENDING, _E.CONFIRM_TIMEOUT, _E.STORAGE_OK, _E.WRITER_FULL, _E.WRITER_FAILED, _E.TIME_LIMIT),
    _S.READY: _pressable(_S.READY, Step(_S.RECORDING, (_A.OPEN,), _O.START))
    | {
        _E.CAMERA_FAILED: Step(_S.FAULT),
        _E.STORAGE_BLOCKED: Step(_S.BLOCKED),
        _E.WRITER_FULL: Step(_S.BLOCKED),
        _E.WRITER_FAILED: Step(_S.BLOCKED),
        _E.BATTERY_CRITICAL: Step(_S.BLOCKED),
        _E.SHUTDOWN: Step(_S.CLOSED),
    }
    | _stay(_S.READY, _E.CONFIRM_TIMEOUT, _E.KEYFRAME, _E.STORAGE_OK, _E.TIME_LIMIT),
    _S.RECORDING: {
        _E.PRESS: Step(_S.RECORDING, (), _O.NOTED),
        _E.PRESS_EMPTY: Step(_S.RECORDING, (), _O.NOTED),
        _E.TRIGGER: Step(_S.RECORDING, (_A.ADD_TRIGGER,), _O.TRIGGER_ADDED),
        _E.TRIGGER_EMPTY: Step(_S.RECORDING, (_A.ADD_TRIGGER,), _O.TRIGGER_ADDED),
        _E.BOOKMARK: Step(_S.RECORDING, (_A.BOOKMARK,), _O.BOOKMARK),
        _E.HOLD: Step(_S.READY, (_A.END_STOPPED,), _O.STOP),
    }
    | _ending()
    # STORAGE_BLOCKED says that no *new* clip can be opened; the open one is written to the last byte, and the
    # writer itself says when there is none.
    | _stay(_S.RECORDING, _E.CONFIRM_TIMEOUT, _E.KEYFRAME, _E.STORAGE_BLOCKED, _E.STORAGE_OK),
    _S.CONFIRMING: {
        _E.PRESS: Step(_S.READY, (_A.END_STOPPED,), _O.CONFIRM),
        _E.PRESS_EMPTY: Step(_S.READY, (_A.END_STOPPED,), _O.CONFIRM),
        _E.TRIGGER: Step(_S.CONFIRMING, (_A.ADD_TRIGGER,), _O.TRIGGER_ADDED),
        _E.TRIGGER_EMPTY: Step(_S.CONFIRMING, (_A.ADD_TRIGGER,), _O.TRIGGER_ADDED),
        _E.BOOKMARK: Step(_S.CONFIRMING, (), _O.IGNORED),
        _E.HOLD: Step(_S.CONFIRMING, (), _O.IGNORED),
        _E.CONFIRM_TIMEOUT: Step(_S.RECORDING, (_A.KEEP,)),
    }
    | _ending()
    | _stay(_S.CONFIRMING, _E.KEYFRAME, _E.STORAGE_BLOCKED, _E.STORAGE_OK),
    _S.FAULT: {
        # The seconds before the camera failed may be the ones that count.
        _E.PRESS: Step(_S.FAULT, (_A.OPEN, _A.END_FAULT), _O.START),
        _E.TRIGGER: Step(_S.FAULT, (_A.OPEN, _A.END_FAULT), _O.START),
        _E.PRESS_EMPTY: Step(_S.FAULT, (_A.REFUSE,), _O.REFUSED),
        _E.TRIGGER_EMPTY: Step(_S.FAULT, (_A.REFUSE,), _O.REFUSED),
        _E.KEYFRAME: Step(_S.READY),
        _E.STORAGE_BLOCKED: Step(_S.BLOCKED),
        _E.WRITER_FULL: Step(_S.BLOCKED),
        _E.WRITER_FAILED: Step(_S.BLOCKED),
        _E.BATTERY_CRITICAL: Step(_S.BLOCKED),
        _E.SHUTDOWN: Step(_S.CLOSED),
    }
    | _hands_ignored(_S.FAULT)
    | _stay(_S.FAULT, _E.CONFIRM_TIMEOUT, _E.CAMERA_FAILED, _E.STORAGE_OK, _E.TIME_LIMIT),
    _S.BLOCKED: _refusing(_S.BLOCKED)
    | _hands_ignored(_S.BLOCKED)
    | {
        # Back by way of `starting`: the recorder tells at once whether frames are there.
        _E.STORAGE_OK: Step(_S.STARTING),
        _E.SHUTDOWN: Step(_S.CLOSED),
    }
    | _stay(
        _S.BLOCKED,
        _E.CONFIRM_TIMEOUT,
        _E.KEYFRAME,
        _E.CAMERA_FAILED,
        _E.STORAGE_BLOCKED,
        _E.WRITER_FULL,
        _E.WRITER_FAILED,
        _E.TIME_LIMIT,
        _E.BATTERY_CRITICAL,
    ),
    _S.CLOSED: _refusing(_S.CLOSED)
    | _hands_ignored(_S.CLOSED)
    | _stay(
        _S.CLOSED,
        _E.CONFIRM_TIMEOUT,
        _E.KEYFRAME,
        _E.CAMERA_FAILED,
        _E.STORAGE_BLOCKED,
        _E.STORAGE_OK,
        _E.WRITER_FULL,
        _E.WRITER_FAILED,
        _E.TIME_LIMIT,
        _E.BATTERY_CRITICAL,
        _E.SHUTDOWN,
    ),
}


def _with_confirmation(table: Mapping[State, _Row]) -> dict[State, _Row]:
    changed = {state: dict(row) for state, row in table.items()}
    changed[_S.RECORDING][_E.HOLD] = Step(_S.CONFIRMING, (_A.ASK_CONFIRM,), _O.NOTED)
    return changed


def _flatten(table: Mapping[State, _Row]) -> Mapping[tuple[State, Event], Step]:
    cells: Iterable[tuple[tuple[State, Event], Step]] = (
        ((state, event), step) for state, row in table.items() for event, step in row.items()
    )
    return MappingProxyType(dict(cells))


STEP: Mapping[bool, Mapping[tuple[State, Event], Step]] = MappingProxyType(
    {False: _flatten(_TABLE), True: _flatten(_with_confirmation(_TABLE))}
)
"""The table; the key says whether a stop wants confirmation (policy `confirm_stop`)."""
