"""The judge of sounds names what was played, held up or not, and takes half a sound for none."""

import itertools
import random
from collections.abc import Sequence

import pytest

from hil_tests.light_table import Row, light_table
from hil_tests.sounds import Pulse, played

_NS_PER_MS = 1_000_000
_BEGAN_NS = 7_000_000_000
_LATER_NS = 60_000_000_000
_PAUSE_MS = 110
_SOUNDING = sorted(name for name, row in light_table().items() if row.buzzer or row.vibration)


def line(lengths_ms: Sequence[float], at_ms: float, late_ms: Sequence[float]) -> list[Pulse]:
    """Play pulses with a usual pause between them, each and each pause held up by so much."""
    found = []
    for length, (longer, later) in zip(lengths_ms, itertools.pairwise(late_ms), strict=False):
        begin = _BEGAN_NS + round(at_ms * _NS_PER_MS)
        found.append(Pulse(begin, begin + round((length + longer) * _NS_PER_MS)))
        at_ms += length + longer + _PAUSE_MS + later
    return found


def names(heard: Sequence[Pulse], felt: Sequence[Pulse], now_ns: int = _LATER_NS) -> list[frozenset[str]]:
    return [each.names for each in played(heard, felt, light_table(), now_ns)]


def alike(row: Row) -> set[str]:
    sound = row.buzzer, row.vibration
    return {name for name, each in light_table().items() if (each.buzzer, each.vibration) == sound}


@pytest.mark.parametrize("name", _SOUNDING)
@pytest.mark.parametrize("most_ms", [0, 30, 60])
def test_a_sound_is_named_however_much_its_camera_is_held_up(name: str, most_ms: int) -> None:
    row = light_table()[name]
    chance = random.Random(most_ms)
    for _ in range(20):
        late = [[chance.uniform(0, most_ms) for _ in range(8)] for _ in range(2)]
        heard, felt = (line(part, 0, late[index]) for index, part in enumerate((row.buzzer, row.vibration)))
        assert names(heard, felt) == [alike(row)]


def test_sounds_that_follow_each_other_are_told_apart() -> None:
    table, still = light_table(), [0.0] * 8
    rows = [table["started"], table["recording_storage_low"], table["stopped"]]
    heard, felt, at_ms = [], [], 0.0
    for row in rows:
        heard += line(row.buzzer, at_ms, still)
        felt += line(row.vibration, at_ms, still)
        at_ms += 1000
    assert names(heard, felt) == [alike(row) for row in rows]


def test_a_sound_that_another_replaced_halfway_is_none() -> None:
    started, still = light_table()["started"], [0.0] * 8
    cut = [Pulse(_BEGAN_NS - 300 * _NS_PER_MS, _BEGAN_NS - 240 * _NS_PER_MS)]  # the motor is on till `started`
    heard = cut + line(started.buzzer, 0, still)
    felt = [Pulse(cut[0].since_ns, _BEGAN_NS - 10 * _NS_PER_MS), *line(started.vibration, 0, still)]
    assert alike(started) in names(heard, felt)
    early = line([length - 30 for length in started.buzzer], 0, still)
    assert alike(started) not in names(early, line(started.vibration, 0, still))


def test_nothing_is_said_while_more_may_come() -> None:
    refused, still = light_table()["refused"], [0.0] * 8
    heard, felt = line(refused.buzzer, 0, still), line(refused.vibration, 0, still)
    for count in range(1, 4):
        end_ns = felt[count - 1].until_ns
        assert end_ns is not None
        assert names(heard[:count], felt[:count], end_ns + 50 * _NS_PER_MS) == []
    assert names(heard, felt) == [alike(refused)]
