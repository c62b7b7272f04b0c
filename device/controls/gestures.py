"""What a button does, read from its raw edges: a table without clock, thread or input.

Contacts bounce. What the recogniser may swallow is exactly this: an opening of the contact shorter than
`settle_ns`, with the edge that ends it. So a press counts from its first edge, without delay, however short it
is; two presses closer than `settle_ns` are one. Nothing else is dropped. The kernel reads an edge's direction
after it happened: of a contact that closes and opens faster than that, only the opening is told. So an opening
of a contact that was not known to be closed is a press as well, begun and ended there.

All judgements come from the times of the edges, never from when a tick happened to run: a timer is acted upon
`latency_ns` after it was due, so that an edge stamped before it by the kernel and read later still counts.
"""

import enum
import itertools
from collections.abc import Callable

import msgspec

__all__ = [
    "ButtonRecogniser",
    "Gesture",
    "GestureTiming",
    "Held",
    "PressBegan",
    "ReleasedLong",
    "ReleasedShort",
    "Stuck",
    "Unstuck",
]

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


class PressBegan(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The contact closed; `at_ns` is the first edge. Every press gets exactly one release event."""

    press_id: int
    at_ns: int


class Held(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The press has lasted `hold_ns`; `at_ns` is when it had, not when that was noticed."""

    press_id: int
    began_ns: int
    at_ns: int


class ReleasedShort(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The press ended before `hold_ns`; `at_ns` is the edge that opened the contact for good."""

    press_id: int
    began_ns: int
    at_ns: int


class ReleasedLong(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A press that was `Held` has ended."""

    press_id: int
    began_ns: int
    at_ns: int


class Stuck(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The press has lasted `stuck_ns`: a jammed button. Until it opens no press can be seen."""

    press_id: int
    began_ns: int
    at_ns: int


class Unstuck(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A stuck press has ended; its `ReleasedLong` follows."""

    press_id: int
    began_ns: int
    at_ns: int


Gesture = PressBegan | Held | ReleasedShort | ReleasedLong | Stuck | Unstuck


class GestureTiming(msgspec.Struct, frozen=True):
    """When a press is long, when it is stuck, and how long an opening must last to be a release.

    Raises:
        ValueError: the times do not increase from `settle_ns` over `hold_ns` to `stuck_ns`, or are negative.
    """

    settle_ns: int = 30 * _NS_PER_MS
    hold_ns: int = 3 * _NS_PER_S
    stuck_ns: int = 60 * _NS_PER_S
    latency_ns: int = 10 * _NS_PER_MS

    def __post_init__(self) -> None:
        if not (0 < self.settle_ns < self.hold_ns < self.stuck_ns and self.latency_ns >= 0):
            raise ValueError("button times must satisfy 0 < settle < hold < stuck")


class _State(enum.Enum):
    UP = enum.auto()
    DOWN = enum.auto()
    DOWN_OPEN = enum.auto()
    HELD = enum.auto()
    HELD_OPEN = enum.auto()
    STUCK = enum.auto()
    STUCK_OPEN = enum.auto()


class _Event(enum.Enum):
    CLOSED = enum.auto()
    OPENED = enum.auto()
    SETTLED = enum.auto()
    HOLD_DUE = enum.auto()
    STUCK_DUE = enum.auto()


class _Action(enum.Enum):
    BEGIN = enum.auto()
    REPEAT = enum.auto()
    OPEN = enum.auto()
    SWALLOW = enum.auto()
    HOLD = enum.auto()
    STICK = enum.auto()
    RELEASE_SHORT = enum.auto()
    RELEASE_LONG = enum.auto()
    UNSTICK = enum.auto()


_S, _E, _A = _State, _Event, _Action

_TABLE: dict[tuple[_State, _Event], tuple[_State, _Action]] = {
    (_S.UP, _E.CLOSED): (_S.DOWN, _A.BEGIN),
    (_S.UP, _E.OPENED): (_S.UP, _A.REPEAT),
    (_S.DOWN, _E.CLOSED): (_S.DOWN, _A.REPEAT),
    (_S.DOWN, _E.OPENED): (_S.DOWN_OPEN, _A.OPEN),
    (_S.DOWN, _E.HOLD_DUE): (_S.HELD, _A.HOLD),
    (_S.DOWN_OPEN, _E.CLOSED): (_S.DOWN, _A.SWALLOW),
    (_S.DOWN_OPEN, _E.OPENED): (_S.DOWN_OPEN, _A.REPEAT),
    (_S.DOWN_OPEN, _E.SETTLED): (_S.UP, _A.RELEASE_SHORT),
    (_S.HELD, _E.CLOSED): (_S.HELD, _A.REPEAT),
    (_S.HELD, _E.OPENED): (_S.HELD_OPEN, _A.OPEN),
    (_S.HELD, _E.STUCK_DUE): (_S.STUCK, _A.STICK),
    (_S.HELD_OPEN, _E.CLOSED): (_S.HELD, _A.SWALLOW),
    (_S.HELD_OPEN, _E.OPENED): (_S.HELD_OPEN, _A.REPEAT),
    (_S.HELD_OPEN, _E.SETTLED): (_S.UP, _A.RELEASE_LONG),
    (_S.STUCK, _E.CLOSED): (_S.STUCK, _A.REPEAT),
    (_S.STUCK, _E.OPENED): (_S.STUCK_OPEN, _A.OPEN),
    (_S.STUCK_OPEN, _E.CLOSED): (_S.STUCK, _A.SWALLOW),
    (_S.STUCK_OPEN, _E.OPENED): (_S.STUCK_OPEN, _A.REPEAT),
    (_S.STUCK_OPEN, _E.SETTLED): (_S.UP, _A.UNSTICK),
}

_SAID: dict[_Action, tuple[Callable[[int, int, int], Gesture], ...]] = {
    _A.HOLD: (Held,),
    _A.STICK: (Stuck,),
    _A.RELEASE_SHORT: (ReleasedShort,),
    _A.RELEASE_LONG: (ReleasedLong,),
    _A.UNSTICK: (Unstuck, ReleasedLong),
}


class ButtonRecogniser:
    """One button: `edge` and `tick` in, gestures out; `next_deadline_ns` says when to tick.

    Edges of one button come in the order of their times; one with an earlier time than its predecessor counts
    as simultaneous with it. A button that is already down when its line is claimed is fed as an active edge.

    Counted: `swallowed` bounces, `repeated` edges that changed nothing, `late` edges, which came more than
    `latency_ns` after their time and after a timer that they should have preceded, `unseen` closings of which
    only the opening came, and `dated` guesses, whose edge came after all.
    """

    def __init__(self, timing: GestureTiming | None = None, *, first_id: int = 1) -> None:
        self.timing = timing or GestureTiming()
        self.swallowed = 0
        self.repeated = 0
        self.late = 0
        self.unseen = 0
        self.dated = 0
        self._ids = itertools.count(first_id)
        self._state = _S.UP
        self._press_id = 0
        self._began_ns = 0
        self._opened_ns = 0
        self._edge_ns: int | None = None
        self._timer_ns: int | None = None
        self._guess_after_ns: int | None = None

    @property
    def is_down(self) -> bool:
        """Whether a press is on, bounces included."""
        return self._state is not _S.UP

    @property
    def is_stuck(self) -> bool:
        """Whether the press that is on has been reported as stuck."""
        return self._state in (_S.STUCK, _S.STUCK_OPEN)

    def edge(self, at_ns: int, *, active: bool) -> list[Gesture]:
        """Take one raw edge (`active`: the contact closed); return what it and the time up to it mean."""
        guess_after_ns, self._guess_after_ns = self._guess_after_ns, None
        if guess_after_ns is not None and active and at_ns < self._began_ns:
            self._date_guess(max(at_ns, guess_after_ns))
            return []
        is_new = self._edge_ns is None or at_ns > self._edge_ns  # not that of a guess, come after all
        at_ns = at_ns if self._edge_ns is None else max(at_ns, self._edge_ns)
        self._edge_ns = at_ns
        if self._timer_ns is not None and at_ns < self._timer_ns:
            self.late += 1
        gestures = self._advance(at_ns)
        if self._state is _S.UP and not active and is_new:
            self.unseen += 1
            gestures += self._step(_E.CLOSED, at_ns)
        gestures += self._step(_E.CLOSED if active else _E.OPENED, at_ns)
        return gestures

    def guess(self, seen_ns: int, *, active: bool) -> list[Gesture]:
        """Take an edge that was not told: the contact was seen closed or open at `seen_ns`, and still is.

        A closing counts at once, from `seen_ns`; should its edge come after all, the hold is timed from it.
        An opening that is only guessed makes no hold: nobody saw for how long the contact was closed.
        """
        after_ns = 0 if self._edge_ns is None else self._edge_ns
        if self._state is _S.DOWN and not active:
            seen_ns = min(seen_ns, self._began_ns + self.timing.hold_ns - 1)
        gestures = self.edge(seen_ns, active=active)
        if any(isinstance(gesture, PressBegan) for gesture in gestures):
            self._guess_after_ns = after_ns
        return gestures

    def tick(self, now_ns: int) -> list[Gesture]:
        """Return what has become true by the passing of time alone."""
        return self._advance(now_ns - self.timing.latency_ns)

    def hold_is_due(self, now_ns: int) -> bool:
        """Whether `tick` would say now that the press that is on is held."""
        due = self._due()
        return due is not None and due[1] is _E.HOLD_DUE and due[0] <= now_ns - self.timing.latency_ns

    def next_deadline_ns(self) -> int | None:
        """Return when `tick` next has something to say; `None` if only an edge can change anything."""
        due = self._due()
        return None if due is None else due[0] + self.timing.latency_ns

    def _date_guess(self, at_ns: int) -> None:
        """Measure the press from its own edge, unless it has been called a hold by now."""
        self.dated += 1
        if self._state in (_S.DOWN, _S.DOWN_OPEN):
            self._began_ns = at_ns

    def _due(self) -> tuple[int, _Event] | None:
        timing = self.timing
        match self._state:
            case _S.DOWN_OPEN | _S.HELD_OPEN | _S.STUCK_OPEN:
                return self._opened_ns + timing.settle_ns, _E.SETTLED
            case _S.DOWN:
                return self._began_ns + timing.hold_ns, _E.HOLD_DUE
            case _S.HELD:
                return self._began_ns + timing.stuck_ns, _E.STUCK_DUE
            case _:
                return None

    def _advance(self, to_ns: int) -> list[Gesture]:
        gestures: list[Gesture] = []
        while (due := self._due()) is not None and due[0] <= to_ns:
            self._timer_ns = due[0]
            gestures += self._step(due[1], due[0])
        return gestures

    def _step(self, event: _Event, at_ns: int) -> tuple[Gesture, ...]:
        self._state, action = _TABLE[self._state, event]
        return self._act(action, at_ns)

    def _act(self, action: _Action, at_ns: int) -> tuple[Gesture, ...]:
        match action:
            case _A.BEGIN:
                self._press_id, self._began_ns = next(self._ids), at_ns
                return (PressBegan(self._press_id, at_ns),)
            case _A.OPEN:
                self._opened_ns = at_ns
            case _A.SWALLOW:
                self.swallowed += 1
            case _A.REPEAT:
                self.repeated += 1
            case _A.HOLD | _A.STICK:
                return tuple(kind(self._press_id, self._began_ns, at_ns) for kind in _SAID[action])
            case _:
                return tuple(kind(self._press_id, self._began_ns, self._opened_ns) for kind in _SAID[action])
        return ()
