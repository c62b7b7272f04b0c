"""Lights, sound and vibration by virtual time."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controls.indicators import IndicatorPolicy, Indicators
from device.controls.patterns import PATTERNS, RECORDING_STATES, SIGNALS, IndicatorState, Line, Pattern, Signal

MS = 1_000_000
S = 1_000_000_000
T0 = 1_000 * S
RECORDING = IndicatorState.RECORDING


class Player:
    """Runs a player from deadline to deadline and keeps what each line did."""

    def __init__(self, policy: IndicatorPolicy | None = None) -> None:
        self.now_ns = T0
        self.indicators = Indicators(T0, policy)
        self.history: list[tuple[int, Line, bool]] = []

    def run_to(self, until_ns: int) -> None:
        while self.now_ns < until_ns:
            self._tick()
            self.now_ns = min(self.indicators.next_deadline_ns(), until_ns)
        self._tick()

    def record(self, seconds: int) -> None:
        """Show recording, with progress every half second."""
        self.indicators.show(RECORDING, self.now_ns)
        for _ in range(2 * seconds):
            self.indicators.renew(self.now_ns, self.now_ns + 2 * S)
            self.run_to(self.now_ns + 500 * MS)

    def on_times(self, line: Line) -> list[tuple[int, int]]:
        """(start, length) in ms from T0 of each time a line was on."""
        spans, since = [], None
        for at, changed, on in self.history:
            if changed is line and on:
                since = at
            elif changed is line and since is not None:
                spans.append(((since - T0) // MS, (at - since) // MS))
        return spans

    def _tick(self) -> None:
        for change in self.indicators.tick(self.now_ns):
            self.history.append((self.now_ns, change.line, change.on))


@pytest.mark.parametrize("state", [s for s in IndicatorState if s not in RECORDING_STATES])
def test_each_state_plays_its_row(state: IndicatorState) -> None:
    player = Player()
    player.indicators.show(state, T0)
    player.run_to(T0 + 20 * S)
    light = PATTERNS[state].light
    for line in (Line.RED, Line.GREEN):
        expected, at = [], 0
        while at < 20_000:
            for colour, ms in light.steps:
                if line in colour.value:
                    expected.append((at, ms))
                at += ms
        got = player.on_times(line)
        assert got == expected[: len(got)]
        assert len(got) >= len(expected) - 2
    assert bool(player.on_times(Line.BUZZER)) is bool(PATTERNS[state].buzzer.steps)


@pytest.mark.parametrize("state", sorted(RECORDING_STATES))
def test_recording_states_play_their_row_while_renewed(state: IndicatorState) -> None:
    player = Player()
    player.indicators.show(state, T0)
    player.indicators.renew(T0, T0 + 2 * S)
    player.run_to(T0 + 1_800 * MS)
    assert player.on_times(Line.RED)[0] == (0, PATTERNS[state].light.steps[0][1])


def test_recording_light_lapses_two_seconds_after_the_last_renewal() -> None:
    player = Player()
    player.record(10)
    last_renewal_ns = player.now_ns - 500 * MS
    player.run_to(last_renewal_ns + 2 * S - 1)
    assert player.indicators.showing is RECORDING
    player.run_to(last_renewal_ns + 2 * S)
    assert player.indicators.showing is IndicatorState.FAULT
    assert player.indicators.lapses == 1
    player.run_to(player.now_ns + 2 * S)
    player.history.clear()
    player.run_to(player.now_ns + 10 * S)
    assert len(player.on_times(Line.RED)) > 10
    assert player.on_times(Line.RED) == player.on_times(Line.GREEN)
    player.indicators.renew(player.now_ns, player.now_ns + S)
    player.run_to(player.now_ns)
    assert player.indicators.showing is RECORDING


def test_a_renewal_far_ahead_counts_for_two_seconds() -> None:
    player = Player()
    player.indicators.show(RECORDING, T0)
    player.indicators.renew(T0, T0 + 3_600 * S)
    player.run_to(T0 + 2 * S)
    assert player.indicators.showing is IndicatorState.FAULT


def test_a_renewal_that_comes_late_does_not_outlive_its_end() -> None:
    player = Player()
    player.indicators.show(RECORDING, T0)
    player.run_to(T0 + S)
    player.indicators.renew(T0, T0 + 500 * MS)
    player.run_to(T0 + S)
    assert player.indicators.showing is IndicatorState.FAULT


def test_recording_is_dark_until_first_renewed_and_a_fault_after_two_seconds() -> None:
    player = Player()
    player.indicators.show(RECORDING, T0)
    player.run_to(T0 + 2 * S - 1)
    assert player.history == []
    assert player.indicators.showing is None
    player.run_to(T0 + 2 * S)
    assert player.indicators.showing is IndicatorState.FAULT


def test_renewal_has_no_meaning_outside_recording() -> None:
    player = Player()
    player.indicators.show(IndicatorState.READY, T0)
    player.indicators.renew(T0, T0 + S)
    player.run_to(T0 + 10 * S)
    assert player.on_times(Line.RED) == []
    assert player.indicators.lapses == 0


def test_a_new_recording_does_not_inherit_the_light_of_the_last() -> None:
    player = Player()
    player.record(3)
    player.indicators.show(IndicatorState.READY, player.now_ns)
    player.indicators.show(RECORDING, player.now_ns)
    assert player.indicators.showing is None


def test_low_storage_keeps_the_light_that_was_renewed() -> None:
    player = Player()
    player.record(1)
    player.indicators.show(IndicatorState.RECORDING_STORAGE_LOW, player.now_ns)
    assert player.indicators.showing is IndicatorState.RECORDING_STORAGE_LOW


@pytest.mark.parametrize("kind", Signal)
def test_a_signal_plays_its_row_once_over_the_state(kind: Signal) -> None:
    player = Player()
    player.indicators.show(IndicatorState.READY, T0)
    player.indicators.signal(kind, T0)
    player.run_to(T0 + 20 * S)
    for line, track in ((Line.BUZZER, SIGNALS[kind].buzzer), (Line.VIBRATION, SIGNALS[kind].vibration)):
        assert [ms for _, ms in player.on_times(line)] == [ms for on, ms in track.steps if on]
    assert (18_000, 100) in player.on_times(Line.GREEN)


def test_the_latest_signal_replaces_the_one_that_plays() -> None:
    player = Player()
    player.indicators.show(IndicatorState.READY, T0)
    player.indicators.signal(Signal.STOPPED, T0)
    player.run_to(T0 + 100 * MS)
    player.indicators.signal(Signal.STARTED, player.now_ns)
    player.run_to(T0 + 5 * S)
    assert [ms for _, ms in player.on_times(Line.BUZZER)] == [100 + 150, 150]


def test_reminder_every_two_minutes_while_recording() -> None:
    player = Player()
    player.record(310)
    starts = [at for at, ms in player.on_times(Line.VIBRATION)]
    pulses = len([on for on, _ in SIGNALS[Signal.REMINDER].vibration.steps if on])
    assert [at // 1_000 for at in starts[::pulses]] == [120, 240]
    player.indicators.show(IndicatorState.READY, player.now_ns)
    before = len(player.on_times(Line.BUZZER))
    player.run_to(player.now_ns + 300 * S)
    assert len(player.on_times(Line.BUZZER)) == before


def test_no_reminder_says_still_recording_once_the_light_has_lapsed() -> None:
    player = Player(IndicatorPolicy(reminder_ns=30 * S))
    player.indicators.show(RECORDING, T0)
    player.run_to(T0 + 100 * S)
    fault = {ms for on, ms in PATTERNS[IndicatorState.FAULT].vibration.steps if on}
    assert {ms for _, ms in player.on_times(Line.VIBRATION)} == fault


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (IndicatorPolicy(stealth=True), set()),
        (IndicatorPolicy(stealth=True, stealth_vibration=True), {Line.VIBRATION}),
        (IndicatorPolicy(stealth=True, stealth_vibration=True, vibration=False), set()),
        (IndicatorPolicy(sound=False), {Line.RED, Line.GREEN, Line.VIBRATION}),
        (IndicatorPolicy(vibration=False), {Line.RED, Line.GREEN, Line.BUZZER}),
    ],
)
def test_policy_bounds_what_is_seen_heard_and_felt(policy: IndicatorPolicy, allowed: set[Line]) -> None:
    player = Player(policy)
    for state in IndicatorState:
        player.indicators.show(state, player.now_ns)
        for kind in Signal:
            player.indicators.signal(kind, player.now_ns)
            player.run_to(player.now_ns + 4 * S)
    assert {line for _, line, _ in player.history} == allowed


def test_stealth_goes_dark_at_once_and_back() -> None:
    player = Player()
    player.record(1)
    assert player.indicators.levels == {Line.RED}
    stealth = msgspec.structs.replace(player.indicators.policy, stealth=True)
    player.indicators.set_policy(stealth, player.now_ns)
    player.run_to(player.now_ns)
    assert player.indicators.levels == frozenset()


events = st.one_of(
    st.tuples(st.just("show"), st.sampled_from(IndicatorState)),
    st.tuples(st.just("signal"), st.sampled_from(Signal)),
    st.tuples(st.just("renew"), st.integers(-S, 4 * S)),
)


@given(script=st.lists(st.tuples(st.integers(0, 3 * S), events), max_size=20))
def test_recording_is_never_shown_longer_than_two_seconds_after_a_renewal(
    script: list[tuple[int, tuple[str, object]]],
) -> None:
    player = Player()
    renewed_ns = T0 - 10 * S
    for wait_ns, (what, value) in script:
        player.run_to(player.now_ns + wait_ns)
        if what == "show":
            assert isinstance(value, IndicatorState)
            player.indicators.show(value, player.now_ns)
        elif what == "signal":
            assert isinstance(value, Signal)
            player.indicators.signal(value, player.now_ns)
        else:
            assert isinstance(value, int)
            player.indicators.renew(player.now_ns, player.now_ns + value)
            renewed_ns = player.now_ns if value > 0 else renewed_ns
        if player.indicators.showing in RECORDING_STATES:
            assert player.now_ns - renewed_ns < 2 * S
        assert player.indicators.next_deadline_ns() > player.now_ns
    player.run_to(player.now_ns + 2 * S)
    assert player.indicators.showing not in RECORDING_STATES


@given(
    st.sampled_from([*PATTERNS.values(), *SIGNALS.values()]),
    st.lists(st.integers(0, 400 * MS), min_size=40, max_size=40),
    st.lists(st.integers(0, 200 * MS), min_size=40, max_size=40),
)
def test_on_a_machine_that_is_late_pulses_get_longer_and_none_is_left_out(
    pattern: Pattern, late_ns: list[int], switching_ns: list[int]
) -> None:
    """Late to turn up, and slow to switch: `started` must never sound like `reminder`."""
    now_ns = T0
    player = Indicators(now_ns)
    for state, row in PATTERNS.items():
        if row is pattern:
            player.show(state, now_ns)
            player.renew(now_ns, now_ns + S)
    for kind, row in SIGNALS.items():
        if row is pattern:
            player.signal(kind, now_ns)
    seen: list[tuple[int, int, frozenset[Line]]] = []
    for late, switching in zip(late_ns, switching_ns, strict=True):
        now_ns = max(now_ns, player.next_deadline_ns()) + late if seen else now_ns + late
        player.tick(now_ns)
        player.switched(now_ns + switching)
        seen.append((now_ns, now_ns + switching, player.levels))
        now_ns += switching
    for line, track in ((Line.BUZZER, pattern.buzzer), (Line.VIBRATION, pattern.vibration)):
        wanted = [ms * MS for on, ms in track.steps if on]
        heard = list(pulses_of(seen, line))
        assert len(heard) >= len(wanted) or pattern in PATTERNS.values()
        assert all(longest >= ns for longest, ns in zip(heard, wanted, strict=False))


def pulses_of(seen: list[tuple[int, int, frozenset[Line]]], line: Line) -> Iterator[int]:
    """Tell how long a line was on each time, from when it had been switched on."""
    since_ns = None
    for asked_ns, switched_ns, levels in seen:
        if line in levels and since_ns is None:
            since_ns = switched_ns
        elif line not in levels and since_ns is not None:
            yield asked_ns - since_ns
            since_ns = None
