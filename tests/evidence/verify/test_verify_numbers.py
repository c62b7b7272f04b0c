"""Numbers over vaults and stores: removed, rolled back, disposed of, held elsewhere; heads and forks."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from evidence.cms import sign_cms
from evidence.roles import Role
from preroll.commands.clip_dispose import command as dispose_command

if TYPE_CHECKING:
    from tests.evidence.verify.conftest import Agency, Camera, Dock, Verify


def clips_of(store: Path) -> list[Path]:
    return sorted((store / "clips" / "cam0042").iterdir())


def account(report: dict[str, Any]) -> dict[str, Any]:
    (only,) = report["numbering"]
    found: dict[str, Any] = only
    return found


def dispose(clip: Path, agency: "Agency", who: str = "j.doe") -> int:
    arguments = [str(clip), "--reason", "retention period ended", "--signer", str(agency.keys(who))]
    return CliRunner().invoke(dispose_command, arguments).exit_code


def test_a_full_store(full_store: Path, verify: "Verify") -> None:
    result = verify(full_store)
    found = account(result.report)
    assert result.status == 0
    assert (found["first"], found["last"], found["here"], found["missing"]) == (1, 4, [[1, 4]], [])
    assert found["upper_end"] == {"number": 4, "utc": "2026-11-22T04:54:53.000000Z"}
    assert [document["kind"] for document in result.report["documents"]] == ["head"]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_whole_clip_removed(number: int, full_store: Path, verify: "Verify") -> None:
    """The first, one between, and the newest, which nothing but the head shows."""
    shutil.rmtree(clips_of(full_store)[number - 1])
    result = verify(full_store)
    assert (result.status, account(result.report)["missing"]) == (4, [[number, number]])


def test_without_a_head_the_upper_end_is_unknown(full_store: Path, verify: "Verify") -> None:
    shutil.rmtree(full_store / "heads")
    shutil.rmtree(clips_of(full_store)[-1])
    result = verify(full_store)
    found = account(result.report)
    assert (result.status, found["last"], found["upper_end"]) == (0, 3, None)


def test_the_report_for_people_names_the_number(full_store: Path, agency: "Agency") -> None:
    from preroll.commands.clip_verify import command

    shutil.rmtree(clips_of(full_store)[2])
    result = CliRunner().invoke(command, [str(full_store), "--ca", str(agency.ca)])
    assert result.exit_code == 4
    assert "MISSING         3\n" in result.output
    assert "held here       1..2, 4\n" in result.output
    assert "known from a head of 2026-11-22T04:54:53.000000Z (number 4)" in result.output
    assert "revocation was not checked" in result.output


def test_a_clip_lawfully_disposed_of(full_store: Path, agency: "Agency", verify: "Verify") -> None:
    clip = clips_of(full_store)[1]
    assert dispose(clip, agency) == 0
    assert not clip.exists()
    result = verify(full_store)
    assert (result.status, account(result.report)["disposed"]) == (0, [[2, 2]])


def test_disposal_goes_on_after_a_crash(full_store: Path, agency: "Agency", verify: "Verify") -> None:
    clip = clips_of(full_store)[1]
    kept = Path(shutil.copytree(clip, full_store.parent / clip.name))
    assert dispose(clip, agency) == 0
    record = (full_store / "disposals" / f"{clip.name}.json").read_bytes()
    shutil.copytree(kept, clip)  # killed before the rename
    assert verify(full_store).status == 0
    assert dispose(clip, agency) == 0
    shutil.copytree(kept, clip.with_name(f".disposed-{clip.name}"))  # killed before the deletion was done
    assert verify(full_store).status == 0
    assert dispose(clip, agency) == 0
    assert not clip.exists()
    assert not clip.with_name(f".disposed-{clip.name}").exists()
    assert (full_store / "disposals" / f"{clip.name}.json").read_bytes() == record


def test_only_a_custodian_disposes(full_store: Path, agency: "Agency", tmp_path: Path) -> None:
    clip = clips_of(full_store)[1]
    fake = tmp_path / "fake"
    fake.mkdir()
    for suffix in ("pem", "key"):
        shutil.copy(agency.keys("dock7") / f"dock-receipt.{suffix}", fake / f"custodian.{suffix}")
    arguments = [str(clip), "--reason", "none", "--signer", str(fake)]
    assert CliRunner().invoke(dispose_command, arguments).exit_code != 0
    assert clip.is_dir()
    assert not list((full_store / "disposals").iterdir())


@pytest.mark.parametrize("reason", ["", "x" * 1001])
def test_a_reason_that_no_reader_takes_deletes_nothing(reason: str, full_store: Path, agency: "Agency") -> None:
    clip = clips_of(full_store)[1]
    arguments = [str(clip), "--reason", reason, "--signer", str(agency.keys("j.doe"))]
    assert CliRunner().invoke(dispose_command, arguments).exit_code != 0
    assert clip.is_dir()


def test_a_disposal_of_a_clip_outside_a_store(clip: Path, agency: "Agency") -> None:
    assert dispose(clip, agency) != 0
    assert clip.is_dir()


@pytest.mark.parametrize(("who", "role"), [("dock7", Role.DOCK_RECEIPT), ("cam0042", Role.CAMERA_EVIDENCE)])
def test_a_disposal_signed_by_another_role(
    who: str, role: Role, full_store: Path, agency: "Agency", verify: "Verify"
) -> None:
    clip = clips_of(full_store)[1]
    dispose(clip, agency)
    record = full_store / "disposals" / f"{clip.name}.json"
    record.with_suffix(".p7s").write_bytes(sign_cms(record.read_bytes(), agency.signer(who, role)))
    result = verify(full_store)
    assert (result.status, account(result.report)["missing"]) == (3, [[2, 2]])


def test_a_disposal_without_its_signature(full_store: Path, agency: "Agency", verify: "Verify") -> None:
    clip = clips_of(full_store)[1]
    dispose(clip, agency)
    (full_store / "disposals" / f"{clip.name}.p7s").unlink()
    result = verify(full_store)
    assert (result.status, account(result.report)["missing"]) == (5, [[2, 2]])


def test_a_rolled_back_card(
    store: Path, agency: "Agency", make_camera: "type[Camera]", verify: "Verify"
) -> None:
    """Two clips with one number: the card went back to its state after the first one."""
    camera = make_camera(agency)
    camera.record(store / "clips" / "cam0042")
    again = make_camera(agency)
    again.number, again.previous_start = camera.number, camera.previous_start
    first = camera.record(store / "clips" / "cam0042")
    second = again.record(store.parent / "elsewhere", frames=20)
    result = verify(store, second)
    assert result.status == 3
    assert [fork["number"] for fork in account(result.report)["forks"]] == [2, 2]  # line 0, manifest
    assert [clip["finding"] for clip in result.report["clips"]] == ["authentic"] * 3
    assert verify(first, second).status == 3
    assert verify(first).status == verify(second).status == 0


def test_a_rolled_back_card_shows_in_the_next_start(
    full_store: Path, camera: "Camera", verify: "Verify"
) -> None:
    """The other second clip is nowhere; the third one's line 0 names its start."""
    first = clips_of(full_store)[0]
    shutil.rmtree(full_store / "clips" / "cam0042")
    shutil.rmtree(full_store / "heads")
    camera.number, camera.previous_start = 1, "1" * 64
    camera.record(full_store / "clips" / "cam0042")
    assert verify(full_store).status == 4
    camera.number, camera.previous_start = 0, None
    camera.record(full_store / "clips" / "cam0042")
    result = verify(full_store)
    assert result.status == 3
    assert [fork["number"] for fork in account(result.report)["forks"]] == [1]
    assert first.name


def test_a_head_of_another_line_0_is_a_fork(full_store: Path, camera: "Camera", verify: "Verify") -> None:
    camera.number, camera.previous_start = 4, "1" * 64
    camera.head(full_store)
    assert verify(full_store).status == 3


def test_a_head_beyond_all_numbers_costs_nothing(full_store: Path, camera: "Camera", verify: "Verify") -> None:
    camera.number = 2**62
    camera.head(full_store, utc_ns=None)
    result = verify(full_store)
    assert (result.status, account(result.report)["missing"]) == (4, [[5, 2**62]])


def test_a_head_that_is_not_the_cameras(full_store: Path, agency: "Agency", verify: "Verify") -> None:
    (head,) = (full_store / "heads").glob("*/*.json")
    head.with_suffix(".p7s").write_bytes(sign_cms(head.read_bytes(), agency.signer("dock7", Role.DOCK_RECEIPT)))
    assert verify(full_store).status == 3
    head.with_suffix(".p7s").unlink()
    assert verify(full_store).status == 5


def test_a_tombstone_accounts_for_its_number(
    full_store: Path, dock: "Dock", camera: "Camera", tmp_path: Path, verify: "Verify"
) -> None:
    vault = tmp_path / "vault"
    shutil.copytree(full_store / "clips" / "cam0042", vault / "clips")
    (vault / "vault.json").write_text("{}")
    clip = sorted((vault / "clips").iterdir())[1]
    dock.receipt(clip)
    stone = dock.bury(clip, vault / "tombstones")
    result = verify(vault)
    assert (result.status, account(result.report)["elsewhere"]) == (0, [[2, 2]])
    assert [document["kind"] for document in result.report["documents"]] == ["tombstone"]
    shutil.rmtree(clips_of(full_store)[1])
    result = verify(vault, full_store)
    assert (result.status, account(result.report)["missing"]) == (4, [[2, 2]]), "that store should have it"
    (stone / "receipt.p7s").unlink()
    assert verify(vault).status == 5


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "manifest.json", "manifest.p7s", "receipt.json", "receipt.p7s"]
)
def test_a_forged_tombstone_accounts_for_nothing(
    name: str, full_store: Path, dock: "Dock", verify: "Verify"
) -> None:
    dock.store = "another-store"
    clip = clips_of(full_store)[1]
    dock.receipt(clip)
    stone = dock.bury(clip, full_store / "tombstones" / "cam0042")
    assert verify(full_store).status == 0
    data = bytearray((stone / name).read_bytes())
    data[len(data) // 2] ^= 1
    (stone / name).write_bytes(data)
    result = verify(full_store)
    assert result.status == 3
    assert account(result.report)["elsewhere"] == []


def test_a_forged_clip_does_not_count_as_held(full_store: Path, verify: "Verify") -> None:
    with (clips_of(full_store)[1] / "clip.mp4.age").open("ab") as file:
        file.write(b"\0")
    result = verify(full_store)
    found = account(result.report)
    assert (result.status, found["unproven"], found["here"]) == (3, [[2, 2]], [[1, 1], [3, 4]])


def test_a_clip_that_is_not_sealed_yet(full_store: Path, verify: "Verify") -> None:
    clip = clips_of(full_store)[3]
    for name in ("manifest.json", "manifest.p7s"):
        (clip / name).unlink()
    result = verify(full_store)
    assert (result.status, account(result.report)["unproven"]) == (5, [[4, 4]])


def test_an_epoch_that_is_gone_altogether_is_said(store: Path, camera: "Camera", verify: "Verify") -> None:
    camera.generation = 3
    camera.record(store / "clips" / "cam0042")
    result = verify(store)
    assert (result.status, result.report["absent_generations"]) == (0, {"cam0042": [[1, 2]]})


def test_several_devices_at_once(
    full_store: Path, agency: "Agency", make_camera: "type[Camera]", tmp_path: Path, verify: "Verify"
) -> None:
    from evidence.agency import SubjectKind, issue_new

    issue_new(SubjectKind.CAMERA, "cam0043", agency.agency, tmp_path / "cam0043")
    other = make_camera(agency)
    other.device = "cam0043"
    other.signer = agency.signer(str(tmp_path / "cam0043"), Role.CAMERA_EVIDENCE)
    for _ in range(3):
        other.record(full_store / "clips" / "cam0043")
    result = verify(full_store)
    assert result.status == 0
    assert [each["device"] for each in result.report["numbering"]] == ["cam0042", "cam0043"]
    shutil.rmtree(sorted((full_store / "clips" / "cam0043").iterdir())[1])
    result = verify(full_store)
    assert result.status == 4
    assert [each["missing"] for each in result.report["numbering"]] == [[], [[2, 2]]]


def test_a_path_that_is_nothing_of_ours(tmp_path: Path, agency: "Agency") -> None:
    from preroll.commands.clip_verify import command

    for path in (tmp_path / "absent", tmp_path):
        assert CliRunner().invoke(command, [str(path), "--ca", str(agency.ca)]).exit_code == 2
    (tmp_path / "root.pem").write_text("no certificate")
    arguments = [str(tmp_path), "--ca", str(tmp_path / "root.pem")]
    assert CliRunner().invoke(command, arguments).exit_code == 2
