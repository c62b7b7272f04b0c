"""Point 1 of the issue: OpenSSL, sha256sum and age say the same; the documentation's page runs as it stands."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.cms import sign_cms
from evidence.documents import Manifest, decode
from evidence.roles import Role

if TYPE_CHECKING:
    from tests.evidence.verify.conftest import Agency

_PAGE = Path(__file__).parents[3] / "docs" / "verify-without-preroll.md"
_STEP = re.compile(r"```sh\n(.*?)```.*?```text\n(.*?)```", re.DOTALL)
_TOOLS = ("bash", "openssl", "sha256sum", "age")

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in _TOOLS), reason=f"wants {', '.join(_TOOLS)}"
)


def values(clip: Path) -> dict[str, str]:
    """What the words in capitals stand for."""
    manifest = decode((clip / "manifest.json").read_bytes(), Manifest)
    assert manifest.ciphertext
    assert manifest.plaintext
    return {
        "CIPHERTEXT_SHA256": manifest.ciphertext.sha256,
        "CIPHERTEXT_BYTES": str(manifest.ciphertext.bytes),
        "PLAINTEXT_SHA256": manifest.plaintext.sha256,
        "PLAINTEXT_BYTES": str(manifest.plaintext.bytes),
        "JOURNAL_SHA256": manifest.journal.sha256,
        "JOURNAL_BYTES": str(manifest.journal.bytes),
        "LINES": str(manifest.journal.lines),
        "DEVICE": manifest.device,
        "ISSUER": "Test Trust enrol",
        "CLIP": manifest.clip,
    }


def steps() -> list[tuple[str, str]]:
    return _STEP.findall(_PAGE.read_text("utf-8"))


def by_hand(clip: Path, agency: "Agency", work: Path) -> list[tuple[str, str]]:
    """Run the page's commands one after the other; returns what each printed, and what it had to."""
    work.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "ROOT": str(agency.ca),
        "IDENTITY": str(agency.identity),
        "WORK": str(work),
        "LC_ALL": "C",
    }
    compared = []
    for command, expected in steps():
        run = subprocess.run(
            ["bash", "-c", command],
            cwd=clip,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        )
        for word, value in values(clip).items():
            expected = re.sub(rf"\b{word}\b", value, expected)  # noqa: PLW2901 - filled in step by step
        compared.append((_loose(run.stdout), _loose(expected)))
    return compared


def _loose(text: str) -> str:
    """Spaces differ between versions of OpenSSL and `uniq`."""
    return "\n".join(re.sub(r"\s+", "", line) for line in text.splitlines())


def test_the_page_runs_as_it_stands(clip: Path, agency: "Agency", tmp_path: Path) -> None:
    compared = by_hand(clip, agency, tmp_path / "work")
    assert len(compared) == _PAGE.read_text("utf-8").count("```sh")
    for found, expected in compared:
        assert found == expected


def test_the_page_tells_a_docks_signature_from_a_cameras(clip: Path, agency: "Agency", tmp_path: Path) -> None:
    """OpenSSL accepts it; what it prints of the signer is not what the page says that it must be."""
    content = (clip / "manifest.json").read_bytes()
    (clip / "manifest.p7s").write_bytes(sign_cms(content, agency.signer("dock7", Role.DOCK_RECEIPT)))
    compared = by_hand(clip, agency, tmp_path / "work")
    assert compared[0][0] == compared[0][1] == "CMSVerificationsuccessful"
    assert "CN=dock7" in compared[2][0]
    assert f"{Role.DOCK_RECEIPT.oid}," in compared[2][0]
    assert compared[2][0] != compared[2][1]


@pytest.mark.parametrize("name", ["manifest.json", "clip.mp4.age", "journal.jsonl"])
def test_the_page_shows_an_altered_file(name: str, clip: Path, agency: "Agency", tmp_path: Path) -> None:
    data = bytearray((clip / name).read_bytes())
    at = data.index(b'"frames":10') + 10 if name == "manifest.json" else len(data) // 2
    data[at] ^= 1
    (clip / name).write_bytes(data)
    compared = by_hand(clip, agency, tmp_path / "altered")
    assert any(found != expected for found, expected in compared)


def test_a_handed_over_clip_by_hand(
    clip: Path, agency: "Agency", other_agency: "Agency", tmp_path: Path
) -> None:
    """The line that the page and the design give."""
    from click.testing import CliRunner

    from preroll.commands.clip_handover import command

    output = tmp_path / "over" / clip.name
    output.parent.mkdir()
    arguments = ["-i", agency.identity, "--recipient", other_agency.files.recipient, "-o", output]
    arguments += ["--signer", agency.keys("j.doe"), "--reason", "joint unit"]
    done = CliRunner().invoke(command, [str(clip), *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    line = "(cat header.orig; tail -c +$((N+1)) clip.mp4.age) | sha256sum"
    assert line in _PAGE.read_text("utf-8")
    found = re.search(r'"new_header":\{"bytes":(\d+)', (output / "handover.json").read_text("utf-8"))
    assert found
    run = subprocess.run(
        ["bash", "-c", line],
        cwd=output,
        env={**os.environ, "N": found[1]},
        capture_output=True,
        check=True,
        text=True,
    )
    assert run.stdout.split()[0] == values(clip)["CIPHERTEXT_SHA256"]
