"""The demo's hand on the button, in virtual time."""

from device.recording.machine import State
from preroll.demo.script import Do, Script

S = 1_000_000_000
MS = 1_000_000


def script(patience_ns: int = 0) -> Script:
    return Script(window_ns=5 * S, record_ns=10 * S, hold_ns=3 * S, patience_ns=patience_ns)


def step(hand: Script, now_ns: int, state: State, *, held_ns: int = 6 * S, touched: bool = False) -> list[Do]:
    return hand.step(now_ns, held_ns=held_ns, state=state, touched=touched)


def test_it_taps_when_the_ring_is_full_and_holds_so_that_the_clip_lasts_as_asked() -> None:
    hand = script()
    assert step(hand, 0, State.STARTING, held_ns=0) == []
    assert step(hand, 4 * S, State.READY, held_ns=4 * S) == []
    assert step(hand, 6 * S, State.READY) == [Do.PRESS]
    assert step(hand, 6 * S + 100 * MS, State.RECORDING) == []
    assert step(hand, 6 * S + 250 * MS, State.RECORDING) == [Do.RELEASE]
    assert step(hand, 12 * S, State.RECORDING) == []
    assert step(hand, 13 * S, State.RECORDING) == [Do.PRESS]
    assert step(hand, 15 * S, State.RECORDING) == []
    assert not hand.over
    assert step(hand, 16 * S, State.READY) == [Do.RELEASE]
    assert hand.over


def test_with_patience_it_waits_for_somebody_and_says_how_long() -> None:
    hand = script(patience_ns=20 * S)
    assert step(hand, 6 * S, State.READY) == []
    assert hand.waits_ns(7 * S) == 19 * S
    assert step(hand, 25 * S, State.READY) == []
    assert step(hand, 26 * S, State.READY) == [Do.PRESS]


def test_somebody_else_s_press_is_taken_as_the_start_and_a_finger_on_the_bar_is_left_alone() -> None:
    hand = script(patience_ns=20 * S)
    assert step(hand, 3 * S, State.RECORDING) == []
    assert step(hand, 11 * S, State.RECORDING, touched=True) == []
    assert step(hand, 12 * S, State.RECORDING) == [Do.PRESS]


def test_a_clip_that_ends_by_itself_ends_the_script() -> None:
    hand = script()
    step(hand, 6 * S, State.READY)
    step(hand, 7 * S, State.RECORDING)
    assert step(hand, 8 * S, State.BLOCKED) == []
    assert hand.over


def test_a_camera_that_is_slow_to_record_is_waited_for() -> None:
    hand = script()
    assert step(hand, 6 * S, State.READY) == [Do.PRESS]
    assert step(hand, 6 * S + 250 * MS, State.READY) == [Do.RELEASE]
    assert step(hand, 7 * S, State.READY) == []
    assert not hand.over
    assert step(hand, 8 * S, State.RECORDING) == []
    assert step(hand, 13 * S, State.RECORDING) == [Do.PRESS]


def test_a_ring_that_grows_no_more_is_full() -> None:
    hand = script()
    assert step(hand, 0, State.READY, held_ns=0) == []
    assert step(hand, 30 * S, State.READY, held_ns=0) == []
    assert step(hand, 31 * S, State.READY, held_ns=3 * S) == []
    assert step(hand, 40 * S, State.READY, held_ns=2 * S) == []
    assert step(hand, 45 * S, State.READY, held_ns=3 * S) == []
    assert step(hand, 46 * S, State.READY, held_ns=3 * S) == [Do.PRESS]
