"""A contact that bounces, chatters or jams: every press counts once, and none is lost."""

import random
from collections.abc import Iterator, Sequence

import pytest

from hil_tests.board.protocol import Board, Capability, PinTime
from hil_tests.camera_rig import CameraRig, CameraSettings, Keys
from hil_tests.edge_times import edge_spans, watch_edges
from hil_tests.event_log import details, outcomes

pytestmark = pytest.mark.needs(Capability.INPUTS, Capability.EXACT_INPUTS, Capability.LINE_TIMES)

_SEED = 20261122
_TRAINS, _MANY = 12, 100
_DOWN_MS, _APART_MS = (120, 300), 250
_STUCK_S = 31
_LEAST, _TRIES = 10, 4
_SLACK_MS = 6.0
_TICK_NS = 10_000_000
"""An edge reaches the virtual board's kernel at its next tick (docs/bench.md)."""
_NS_PER_MS = 1_000_000

Train = list[tuple[bool, float]]


@pytest.fixture(scope="module")
def rig(module_board: Board, keys: Keys) -> Iterator[CameraRig]:
    """One camera whose holds are long, so that no train is one."""
    rig = CameraRig(module_board, keys, CameraSettings(hold_s=1.5))
    yield rig
    assert rig.stop() == 0


@pytest.fixture
def camera(rig: CameraRig) -> CameraRig:
    """The camera, ready; each test leaves it so."""
    rig.run_with(rig.settings)
    return rig


def bounces(chance: random.Random, high: bool, at_ms: float) -> Train:
    """Let a contact come to rest at a level: up to six changes of level in up to 20 ms before."""
    count = 2 * chance.randrange(4)
    times = sorted(chance.uniform(0, 20) for _ in range(count))
    return [((index % 2 == 0) is high, at_ms + ms) for index, ms in enumerate(times)] + [(high, at_ms + 20.1)]


def train(chance: random.Random) -> Train:
    """Make one press that bounces at both ends."""
    return bounces(chance, high=False, at_ms=0) + bounces(chance, high=True, at_ms=chance.uniform(*_DOWN_MS))


def seen_at_once(board: Board, played: Sequence[PinTime]) -> bool:
    """Whether the kernel looked at the line soon after each edge: later, it sees a bounce as a rest."""
    if Capability.TRACE not in board.capabilities:
        return True
    looks_ns = [span.exit_ns for span in edge_spans(board)]
    longest_ns = _TICK_NS + round(_SLACK_MS * _NS_PER_MS)
    return all(any(0 <= at_ns - edge.after_ns <= longest_ns for at_ns in looks_ns) for edge in played)


def as_meant(levels: Train, played: Sequence[PinTime]) -> bool:
    """Whether the board gave the levels at about their times: a standstill makes presses of bounces."""
    start_ns = played[0].after_ns
    return all(
        time.after_ns - start_ns <= (at_ms + _SLACK_MS) * _NS_PER_MS
        for (_, at_ms), time in zip(levels, played, strict=True)
    )


@pytest.mark.parametrize("count", [_TRAINS, pytest.param(_MANY, marks=pytest.mark.long)])
def test_every_train_of_bounces_is_one_press(camera: CameraRig, count: int) -> None:
    chance = random.Random(_SEED)
    if Capability.TRACE in camera.board.capabilities:
        watch_edges(camera.board)
    light = camera.record()
    trains: list[tuple[bool, int, int]] = []
    while sum(meant for meant, _, _ in trains) < count and len(trains) < 2 * count:
        levels = train(chance)
        played = camera.play(levels)
        camera.play([(True, _APART_MS)])
        meant = as_meant(levels, played) and seen_at_once(camera.board, played)
        trains.append((meant, played[0].after_ns, played[-1].before_ns))
    camera.end()
    if sum(meant for meant, _, _ in trains) < _LEAST:
        pytest.skip(
            f"board short of processor: it kept to the times of fewer than {_LEAST} trains of {len(trains)}"
        )
    events = camera.events()
    said = outcomes(events, since_ns=light.since_ns)
    assert said[-2:] == ["noted", "stop"]
    assert said[:-2] == ["noted", "bookmark"] * (len(said) // 2 - 1)
    marked = [
        event.at_ns for event in events if event.kind == "press" and event.detail["outcome"] == "bookmark"
    ]
    for meant, first_ns, last_ns in trains:
        count = len([at_ns for at_ns in marked if first_ns <= at_ns <= last_ns + _TICK_NS])
        assert count == 1 or (count > 1 and not meant), f"{count} bookmarks by the train from {first_ns} on"
        marked = [at_ns for at_ns in marked if not first_ns <= at_ns <= last_ns + _TICK_NS]
    assert [at_ns for at_ns in marked if at_ns > light.since_ns] == [], "bookmarks that no train of edges made"


def test_a_grip_that_flickers_is_one_hold(camera: CameraRig) -> None:
    flicker = [(high, 300 + 150 * n + (0 if high else 8)) for n in range(8) for high in (True, False)]
    levels: Train = [(False, 0), *flicker, (True, 2200)]
    for _ in range(_TRIES):
        light = camera.record()
        played = camera.play(levels)
        if as_meant(levels, played):
            camera.wait_signal("stopped", since_ns=played[0].after_ns)
            assert outcomes(camera.events(), since_ns=light.since_ns) == ["noted", "stop"]
            return
        camera.start_anew()
    pytest.skip(f"board short of processor: it kept to the times of none of {_TRIES} grips")


@pytest.mark.long
def test_a_jammed_button_is_an_alarm_until_it_opens(rig: CameraRig) -> None:
    rig.run_with(CameraSettings(more=f"\n[controls.button]\nstuck_ms = {_STUCK_S * 1000}\n"))
    down = rig.press()
    rig.wait_recording(since_ns=down.after_ns)
    rig.wait_events(lambda events: details(events, "button_stuck", "stuck") == [True], "jammed", timeout_s=180)
    up = rig.release()
    rig.end()
    rig.wait_state("ready", since_ns=up.before_ns)
    assert rig.stop() == 0  # what is not urgent is in the log within a minute, or by then
    levels = details(rig.events(), "health", "level", since_ns=down.after_ns)
    assert levels == ["alarm", "ok"]
