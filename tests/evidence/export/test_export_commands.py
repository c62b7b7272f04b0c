"""`preroll clip export` and `clip handover`: what they print, write, and answer."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.evidence.export.conftest import Place

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def preroll() -> Run:
    def run(*args: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from preroll.cli import main; main()", "clip", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "out"
    directory.mkdir()
    return directory


def test_export_of_a_whole_clip(filmed: Path, place: "Place", out: Path, preroll: Run) -> None:
    done = preroll("export", filmed, "-i", place.identity, "--ca", place.root, "-o", out / "a.mp4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "from 0.000 s to 12.000 s" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["a.mp4", "a.mp4.html", "a.mp4.json"]


def test_export_of_an_excerpt_as_json(filmed: Path, place: "Place", out: Path, preroll: Run) -> None:
    done = preroll(
        "export",
        filmed,
        "-i",
        place.identity,
        "--ca",
        place.root,
        "-o",
        out / "a.mp4",
        "--from",
        "2.5",
        "--to",
        "4",
        "--json",
    )
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert (answer["start_ns"], answer["end_ns"], answer["frames"]) == (2_000_000_000, 4_000_000_000, 60)
    report = json.loads((out / "a.mp4.json").read_bytes())
    assert report["output"]["sha256"] == answer["sha256"]
    assert report["excerpt"] == {"asked_from": "2.5", "asked_to": "4"}


def test_export_of_an_interrupted_clip_is_4_and_written(
    cut_off: Path, place: "Place", out: Path, preroll: Run
) -> None:
    done = preroll("export", cut_off, "-i", place.identity, "--ca", place.root, "-o", out / "a.mp4")
    assert done.returncode == 4
    assert "its end is missing" in done.stderr
    assert (out / "a.mp4").exists()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 0),
        ({"--ca": "other/root/root.pem"}, 3),
        ({"-i": "other/identity/identity.txt"}, 5),
        ({"-i": "agency/root/root.pem"}, 2),
        ({"-i": "nowhere"}, 2),
        ({"--ca": "nowhere"}, 2),
        ({"--crl": "nowhere"}, 2),
        ({"--from": "yesterday"}, 2),
        ({"--from": "500"}, 2),
        ({"--from": "5", "--to": "5"}, 2),
        ({"-o": "camera/evidence.pem"}, 2),
        ({"-o": "nowhere/a.mp4"}, 1),
    ],
)
def test_exit_statuses_of_export(
    filmed: Path, place: "Place", out: Path, preroll: Run, *, change: dict[str, str], status: int
) -> None:
    options = {"-i": str(place.identity), "--ca": str(place.root), "-o": str(out / "a.mp4")}
    for name, value in change.items():
        options[name] = value if name in ("--from", "--to") else str(place.directory / value)
    done = preroll("export", filmed, *(text for option in options.items() for text in option))
    assert done.returncode == status, done.stderr
    assert bool(list(out.iterdir())) == (status == 0)
    assert "Traceback" not in done.stderr


def test_export_of_what_is_not_authentic_writes_nothing(
    clip: Path, place: "Place", out: Path, preroll: Run
) -> None:
    text = (clip / "journal.jsonl").read_bytes()
    (clip / "journal.jsonl").write_bytes(text.replace(b'"frames":', b'"frames": ', 1))
    done = preroll("export", clip, "-i", place.identity, "--ca", place.root, "-o", out / "a.mp4", "--json")
    assert done.returncode == 3
    assert "not authentic" in json.loads(done.stdout)["error"]
    assert list(out.iterdir()) == []


def test_handover(filmed: Path, place: "Place", out: Path, preroll: Run) -> None:
    done = preroll(
        "handover", filmed, "-i", place.identity, "--recipient", place.recipient(),
        "--signer", place.directory / "custodian", "-o", out / "handed", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)["record"]
    assert (record["operator"], record["reason"]) == ("j.doe", "not stated")
    verified = preroll("verify", out / "handed", "--ca", place.root)
    assert verified.returncode == 0, verified.stdout
    exported = preroll(
        "export", out / "handed", "-i", place.other_identity, "--ca", place.root, "-o", out / "a.mp4"
    )
    assert exported.returncode == 0, exported.stderr


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"-i": "other/identity/identity.txt"}, 5),
        ({"--recipient": "quantum/identity/recipients.txt"}, 0),
        ({"--recipient": "camera/evidence.pem"}, 2),
        ({"--signer": "dock"}, 2),
        ({"--signer": "camera"}, 2),
        ({"--ca": "agency/root/root.pem"}, 0),
        ({"--ca": "other/root/root.pem"}, 3),
        ({"-o": "camera"}, 2),
    ],
)
def test_exit_statuses_of_handover(
    filmed: Path, place: "Place", out: Path, preroll: Run, *, change: dict[str, str], status: int
) -> None:
    options = {
        "-i": str(place.identity),
        "--recipient": place.recipient(),
        "--signer": str(place.directory / "custodian"),
        "-o": str(out / "handed"),
    } | {name: str(place.directory / value) for name, value in change.items()}
    done = preroll("handover", filmed, *(text for option in options.items() for text in option))
    assert done.returncode == status, done.stderr
    assert bool(list(out.iterdir())) == (status == 0)
    assert "Traceback" not in done.stderr
