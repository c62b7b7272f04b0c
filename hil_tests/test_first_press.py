"""A press counts from the first flash of the firmware on, however short it is, whatever still starts."""

import random
import time

import pytest

from hil_tests.board.protocol import Board, Capability
from hil_tests.camera_rig import CameraRig
from hil_tests.conftest import NewCamera
from hil_tests.event_log import details
from hil_tests.lights import wait_colour

pytestmark = pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES)

_SEED = 20261122
_LONGEST_S = 1.2
"""By then the camera has started, even on a board that is slow."""
_LENGTHS_MS = (5, 20, 100)


@pytest.mark.parametrize("starts", [10, pytest.param(200, marks=pytest.mark.long)])
def test_press_while_the_camera_starts_is_recorded(board: Board, new_camera: NewCamera, starts: int) -> None:
    chance = random.Random(_SEED)
    camera = new_camera(policy="reminder_s = 0.0")
    for number in range(starts):
        wait_s, length_ms = chance.uniform(0, _LONGEST_S), chance.choice(_LENGTHS_MS)
        _press_during_start(board, camera, wait_s, length_ms)
        assert camera.stop() == 0
        assert len(camera.wait_sealed(number + 1)) == number + 1


def _press_during_start(board: Board, camera: CameraRig, wait_s: float, length_ms: float) -> None:
    since_ns = board.now_ns()
    camera.start()
    wait_colour(board, "amber", since_ns=since_ns)  # it flashes once the button is claimed
    time.sleep(wait_s)  # a place in the start, not an event to wait for
    pressed = camera.tap(length_ms)
    camera.wait_recording(since_ns=pressed.after_ns)
    outcomes = details(camera.events(), "press", "outcome", since_ns=since_ns)
    assert outcomes in (["start"], ["pending"])
