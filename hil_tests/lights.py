"""What the lines show, by the kernel's times: colours, pulses, and which row of the table they make.

Red and green are switched one after the other within one go of the firmware; what lies between is shorter than
`_BLINK_NS` and is no colour. Lengths are compared generously, because a bench's machine has other things to do;
a state is shown once one whole round of its pattern came out right, so a round that the machine held up costs
time and not the test.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hil_tests.board.protocol import Board, BoardError, LineChange
from hil_tests.light_table import Row, light_table
from hil_tests.sounds import Played, Pulse, played
from hil_tests.wiring import BUZZER, GREEN, RED, VIBRATION

__all__ = ["Step", "colours", "pulses", "wait_colour", "wait_for", "wait_signal", "wait_state"]

_T = TypeVar("_T")
_COLOURS = {(False, False): "off", (True, False): "red", (False, True): "green", (True, True): "amber"}
_BLINK_NS = 45_000_000
_NS_PER_MS = 1_000_000
_POLL_S = 0.02
_TELL = 24


@dataclass(frozen=True)
class Step:
    """The light had a colour from one instant to another; `None`: it still has."""

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


def pulses(changes: Sequence[LineChange], line: int) -> list[Pulse]:
    """Return when a line was on, in order; the last one may still be."""
    found: list[Pulse] = []
    for change in changes:
        if change.line != line:
            continue
        open_ns = found[-1].since_ns if found and found[-1].until_ns is None else None
        if change.high and open_ns is None:
            found.append(Pulse(change.at_ns, None))
        elif not change.high and open_ns is not None:
            found[-1] = Pulse(open_ns, change.at_ns)
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


def wait_colour(
    board: Board, colour: str, *, after: str = "", since_ns: int = 0, timeout_s: float = 60
) -> Step:
    """Return the first step of a colour that began at `since_ns` or later, and followed the colour `after`."""

    def find(changes: list[LineChange], now_ns: int) -> Step | None:
        steps = colours(changes, now_ns)
        befores = ["", *(step.colour for step in steps)]
        pairs = zip(befores, steps, strict=False)
        return next(
            (
                step
                for before, step in pairs
                if step.colour == colour and step.since_ns >= since_ns and after in ("", before)
            ),
            None,
        )

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
        _wait_sound(board, row, since_ns, timeout_s)
    return found


def wait_signal(board: Board, name: str, *, since_ns: int = 0, timeout_s: float = 60) -> Played:
    """Wait for a signal that began at `since_ns` or later, in sound, vibration and light."""
    return _wait_sound(board, light_table()[name], since_ns, timeout_s)


def _wait_sound(board: Board, row: Row, since_ns: int, timeout_s: float) -> Played:
    """Wait for a row's sound with its vibration, and a signal's light."""

    def find(changes: list[LineChange], now_ns: int) -> Played | None:
        for each in _played(changes, now_ns):
            if each.since_ns >= since_ns and row.name in each.names:
                if row.once and not _is_lit(row, colours(changes, now_ns), each.since_ns):
                    continue
                return each
        return None

    try:
        return wait_for(board, find, f"sound, vibration and light of {row.name}", timeout_s)
    except BoardError as error:
        raise BoardError(f"{error}; since then {_told(board, since_ns)}") from error


def _played(changes: Sequence[LineChange], now_ns: int) -> Iterator[Played]:
    return played(pulses(changes, BUZZER), pulses(changes, VIBRATION), light_table(), now_ns)


def _told(board: Board, since_ns: int) -> str:
    """Say in milliseconds when buzzer and motor were on, and what that was taken for."""
    changes, told = board.changes(), []
    for name, line in (("buzzer", BUZZER), ("motor", VIBRATION)):
        found = [pulse for pulse in pulses(changes, line) if pulse.since_ns >= since_ns]
        times = [
            ((pulse.since_ns - since_ns) // _NS_PER_MS, ((pulse.until_ns or 0) - pulse.since_ns) // _NS_PER_MS)
            for pulse in found
        ]
        told.append(f"{name} (at, for) {times}")
    told += [
        f"{' or '.join(sorted(each.names))} at {(each.since_ns - since_ns) // _NS_PER_MS}"
        for each in _played(changes, board.now_ns())
        if each.since_ns >= since_ns
    ]
    return ", ".join(told)


def _is_lit(row: Row, steps: Sequence[Step], begin_ns: int) -> bool:
    """Whether the light played a signal's steps from its begin on; the last may run into the state's light."""
    wanted = list(row.light)
    while wanted and wanted[-1][0] == "off":
        wanted.pop()
    shown = [step for step in steps if step.until_ns is None or step.until_ns - begin_ns >= _BLINK_NS]
    return len(shown) >= len(wanted) and all(
        step.colour == colour and _lasts(step, begin_ns, milliseconds)
        for step, (colour, milliseconds) in zip(shown, wanted, strict=False)
    )


def _lasts(step: Step, begin_ns: int, milliseconds: int) -> bool:
    """Whether a step lasted from the signal's begin on; by half, as red and green are not switched at once."""
    return (
        step.until_ns is None or step.until_ns - max(step.since_ns, begin_ns) >= milliseconds * _NS_PER_MS / 2
    )


def _is_round(row: Row, steps: Sequence[Step], now_ns: int) -> bool:
    if any(step.until_ns is None for step in steps):
        return False
    return all(
        step.colour == colour and _is_about(step.lasted_ns(now_ns), milliseconds)
        for step, (colour, milliseconds) in zip(steps, row.light, strict=True)
    )


def _is_about(length_ns: int, milliseconds: int) -> bool:
    return abs(length_ns / _NS_PER_MS - milliseconds) <= 50 + 0.3 * milliseconds
