"""The demo's acts: each once, in their order, none forgotten."""

import pytest

from preroll.demo.acts import WORDS, Act, Playbill


def test_acts_follow_each_other_and_end_where_the_next_begins() -> None:
    bill = Playbill()
    assert bill.current is None
    assert bill.reach(Act.FILM, 0.0)
    assert bill.reach(Act.RECORD, 5.0)
    assert not bill.reach(Act.RECORD, 6.0)
    assert not bill.reach(Act.FILM, 6.0)
    assert [(turn.act, turn.begin_s, turn.end_s) for turn in bill.turns] == [
        (Act.FILM, 0.0, 5.0),
        (Act.RECORD, 5.0, None),
    ]
    assert bill.current is Act.RECORD
    assert bill.open_acts == tuple(Act)[1:]


def test_an_act_that_nobody_saw_counts_as_passed() -> None:
    bill = Playbill()
    bill.reach(Act.FILM, 0.0)
    bill.reach(Act.RELEASE, 9.0)
    assert [turn.act for turn in bill.turns] == list(Act)[: list(Act).index(Act.RELEASE) + 1]
    assert {turn.end_s for turn in bill.turns[:-1]} == {9.0}
    assert bill.open_acts == (Act.RELEASE, Act.REPORT, Act.VERIFY, Act.OPEN)


def test_at_the_end_nothing_is_open() -> None:
    bill = Playbill()
    bill.reach(Act.OPEN, 1.0)
    bill.close(2.0)
    bill.close(3.0)
    assert (bill.current, bill.open_acts, bill.turns[-1].end_s) == (None, (), 2.0)


@pytest.mark.parametrize("act", list(Act))
def test_each_act_has_its_words(act: Act) -> None:
    assert WORDS[act]
