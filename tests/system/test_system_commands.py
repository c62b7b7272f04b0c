"""Point 9 at the command line: one clear line, the right exit status, and what can go on goes on."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device.controls.patterns import IndicatorState, Signal
from device.recording.machine import State
from device.service import ServiceParts
from evidence.check import check_sealed_clip
from evidence.documents import Manifest, decode
from evidence.paths import load_roots

if TYPE_CHECKING:
    from tests.system.conftest import MakeCamera

    RunPreroll = Callable[..., subprocess.CompletedProcess[str]]
    Toml = Callable[..., str]

MOCK_PINS = {**os.environ, "GPIOZERO_PIN_FACTORY": "mock"}


def assert_one_line(run: "subprocess.CompletedProcess[str]", status: int, *words: str) -> None:
    assert run.returncode == status, run.stderr
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("preroll: ")
    for word in words:
        assert word in lines[0]


BROKEN = {
    "unknown key": ("width = 160", "widht = 160", ["widht", "line 8"]),
    "value out of range": ("rate = 25", "rate = 0", ["rate", "line 10"]),
    "not TOML": ("[camera]", "[camera", ["not TOML"]),
    "unknown camera": ('source = "synthetic"', 'source = "webcam"', ["camera.source", "'webcam'"]),
    "device id": ('id = "cam0042"', 'id = "Cam 42"', ["device.id", "line 2"]),
    "unknown microphone": ('microphone = "synthetic"', 'microphone = "usb"', ["sound.microphone", "'usb'"]),
    "pin twice": ("pin = 5", "pin = 17", ["GPIO17"]),
    "nobody can open the clips": (
        'recipients_file = "keys/agency/identity/recipients.txt"',
        "",
        ["recipients", "neither"],
    ),
    "recipients not there": ("recipients.txt", "nowhere.txt", ["nowhere.txt", "No such file"]),
}


CHECK, RUN = ("config", "check"), ("device", "run", "--config")


@pytest.mark.parametrize(
    ("command", "defect"),
    [*((CHECK, defect) for defect in sorted(BROKEN)), (RUN, "unknown key"), (RUN, "recipients not there")],
)
def test_a_wrong_configuration_is_status_2_and_one_line(
    command: tuple[str, ...], defect: str, run_preroll: "RunPreroll", toml: "Toml", camera_place: Path
) -> None:
    good, bad, words = BROKEN[defect]
    text = toml()
    assert text.count(good) == 1
    file = camera_place / "device.toml"
    file.write_text(text.replace(good, bad), encoding="utf-8")
    assert_one_line(run_preroll(*command, file, env=MOCK_PINS), 2, *words)
    assert not (camera_place / "vault").exists()


def test_a_configuration_that_is_not_there(run_preroll: "RunPreroll", tmp_path: Path) -> None:
    assert_one_line(run_preroll("config", "check", tmp_path / "none.toml"), 2, "none.toml", "No such file")


def test_a_good_configuration_is_status_0(run_preroll: "RunPreroll", toml: "Toml", camera_place: Path) -> None:
    file = camera_place / "device.toml"
    file.write_text(toml(), encoding="utf-8")
    run = run_preroll("config", "check", file)
    assert (run.returncode, run.stderr) == (0, "")
    assert "cam0042" in run.stdout


def test_a_missing_key_is_one_line_that_names_it(
    run_preroll: "RunPreroll", toml: "Toml", camera_place: Path
) -> None:
    file = camera_place / "device.toml"
    file.write_text(toml(), encoding="utf-8")
    (camera_place / "keys" / "camera" / "evidence.key").unlink()
    assert_one_line(run_preroll("device", "run", "--config", file, env=MOCK_PINS), 1, "evidence.key")


@pytest.mark.parametrize(("name", "content"), [("none.mp4", None), ("text.mp4", b"no video at all\n" * 100)])
def test_a_replay_file_that_cannot_be_read(
    name: str, content: bytes | None, run_preroll: "RunPreroll", toml: "Toml", camera_place: Path
) -> None:
    if content is not None:
        (camera_place / name).write_bytes(content)
    file = camera_place / "device.toml"
    source = f'"replay:{camera_place / name}"'
    file.write_text(toml(source=source), encoding="utf-8")
    assert_one_line(run_preroll("device", "run", "--config", file, env=MOCK_PINS), 1, name)
    demo = run_preroll("demo", "--camera", f"replay:{camera_place / name}", "--dir", camera_place / "demo")
    assert_one_line(demo, 1, name)


def test_a_second_process_is_told_that_the_vault_is_in_use(
    make_camera: "MakeCamera", run_preroll: "RunPreroll", toml: "Toml", camera_place: Path
) -> None:
    camera = make_camera(1.0)
    camera.wait_state(State.READY)
    file = camera_place / "device.toml"
    file.write_text(toml(), encoding="utf-8")
    assert_one_line(run_preroll("device", "run", "--config", file, env=MOCK_PINS), 1, "in use")
    assert camera.state is State.READY


def test_without_a_camera_the_service_goes_on_and_says_so(
    make_camera: "MakeCamera", caplog: pytest.LogCaptureFixture
) -> None:
    """`picamera` where there is no picamera2, or no camera: fault light, presses refused and in the log."""
    from device.capture.picamera import PicameraSource
    from device.capture.source import CaptureError, SourceOptions

    def nothing(*_: object) -> None:
        raise CaptureError("no camera found", expected="one that libcamera knows", found="none")

    source = PicameraSource(SourceOptions(), prepare=lambda: None, open_camera=nothing)  # type: ignore[arg-type]  # never returns a run
    camera = make_camera(1.0, parts=ServiceParts(source=source))
    camera.wait_state(State.FAULT)
    camera.board.press()
    camera.wait(lambda: Signal.REFUSED in camera.witness.kinds(), "a refusal")
    camera.board.release()
    assert camera.witness.states[-1] is IndicatorState.FAULT
    camera.shut_down()
    (refusal,) = camera.log_events("refusal")
    assert refusal.detail == {"source": "button", "reason": "the camera gives no picture"}
    assert [event.detail["outcome"] for event in camera.log_events("press")] == ["refused"]
    assert "no camera found" in caplog.text
    assert camera.clips() == []


class Trigger:
    """The far end of a serial trigger box: a pseudo-terminal."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self.name = os.ttyname(self.slave)

    def pull(self) -> None:
        os.write(self.master, b"holster 1\n")

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def trigger_box() -> Iterator[Trigger]:
    box = Trigger()
    yield box
    box.close()


def test_sigterm_to_the_service_seals_what_is_open(
    preroll: str, trigger_box: Trigger, toml: "Toml", camera_place: Path
) -> None:
    text = toml(0.5).replace('name = "holster"', 'name = "door"')
    text += f'[[controls.serial_triggers]]\nport = "{trigger_box.name}"\nnames = ["holster"]\n'
    (camera_place / "device.toml").write_text(text, encoding="utf-8")
    process = subprocess.Popen(
        [preroll, "device", "run", "--verbose", "--config", str(camera_place / "device.toml")],
        stderr=subprocess.PIPE,
        text=True,
        env=MOCK_PINS,
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        _read_until(process.stderr, "state ready", said)
        pause = threading.Event()
        while not any("state recording" in line for line in said):
            trigger_box.pull()  # the port is opened some time after the camera is
            pause.wait(0.2)
            _read_until(process.stderr, "state recording", said)
        clips = camera_place / "vault" / "clips"
        while not any(path.stat().st_size for path in clips.glob("*/clip.mp4.age")):
            pause.wait(0.05)
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=60)[1].splitlines()
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, said
    (clip,) = clips.iterdir()
    manifest = decode((clip / "manifest.json").read_bytes(), Manifest)
    assert (str(manifest.ended), manifest.start.trigger.source) == ("shutdown", "holster")
    root = camera_place / "keys" / "agency" / "root" / "root.pem"
    assert str(check_sealed_clip(clip, load_roots(root)).finding) == "authentic"


def _read_until(stream: object, words: str, said: list[str]) -> None:
    for line in stream:  # type: ignore[attr-defined]  # a text stream
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"it ended without {words!r}: {said}")
