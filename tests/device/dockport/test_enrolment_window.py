"""The table of an enrolment at the camera's end."""

from hypothesis import given
from hypothesis import strategies as st

from device.dockport.enrolwindow import TRANSITIONS, WINDOW_NS, Effect, EnrolmentWindow, Happening, Stage

S = 1_000_000_000
H = Happening
REFUSALS = {Effect.REFUSE_NOT_HELD, Effect.REFUSE_LATE, Effect.REFUSE_NOT_BEGUN, Effect.REFUSE_TAKEN}


def test_every_stage_knows_every_happening() -> None:
    assert set(TRANSITIONS) == {(stage, happening) for stage in Stage for happening in Happening}


def test_the_way_to_an_identity() -> None:
    window = EnrolmentWindow()
    steps = [H.HOLD, H.BEGIN, H.INSTALL, H.FOUND_GOOD, H.WRITTEN]
    effects = [window.happen(step, at * S) for at, step in enumerate(steps)]
    assert effects == [Effect.NOTHING, Effect.MAKE_KEYS, Effect.GO_ON, Effect.GO_ON, Effect.DROP_KEYS]
    assert window.stage is Stage.DONE
    assert window.happen(H.BEGIN, 9 * S) is Effect.REFUSE_TAKEN


def test_the_last_nanosecond_counts_and_the_next_does_not() -> None:
    for late, stage in ((0, Stage.BEGUN), (1, Stage.LAPSED)):
        window = EnrolmentWindow()
        window.happen(H.HOLD, 5 * S)
        window.happen(H.BEGIN, 5 * S + WINDOW_NS + late)
        assert window.stage is stage


def test_who_held_for_too_long_lets_go_and_presses_again() -> None:
    window = EnrolmentWindow()
    window.happen(H.HOLD, 0)
    assert window.happen(H.BEGIN, 61 * S) is Effect.REFUSE_LATE
    window.happen(H.HOLD, 62 * S)
    assert window.happen(H.BEGIN, 63 * S) is Effect.REFUSE_LATE
    window.happen(H.LET_GO, 64 * S)
    window.happen(H.HOLD, 65 * S)
    assert window.happen(H.BEGIN, 66 * S) is Effect.MAKE_KEYS


@given(st.lists(st.tuples(st.sampled_from(Happening), st.integers(0, 40 * S)), max_size=30))
def test_nothing_is_written_but_with_the_button_held_all_the_time(
    happenings: list[tuple[Happening, int]],
) -> None:
    window, now_ns = EnrolmentWindow(), 0
    held_ns: int | None = None  # since when the button is held
    begun = False
    for happening, wait_ns in happenings:
        now_ns += wait_ns
        before = window.stage
        effect = window.happen(happening, now_ns)
        if happening is H.HOLD:
            held_ns = now_ns
        elif happening is H.LET_GO:
            held_ns, begun = None, False
        if effect is Effect.MAKE_KEYS:
            begun = True
        if window.stage is Stage.WRITING and before is not Stage.WRITING:
            assert held_ns is not None
            assert now_ns - held_ns <= WINDOW_NS
            assert begun
            assert happening is H.FOUND_GOOD
        if before is Stage.DONE:
            assert window.stage is Stage.DONE
        if effect in REFUSALS:
            assert happening in (H.BEGIN, H.INSTALL, H.FOUND_GOOD)
