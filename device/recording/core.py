"""The recorder without clock, thread or I/O: gestures and conditions in, commands out.

`machine.py` says what an event means in a state; this module turns gestures into events (judged by the state at
the press's edge), keeps the two deadlines (time limit, confirmation) and spells actions out as commands with
their times.
"""

import msgspec

from device.recording.machine import RECORDING_STATES, STEP, Action, Event, Outcome, State, Step
from evidence.documents.fields import Ended

__all__ = [
    "BUTTON",
    "AddBookmark",
    "AddTrigger",
    "Command",
    "EndClip",
    "LogPress",
    "OpenClip",
    "RecorderCore",
    "RecorderPolicy",
    "Refuse",
    "Signal",
    "SignalKind",
    "StateChanged",
]

BUTTON = "button"
_PENDING_LIMIT = 32  # more presses than anybody makes while a camera starts; all of them are in the event log


class RecorderPolicy(msgspec.Struct, frozen=True):
    """What the policy says about stopping and lengths.

    A press less than `together_ns` after another trigger opened the clip was meant to start it as well.
    """

    confirm_stop: bool = False
    confirm_ns: int = 5_000_000_000
    limit_ns: int = 14_400_000_000_000
    together_ns: int = 1_000_000_000


class SignalKind:
    """One-shot signals to the wearer; the panel knows how each looks, sounds and feels."""

    BOOKMARK = "bookmark"
    CONFIRM_WANTED = "confirm_wanted"
    STARTED = "started"
    STOPPED = "stopped"
    REFUSED = "refused"


class OpenClip(msgspec.Struct, frozen=True, tag=True):
    """Open a clip whose trigger had its edge at `edge_ns`."""

    source: str
    edge_ns: int


class AddTrigger(msgspec.Struct, frozen=True, tag=True):
    """Note a further trigger in the open clip."""

    source: str
    edge_ns: int


class AddBookmark(msgspec.Struct, frozen=True, tag=True):
    """Bookmark the open clip at the press's edge."""

    at_ns: int


class EndClip(msgspec.Struct, frozen=True, tag=True):
    """End the clip opened last: footage up to `stop_ns` belongs to it."""

    ended: Ended
    stop_ns: int


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """Answer a press with a refusal, in light and sound, after it is in the log."""

    source: str
    at_ns: int
    state: State


class LogPress(msgspec.Struct, frozen=True, tag=True):
    """Write what a hand did, and what came of it, into the event log."""

    source: str
    at_ns: int
    outcome: Outcome


class Signal(msgspec.Struct, frozen=True, tag=True):
    """Give the wearer a one-shot signal."""

    kind: str


class StateChanged(msgspec.Struct, frozen=True, tag=True):
    """Show another state."""

    state: State
    at_ns: int


Command = OpenClip | AddTrigger | AddBookmark | EndClip | Refuse | LogPress | Signal | StateChanged

_ENDED = {
    Action.END_STOPPED: Ended.STOPPED,
    Action.END_TIME_LIMIT: Ended.TIME_LIMIT,
    Action.END_FULL: Ended.STORAGE_FULL,
    Action.END_FAULT: Ended.FAULT,
    Action.END_BATTERY: Ended.LOW_BATTERY,
    Action.END_SHUTDOWN: Ended.SHUTDOWN,
}


class _Hand(msgspec.Struct, frozen=True):
    """Who made an event: the source of the edge, and its time."""

    source: str
    at_ns: int


class RecorderCore:
    """State, presses that are down, and deadlines. Each method returns the commands that follow, in order."""

    def __init__(self, policy: RecorderPolicy) -> None:
        self._policy = policy
        self._table = STEP[policy.confirm_stop]
        self.state = State.STARTING
        self._pending: list[_Hand] = []  # before the first keyframe; the first of them opens the clip
        self._opened: _Hand | None = None
        self._down: dict[int, bool] = {}  # press id -> whether it began while recording
        self._limit_ns: int | None = None
        self._confirm_ns: int | None = None

    def set_policy(self, policy: RecorderPolicy) -> None:
        """Change the policy; a clip that is open keeps the limit that it began with."""
        self._policy = policy
        self._table = STEP[policy.confirm_stop]

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` must be called next, `None` if nothing is due."""
        due = [at_ns for at_ns in (self._limit_ns, self._confirm_ns) if at_ns is not None]
        return min(due, default=None)

    def press(self, press_id: int, at_ns: int, *, footage: bool = True) -> list[Command]:
        """Take the first edge of a press; `footage` is false if ring and camera have nothing to record."""
        recording = self.state in RECORDING_STATES
        if recording and self._meant_to_start(at_ns):
            self._down[press_id] = False
            return self._do(Event.TRIGGER, _Hand(BUTTON, at_ns), at_ns)
        # A confirming press is used up by its edge: its release is no bookmark, its hold no second stop.
        self._down[press_id] = recording and self.state is not State.CONFIRMING
        return self._do(Event.PRESS if footage else Event.PRESS_EMPTY, _Hand(BUTTON, at_ns), at_ns)

    def trigger(self, source: str, at_ns: int, *, footage: bool = True) -> list[Command]:
        """Take the edge of a trigger line."""
        return self._do(Event.TRIGGER if footage else Event.TRIGGER_EMPTY, _Hand(source, at_ns), at_ns)

    def hold(self, press_id: int, at_ns: int) -> list[Command]:
        """Take the moment at which a press has lasted the hold time."""
        if not self._down.get(press_id, False):
            return []
        self._down[press_id] = False  # used up: its release is no bookmark
        return self._do(Event.HOLD, _Hand(BUTTON, at_ns), at_ns)

    def release(self, press_id: int, began_ns: int, *, short: bool) -> list[Command]:
        """Take the end of a press; a short one begun while recording is a bookmark at its first edge."""
        if not self._down.pop(press_id, False) or not short:
            return []
        return self._do(Event.BOOKMARK, _Hand(BUTTON, began_ns), began_ns)

    def condition(self, event: Event, at_ns: int) -> list[Command]:
        """Take what no hand made: camera, storage, battery, shutdown."""
        return self._do(event, None, at_ns)

    def tick(self, now_ns: int) -> list[Command]:
        """Act on deadlines that have come."""
        commands: list[Command] = []
        if self._confirm_ns is not None and now_ns >= self._confirm_ns:
            commands += self._do(Event.CONFIRM_TIMEOUT, None, self._confirm_ns)
        if self._limit_ns is not None and now_ns >= self._limit_ns:
            commands += self._do(Event.TIME_LIMIT, None, self._limit_ns)
        return commands

    def _meant_to_start(self, at_ns: int) -> bool:
        """Tell a press that came together with another trigger: gripped in a struggle it must not stop."""
        opened = self._opened
        return (
            opened is not None
            and opened.source != BUTTON
            and at_ns < opened.at_ns + self._policy.together_ns
            and self.state is State.RECORDING
        )

    def _do(self, event: Event, hand: _Hand | None, at_ns: int) -> list[Command]:
        before = self.state
        step = self._table[before, event]
        commands: list[Command] = []
        if step.outcome is not None and hand is not None:
            commands.append(LogPress(hand.source, hand.at_ns, step.outcome))
        for action in step.actions:
            commands += self._act(action, hand, at_ns)
        self._enter(step)
        if self.state is not before:
            commands.append(StateChanged(self.state, at_ns))
        return commands

    def _act(self, action: Action, hand: _Hand | None, at_ns: int) -> list[Command]:
        if action in _ENDED:
            return [EndClip(_ENDED[action], at_ns)]
        if action is Action.REMEMBER:
            assert hand is not None  # only presses are remembered
            if len(self._pending) < _PENDING_LIMIT:
                self._pending.append(hand)
            return []
        if action is Action.BOOKMARK:
            return [AddBookmark(at_ns), Signal(SignalKind.BOOKMARK)]
        if action is Action.ASK_CONFIRM:
            self._confirm_ns = at_ns + self._policy.confirm_ns
            return [Signal(SignalKind.CONFIRM_WANTED)]
        if action is Action.KEEP:
            return [Signal(SignalKind.STARTED)]
        hands = [hand] if hand is not None else self._pending
        self._pending = []
        return self._act_for(action, hands)

    def _act_for(self, action: Action, hands: list[_Hand]) -> list[Command]:
        """Act for whoever pressed: now, or before the first keyframe."""
        if action is Action.ADD_TRIGGER:
            return [AddTrigger(hand.source, hand.at_ns) for hand in hands]
        if action is Action.REFUSE:
            return [Refuse(hand.source, hand.at_ns, self.state) for hand in hands]
        assert action in {Action.OPEN, Action.OPEN_PENDING}
        hand, *others = hands
        self._opened = hand
        self._limit_ns = hand.at_ns + self._policy.limit_ns
        return [
            OpenClip(hand.source, hand.at_ns),
            *(AddTrigger(other.source, other.at_ns) for other in others),
        ]

    def _enter(self, step: Step) -> None:
        self.state = step.state
        if self.state not in RECORDING_STATES:
            self._limit_ns = None
            # Presses that are still down belong to a clip that has ended, however that came.
            self._down = dict.fromkeys(self._down, False)
        if self.state is not State.CONFIRMING:
            self._confirm_ns = None
