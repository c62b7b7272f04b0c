"""Revocation lists in files: what is in force, and what a change of the files does."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.cms import sign_cms, verify_cms
from evidence.der import CertificateError
from evidence.revocation import RevocationError
from evidence.revoke import revoke
from evidence.roles import Role
from evidence.signer import load_signer
from host.upkeep import RevocationFiles, authorities_of

if TYPE_CHECKING:
    from tests.host.store.conftest import Pki


@pytest.fixture
def agency(pki: "Pki", tmp_path: Path) -> Path:
    """A copy of the agency: each test revokes on its own."""
    shutil.copytree(pki.directory, tmp_path / "pki")
    return tmp_path / "pki"


def files_of(agency: Path, *lists: Path) -> RevocationFiles:
    chain = agency / "dock7" / "dock-link.pem"
    return RevocationFiles(lists, authorities_of(roots_of(agency), [chain]))


def roots_of(agency: Path) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates((agency / "agency" / "root" / "root.pem").read_bytes()))


def revoke_camera(agency: Path, name: str, stem: str = "link") -> Path:
    return revoke(agency / name / f"{stem}.pem", agency / "agency", "keyCompromise").crl


def serial(agency: Path, name: str, stem: str = "link") -> int:
    return x509.load_pem_x509_certificates((agency / name / f"{stem}.pem").read_bytes())[0].serial_number


def test_no_list_revokes_nothing(agency: Path) -> None:
    files = files_of(agency)
    assert not files.given
    assert files.serials == {}


def test_a_list_that_is_replaced_counts_at_once(agency: Path) -> None:
    crl = revoke_camera(agency, "cam0042")
    files = files_of(agency, crl)
    assert set(files.serials) == {serial(agency, "cam0042")}
    assert files.serials[serial(agency, "cam0042")] <= time.time_ns()
    signer = load_signer(agency / "cam0043", Role.CAMERA_EVIDENCE)
    shown = verify_cms(b"x", sign_cms(b"x", signer))
    assert files.standing(shown, roots_of(agency)).revoked_utc_ns is None
    revoke_camera(agency, "cam0043", "evidence")
    assert set(files.serials) == {serial(agency, "cam0042"), serial(agency, "cam0043", "evidence")}
    assert files.standing(shown, roots_of(agency)).revoked_utc_ns is not None
    assert [each.number for each in files.facts] == [2]


@pytest.mark.parametrize("content", [b"", b"-----BEGIN X509 CRL-----\n", None], ids=["empty", "part", "gone"])
def test_a_list_that_cannot_be_used_leaves_the_one_from_before_in_force(
    agency: Path, content: bytes | None
) -> None:
    crl = revoke_camera(agency, "cam0042")
    files, heard = files_of(agency, crl), list[str]()
    files.announce = heard.append
    good = crl.read_bytes()
    if content is None:
        crl.unlink()
    else:
        crl.write_bytes(content)
    assert serial(agency, "cam0042") in files.serials
    assert files.given
    assert len(heard) == 1
    assert "stay in force" in heard[0]
    crl.write_bytes(good)
    assert serial(agency, "cam0042") in files.serials
    assert len(heard) == 1


def test_an_older_list_does_not_take_a_revocation_back(agency: Path) -> None:
    crl = revoke_camera(agency, "cam0042")
    older = crl.read_bytes()
    revoke_camera(agency, "cam0043")
    files, heard = files_of(agency, crl), list[str]()
    files.announce = heard.append
    crl.write_bytes(older)
    assert serial(agency, "cam0043") in files.serials
    assert "older list" in heard[0]


def test_the_newest_of_several_lists_of_one_issuer_counts(agency: Path, tmp_path: Path) -> None:
    crl = revoke_camera(agency, "cam0042")
    older = tmp_path / "older.crl"
    older.write_bytes(crl.read_bytes())
    revoke_camera(agency, "cam0043")
    files = files_of(agency, crl, older)
    assert set(files.serials) == {serial(agency, "cam0042"), serial(agency, "cam0043")}


@pytest.mark.parametrize("name", ["Test Trust", "Other Trust"])
def test_a_list_of_another_agency_is_refused(agency: Path, tmp_path: Path, name: str) -> None:
    """Of one that calls itself the same, too: the signature counts."""
    create_agency(name, tmp_path / "other")
    issue_new(SubjectKind.CAMERA, "cam0042", tmp_path / "other", tmp_path / "camera")
    crl = revoke(tmp_path / "camera" / "link.pem", tmp_path / "other", "lost").crl
    with pytest.raises(RevocationError):
        files_of(agency, crl)


def test_authorities_have_to_be_there(agency: Path, tmp_path: Path) -> None:
    with pytest.raises(CertificateError):
        authorities_of(roots_of(agency), [tmp_path / "nothing.pem"])
    (tmp_path / "bad.pem").write_bytes(b"no certificate")
    with pytest.raises(CertificateError):
        authorities_of(roots_of(agency), [tmp_path / "bad.pem"])
