"""Killed with SIGKILL in the middle of the writing: nothing that looks finished, and nothing in the way."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.age import parse_recipient
from evidence.export.handing_over import hand_over
from evidence.findings import Finding
from evidence.roles import Role
from evidence.signer import load_signer

if TYPE_CHECKING:
    from tests.evidence.export.conftest import Place

_EXPORT = """
    export_clip(
        ExportRequest(clip=clip, output=out / "clip.mp4"),
        check=check, identities=identities, made_utc="2026-11-22T08:00:00.000000Z", software="test",
        advance=lambda _: die(),
    )
"""
_HANDOVER = """
    handing_over._sign = lambda *_: die()
    handing_over.hand_over(
        clip, out / "handed", check=check, identities=identities, recipients=[identities[0].recipient()],
        signer=load_signer(keys / "custodian", Role.CUSTODIAN), reason="a test",
        utc="2026-11-22T08:00:00.000000Z",
    )
"""
_FRAME = """
    import os, signal, sys
    from pathlib import Path
    from evidence.age import parse_identities
    from evidence.check import check_sealed_clip
    from evidence.export import handing_over
    from evidence.export.report import ExportRequest, export_clip
    from evidence.paths import load_roots
    from evidence.roles import Role
    from evidence.signer import load_signer

    clip, out, keys = map(Path, sys.argv[1:])
    roots = load_roots(keys / "agency" / "root" / "root.pem")
    identities = parse_identities((keys / "agency" / "identity" / "identity.txt").read_text())

    def check(path):
        return check_sealed_clip(path, roots)

    def die():
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(program: str, clip: Path, out: Path, place: "Place") -> None:
    out.mkdir()
    source = textwrap.dedent(_FRAME) + textwrap.dedent(program)
    command = [sys.executable, "-c", source, str(clip), str(out), str(place.directory)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_an_export_that_is_killed_leaves_nothing(filmed: Path, tmp_path: Path, place: "Place") -> None:
    if not _unnamed_files(tmp_path):
        pytest.skip("this file system has no unnamed files")
    killed(_EXPORT, filmed, tmp_path / "out", place)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_handover_that_is_killed_leaves_nothing_under_its_name_and_can_be_done_again(
    filmed: Path, tmp_path: Path, place: "Place"
) -> None:
    out = tmp_path / "out"
    killed(_HANDOVER, filmed, out, place)
    assert all(path.name.startswith(".handed.") and path.name.endswith(".tmp") for path in out.iterdir())
    hand_over(
        filmed,
        out / "handed",
        check=place.check,
        identities=place.identities,
        recipients=[parse_recipient(place.recipient())],
        signer=load_signer(place.directory / "custodian", Role.CUSTODIAN),
        reason="a test",
        utc="2026-11-22T08:00:00.000000Z",
    )
    assert place.check(out / "handed").finding is Finding.AUTHENTIC


def _unnamed_files(directory: Path) -> bool:
    import os

    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        return False
    return True
