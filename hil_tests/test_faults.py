"""What stands still or is missing is shown and told, and a press is never left without an answer."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL, SIGUSR1, SIGUSR2

import pytest

from hil_tests.board.protocol import Board, Capability
from hil_tests.camera_rig import CameraRig, CameraSettings, Keys
from hil_tests.event_log import details, outcomes
from hil_tests.lights import wait_colour, wait_for
from hil_tests.wiring import GREEN, RED

pytestmark = pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES)

_WINDOW_S = 8.0
_WINDOW_NS = 9_000_000_000
"""Longer than that: nothing is left to record."""
_SETTINGS = CameraSettings(window_s=_WINDOW_S, microphone="none", more="\n[health]\ncamera_silent_s = 0.5\n")
_HELD = "held_camera.py"


class HeldCamera(CameraRig):
    """A camera whose frames can be held back (held_camera.py)."""

    def start_held(self, *, held: bool) -> int:
        """Start it; returns when, on the board's clock."""
        if self.service is not None and not self.service.ended:
            self.stop()
        script = self.board.put(Path(__file__).with_name(_HELD), _HELD)
        since_ns = self.board.now_ns()
        self.start(self.board.places.python, "-P", script, *(["--held"] if held else []))
        return since_ns

    def freeze(self) -> int:
        """Let no frame through from now on; returns when."""
        assert self.service is not None
        self.service.signal(SIGUSR1)
        return self.board.now_ns()

    def thaw(self) -> int:
        """Let frames through again; returns when."""
        assert self.service is not None
        since_ns = self.board.now_ns()
        self.service.signal(SIGUSR2)
        return since_ns


@pytest.fixture(scope="module")
def rig(module_board: Board, keys: Keys) -> Iterator[HeldCamera]:
    """One camera for all tests."""
    rig = HeldCamera(module_board, keys, _SETTINGS)
    yield rig
    assert rig.stop() == 0


@pytest.fixture
def running(rig: HeldCamera) -> HeldCamera:
    """The camera, ready; each test leaves it so."""
    if rig.service is None or rig.service.ended:
        rig.wait_ready(since_ns=rig.start_held(held=False))
    return rig


def test_press_before_the_first_frame_is_answered_with_it(rig: HeldCamera) -> None:
    since_ns = rig.start_held(held=True)
    rig.wait_state("starting", since_ns=since_ns)
    first = rig.tap()
    rig.wait_events(lambda events: outcomes(events, since_ns=first.after_ns) == ["pending"], "the press")
    thawed_ns = rig.thaw()
    rig.wait_recording(since_ns=thawed_ns)
    rig.end()
    assert outcomes(rig.events(), since_ns=first.after_ns) == ["pending", "noted", "stop"]


def test_frozen_frames_are_a_fault_and_what_the_ring_holds_is_kept(running: HeldCamera) -> None:
    frozen_ns = running.freeze()
    fault = wait_colour(running.board, "amber", since_ns=frozen_ns)
    running.tap()
    running.wait_stop("fault", since_ns=frozen_ns)
    running.wait_state("fault", since_ns=fault.since_ns)
    wait_for(running.board, lambda _, now_ns: now_ns > frozen_ns + _WINDOW_NS or None, "end of the window")
    running.be_refused()
    running.wait_ready(since_ns=running.thaw())
    events = running.events()
    assert outcomes(events, since_ns=frozen_ns)[0] == "start"
    assert set(outcomes(events, since_ns=frozen_ns)[1:]) == {"refused"}
    assert details(events, "stop", "ended", since_ns=frozen_ns) == ["fault"]


def test_frames_that_freeze_in_a_recording_end_it_and_come_back(running: HeldCamera, tmp_path: Path) -> None:
    light = running.record()
    frozen_ns = running.freeze()
    running.wait_stop("fault", since_ns=frozen_ns)
    running.wait_state("fault", since_ns=frozen_ns)
    thawed_ns = running.thaw()
    running.wait_ready(since_ns=thawed_ns)
    running.record()
    running.end()
    assert running.stop() == 0
    vault = running.copy_vault(tmp_path)
    events = vault.events()
    assert details(events, "stop", "ended", since_ns=light.since_ns) == ["fault", "stopped"]
    states = details(events, "camera", "state", since_ns=frozen_ns)
    assert "failed" in states  # perhaps after a "running" of the thaw before
    assert states[-1] == "running"
    assert all(count > 0 for count in vault.verify().values())


def test_process_that_dies_is_shown_by_steady_amber_and_recovers(running: HeldCamera) -> None:
    running.record()
    assert running.service is not None
    running.service.signal(SIGKILL)
    assert running.service.wait() == -SIGKILL
    board = running.board
    since_ns = board.now_ns()
    lights = board.run(board.places.preroll, "device", "lights", "fault", "--config", running.config)
    assert lights.status == 0, lights.errors  # what the unit's ExecStopPost= does
    steady = wait_colour(board, "amber", since_ns=since_ns)
    assert not [each for each in board.changes() if each.at_ns > steady.since_ns and each.line in (RED, GREEN)]
    again_ns = running.start_held(held=False)
    running.wait_ready(since_ns=again_ns)
    running.wait_sealed(len(running.clips()))
    assert running.stop() == 0  # what is not urgent is in the log within a minute, or by then
    events = running.events()
    assert details(events, "recovered", "ended", since_ns=again_ns) == ["unknown"]


def test_camera_without_identity_says_so_and_is_enrolled_by_a_hold(rig: HeldCamera, keys: Keys) -> None:
    if rig.service is not None and not rig.service.ended:
        rig.stop()
    stranger = CameraRig(rig.board, keys, replace(_SETTINGS, docked=True), nobody=True)
    since_ns = rig.board.now_ns()
    stranger.start()
    stranger.wait_state("not_enrolled", since_ns=since_ns)
    stranger.wait_signal("refused", since_ns=stranger.tap().after_ns)
    held = stranger.press()
    stranger.wait_state("enrolling", since_ns=held.after_ns)
    opened = stranger.release()
    stranger.wait_state("not_enrolled", since_ns=opened.before_ns)
    assert stranger.stop() == 0
