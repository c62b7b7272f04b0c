"""Firmware is replaced by a newer one on a card with its clips, whole and cut short; and put back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hil_tests.board.protocol import Board, Capability
from hil_tests.camera_rig import CameraRig
from hil_tests.conftest import NewCamera
from hil_tests.old_firmware import OLD_VERSION, OldFirmware, find_old_firmware

Record = Callable[[str, object], None]

_INTERRUPTED = 4  # exit status of verify: authentic, and cut short
_RUN = "import sys; from preroll.cli import main; sys.argv[0] = 'preroll'; main()"


@pytest.fixture
def old_firmware(tmp_path: Path) -> OldFirmware:
    found = find_old_firmware(tmp_path / "old")
    if isinstance(found, str):
        pytest.skip(found)
    return found


def start_old(board: Board, camera: CameraRig, old: OldFirmware) -> None:
    place = board.put(old.directory, "old-firmware")
    command = (board.places.python, "-B", "-c", _RUN, "device", "run")
    since_ns = board.now_ns()
    camera.start(*command, environment={"PYTHONPATH": place})
    camera.wait_ready(since_ns=since_ns)


def record_until_stopped(camera: CameraRig, count: int) -> None:
    """Record a clip that the end of the firmware seals."""
    camera.record()
    assert camera.stop() == 0
    camera.wait_sealed(count)


@pytest.mark.needs(Capability.HARD_CUT, Capability.INPUTS, Capability.LINE_TIMES)
def test_new_firmware_recovers_and_goes_on_where_the_old_one_was_cut_off(
    board: Board,
    new_camera: NewCamera,
    old_firmware: OldFirmware,
    tmp_path: Path,
    record_property: Record,
) -> None:
    record_property("upgraded_from", old_firmware.commit)
    camera = new_camera()
    start_old(board, camera, old_firmware)
    record_until_stopped(camera, 1)
    start_old(board, camera, old_firmware)
    light = camera.record()
    camera.wait_recording(since_ns=light.since_ns + 1)  # it blinks again: more has reached the card
    board.cut_power()

    board.boot()
    board.mount_card()
    camera.start()
    camera.wait_ready()
    camera.wait_sealed(2)
    record_until_stopped(camera, 3)

    start_old(board, camera, old_firmware)  # put back: what the new one wrote must not lock it out
    record_until_stopped(camera, 4)

    vault = camera.copy_vault(tmp_path)
    manifests = [vault.manifest(name) for name in vault.names]
    assert [manifest["number"] for manifest in manifests] == [1, 2, 3, 4]
    starts = [vault.journal(name)[0] for name in vault.names]
    assert [start["firmware"] == OLD_VERSION for start in starts] == [True, True, False, True]
    assert all(count > 0 for count in vault.verify(status=_INTERRUPTED).values())
    for name in (vault.names[0], *vault.names[2:]):
        assert vault.verify(name).keys() == {name}
