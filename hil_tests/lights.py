"""What the lines show, by the kernel's times: colours, pulses, and which row of the table they make.

Red and green are switched one after the other within one go of the firmware; what lies between is shorter than
`_BLINK_NS` and is no colour. Lengths are compared generously, because a bench's machine has other things to do;
a state is shown once one whole round of its pattern came out right, so a round that the machine held up costs
time and not the test.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hil_tests.board.protocol import Board, BoardError, LineChange
from hil_tests.light_table import Row, light_table
from hil_tests.wiring import BUZZER, GREEN, RED, VIBRATION

__all__ = ["Step", "colours", "pulses", "wait_colour", "wait_for", "wait_signal", "wait_state"]

_T = TypeVar("_T")
_COLOURS = {(False, False): "off", (True, False): "red", (False, True): "green", (True, True): "amber"}
_BLINK_NS = 45_000_000
_NS_PER_MS = 1_000_000
_REST_NS = 300_000_000
"""Longer than any pause within a sound, shorter than any between two."""
_LONGEST_NS = 1_500_000_000
"""Longer than the light of any signal, so that it is over when it is judged."""
_AT_ONCE_NS = 5_000_000
_STRETCH_MS = 100
_LATE_MS = 100
_POLL_S = 0.02
_TELL = 24


@dataclass(frozen=True)
class Step:
    """The light had a colour, or another line was on, from one instant to another; `None`: it still is."""

    colour: str
    since_ns: int
    until_ns: int | None

    def lasted_ns(self, now_ns: int) -> int:
        """Return how long it was so, or has been so by now."""
        return (now_ns if self.until_ns is None else self.until_ns) - self.since_ns


def colours(changes: Sequence[LineChange], now_ns: int) -> list[Step]:
    """Return what the light showed, in order; the last step is open, and left out while it may be a blink."""
    moments: list[tuple[int, str]] = []
    lit = {RED: False, GREEN: False}
    for change in changes:
        if change.line in lit:
            lit[change.line] = change.high
            moments.append((change.at_ns, _COLOURS[lit[RED], lit[GREEN]]))
    steps: list[Step] = []
    for (at_ns, colour), (end_ns, _) in itertools.pairwise([*moments, (now_ns, "")]):
        if end_ns - at_ns >= _BLINK_NS:
            begun_ns = at_ns
            if steps and steps[-1].colour == colour:
                begun_ns = steps.pop().since_ns
            elif steps:
                steps[-1] = Step(steps[-1].colour, steps[-1].since_ns, at_ns)
            steps.append(Step(colour, begun_ns, None))
    return steps


def pulses(changes: Sequence[LineChange], line: int) -> list[Step]:
    """Return when a line was on, in order; the last one may still be."""
    found: list[Step] = []
    for change in changes:
        if change.line != line:
            continue
        open_ns = found[-1].since_ns if found and found[-1].until_ns is None else None
        if change.high and open_ns is None:
            found.append(Step("on", change.at_ns, None))
        elif not change.high and open_ns is not None:
            found[-1] = Step("on", open_ns, change.at_ns)
    return found


def wait_for(
    board: Board, find: Callable[[list[LineChange], int], _T | None], what: str, timeout_s: float = 60
) -> _T:
    """Return what `find` finds in all changes of this boot and the time up to which they are whole.

    Raises:
        BoardError: it finds nothing in time; the last changes are in the message.
    """
    give_up = time.monotonic() + timeout_s
    while True:
        now_ns = board.now_ns()  # the agent tells what has changed before it answers
        changes = board.changes()
        found = find(changes, now_ns)
        if found is not None:
            return found
        if time.monotonic() > give_up:
            raise BoardError(f"no {what} within {timeout_s:g} s; the last changes: {changes[-_TELL:]}")
        time.sleep(_POLL_S)


def wait_colour(board: Board, colour: str, *, since_ns: int = 0, timeout_s: float = 60) -> Step:
    """Return the first step of a colour that began at `since_ns` or later."""

    def find(changes: list[LineChange], now_ns: int) -> Step | None:
        steps = colours(changes, now_ns)
        return next((step for step in steps if step.colour == colour and step.since_ns >= since_ns), None)

    return wait_for(board, find, f"{colour} light", timeout_s)


def wait_state(board: Board, name: str, *, since_ns: int = 0, timeout_s: float = 60) -> Step:
    """Wait for one whole round of a state's pattern from `since_ns` on; returns its first step."""
    row = light_table()[name]

    def find(changes: list[LineChange], now_ns: int) -> Step | None:
        steps = [step for step in colours(changes, now_ns) if step.since_ns >= since_ns]
        rounds = (steps[start : start + len(row.light)] for start in range(len(steps) - len(row.light) + 1))
        return next((found[0] for found in rounds if _is_round(row, found, now_ns)), None)

    found = wait_for(board, find, f"light of {name}", timeout_s)
    if row.vibration:
        _wait_pulses(board, row, since_ns, timeout_s)
    return found


def wait_signal(board: Board, name: str, *, since_ns: int = 0, timeout_s: float = 60) -> Step:
    """Wait for a signal that began at `since_ns` or later, in sound, vibration and light; its first pulse."""
    return _wait_pulses(board, light_table()[name], since_ns, timeout_s)


def _wait_pulses(board: Board, row: Row, since_ns: int, timeout_s: float) -> Step:
    """Wait for a row's sound with its vibration, and a signal's light; returns the first pulse."""

    def find(changes: list[LineChange], now_ns: int) -> Step | None:
        heard, felt = (_groups(pulses(changes, line), now_ns) for line in (BUZZER, VIBRATION))
        for group in heard if row.buzzer else felt:
            played = _Played(_beside(group, heard), _beside(group, felt), changes)
            if (
                group[0].since_ns >= since_ns
                and now_ns > group[0].since_ns + _LONGEST_NS
                and played.is_row(row)
            ):
                return group[0]
        return None

    try:
        return wait_for(board, find, f"sound, vibration and light of {row.name}", timeout_s)
    except BoardError as error:
        raise BoardError(f"{error}; since then {_played(board, since_ns)}") from error


def _played(board: Board, since_ns: int) -> str:
    """Say in milliseconds when buzzer and motor were on."""
    told = []
    for name, line in (("buzzer", BUZZER), ("motor", VIBRATION)):
        found = [step for step in pulses(board.changes(), line) if step.since_ns >= since_ns]
        times = [
            ((step.since_ns - since_ns) // _NS_PER_MS, step.lasted_ns(since_ns) // _NS_PER_MS) for step in found
        ]
        told.append(f"{name} (at, for) {times}")
    return ", ".join(told)


def _beside(group: Sequence[Step], groups: Sequence[Sequence[Step]]) -> Sequence[Step]:
    """Return the group that began together with this one."""
    at_ns = group[0].since_ns
    return next((each for each in groups if abs(each[0].since_ns - at_ns) < _BLINK_NS), ())


def _sound_groups(changes: Sequence[LineChange], now_ns: int) -> list[list[list[Step]]]:
    """Return groups of pulses of buzzer and of motor; what begins on both at once is a new one on both.

    So a signal that follows another closely is told from it by the line whose pause is the longer.
    """
    lines = [pulses(changes, line) for line in (BUZZER, VIBRATION)]
    begins = [group[0].since_ns for found in lines for group in _groups(found, now_ns)]
    together = [at_ns for at_ns in begins if all(_begins_at(found, at_ns) for found in lines)]
    return [_groups(found, now_ns, together) for found in lines]


def _begins_at(found: Sequence[Step], at_ns: int) -> bool:
    return any(abs(step.since_ns - at_ns) < _AT_ONCE_NS for step in found)


def _groups(found: Sequence[Step], now_ns: int, cuts: Sequence[int] = ()) -> list[list[Step]]:
    """Return pulses that belong together, cut at the given instants too; what may still go on is left out."""
    groups: list[list[Step]] = []
    for step in found:
        is_cut = any(abs(step.since_ns - at_ns) < _AT_ONCE_NS for at_ns in cuts)
        if groups and not is_cut and step.since_ns - (groups[-1][-1].until_ns or now_ns) < _REST_NS:
            groups[-1].append(step)
        else:
            groups.append([step])
    return [each for each in groups if each[-1].until_ns is not None and now_ns - each[-1].until_ns >= _REST_NS]


@dataclass(frozen=True)
class _Played:
    """Pulses of buzzer and motor that began together, and the light of this boot."""

    heard: Sequence[Step]
    felt: Sequence[Step]
    changes: Sequence[LineChange]

    def is_row(self, wanted: Row) -> bool:
        """Whether that row was played: the nearest of those with as many pulses.

        So a machine under load may stretch them. A signal with a light of its own has to show it, and then goes
        before what is only a little nearer, for nothing else shows that light.
        """
        rows = [
            row
            for row in light_table().values()
            if len(row.buzzer) == len(self.heard) and len(row.vibration) == len(self.felt)
        ]
        shown = [row for row in rows if row.once and row.light and self._is_lit(row)]
        likely = [row for row in shown if self._is_near(row)]
        others = [row for row in rows if row in shown or not (row.once and row.light)]
        nearest = min(likely or others, key=self._distance_ms, default=None)
        return nearest is not None and _sounds(nearest) == _sounds(wanted)

    def _lengths_ms(self) -> list[float]:
        return [
            ((step.until_ns or step.since_ns) - step.since_ns) / _NS_PER_MS
            for step in (*self.heard, *self.felt)
        ]

    def _distance_ms(self, row: Row) -> float:
        return sum(abs(ms - wanted) for ms, wanted in zip(self._lengths_ms(), _sounds(row), strict=True))

    def _is_near(self, row: Row) -> bool:
        """Whether every pulse is about as long as the row says; a machine under load stretches them."""
        pairs = zip(self._lengths_ms(), _sounds(row), strict=True)
        return all(ms <= 2 * wanted + _STRETCH_MS for ms, wanted in pairs)

    def _is_lit(self, row: Row) -> bool:
        """Whether the light had each step's colour in the step's middle, all of them a little late perhaps."""
        begun_ns = (self.heard or self.felt)[0].since_ns
        return any(
            all(
                _colour_at(self.changes, begun_ns + (at_ms + late_ms) * _NS_PER_MS) == colour
                for at_ms, colour in middles
            )
            for middles in [_middles(row)]
            for late_ms in range(0, _LATE_MS + 1, _LATE_MS // 4)
        )


def _sounds(row: Row) -> tuple[int, ...]:
    return (*row.buzzer, *row.vibration)


def _middles(row: Row) -> list[tuple[int, str]]:
    """Return the middle of each step of the light, milliseconds from its begin, and the colour."""
    ends = itertools.accumulate(milliseconds for _, milliseconds in row.light)
    return [(end - ms // 2, colour) for end, (colour, ms) in zip(ends, row.light, strict=True)]


def _is_round(row: Row, steps: Sequence[Step], now_ns: int) -> bool:
    if any(step.until_ns is None for step in steps):
        return False
    return all(
        step.colour == colour and _is_about(step.lasted_ns(now_ns), milliseconds)
        for step, (colour, milliseconds) in zip(steps, row.light, strict=True)
    )


def _is_about(length_ns: int, milliseconds: int) -> bool:
    return abs(length_ns / _NS_PER_MS - milliseconds) <= 50 + 0.3 * milliseconds


def _colour_at(changes: Sequence[LineChange], at_ns: int) -> str:
    lit = {RED: False, GREEN: False}
    for change in changes:
        if change.line in lit and change.at_ns <= at_ns:
            lit[change.line] = change.high
    return _COLOURS[lit[RED], lit[GREEN]]
