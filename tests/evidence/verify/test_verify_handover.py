"""Handed-over clips: verified through `header.orig`; each alteration of what was added is told."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from click.testing import CliRunner

from evidence.cms import sign_cms
from evidence.documents import Handover, decode, encode
from evidence.roles import Role
from evidence.signer import SoftwareSigner

if TYPE_CHECKING:
    from tests.evidence.verify.conftest import Agency, Camera, Verify


@pytest.fixture(scope="session")
def handed_over(
    recorded: Path, agency: "Agency", other_agency: "Agency", tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from preroll.commands.clip_handover import command

    output = tmp_path_factory.mktemp("handed-over") / recorded.name
    given = ["-i", agency.identity, "--recipient", other_agency.files.recipient, "--reason", "joint unit"]
    arguments = [recorded, *given, "--signer", agency.keys("j.doe"), "-o", output]
    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return output


@pytest.fixture
def over(handed_over: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(handed_over, tmp_path / handed_over.name))


def sign_again(over: Path, signer: SoftwareSigner, changes: dict[str, object]) -> None:
    """Sign the record with changed fields."""
    record = decode((over / "handover.json").read_bytes(), Handover)
    content = encode(msgspec.structs.replace(record, **changes))
    (over / "handover.json").write_bytes(content)
    (over / "handover.p7s").write_bytes(sign_cms(content, signer))


def test_it_verifies_with_the_root_of_the_agency_that_recorded_it(
    over: Path, other_agency: "Agency", verify: "Verify"
) -> None:
    result = verify(over)
    assert (result.status, result.outcomes()["handover"]) == (0, "passed")
    assert "handed over by j.doe" in result.details()["handover"]
    result = verify(over, "--identity", other_agency.identity)
    assert (result.status, result.outcomes()["plaintext"], result.outcomes()["media"]) == (
        0,
        "passed",
        "passed",
    )


def test_those_who_could_open_the_original_cannot_open_it(
    over: Path, agency: "Agency", verify: "Verify"
) -> None:
    assert verify(over, "--identity", agency.identity).status == 5


@pytest.mark.parametrize("name", ["header.orig", "handover.json", "handover.p7s", "clip.mp4.age"])
def test_each_added_byte_counts(name: str, over: Path, verify: "Verify") -> None:
    good = (over / name).read_bytes()
    for at in range(0, min(len(good), 1000), 37):
        data = bytearray(good)
        data[at] ^= 1
        (over / name).write_bytes(data)
        assert verify(over).status == 3, at


@pytest.mark.parametrize("name", ["header.orig", "handover.json", "handover.p7s"])
def test_a_file_that_is_absent(name: str, over: Path, verify: "Verify") -> None:
    (over / name).unlink()
    assert verify(over).status == 5


def test_the_new_header_alone(over: Path, verify: "Verify") -> None:
    """Without the record and the original header it is an altered clip."""
    for name in ("header.orig", "handover.json", "handover.p7s"):
        (over / name).unlink()
    assert verify(over).status == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"operator": "m.mustermann"},
        {"manifest_sha256": "0" * 64},
        {"epoch": "0" * 32},
        {"recipients": ("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",) * 2},
    ],
)
def test_a_record_that_does_not_fit(
    changes: dict[str, object], over: Path, agency: "Agency", verify: "Verify"
) -> None:
    sign_again(over, agency.signer("j.doe", Role.CUSTODIAN), changes)
    result = verify(over)
    assert (result.status, result.outcomes()["handover"]) == (3, "failed")


@pytest.mark.parametrize(("who", "role"), [("dock7", Role.DOCK_RECEIPT), ("cam0042", Role.CAMERA_EVIDENCE)])
def test_a_record_signed_by_another_role(
    who: str, role: Role, over: Path, agency: "Agency", verify: "Verify"
) -> None:
    sign_again(over, agency.signer(who, role), {})
    result = verify(over)
    assert (result.status, result.outcomes()["handover"]) == (3, "failed")


def test_the_payload_of_another_clip(over: Path, camera: "Camera", tmp_path: Path, verify: "Verify") -> None:
    other = (camera.record(tmp_path / "other", frames=20) / "clip.mp4.age").read_bytes()
    header_end = other.index(b"\n--- ") + 49
    mine = (over / "clip.mp4.age").read_bytes()
    (over / "clip.mp4.age").write_bytes(mine[: mine.index(b"\n--- ") + 49] + other[header_end:])
    assert verify(over).status == 3
