"""The table of patterns, and that crews can tell its rows apart."""

import itertools
from pathlib import Path

import pytest

from device.controls.patterns import (
    PATTERNS,
    RECORDING_STATES,
    SIGNALS,
    Colour,
    IndicatorState,
    Pattern,
    Signal,
    Track,
)

Rhythm = tuple[int, ...]


def rhythm(track: Track[Colour]) -> Rhythm:
    """On and off times in ms, colour left out, neighbours of one kind joined, starting with the longest on."""
    spans: list[tuple[bool, int]] = []
    for colour, ms in track.steps:
        lit = colour is not Colour.OFF
        if spans and spans[-1][0] is lit:
            spans[-1] = (lit, spans[-1][1] + ms)
        else:
            spans.append((lit, ms))
    assert spans[0][0]
    assert not spans[-1][0], "a cycle that ends lit would join its own start"
    times = [ms for _, ms in spans]
    return max(tuple(times[n:] + times[:n]) for n in range(0, len(times), 2))


def differ(a: Rhythm, b: Rhythm) -> bool:
    """Whether a person can tell two rhythms apart: number of flashes, or a length by a factor of 2."""
    longest = sorted((max(a[::2]), max(b[::2])))
    cycle = sorted((sum(a), sum(b)))
    return len(a) != len(b) or longest[1] >= 2 * longest[0] or cycle[1] >= 2 * cycle[0]


def test_every_state_and_every_signal_has_a_row() -> None:
    assert set(PATTERNS) == set(IndicatorState)
    assert set(SIGNALS) == set(Signal)


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(IndicatorState, 2)))
def test_states_differ_without_seeing_colour(a: IndicatorState, b: IndicatorState) -> None:
    assert differ(rhythm(PATTERNS[a].light), rhythm(PATTERNS[b].light))


@pytest.mark.parametrize("track", ["buzzer", "vibration"])
def test_signals_differ_by_ear_and_by_touch_alone(track: str) -> None:
    pulses = {kind: tuple(ms for on, ms in getattr(SIGNALS[kind], track).steps if on) for kind in Signal}
    for a, b in itertools.combinations(Signal, 2):
        count_differs = len(pulses[a]) != len(pulses[b])
        length_differs = any(max(x, y) >= 2 * min(x, y) for x, y in zip(pulses[a], pulses[b], strict=False))
        assert count_differs or length_differs, (a, b)


@pytest.mark.parametrize("pattern", [*PATTERNS.values(), *SIGNALS.values()])
def test_no_light_is_steady_for_two_seconds(pattern: Pattern) -> None:
    longest = run = 0
    for colour, ms in pattern.light.steps * 2:
        run = run + ms if colour is not Colour.OFF else 0
        longest = max(longest, run)
    assert longest < 2_000


@pytest.mark.parametrize("pattern", [*PATTERNS.values(), *SIGNALS.values()])
def test_at_most_three_flashes_in_any_second(pattern: Pattern) -> None:
    starts, at, lit = [], 0, False
    for colour, ms in pattern.light.steps * (20 if pattern.light.repeat else 1):
        if colour is not Colour.OFF and not lit:
            starts.append(at)
        lit, at = colour is not Colour.OFF, at + ms
    assert all(sum(start <= other < start + 1_000 for other in starts) <= 3 for start in starts)


def test_only_recording_states_show_a_long_red() -> None:
    for state, pattern in PATTERNS.items():
        long_red = any(colour is Colour.RED and ms >= 500 for colour, ms in pattern.light.steps)
        assert long_red is (state in RECORDING_STATES)


def test_track_says_value_and_rest() -> None:
    track = Track(((True, 100), (False, 50)), repeat=True)
    assert track.at(0) == (True, 100_000_000)
    assert track.at(99_999_999) == (True, 1)
    assert track.at(100_000_000) == (False, 50_000_000)
    assert track.at(150_000_000) == (True, 100_000_000)
    once = Track(track.steps)
    assert once.at(150_000_000) == (None, None)


def light_words(track: Track[Colour]) -> str:
    if not track.steps:
        return "as before"
    return ", ".join(f"{colour.name.lower()} {ms}" for colour, ms in track.steps)


def pulse_words(track: Track[bool]) -> str:
    pulses = " ".join(str(ms) for on, ms in track.steps if on) or "none"
    return f"{pulses} every {track.length_ns // 10**9} s" if track.repeat else pulses


def row(name: str, pattern: Pattern) -> str:
    """One line of the crews' tables."""
    cells = (
        f"`{name}`",
        pattern.meaning,
        light_words(pattern.light),
        pulse_words(pattern.buzzer),
        pulse_words(pattern.vibration),
    )
    return f"| {' | '.join(cells)} |"


def test_the_crews_handbook_has_every_row_as_it_is() -> None:
    lines = (Path(__file__).parents[3] / "docs" / "controls.md").read_text(encoding="utf-8").splitlines()
    for name, pattern in [*PATTERNS.items(), *SIGNALS.items()]:
        assert row(name, pattern) in lines
