"""`preroll config sign`: what it writes is what docks and OpenSSL take; what it refuses."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.paths import load_roots, verify_signed
from evidence.policies import check_config
from evidence.roles import Role
from preroll.cli import root as command


@pytest.fixture
def place(tmp_path: Path) -> Path:
    create_agency("Test Trust", tmp_path / "agency")
    issue_new(SubjectKind.CONFIG, "policy", tmp_path / "agency", tmp_path / "keys")
    return tmp_path


def policy(place: Path, **changes: object) -> Path:
    recipient = (place / "agency" / "identity" / "recipients.txt").read_text().split()[-1]
    document = {
        "type": "preroll-config-v1",
        "version": 13,
        "devices": ["cam0042", "cam0043"],
        "window_ns": 30_000_000_000,
        "recipients": [recipient],
        "sound": {"recording": True, "before_press": False},
        "gestures": {"hold_ns": 3_000_000_000, "confirm_ns": 5_000_000_000, "confirm_stop": False},
        "limit_ns": 3_600_000_000_000,
        "reminder_ns": 0,
        "stealth": False,
        "hold_ns": 0,
        "revocations": [],
    } | changes
    path = place / "policy.json"
    path.write_text(json.dumps(document, indent=4))
    return path


def sign(place: Path, *words: str) -> Result:
    file = place / "policy.json"
    line = ["config", "sign", str(file), "--signer", str(place / "keys"), "-o", str(place / "v13.json"), *words]
    return CliRunner().invoke(command, line)


def test_what_is_signed_is_canonical_and_counts(place: Path) -> None:
    policy(place)
    done = sign(place, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.output)
    assert (facts["version"], facts["devices"], facts["signer"]) == (13, ["cam0042", "cam0043"], "policy")
    document, cms = (place / "v13.json").read_bytes(), (place / "v13.p7s").read_bytes()
    assert check_config(document).document.version == 13
    roots = load_roots(place / "agency" / "root" / "root.pem")
    assert verify_signed(document, cms, roots, Role.CONFIG, None).subject_id == "policy"
    assert "copy both" in sign(place).output


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_openssl_checks_it_by_the_line_of_the_manual(place: Path) -> None:
    policy(place)
    sign(place)
    shutil.copy(place / "agency" / "root" / "root.pem", place)
    manual = (Path(__file__).parents[3] / "docs" / "dock.md").read_text(encoding="utf-8")
    line = next(part for part in manual.split("`") if part.startswith("openssl cms -verify"))
    subprocess.run(line.split(), cwd=place, check=True, capture_output=True)
    (place / "v13.json").write_bytes((place / "v13.json").read_bytes().replace(b"cam0042", b"cam0044"))
    assert subprocess.run(line.split(), cwd=place, check=False, capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": -1}, "version"),
        ({"devices": []}, "devices"),
        ({"recipients": ["age1"]}, "recipients"),
        ({"gestures": {"hold_ns": 1, "confirm_ns": 5_000_000_000, "confirm_stop": False}}, "gestures.hold_ns"),
        ({"colour": "blue"}, "colour"),
    ],
    ids=["version", "devices", "recipients", "gestures", "unknown"],
)
def test_what_a_camera_would_refuse_is_not_signed(place: Path, changes: dict[str, object], named: str) -> None:
    policy(place, **changes)
    done = sign(place)
    assert done.exit_code == 2
    assert named in done.output
    assert not (place / "v13.json").exists()


def test_another_key_than_that_for_configurations_signs_nothing(place: Path) -> None:
    policy(place)
    shutil.rmtree(place / "keys")
    issue_new(SubjectKind.CUSTODIAN, "j.doe", place / "agency", place / "keys")
    for kind in ("key", "pem"):
        (place / "keys" / f"custodian.{kind}").rename(place / "keys" / f"config.{kind}")
    done = sign(place)
    assert done.exit_code != 0
    assert "wrong role" in str(done.exception)
    assert not (place / "v13.p7s").exists()
