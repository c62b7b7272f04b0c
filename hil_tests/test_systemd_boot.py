"""The camera's real unit under a real systemd: started, stopped while recording, ended by its watchdog."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil_tests.board.card import CardImage
from hil_tests.board.protocol import Board
from hil_tests.board.virtual import VirtualBoard
from hil_tests.camera_rig import CAMERA_ID, CameraRig, Keys

pytestmark = pytest.mark.systemd

_INTERRUPTED = 4  # exit status of verify: authentic, and cut short
_UNIT = "preroll-device"
_BOOT_S = 300.0
_SLOW_S = 300.0
# The Pi's revision stands in the board's own /proc/cpuinfo, which a fresh /proc would lack; a shorter wait.
_DROP_IN = """\
[Service]
BindReadOnlyPaths=/run/cpuinfo:/proc/cpuinfo
WatchdogSec=8
"""
_TOML = """\
[device]
id = "{camera}"
vault = "/var/lib/preroll/vault"
keys = "/etc/preroll/keys"
[camera]
source = "synthetic"
width = 160
height = 96
rate = 25
bitrate_kbps = 300
gop_s = 0.4
[sound]
microphone = "synthetic"
[policy]
recipients_file = "/etc/preroll/recipients.txt"
window_s = 2.0
hold_s = 0.5
"""
# As root, what docs/install-device.md has a person do, and udev: keys and configuration, groups of devices.
_INSTALL = """\
set -e
mkdir -p /etc/preroll/keys /etc/systemd/system/$0.service.d
cp /run/share/keys/camera/* /etc/preroll/keys
cp /run/share/keys/agency/identity/recipients.txt /run/share/keys/agency/root/root.pem /etc/preroll
printf '%s' "$2" >/etc/preroll/device.toml
chmod 644 /etc/preroll/recipients.txt /etc/preroll/root.pem /etc/preroll/device.toml
printf '%s' "$1" >/etc/systemd/system/$0.service.d/board.conf
systemd-tmpfiles --create /etc/tmpfiles.d/preroll-device.conf
chgrp gpio /dev/gpiochip0
chmod 660 /dev/gpiochip0
systemctl daemon-reload
"""


@pytest.fixture
def systemd_board(bench: Board, tmp_path: Path) -> Iterator[VirtualBoard]:
    if not isinstance(bench, VirtualBoard):
        pytest.skip(f"the board {bench.name!r} is booted by its own system: packaging/try-services tries units")
    if not Path("/lib/systemd/systemd").exists() or shutil.which("systemd-sysusers") is None:
        pytest.skip("the bench's host has no systemd to boot a board with")
    place = tmp_path / "board"
    place.mkdir()
    with VirtualBoard(place, CardImage.create(place / "card.img"), systemd=True) as board:
        board.boot(timeout_s=_BOOT_S)
        board.mount_card()
        yield board


@pytest.fixture
def camera(systemd_board: VirtualBoard, keys: Keys) -> CameraRig:
    """A camera that is installed and not started."""
    rig = CameraRig(systemd_board, keys)
    systemd_board.put(keys.directory, "keys")
    done = systemd_board.run("sh", "-c", _INSTALL, _UNIT, _DROP_IN, _TOML.format(camera=CAMERA_ID))
    assert done.status == 0, done.errors
    return rig


def systemctl(board: Board, verb: str) -> None:
    done = board.run("systemctl", verb, _UNIT, timeout_s=_SLOW_S)
    assert done.status == 0, done.errors + journal(board)


def shown(board: Board, name: str) -> str:
    return board.run("systemctl", "show", "--value", "-p", name, _UNIT).output.strip()


def journal(board: Board) -> str:
    return board.run("journalctl", "--no-pager", "-n", "60", "-u", _UNIT).output


def start_and_record(board: Board, camera: CameraRig) -> None:
    systemctl(board, "start")
    camera.wait_ready(timeout_s=_SLOW_S)
    light = camera.record()
    camera.wait_recording(since_ns=light.since_ns + 1)  # it blinks again: more has reached the card


def test_unit_records_and_its_stop_seals(
    systemd_board: VirtualBoard, camera: CameraRig, tmp_path: Path
) -> None:
    start_and_record(systemd_board, camera)
    pid = shown(systemd_board, "MainPID")
    assert systemd_board.run("stat", "--format=%U", f"/proc/{pid}").output == "preroll-device\n"
    systemctl(systemd_board, "stop")
    assert (shown(systemd_board, "Result"), shown(systemd_board, "ExecMainStatus")) == ("success", "0")
    vault = camera.copy_vault(tmp_path)
    (name,) = vault.names
    assert vault.manifest(name)["ended"] == "shutdown"
    assert vault.verify()[name] > 0


def test_watchdog_ends_a_camera_that_hangs_and_the_next_recovers(
    systemd_board: VirtualBoard, camera: CameraRig, tmp_path: Path
) -> None:
    start_and_record(systemd_board, camera)
    assert systemd_board.run("sh", "-c", f"kill -STOP {shown(systemd_board, 'MainPID')}").status == 0
    camera.wait_sealed(1, timeout_s=_SLOW_S)
    assert shown(systemd_board, "NRestarts") == "1"
    assert "watchdog" in journal(systemd_board).lower()
    camera.wait_ready(since_ns=systemd_board.now_ns(), timeout_s=_SLOW_S)
    systemctl(systemd_board, "stop")
    vault = camera.copy_vault(tmp_path)
    assert all(count > 0 for count in vault.verify(status=_INTERRUPTED).values())
