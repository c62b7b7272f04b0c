"""The keeper: bays that died come back, later each time, and are told of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.bays import BayKeeper
from host.clockwatch import ClockWatch

S = 1_000_000_000


class FakeBay:
    """A bay that lives as it is told."""

    def __init__(self, name: str = "1") -> None:
        self.name = name
        self.alive = True
        self.stopping = False
        self.died_of = "KeyError"
        self.still = False
        self.restarts = 0

    def stalled(self, now_ns: int) -> bool:
        return self.still

    def restart(self) -> None:
        self.restarts += 1
        self.alive = True


def test_a_dead_bay_is_started_again_later_each_time() -> None:
    bay, said = FakeBay(), list[str]()
    keeper = BayKeeper([bay], said.append)
    pauses: list[int] = []
    now = died_at = 0
    while len(pauses) < 8:
        if bay.alive:
            bay.alive = False
            died_at = now
        keeper.look(now * S)
        if bay.alive:
            pauses.append(now - died_at)
        now += 1
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert len(said) == 8
    assert "KeyError" in said[0]


def test_a_bay_that_worked_long_begins_anew() -> None:
    bay, said = FakeBay(), list[str]()
    keeper = BayKeeper([bay], said.append)
    for death in (0, 10, 1000):
        bay.alive = False
        keeper.look(death * S)
        keeper.look((death + 1) * S)
        if death != 10:
            assert bay.alive
        else:
            assert not bay.alive  # the second pause is longer
            keeper.look((death + 2) * S)
            assert bay.alive
    assert bay.restarts == 3


def test_a_bay_that_was_told_to_end_stays_ended() -> None:
    bay = FakeBay()
    bay.stopping, bay.alive = True, False
    keeper = BayKeeper([bay], lambda _: None)
    assert keeper.look(0)
    assert keeper.look(1000 * S)
    assert bay.restarts == 0


def test_one_that_stands_still_is_told_once_and_all_that_do_are_no_progress() -> None:
    bays, said = [FakeBay("1"), FakeBay("2")], list[str]()
    keeper = BayKeeper(bays, said.append)
    bays[0].still = True
    assert keeper.look(1)
    assert keeper.look(2)
    assert len(said) == 1
    bays[1].still = True
    assert not keeper.look(3)
    bays[0].still = False
    assert keeper.look(4)
    bays[0].still = True
    keeper.look(5)
    assert len(said) == 3
    assert BayKeeper([], said.append).look(0)


@given(st.lists(st.tuples(st.integers(0, 3600), st.integers(-86_400, 86_400)), max_size=20))
def test_every_jump_of_the_clock_is_told_and_nothing_else(steps: list[tuple[int, int]]) -> None:
    utc, monotonic = 1_000_000, 5
    watch = ClockWatch(utc * S, monotonic * S)
    for passed, jump in steps:
        utc, monotonic = utc + passed + jump, monotonic + passed
        told = watch.look(utc * S, monotonic * S)
        assert bool(told) is (abs(jump) >= 30)
        if told:
            assert f"by {abs(jump)} s" in told
            assert ("forward" in told) is (jump > 0)


def test_small_corrections_do_not_add_up_to_a_jump() -> None:
    watch = ClockWatch(0, 0)
    assert [watch.look(each * 21 * S, each * 20 * S) for each in range(1, 100)] == [""] * 99


@pytest.mark.parametrize("hours", [-6, 6])
def test_hours_are_told(hours: int) -> None:
    assert ClockWatch(0, 0).look(hours * 3600 * S, 0).startswith("the dock's clock jumped")
