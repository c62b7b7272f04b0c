"""Revoked keys: what counts, what does not, and what cannot be told; the lists themselves."""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from evidence.roles import Role
from preroll.commands.keys import command as keys_command

if TYPE_CHECKING:
    from tests.evidence.verify.conftest import Agency, Camera, Dock, Verify


NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def own(agency: "Agency", tmp_path: Path) -> "Agency":
    """The agency with a place of its own for its lists."""
    copy = Path(shutil.copytree(agency.agency, tmp_path / "own" / "agency"))
    return type(agency)(copy.parent, agency.files)


def revoke(own: "Agency", certificate: Path, at: datetime | None = None, reason: str = "lost") -> Result:
    arguments = ["revoke", str(certificate), "--agency", str(own.agency), "--reason", reason, "--json"]
    return CliRunner().invoke(keys_command, [*arguments, *(["--at", at.isoformat()] if at else [])])


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def test_without_a_receipt_it_cannot_be_told(
    clip: Path, own: "Agency", agency: "Agency", verify: "Verify"
) -> None:
    assert revoke(own, agency.keys("cam0042") / "evidence.pem").exit_code == 0
    crl = own.agency / "crl" / "enrol.crl"
    result = verify(clip, "--crl", crl)
    assert (result.status, result.outcomes()["revocation"]) == (5, "missing")
    assert verify(clip).status == 0, "without a list it is said, and no defect"


def test_revoked_before_and_after_the_receipt(
    clip: Path, own: "Agency", agency: "Agency", dock: "Dock", verify: "Verify"
) -> None:
    revoke(own, agency.keys("cam0042") / "evidence.pem", NOW - timedelta(hours=2))
    crl = own.agency / "crl" / "enrol.crl"
    dock.receipt(clip, ns(NOW - timedelta(hours=3)))
    result = verify(clip, "--crl", crl)
    assert (result.status, result.outcomes()["revocation"]) == (0, "passed")
    assert "a store signed for the clip at" in result.details()["revocation"]
    dock.receipt(clip, ns(NOW - timedelta(hours=2)))
    assert verify(clip, "--crl", crl).status == 3
    dock.receipt(clip, ns(NOW - timedelta(hours=1)))
    result = verify(clip, "--crl", crl)
    assert (result.status, result.outcomes()["revocation"]) == (3, "failed")


def test_a_receipt_of_a_revoked_dock_proves_no_time(
    clip: Path, own: "Agency", agency: "Agency", dock: "Dock", verify: "Verify"
) -> None:
    dock.receipt(clip, ns(NOW - timedelta(hours=3)))
    revoke(own, agency.keys("dock7") / "dock-receipt.pem", NOW - timedelta(hours=2))
    crl = own.agency / "crl" / "enrol.crl"
    assert verify(clip, "--crl", crl).status == 0
    revoke(own, agency.keys("cam0042") / "evidence.pem", NOW - timedelta(hours=1))
    assert verify(clip, "--crl", crl).status == 5


def test_a_revoked_intermediate(clip: Path, own: "Agency", agency: "Agency", verify: "Verify") -> None:
    (own.agency / "enrol" / "enrol.key").unlink()  # it may be just what was stolen
    assert revoke(own, own.agency / "enrol" / "enrol.pem").exit_code == 0
    assert not (own.agency / "crl" / "enrol.crl").exists()
    assert verify(clip, "--crl", own.agency / "crl" / "root.crl").status == 5


def test_a_key_that_is_not_on_the_list(clip: Path, own: "Agency", agency: "Agency", verify: "Verify") -> None:
    revoke(own, agency.keys("dock7") / "dock-link.pem")
    result = verify(clip, "--crl", own.agency / "crl" / "enrol.crl")
    assert (result.status, result.outcomes()["revocation"]) == (0, "passed")
    assert "no list of CN=Test Trust root was given" in result.details()["revocation"]
    assert result.report["revocation"]["checked"]
    assert [each["number"] for each in result.report["revocation"]["lists"]] == [1]


def test_the_newest_of_several_lists_counts(
    clip: Path, own: "Agency", agency: "Agency", verify: "Verify", tmp_path: Path
) -> None:
    revoke(own, agency.keys("dock7") / "dock-link.pem")
    crl = own.agency / "crl" / "enrol.crl"
    older = shutil.copy(crl, tmp_path / "older.crl")
    revoke(own, agency.keys("cam0042") / "evidence.pem")
    assert verify(clip, "--crl", older).status == 0
    assert verify(clip, "--crl", crl, "--crl", older).status == 5


def test_a_list_that_the_issuer_did_not_sign(
    clip: Path, own: "Agency", agency: "Agency", verify: "Verify", tmp_path: Path
) -> None:
    """The same name, another key: what it says is no one's word, and the question stays open."""
    from evidence.agency import SubjectKind, create_agency, issue_new

    create_agency("Test Trust", tmp_path / "twin")
    issue_new(SubjectKind.CAMERA, "cam0042", tmp_path / "twin", tmp_path / "camera")
    arguments = ["revoke", str(tmp_path / "camera" / "evidence.pem"), "--agency", str(tmp_path / "twin")]
    assert CliRunner().invoke(keys_command, [*arguments, "--reason", "none"]).exit_code == 0
    result = verify(clip, "--crl", tmp_path / "twin" / "crl" / "enrol.crl")
    assert (result.status, result.outcomes()["revocation"]) == (5, "missing")


def test_a_list_that_cannot_be_read_is_wrong_usage(clip: Path, agency: "Agency", tmp_path: Path) -> None:
    from preroll.commands.clip_verify import command

    (tmp_path / "enrol.crl").write_bytes(b"no list")
    arguments = [str(clip), "--ca", str(agency.ca), "--crl", str(tmp_path / "enrol.crl")]
    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_lists_grow_and_openssl_reads_them(own: "Agency", agency: "Agency") -> None:
    since = NOW - timedelta(days=3)
    revoke(own, agency.keys("cam0042") / "evidence.pem", since, "stolen from a car")
    made = json.loads(revoke(own, agency.keys("cam0042") / "link.pem", reason="key-compromise").output)
    path = own.agency / "crl" / "enrol.crl"
    assert (made["number"], made["crl"]) == (2, str(path))
    crl = x509.load_pem_x509_crl(path.read_bytes())
    (first, second) = crl
    assert first.revocation_date_utc == since
    assert (
        second.extensions.get_extension_for_class(x509.CRLReason).value.reason
        is x509.ReasonFlags.key_compromise
    )
    if shutil.which("openssl"):
        enrol = own.agency / "enrol" / "enrol.pem"
        run = subprocess.run(
            ["openssl", "crl", "-in", path, "-CAfile", enrol, "-noout", "-text"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "verify OK" in run.stderr
        assert "stolen from a car" in run.stdout
        assert "Key Compromise" in run.stdout


def test_revoking_again_only_counts_for_an_earlier_time(own: "Agency", agency: "Agency") -> None:
    certificate = agency.keys("cam0042") / "evidence.pem"
    assert revoke(own, certificate, NOW - timedelta(hours=2)).exit_code == 0
    assert revoke(own, certificate, NOW - timedelta(hours=1)).exit_code != 0
    assert revoke(own, certificate, NOW - timedelta(hours=3)).exit_code == 0
    (entry,) = x509.load_pem_x509_crl((own.agency / "crl" / "enrol.crl").read_bytes())
    assert entry.revocation_date_utc == NOW - timedelta(hours=3)


def test_what_cannot_be_revoked(
    own: "Agency", agency: "Agency", other_agency: "Agency", tmp_path: Path
) -> None:
    certificate = agency.keys("cam0042") / "evidence.pem"
    (tmp_path / "nothing.pem").write_text("nothing")
    refused = (
        revoke(own, other_agency.keys("cam0042") / "evidence.pem"),
        revoke(own, own.agency / "root" / "root.pem"),
        revoke(own, tmp_path / "nothing.pem"),
        revoke(own, tmp_path / "absent.pem"),
        revoke(own, certificate, NOW + timedelta(hours=1)),
        revoke(own, certificate, reason=""),
        revoke(own, certificate, reason="a\nb"),
    )
    assert all(result.exit_code != 0 for result in refused)
    assert not (own.agency / "crl").exists()


def test_a_forged_list_of_ones_own_is_not_built_upon(own: "Agency", agency: "Agency") -> None:
    revoke(own, agency.keys("cam0042") / "evidence.pem")
    path = own.agency / "crl" / "enrol.crl"
    forged = path.read_bytes().replace(b"\nMII", b"\nMIJ")
    path.write_bytes(forged)
    assert revoke(own, agency.keys("dock7") / "dock-link.pem").exit_code != 0
    assert path.read_bytes() == forged


def test_tombstones_and_disposals_of_revoked_keys(
    full_store: Path, own: "Agency", agency: "Agency", dock: "Dock", verify: "Verify"
) -> None:
    from preroll.commands.clip_dispose import command as dispose_command

    first, second = sorted((full_store / "clips" / "cam0042").iterdir())[:2]
    arguments = [str(first), "--reason", "ended", "--signer", str(agency.keys("j.doe"))]
    assert CliRunner().invoke(dispose_command, arguments).exit_code == 0
    dock.store = "another-store"
    dock.receipt(second, ns(NOW - timedelta(hours=3)))
    dock.bury(second, full_store / "tombstones" / "cam0042")
    crl = own.agency / "crl" / "enrol.crl"
    revoke(own, agency.keys("cam0042") / "link.pem")
    assert verify(full_store, "--crl", crl).status == 0
    revoke(own, agency.keys("j.doe") / "custodian.pem")
    result = verify(full_store, "--crl", crl)
    assert (result.status, result.report["numbering"][0]["unproven"]) == (5, [[1, 1]])
    revoke(own, agency.keys("dock7") / "dock-receipt.pem")
    result = verify(full_store, "--crl", crl)
    assert (result.status, result.report["numbering"][0]["unproven"]) == (5, [[1, 2]])


def test_a_head_of_a_revoked_key_still_shows_what_is_missing(
    full_store: Path, own: "Agency", agency: "Agency", dock: "Dock", verify: "Verify"
) -> None:
    clips = sorted((full_store / "clips" / "cam0042").iterdir())
    for clip in clips:
        dock.receipt(clip, ns(NOW - timedelta(hours=3)))
    revoke(own, agency.keys("cam0042") / "evidence.pem", NOW - timedelta(hours=1))
    crl = own.agency / "crl" / "enrol.crl"
    result = verify(full_store, "--crl", crl)
    assert result.status == 0
    assert "its key is revoked" in result.report["documents"][0]["detail"]
    shutil.rmtree(clips[-1])
    result = verify(full_store, "--crl", crl)
    assert (result.status, result.report["numbering"][0]["missing"]) == (4, [[4, 4]])


def test_a_receipt_by_another_role(clip: Path, agency: "Agency", dock: "Dock", verify: "Verify") -> None:
    dock.receipt(clip)
    assert verify(clip).outcomes()["receipt"] == "passed"
    for who, role in (("cam0042", Role.CAMERA_EVIDENCE), ("j.doe", Role.CUSTODIAN), ("dock7", Role.DOCK_LINK)):
        dock.signer = agency.signer(who, role)
        dock.receipt(clip)
        result = verify(clip)
        assert (result.status, result.outcomes()["receipt"]) == (3, "failed")
    (clip / "receipt.p7s").unlink()
    assert verify(clip).status == 5


def test_a_receipt_of_another_clip(camera: "Camera", dock: "Dock", tmp_path: Path, verify: "Verify") -> None:
    first, second = camera.record(tmp_path), camera.record(tmp_path)
    dock.receipt(second)
    for name in ("receipt.json", "receipt.p7s"):
        shutil.copy(second / name, first / name)
    assert verify(second).status == 0
    assert verify(first).status == 3
