"""The command line: help everywhere, one line for an error, the contract's exit statuses."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from evidence.errors import EvidenceError
from evidence.findings import Finding
from preroll.cli import LazyGroup, root
from preroll.demo.acts import Act
from preroll.demo.dockside import ClipPlaces
from preroll.demo.proof import prove_store
from preroll.demo.stage import set_stage
from preroll.exits import Exit

PROGRAM = (sys.executable, "-c", "from preroll.cli import main; main()")


def every_command(group: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(group, click.Group):
        return [path]
    context = click.Context(group)
    found = [path] if path else []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += every_command(command, (*path, name))
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", every_command(root), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(root, [*path, "--help"])
    assert result.exit_code == Exit.DONE
    assert "Usage:" in result.output


def test_asking_for_help_imports_no_command() -> None:
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom preroll.cli import root\n"
        "CliRunner().invoke(root, ['--help'])\n"
        "print([name for name in sys.modules if name.startswith(('device', 'preroll.commands', 'av'))])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("clip", "list"), -signal.SIGPIPE), (("device", "run"), 0), (("dock", "run"), 0), (("demo",), 0)],
    ids=["filter", "camera", "dock", "demo"],
)
def test_a_peer_that_hangs_up_ends_a_filter_and_no_service(arguments: tuple[str, ...], status: int) -> None:
    program = (
        "import os, sys\nimport preroll.cli as cli\n"
        "def hung_up(*_args, **_options):\n"
        "    reader, writer = os.pipe()\n    os.close(reader)\n"
        "    try:\n        os.write(writer, b'x')\n    except BrokenPipeError:\n        pass\n"
        "cli.root.main = hung_up\ncli.main()"
    )
    command = [sys.executable, "-c", program, *arguments]
    assert subprocess.run(command, check=False).returncode == status


def test_the_root_lists_what_the_contract_names() -> None:
    assert isinstance(root, LazyGroup)
    assert set(root.list_commands(click.Context(root))) >= {"demo", "device", "keys", "clip", "config"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("clip", "list"),
        ("demo", "--preroll", "200"),
        ("demo", "--seconds", "0"),
        ("keys", "issue"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).returncode == Exit.USAGE


def test_an_error_is_one_line_on_standard_error(tmp_path: Path) -> None:
    result = run("clip", "list", str(tmp_path))
    assert result.returncode == Exit.FAILED
    assert result.stdout == ""
    assert result.stderr.startswith("preroll: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        ("replay:/nowhere/at-all.mp4", "at-all.mp4"),
        ("webcam", "picamera, synthetic, replay:FILE"),
        ("v4l2:video0", "v4l2:/dev/videoN"),
    ],
)
def test_a_camera_that_cannot_be_had_is_said_in_one_line(camera: str, words: str, tmp_path: Path) -> None:
    result = run("demo", "--camera", camera, "--dir", str(tmp_path))
    assert result.returncode in {Exit.FAILED, Exit.USAGE}
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_demo_ends_with_a_clip_that_is_sealed_authentic_and_decodes(tmp_path: Path) -> None:
    result = run("demo", "--preroll", "1", "--seconds", "3.5", "--dir", str(tmp_path), "--json")
    assert result.returncode == Exit.DONE, result.stderr
    told = json.loads(result.stdout)
    assert told["authentic"] is True
    assert told["decodes"] is True
    assert told["manifest"]["preevent"]["delivered_ns"] >= 1_000_000_000
    assert told["opened"]["defects"] == []
    clip = Path(told["clip"])
    assert clip.parent == tmp_path / "store" / "clips" / "cam-demo"
    assert told["released"] is True
    assert [turn["act"] for turn in told["acts"]] == list(Act)
    listed = json.loads(run("clip", "list", str(tmp_path / "store"), "--json").stdout)
    assert [(row["clip"], row["state"]) for row in listed] == [(clip.name, "sealed")]
    assert list((tmp_path / "vault" / "clips").iterdir()) == []
    assert [stone.name for stone in (tmp_path / "vault" / "tombstones").iterdir()] == [clip.name]
    _check_custody(told["store"])
    _check_messages(told["messages"], told["store"])
    root_certificate = tmp_path / "keys" / "agency" / "root" / "root.pem"
    places = (str(tmp_path / "store"), str(tmp_path / "vault"))
    verified = run("clip", "verify", *places, "--ca", str(root_certificate))
    assert verified.returncode == Exit.DONE, verified.stderr
    assert not any((tmp_path / "line").iterdir())  # nothing points at somebody else's terminal


def _check_custody(store: dict[str, Any]) -> None:
    """Receipt and custody trail are shown, and speak of each other."""
    assert store["defects"] == []
    assert store["receipt"]["verdict"] == "stored"
    assert len(store["receipt"]["files"]) == 4
    assert [entry["kind"] for entry in store["custody"]] == [
        "docked",
        "clip_stored",
        "receipt_accepted",
        "undocked",
    ]
    assert store["receipt"]["custody"]["entries"] == store["custody"][1]["index"]


def _check_messages(messages: dict[str, Any], store: dict[str, Any]) -> None:
    """The dock told a live subscriber of the clip, with the receipt's head, and a late one how things are."""
    assert messages["defects"] == []
    stored = [each for each in messages["live"] if (each["payload"] or {}).get("kind") == "clip_stored"]
    assert stored[0]["payload"]["data"]["custody_head"] == store["receipt"]["custody"]["head"]
    assert {each["topic"].rpartition("dock-demo/")[2] for each in messages["late"]} == {
        "state",
        "info",
        "bay/1",
        "camera/cam-demo",
    }
    assert messages["live"][-1]["payload"]["state"] == "stopped"


def test_an_interrupted_demo_says_what_it_did_not_reach_and_the_next_one_goes_on(tmp_path: Path) -> None:
    arguments = ("--preroll", "0.5", "--seconds", "3.5", "--dir", str(tmp_path))
    first = subprocess.Popen(
        [*PROGRAM, "demo", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert any("recording:" in line for line in first.stdout)
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate(timeout=120)
    finally:
        first.kill()
        first.communicate()
    assert first.returncode == Exit.FAILED
    assert errors.count("\n") == 1
    assert "interrupted in the middle of `record`; not reached: dock, offload, receipt," in errors
    assert str(tmp_path) in errors
    (left,) = (tmp_path / "vault" / "clips").iterdir()

    result = run("demo", *arguments, "--json")
    assert result.returncode == Exit.DONE, result.stderr
    told = json.loads(result.stdout)
    assert told["manifest"]["number"] == 2
    assert (told["store"]["clips"], told["store"]["notes"]) == (2, [])
    stored = tmp_path / "store" / "clips" / "cam-demo"
    assert {path.name for path in stored.iterdir()} == {left.name, Path(told["clip"]).name}
    _check_tampering_is_found(tmp_path, told["manifest"]["clip"])


def _check_tampering_is_found(place: Path, clip: str) -> None:
    """What the demo says of its store is not said of an altered one."""
    stage = set_stage(place, "synthetic", 0.5)
    places = ClipPlaces.of(stage, clip)
    assert prove_store(stage, places).store.defects == ()
    footage = places.in_store / "clip.mp4.age"
    content = footage.read_bytes()
    footage.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    proof = prove_store(stage, places)
    assert proof.finding is Finding.NOT_AUTHENTIC
    assert any(clip in defect for defect in proof.store.defects)
    log = stage.store / "custody.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:1]))
    with pytest.raises(EvidenceError, match="not the one that the receipt names"):
        prove_store(stage, places)
