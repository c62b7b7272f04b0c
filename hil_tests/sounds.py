"""Which sounds were played: rows of the table, found in what buzzer and motor did by the kernel's times.

A camera that is held up makes a pulse or a pause longer, never shorter, and leaves none out (docs/controls.md).
So a row was played where each pulse is at least as long as it says and not much longer; of several the one with
more pulses, and then the nearest. A sound that another one replaced halfway is no row.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hil_tests.light_table import Row

__all__ = ["Played", "Pulse", "played"]

_NS_PER_MS = 1_000_000
_TOGETHER_NS = 100_000_000
"""Buzzer and motor are switched one after the other; what begins further apart is two sounds."""
_EARLY_NS = 2_000_000
_STRETCH_NS = 170_000_000
"""What may hold a pulse up."""
_PAUSE_NS = 450_000_000
"""Longer than any pause within a sound, with what may hold it up."""
_Lines = tuple[Sequence["Pulse"], Sequence["Pulse"]]
_Sound = tuple[tuple[int, ...], tuple[int, ...]]
"""Lengths of the pulses of buzzer and of motor, in milliseconds."""


@dataclass(frozen=True)
class Pulse:
    """A line was on from one instant to another; `None`: it still is."""

    since_ns: int
    until_ns: int | None


@dataclass(frozen=True)
class Played:
    """Rows that sound alike, one of which was played, and when its first pulse began and its last one ended."""

    names: frozenset[str]
    since_ns: int
    until_ns: int


@dataclass(frozen=True)
class _Fit:
    """A sound laid on the next pulses, and by how much those are longer."""

    sound: _Sound
    stretch_ns: int
    until_ns: int

    @property
    def pulses(self) -> int:
        return sum(len(wanted) for wanted in self.sound)


def played(
    heard: Sequence[Pulse], felt: Sequence[Pulse], rows: Mapping[str, Row], now_ns: int
) -> Iterator[Played]:
    """Yield what buzzer and motor played, in order, as far as that is certain by `now_ns`."""
    sounds = {(row.buzzer, row.vibration) for row in rows.values() if row.buzzer or row.vibration}
    lines: _Lines = (heard, felt)
    while (begin_ns := _begin_ns(lines)) is not None:
        fits = [fit for sound in sounds if (fit := _fit(sound, lines, begin_ns)) is not None]
        best = min(fits, key=lambda fit: (-fit.pulses, fit.stretch_ns), default=None)
        over_ns = _over_ns(lines, begin_ns) if best is None else best.until_ns
        if over_ns is None or now_ns < over_ns + _PAUSE_NS:
            return  # more may come that belongs to it
        if best is None:
            counts = tuple(int(bool(line) and line[0].since_ns == begin_ns) for line in lines)
        else:
            names = (name for name, row in rows.items() if (row.buzzer, row.vibration) == best.sound)
            yield Played(frozenset(names), begin_ns, best.until_ns)
            counts = tuple(len(wanted) for wanted in best.sound)
        lines = lines[0][counts[0] :], lines[1][counts[1] :]


def _begin_ns(lines: _Lines) -> int | None:
    return min((line[0].since_ns for line in lines if line), default=None)


def _over_ns(lines: _Lines, begin_ns: int) -> int | None:
    """Return when everything that began within a pause of `begin_ns` had ended; `None` while it goes on."""
    ends = [p.until_ns for line in lines for p in line if p.since_ns <= begin_ns + _PAUSE_NS]
    return None if None in ends else max(end for end in ends if end is not None)


def _fit(sound: _Sound, lines: _Lines, begin_ns: int) -> _Fit | None:
    """Lay a sound on the next pulses of both lines; `None` if it is not that."""
    stretch_ns = 0
    ends: list[int] = []
    for wanted, line in zip(sound, lines, strict=True):
        begins_now = bool(line) and line[0].since_ns - begin_ns < _TOGETHER_NS
        if bool(wanted) is not begins_now or len(line) < len(wanted):
            return None
        pulses = line[: len(wanted)]
        over_ns = [_over(pulse, ms) for pulse, ms in zip(pulses, wanted, strict=True)]
        if None in over_ns or not _is_together(pulses):
            return None
        stretch_ns += sum(abs(each) for each in over_ns if each is not None)
        ends += [pulse.until_ns for pulse in pulses if pulse.until_ns is not None]
    return _Fit(sound, stretch_ns, max(ends))


def _over(pulse: Pulse, wanted_ms: int) -> int | None:
    """Return by how many nanoseconds a pulse is longer than wanted; `None` if it can't be that one."""
    if pulse.until_ns is None:
        return None
    over_ns = pulse.until_ns - pulse.since_ns - wanted_ms * _NS_PER_MS
    return over_ns if -_EARLY_NS <= over_ns <= _STRETCH_NS else None


def _is_together(pulses: Iterable[Pulse]) -> bool:
    pairs = itertools.pairwise(pulses)
    return all(after.since_ns - (before.until_ns or 0) <= _PAUSE_NS for before, after in pairs)
