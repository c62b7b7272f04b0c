"""`preroll device selftest`: each part by itself, and what is fatal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evidence.agency import SubjectKind, create_agency, issue_new
from preroll.exits import Exit

CONFIG = """
[device]
id = "cam1"
vault = "vault"
keys = "keys"

[camera]
source = "synthetic"
width = 320
height = 180
bitrate_kbps = 300

[sound]
microphone = "none"

[policy]
recipients_file = "agency/identity/recipients.txt"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    create_agency("Selftest", tmp_path / "agency")
    issue_new(SubjectKind.CAMERA, "cam1", tmp_path / "agency", tmp_path / "keys")
    (tmp_path / "device.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def selftest(place: Path) -> tuple[int, dict[str, str]]:
    program = "from preroll.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "device", "selftest", "--config", str(place / "device.toml"), "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env={**os.environ, "GPIOZERO_PIN_FACTORY": "mock"},
    )
    rows = json.loads(result.stdout)
    return result.returncode, {row["part"]: row["result"] for row in rows}


def test_a_camera_in_order_works_in_every_part(place: Path) -> None:
    status, found = selftest(place)
    assert status == Exit.DONE
    fine = {"policy", "keys", "vault", "storage", "camera", "controls", "microphone"}
    assert {part for part, result in found.items() if result == "works"} >= fine
    assert not (place / "vault" / ".selftest").exists()


def test_a_missing_key_is_fatal_and_keeps_no_other_part_from_being_tried(place: Path) -> None:
    (place / "keys" / "evidence.key").unlink()
    status, found = selftest(place)
    assert status == Exit.FAILED
    assert found["keys"] == "fails"
    assert found["camera"] == found["storage"] == "works"


def test_a_missing_microphone_is_a_warning(place: Path) -> None:
    text = (place / "device.toml").read_text(encoding="utf-8")
    text = text.replace('microphone = "none"', 'microphone = "alsa:no-such-card"')
    (place / "device.toml").write_text(text, encoding="utf-8")
    status, found = selftest(place)
    assert status == Exit.DONE
    assert found["microphone"] == "warning"


def test_another_cameras_vault_is_fatal(place: Path) -> None:
    selftest(place)
    text = (place / "device.toml").read_text(encoding="utf-8").replace('"cam1"', '"cam2"')
    (place / "device.toml").write_text(text, encoding="utf-8")
    status, found = selftest(place)
    assert status == Exit.FAILED
    assert found["vault"] == "fails"
