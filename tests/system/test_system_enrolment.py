"""A new camera: enrolled at a bay by the command, then docked, recording and offloaded like any other."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from device.config import DeviceConfig, parse_config
from device.controls.bench_board import BenchBoard
from device.dockport.enrolmode import EnrolmentMode
from device.dockport.enrolwindow import Stage
from device.identity import has_identity, read_facts
from device.service import ServiceParts
from docklink.serialport import PtyPair
from evidence.agency import create_agency
from tests.system.conftest import Camera
from tests.system.test_system_offload import Cable, check_stored, dock_config, running, wait

SERIAL = "100000003d1d2c4f"
TOML = f"""\
[device]
serial = "{SERIAL}"
vault = "vault"
keys = "keys/camera"

[camera]
source = "synthetic"
width = 160
height = 96
rate = 25
bitrate_kbps = 300
gop_s = 0.4

[sound]
microphone = "none"

[policy]
window_s = 1.0
hold_s = 0.5
keep_released_hours = 0

[dockport]
serial = ["PORT"]
"""


class NewCamera:
    """A camera out of its box, running: nobody's."""

    def __init__(self, place: Path, port: str) -> None:
        self.config: DeviceConfig = parse_config(TOML.replace("PORT", port), "device.toml")
        self.keys = place / "keys" / "camera"
        self.board = BenchBoard(self.config.controls)
        self.mode = EnrolmentMode(self.config, place, factory=self.board.factory)
        self.enrolled: bool | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hold(self) -> None:
        self.board.press()
        wait(lambda: self.mode.desk.stage is Stage.HELD, lambda: self.mode.desk.stage)

    def wait_enrolled(self) -> None:
        self._thread.join(30)
        assert self.enrolled

    def close(self) -> None:
        self.mode.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.board.close()

    def _run(self) -> None:
        self.enrolled = self.mode.run()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    create_agency("Test agency", tmp_path / "keys" / "agency")
    return tmp_path


@contextmanager
def cable() -> Iterator[tuple[str, str]]:
    """A serial line; returns the camera's path and the dock's."""
    camera_end, dock_end = PtyPair(), PtyPair()
    line = Cable(camera_end.far(), dock_end.far())
    try:
        yield camera_end.path, dock_end.path
    finally:
        line.close()
        camera_end.close()
        dock_end.close()


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def enrol(place: Path, *more: str, device: str = "cam0042", serial: str = SERIAL) -> list[str]:
    where = ["--bay", "1", "--agency", str(place / "keys" / "agency"), "--config", str(place / "dock.toml")]
    return [
        *(sys.executable, "-c", "from preroll.cli import main; main()", "dock", "enrol", *where),
        *("--id", device, "--serial", serial, "--json", *more),
    ]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_new_camera_is_enrolled_at_a_bay_and_works_like_any_other(place: Path, undo: ExitStack) -> None:
    camera_port, dock_port = undo.enter_context(cable())
    new = NewCamera(place, camera_port)
    undo.callback(new.close)
    path = dock_config(place, f'serial = "{dock_port}"')
    with running(path) as agent:
        new.hold()
        done = run(enrol(place, "--fingerprint", new.mode.fingerprint))
        assert done.returncode == 0, done.stderr
        printed = json.loads(done.stdout)
        assert (printed["device"], printed["confirmed"]) == ("cam0042", "fingerprint")
        assert printed["camera_fingerprint"] == new.mode.fingerprint
        new.wait_enrolled()
        facts = read_facts(new.keys)
        assert facts is not None
        assert (facts.device, facts.agency_fingerprint) == ("cam0042", printed["agency_fingerprint"])
        camera = Camera(new.config, place, ServiceParts())
        undo.callback(camera.shut_down)
        camera.wait_filled(1)
        camera.start()
        camera.run_for(0.5)
        camera.stop()
        (clip,) = camera.clips()
        wait((camera.vault / "tombstones" / clip.directory.name).is_dir, agent.status)
        refused = run(enrol(place, "--yes", "--timeout", "20", device="cam0043"))
        assert refused.returncode == 1
        assert "belongs to an agency already" in refused.stderr
    check_stored(place, clip)


def test_another_fingerprint_leaves_the_camera_nobodys(place: Path, undo: ExitStack) -> None:
    camera_port, dock_port = undo.enter_context(cable())
    dock_config(place, f'serial = "{dock_port}"')
    new = NewCamera(place, camera_port)
    undo.callback(new.close)
    new.hold()
    done = run(enrol(place, "--fingerprint", "0" * 64))
    assert done.returncode == 1
    assert "the fingerprints are not confirmed" in done.stderr.splitlines()[-1]
    assert not has_identity(new.keys)
    usage = run(enrol(place))
    assert usage.returncode == 2
    assert "--fingerprint" in usage.stderr
