"""`preroll device selftest`: each part by itself, and what is fatal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from device.errors import DeviceError
from device.selftest import _swap
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


def selftest(place: Path, *through: str) -> tuple[int, dict[str, str]]:
    """Run the command, by way of other programs if need be; returns its status, and each part's result."""
    program = "from preroll.cli import main; main()"
    command = [sys.executable, "-c", program, "device", "selftest", "--config", str(place / "device.toml")]
    result = subprocess.run(
        [*through, *command, "--json"],
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


def test_memory_that_cannot_be_locked_is_a_warning(place: Path) -> None:
    unprivileged = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []
    status, found = selftest(place, "prlimit", "--memlock=65536:65536", *unprivileged)
    assert (status, found["memory"]) == (Exit.DONE, "warning")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], None),
        (["/dev/zram0 partition 102396 0 100"], "zram is on"),
        (["/var/swap file 102396 0 -2", "/dev/sda5 partition 9 0 -3"], "swap is on"),
    ],
    ids=["none", "zram", "swap"],
)
def test_swap_and_zram_are_told_with_what_turns_them_off(
    lines: list[str], words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "swaps").write_text("\n".join(["Filename Type Size Used Priority", *lines]) + "\n")
    monkeypatch.setattr("device.selftest._SWAPS", tmp_path / "swaps")
    if words is None:
        assert _swap() == "no swap, no zram"
        return
    with pytest.raises(DeviceError, match=words) as caught:
        _swap()
    assert lines[0].split()[0] in caught.value.found
    assert "swapoff -a" in caught.value.remedy
