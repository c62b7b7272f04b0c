"""A contact that bounces, chatters or jams: every press counts once, and none is lost."""

import random
from collections.abc import Iterator

import pytest

from hil_tests.board.protocol import Board, Capability
from hil_tests.camera_rig import CameraRig, CameraSettings, Keys
from hil_tests.event_log import details, outcomes

pytestmark = pytest.mark.needs(Capability.INPUTS, Capability.EXACT_INPUTS, Capability.LINE_TIMES)

_SEED = 20261122
_TRAINS = 24
_DOWN_MS, _APART_MS = (120, 300), 250
_STUCK_S = 31

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


def test_every_train_of_bounces_is_one_press(camera: CameraRig) -> None:
    chance = random.Random(_SEED)
    light = camera.record()
    played = []
    for _ in range(_TRAINS):
        first, *_, last = camera.play(train(chance))
        played.append((first.after_ns, last.before_ns))
        camera.play([(True, _APART_MS)])
    camera.end()
    events = camera.events()
    assert outcomes(events, since_ns=light.since_ns) == ["noted", "bookmark"] * _TRAINS + ["noted", "stop"]
    marked = [e.at_ns for e in events if e.kind == "press" and e.detail["outcome"] == "bookmark"][-_TRAINS:]
    for (first_ns, last_ns), at_ns in zip(played, marked, strict=True):
        assert first_ns <= at_ns <= last_ns, "a bookmark that no train of edges made"


def test_a_grip_that_flickers_is_one_hold(camera: CameraRig) -> None:
    light = camera.record()
    flicker = [(high, 300 + 150 * n + (0 if high else 8)) for n in range(8) for high in (True, False)]
    held, *_ = camera.play([(False, 0), *flicker, (True, 2200)])
    camera.wait_signal("stopped", since_ns=held.after_ns)
    assert outcomes(camera.events(), since_ns=light.since_ns) == ["noted", "stop"]


@pytest.mark.long
def test_a_jammed_button_is_an_alarm_until_it_opens(rig: CameraRig) -> None:
    rig.run_with(CameraSettings(more=f"\n[controls.button]\nstuck_ms = {_STUCK_S * 1000}\n"))
    down = rig.press()
    rig.wait_recording(since_ns=down.after_ns)
    rig.wait_events(lambda events: details(events, "button_stuck", "stuck") == [True], "jammed", timeout_s=180)
    up = rig.release()
    rig.end()
    rig.wait_state("ready", since_ns=up.before_ns)
    levels = details(rig.events(), "health", "level", since_ns=down.after_ns)
    assert levels == ["alarm", "ok"]
