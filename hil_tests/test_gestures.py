"""What a hand does at the button and at a trigger line, told by lines and log: docs/controls.md."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hil_tests.board.protocol import Board, Capability, PinEdge
from hil_tests.camera_rig import CameraRig, CameraSettings, Keys
from hil_tests.event_log import details, outcomes
from hil_tests.wiring import BUTTON, HOLSTER, OUTPUTS

pytestmark = pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES)

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
_TOGETHER_MS = 300
_SETTINGS = CameraSettings(
    policy="reminder_s = 0.0\nconfirm_stop = false",
    more=f'\n[[controls.triggers]]\nname = "holster"\npin = {HOLSTER}\n',
)


@pytest.fixture(scope="module")
def rig(module_board: Board, keys: Keys) -> Iterator[CameraRig]:
    """One camera for all tests."""
    rig = CameraRig(module_board, keys, _SETTINGS)
    yield rig
    assert rig.stop() == 0


@pytest.fixture
def camera(rig: CameraRig) -> CameraRig:
    """The camera, ready; each test leaves it so."""
    rig.run_with(_SETTINGS)
    return rig


def test_presses_start_mark_and_a_hold_stops(camera: CameraRig) -> None:
    first = camera.tap()
    camera.wait_signal("started", since_ns=first.after_ns)
    camera.wait_state("recording", since_ns=first.after_ns)
    second = camera.tap()
    camera.wait_signal("bookmark", since_ns=second.after_ns)
    ended = camera.end()
    camera.wait_state("ready", since_ns=ended.since_ns)
    events = camera.events()
    said = outcomes(events, since_ns=first.after_ns)
    assert said == ["start", "noted", "bookmark", "noted", "stop"]
    assert details(events, "stop", "ended", since_ns=first.after_ns) == ["stopped"]


def test_press_that_started_a_clip_never_stops_it(camera: CameraRig) -> None:
    gripped = camera.tap(camera.settings.hold_s * 1000 * 4)
    light = camera.wait_recording(since_ns=gripped.before_ns + 4 * int(camera.settings.hold_s * _NS_PER_S))
    assert outcomes(camera.events(), since_ns=gripped.after_ns) == ["start"]
    camera.end()
    assert outcomes(camera.events(), since_ns=light.since_ns) == ["noted", "stop"]


def test_second_press_during_the_flush_is_a_bookmark(camera: CameraRig) -> None:
    first, _, second, _ = camera.play([(False, 0), (True, 80), (False, 160), (True, 240)])
    camera.wait_recording(
        since_ns=second.after_ns
    )  # with the signal of the start, which replaces the bookmark's
    camera.end()
    said = outcomes(camera.events(), since_ns=first.after_ns)
    assert said == ["start", "noted", "bookmark", "noted", "stop"]


def test_press_while_the_last_clip_is_sealed_starts_the_next(camera: CameraRig) -> None:
    first = camera.record()
    hold_ms = camera.settings.hold_s * 1000 + 400
    _, _, third, _ = camera.play([(False, 0), (True, hold_ms), (False, hold_ms + 60), (True, hold_ms + 140)])
    camera.wait_recording(since_ns=third.after_ns)
    camera.end()
    assert outcomes(camera.events(), since_ns=first.since_ns) == ["noted", "stop", "start", "noted", "stop"]


@pytest.mark.needs(Capability.TRIGGER_LINE)
def test_trigger_line_starts_and_a_press_with_it_is_no_stop(camera: CameraRig) -> None:
    board = camera.board
    drawn, _, _ = board.drive(
        [
            PinEdge(HOLSTER, high=False),
            PinEdge(BUTTON, high=False, offset_ns=_TOGETHER_MS * _NS_PER_MS),
            PinEdge(BUTTON, high=True, offset_ns=3 * _TOGETHER_MS * _NS_PER_MS),
        ]
    )
    camera.wait_recording(since_ns=drawn.after_ns + 3 * _TOGETHER_MS * _NS_PER_MS)
    board.drive([PinEdge(HOLSTER, high=True), PinEdge(HOLSTER, high=False, offset_ns=300 * _NS_PER_MS)])
    board.drive([PinEdge(HOLSTER, high=True, offset_ns=_TOGETHER_MS * _NS_PER_MS)])
    camera.end()
    events = camera.events()
    assert outcomes(events, since_ns=drawn.after_ns, source="holster") == ["start", "trigger_added"]
    assert outcomes(events, since_ns=drawn.after_ns, source="button") == ["trigger_added", "noted", "stop"]


def test_reminder_comes_while_recording(rig: CameraRig) -> None:
    rig.run_with(replace(_SETTINGS, policy="reminder_s = 4.0"))
    light = rig.record()
    first = rig.wait_signal("reminder", since_ns=light.since_ns)
    assert first.since_ns - light.since_ns > 2 * _NS_PER_S
    rig.wait_signal("reminder", since_ns=first.since_ns + 2 * _NS_PER_S)
    rig.hold()
    rig.wait_stop("stopped", since_ns=light.since_ns)


def test_stop_wants_its_confirmation_where_so_configured(rig: CameraRig) -> None:
    rig.run_with(replace(_SETTINGS, policy="confirm_stop = true\nconfirm_s = 3.0\nreminder_s = 0.0"))
    first = rig.record()
    asked = rig.wait_signal("confirm_wanted", since_ns=rig.hold().after_ns)
    rig.wait_signal("started", since_ns=asked.since_ns)  # nobody confirmed: recording goes on
    rig.wait_signal("confirm_wanted", since_ns=rig.hold().after_ns)
    rig.wait_signal("stopped", since_ns=rig.tap().after_ns)
    assert outcomes(rig.events(), since_ns=first.since_ns) == ["noted", "noted", "noted", "noted", "confirm"]


def test_stealth_shows_nothing_and_records(rig: CameraRig) -> None:
    rig.run_with(replace(_SETTINGS, policy="stealth = true"))
    first = rig.tap()
    rig.wait_events(lambda events: outcomes(events, since_ns=first.after_ns) == ["start"], "start")
    held = rig.hold()
    rig.wait_events(lambda events: bool(details(events, "stop", "clip", since_ns=held.after_ns)), "stop")
    lit = [each for each in rig.board.changes() if each.at_ns >= first.after_ns and each.high]
    assert [each for each in lit if each.line in OUTPUTS] == []
