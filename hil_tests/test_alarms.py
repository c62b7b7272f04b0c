"""Battery and storage that come to their end: told in time; at the last level the clip is sealed."""

from collections.abc import Iterator

import pytest

from hil_tests.board.protocol import Board, Capability
from hil_tests.camera_rig import CameraRig, CameraSettings, Keys
from hil_tests.event_log import details, outcomes

pytestmark = pytest.mark.needs(Capability.INPUTS, Capability.LINE_TIMES)

_ALARM_S = 600
"""Ten minutes: `storage.alarm_minutes`, as it is unless configured."""
_MINIMUM_BYTES = 8 * 1024 * 1024
_BYTES_PER_S = 65_536 / 0.45
"""What this camera needs: its bit rate is low, and each fragment ends on a whole chunk of age."""
_FULL_PERCENT, _LOW_PERCENT, _LAST_PERCENT = 80, 10, 2
_NS_PER_S = 1_000_000_000


@pytest.fixture(scope="module")
def rig(module_board: Board, keys: Keys) -> Iterator[CameraRig]:
    """One camera for all tests."""
    rig = CameraRig(module_board, keys, CameraSettings(microphone="none"))
    yield rig
    assert rig.stop() == 0


@pytest.fixture
def camera(rig: CameraRig) -> CameraRig:
    """The camera, ready; each test leaves it so."""
    rig.run_with(rig.settings)
    return rig


def free_bytes(board: Board) -> int:
    blocks, size = board.run("stat", "-f", "--format=%a %S", board.places.card).output.split()
    return int(blocks) * int(size)


def leave_free(board: Board, wanted_bytes: int) -> None:
    """Take space away until so much is left for the camera."""
    path = f"{board.places.card}/filler"
    board.run("rm", "-f", path)
    done = board.run("fallocate", "-l", str(free_bytes(board) - wanted_bytes), path)
    assert done.status == 0, done.errors


def fill(board: Board) -> None:
    """Take all space, also what the file system keeps for root: on the virtual board the firmware is root."""
    leave_free(board, 0)
    done = board.run("sh", "-c", f"cat /dev/zero > {board.places.card}/filler-too")
    assert "No space left" in done.errors, done.errors


@pytest.mark.needs(Capability.BATTERY)
def test_battery_is_told_low_then_ends_the_clip_then_refuses(camera: CameraRig) -> None:
    board = camera.board
    since_ns = board.now_ns()
    board.set_battery(percent=_LOW_PERCENT, charging=False)
    camera.wait_state("battery_low", since_ns=since_ns)
    charged_ns = board.now_ns()
    board.set_battery(percent=_FULL_PERCENT, charging=True)
    camera.wait_state("ready", since_ns=charged_ns)
    camera.wait_signal("started", since_ns=camera.tap().after_ns)  # its sound stands before the alarm's
    low_ns = board.now_ns()
    board.set_battery(percent=_LOW_PERCENT, charging=False)
    camera.wait_state("recording_battery_low", since_ns=low_ns)
    last_ns = board.now_ns()
    board.set_battery(percent=_LAST_PERCENT, charging=False)
    camera.wait_stop("low_battery", since_ns=last_ns)
    camera.wait_state("cannot_record", since_ns=last_ns)
    camera.be_refused()
    charged_ns = board.now_ns()
    board.set_battery(percent=_FULL_PERCENT, charging=True)
    camera.wait_state("ready", since_ns=charged_ns)
    events = camera.events()
    assert details(events, "battery", "state", since_ns=since_ns) == ["low", "ok", "low", "critical", "ok"]
    assert sorted(set(outcomes(events, since_ns=since_ns))) == ["refused", "start"]
    assert details(events, "stop", "ended", since_ns=since_ns) == ["low_battery"]
    assert details(events, "stop", "sealed", since_ns=since_ns) == [True]
    assert set(details(events, "refusal", "reason", since_ns=since_ns)) == {"battery at its last level"}


def test_ten_minutes_of_storage_are_told(camera: CameraRig) -> None:
    board = camera.board
    enough, too_little = (_MINIMUM_BYTES + round(_BYTES_PER_S * _ALARM_S * part) for part in (1.4, 0.5))
    leave_free(board, enough)
    camera.wait_state("ready", since_ns=board.now_ns() + 2 * _NS_PER_S)
    low_ns = board.now_ns()
    leave_free(board, too_little)
    camera.wait_state("attention", since_ns=low_ns)
    enough_ns = board.now_ns()
    leave_free(board, enough)
    camera.wait_state("ready", since_ns=enough_ns)
    camera.wait_signal("started", since_ns=camera.tap().after_ns)
    low_ns = board.now_ns()
    leave_free(board, too_little)
    camera.wait_state("recording_storage_low", since_ns=low_ns)
    held_ns = camera.hold().after_ns
    camera.wait_stop("stopped", since_ns=held_ns)
    assert board.run("rm", f"{board.places.card}/filler").status == 0
    camera.wait_state("ready", since_ns=board.now_ns())


def test_a_clip_is_written_to_the_last_byte_then_sealed_then_presses_are_refused(camera: CameraRig) -> None:
    board = camera.board
    light = camera.record()
    fill(board)
    camera.wait_stop("storage_full", since_ns=light.since_ns)
    camera.wait_state("cannot_record", since_ns=light.since_ns)
    camera.be_refused()
    assert board.run("sh", "-c", f"rm {board.places.card}/filler*").status == 0
    emptied_ns = board.now_ns()
    camera.wait_state("ready", since_ns=emptied_ns)
    camera.record()
    camera.end()
    events = camera.events()
    assert details(events, "stop", "ended", since_ns=light.since_ns) == ["storage_full", "stopped"]
    assert details(events, "stop", "sealed", since_ns=light.since_ns) == [True, True]
