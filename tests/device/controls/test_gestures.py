"""The gesture table, by virtual time."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controls.gestures import (
    _TABLE,
    ButtonRecogniser,
    Gesture,
    GestureTiming,
    Held,
    PressBegan,
    ReleasedLong,
    ReleasedShort,
    Stuck,
    Unstuck,
    _Event,
    _State,
)

MS = 1_000_000
S = 1_000_000_000
T0 = 7_000 * S
TIMING = GestureTiming()
FOREVER = T0 + 10_000 * S

Edges = list[tuple[int, bool]]


def play(edges: Edges, ticks: list[int] | None = None, until_ns: int = FOREVER) -> list[Gesture]:
    """Feed edges and ticks in the order of their times."""
    button = ButtonRecogniser(TIMING)
    said: list[Gesture] = []
    # At one and the same time the tick comes last, as the panel drains its queue before it ticks.
    work: list[tuple[int, int, bool]] = [(at, 0, active) for at, active in edges]
    work += [(at, 1, False) for at in ticks or []]
    for at, kind, active in sorted(work, key=lambda item: (item[0], item[1])):
        said += button.edge(at, active=active) if kind == 0 else button.tick(at)
    return said + button.tick(until_ns)


def reference(edges: Edges, until_ns: int = FOREVER) -> list[Gesture]:
    """Say what the edges mean with hindsight: contact times merged over short openings, then classified."""
    spans: list[list[int]] = []
    level = False
    for at, active in edges:
        if active and not level:
            if spans and at - spans[-1][1] < TIMING.settle_ns:
                spans[-1][1] = until_ns * 2
            else:
                spans.append([at, until_ns * 2])
        elif level and not active:
            spans[-1][1] = at
        elif not active and (not spans or at - spans[-1][1] >= TIMING.settle_ns):
            spans.append([at, at])  # its closing was not seen
        level = active
    said: list[Gesture] = []
    for number, (began, ended) in enumerate(spans, 1):
        said.append(PressBegan(number, began))
        held, stuck = began + TIMING.hold_ns, began + TIMING.stuck_ns
        if held <= ended:
            said.append(Held(number, began, held))
        if stuck <= ended:
            said.append(Stuck(number, began, stuck))
        if ended < until_ns:
            said += [Unstuck(number, began, ended)] if stuck <= ended else []
            kind = ReleasedLong if held <= ended else ReleasedShort
            said.append(kind(number, began, ended))
    return said


def test_every_state_answers_every_edge_and_its_own_timer() -> None:
    for state in _State:
        assert (state, _Event.CLOSED) in _TABLE
        assert (state, _Event.OPENED) in _TABLE
    timers = {state: event for state, event in _TABLE if event not in (_Event.CLOSED, _Event.OPENED)}
    assert set(timers) == set(_State) - {_State.UP, _State.STUCK}


def test_press_counts_at_its_first_edge_without_delay() -> None:
    assert ButtonRecogniser().edge(T0, active=True) == [PressBegan(1, T0)]


def test_short_press() -> None:
    assert play([(T0, True), (T0 + 200 * MS, False)]) == [
        PressBegan(1, T0),
        ReleasedShort(1, T0, T0 + 200 * MS),
    ]


def test_hold_release_and_next_press() -> None:
    assert play([(T0, True), (T0 + 4 * S, False), (T0 + 5 * S, True), (T0 + 5 * S + MS, False)]) == [
        PressBegan(1, T0),
        Held(1, T0, T0 + 3 * S),
        ReleasedLong(1, T0, T0 + 4 * S),
        PressBegan(2, T0 + 5 * S),
        ReleasedShort(2, T0 + 5 * S, T0 + 5 * S + MS),
    ]


@pytest.mark.parametrize(("down_ns", "kind"), [(3 * S - 1, ReleasedShort), (3 * S, ReleasedLong)])
def test_three_seconds_to_the_nanosecond(down_ns: int, kind: type[Gesture]) -> None:
    assert isinstance(play([(T0, True), (T0 + down_ns, False)])[-1], kind)


def test_a_press_of_a_hundred_microseconds_in_a_bounce_train_is_one_press() -> None:
    train = [(T0 + n * 100_000, n % 2 == 0) for n in range(20)]
    assert play(train) == [PressBegan(1, T0), ReleasedShort(1, T0, T0 + 1_900_000)]


def test_openings_as_long_as_settle_end_a_press_and_shorter_ones_do_not() -> None:
    settle = TIMING.settle_ns
    for opening, presses in ((settle - 1, 1), (settle, 2)):
        edges = [(T0, True), (T0 + S, False), (T0 + S + opening, True), (T0 + 2 * S, False)]
        assert sum(isinstance(said, PressBegan) for said in play(edges)) == presses


def test_a_grip_that_flickers_is_one_hold() -> None:
    edges = [(T0, True)]
    for n in range(1, 40):
        edges += [(T0 + n * 100 * MS, False), (T0 + n * 100 * MS + 5 * MS, True)]
    edges.append((T0 + 4 * S, False))
    said = play(edges, ticks=[T0 + n * 7 * MS for n in range(700)])
    assert said == [PressBegan(1, T0), Held(1, T0, T0 + 3 * S), ReleasedLong(1, T0, T0 + 4 * S)]


def test_stuck_is_said_once_and_ends() -> None:
    assert play([(T0, True), (T0 + 100 * S, False)]) == [
        PressBegan(1, T0),
        Held(1, T0, T0 + 3 * S),
        Stuck(1, T0, T0 + 60 * S),
        Unstuck(1, T0, T0 + 100 * S),
        ReleasedLong(1, T0, T0 + 100 * S),
    ]


def test_a_release_that_python_reads_late_still_makes_a_short_press() -> None:
    button = ButtonRecogniser(TIMING)
    button.edge(T0, active=True)
    assert button.tick(T0 + 3 * S + 9 * MS) == []
    assert button.edge(T0 + 3 * S - 1, active=False) == []
    assert button.tick(FOREVER) == [ReleasedShort(1, T0, T0 + 3 * S - 1)]
    assert button.late == 0


def test_an_edge_later_than_the_latency_is_counted_and_every_press_still_ends() -> None:
    button = ButtonRecogniser(TIMING)
    button.edge(T0, active=True)
    assert button.tick(T0 + 4 * S) == [Held(1, T0, T0 + 3 * S)]
    button.edge(T0 + 2 * S, active=False)
    assert button.late == 1
    assert button.tick(FOREVER) == [ReleasedLong(1, T0, T0 + 2 * S)]


def test_a_guessed_press_is_measured_from_its_edge_but_never_from_before_the_last_one() -> None:
    for edge_ns, began_ns in ((T0 + 60 * MS, T0 + 60 * MS), (T0 - S, T0 + 20 * MS)):
        button = ButtonRecogniser(TIMING)
        button.edge(T0, active=True)
        button.edge(T0 + 20 * MS, active=False)
        assert button.guess(T0 + 300 * MS, active=True)[-1] == PressBegan(2, T0 + 300 * MS)
        assert button.edge(edge_ns, active=True) == []
        button.edge(T0 + S, active=False)
        assert button.tick(FOREVER) == [ReleasedShort(2, began_ns, T0 + S)]
        assert button.dated == 1


def test_an_edge_that_comes_once_the_guessed_press_is_a_hold_changes_nothing() -> None:
    button = ButtonRecogniser(TIMING)
    assert button.guess(T0, active=True) == [PressBegan(1, T0)]
    assert button.tick(T0 + 4 * S) == [Held(1, T0, T0 + 3 * S)]
    assert button.edge(T0 - 100 * MS, active=True) == []
    assert button.guess(T0 + 5 * S, active=False) == []
    assert button.tick(FOREVER) == [ReleasedLong(1, T0, T0 + 5 * S)]


def test_deadlines_lead_from_one_gesture_to_the_next() -> None:
    button = ButtonRecogniser(TIMING)
    assert button.next_deadline_ns() is None
    button.edge(T0, active=True)
    said: list[Gesture] = []
    for _ in range(2):
        deadline = button.next_deadline_ns()
        assert deadline is not None
        assert button.tick(deadline - 1) == []
        said += button.tick(deadline)
    assert [type(gesture) for gesture in said] == [Held, Stuck]
    assert button.is_stuck
    assert button.next_deadline_ns() is None


def test_repeated_edges_change_nothing_and_are_counted() -> None:
    button = ButtonRecogniser(TIMING)
    assert button.edge(T0 + 1, active=True) == [PressBegan(1, T0 + 1)]
    assert button.edge(T0 + 2, active=True) == []
    assert button.edge(T0 + 3, active=False) == []
    assert button.edge(T0 + 4, active=False) == []
    assert button.repeated == 2


def test_an_opening_whose_closing_was_not_seen_is_a_press() -> None:
    button = ButtonRecogniser(TIMING)
    assert button.edge(T0, active=False) == [PressBegan(1, T0)]
    assert button.edge(T0 + 40 * MS, active=False) == [ReleasedShort(1, T0, T0), PressBegan(2, T0 + 40 * MS)]
    assert button.edge(T0 + 50 * MS, active=True) == []
    assert button.tick(T0 + 4 * S) == [Held(2, T0 + 40 * MS, T0 + 40 * MS + 3 * S)]
    assert button.unseen == 2


def test_the_late_edge_of_a_guessed_opening_is_no_press() -> None:
    button = ButtonRecogniser(TIMING)
    button.edge(T0, active=True)
    button.guess(T0 + S, active=False)
    assert button.tick(T0 + 2 * S) == [ReleasedShort(1, T0, T0 + S)]
    assert button.edge(T0 + 100 * MS, active=False) == []
    assert button.tick(FOREVER) == []
    assert (button.unseen, button.repeated) == (0, 1)


@pytest.mark.parametrize("times", [{"settle_ns": 0}, {"hold_ns": MS}, {"stuck_ns": S}, {"latency_ns": -1}])
def test_times_that_contradict_each_other_are_refused(times: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="settle < hold < stuck"):
        GestureTiming(**times)


pauses = st.one_of(
    st.integers(1, 60 * MS),
    st.integers(TIMING.settle_ns - 2, TIMING.settle_ns + 2),
    st.integers(TIMING.hold_ns - 2, TIMING.hold_ns + 2),
    st.integers(1, 70 * S),
)


@st.composite
def edge_sequences(draw: st.DrawFn) -> Edges:
    """Edges of random pauses; a level may repeat, as after a lost edge."""
    at, edges = T0, []
    for pause, active in draw(st.lists(st.tuples(pauses, st.booleans()), max_size=30)):
        at += pause
        edges.append((at, active))
    return edges


@given(edges=edge_sequences(), seed=st.integers(0, 2**32))
def test_gestures_follow_from_edges_alone_whenever_ticks_run(edges: Edges, seed: int) -> None:
    end = edges[-1][0] + S if edges else T0
    ticks = sorted(random.Random(seed).sample(range(T0, end + 1), k=min(50, end + 1 - T0)))
    ticks += [at for at, _ in edges]
    assert play(edges, ticks) == play(edges) == reference(edges)


@given(edges=edge_sequences())
def test_no_press_is_lost_none_is_held_early_and_ids_are_unique(edges: Edges) -> None:
    said = play(edges)
    began = {gesture.press_id: gesture.at_ns for gesture in said if isinstance(gesture, PressBegan)}
    assert len(began) == sum(isinstance(gesture, PressBegan) for gesture in said)
    level, opened = False, T0 - S
    for at, active in edges:
        if active and not level and at - opened >= TIMING.settle_ns:
            assert at in began.values()
        if not level and not active and at - opened >= TIMING.settle_ns:
            assert at in began.values()
            opened = at
        if level and not active:
            opened = at
        level = active
    for gesture in said:
        if isinstance(gesture, Held):
            assert gesture.at_ns - began[gesture.press_id] == TIMING.hold_ns
        if isinstance(gesture, ReleasedShort):
            assert gesture.at_ns - gesture.began_ns < TIMING.hold_ns
    releases = [g.press_id for g in said if isinstance(g, ReleasedShort | ReleasedLong)]
    assert len(releases) == len(set(releases)) == len(began) - level
