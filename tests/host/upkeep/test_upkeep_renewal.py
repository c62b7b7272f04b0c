"""When a link certificate is renewed, what is issued, and what a dock must not issue."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from docklink.errors import PeerRefusedError
from docklink.peers import judge_camera
from evidence.certificates import IssueError, new_key, self_signed_request
from evidence.clock import parse_utc
from evidence.revoke import revoke
from host.upkeep import RenewalError, load_link_ca
from tests.host.upkeep.conftest import DAY_NS

if TYPE_CHECKING:
    from tests.host.upkeep.conftest import Office

NOW = time.time_ns()


def request(device: str = "cam0042") -> bytes:
    return self_signed_request(device, new_key()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("part", "left_days", "due"),
    [(0.5, 46, False), (0.5, 44, True), (0.5, -365, True), (0.1, 44, False), (0.1, 8, True)],
)
def test_it_is_due_once_less_than_the_part_is_left(
    office: "Office", part: float, left_days: int, due: bool
) -> None:
    assert office.renewals(part=part).due(NOW + left_days * DAY_NS, NOW) is due


def test_what_is_issued_is_a_link_certificate_of_that_camera_alone(office: "Office") -> None:
    renewed = office.renewals().issue("cam0042", request(), NOW)
    peer = judge_camera(renewed.chain, office.pki.trust.roots, now_utc_ns=NOW, revocations={})
    assert (peer.subject_id, peer.expired) == ("cam0042", False)
    assert abs(renewed.not_after_utc_ns - NOW - 90 * DAY_NS) < 10**9
    leaf = x509.load_der_x509_certificate(renewed.chain[0])
    assert renewed.serial == f"{leaf.serial_number:x}"
    assert leaf.issuer.rfc4514_string() == "CN=dock7 link-ca"


def test_a_dock_with_a_clock_ahead_locks_no_camera_out(office: "Office") -> None:
    renewed = office.renewals().issue("cam0042", request(), NOW + 200 * DAY_NS)
    peer = judge_camera(renewed.chain, office.pki.trust.roots, now_utc_ns=NOW, revocations={})
    assert not peer.expired


@pytest.mark.parametrize("utc", ["1970-01-01T00:01:00.000000Z", "2099-01-01T00:00:00.000000Z"])
def test_a_dock_whose_clock_is_not_within_its_own_certificates_renews_nothing(
    office: "Office", utc: str
) -> None:
    with pytest.raises(RenewalError, match="clock"):
        office.renewals().require_worthwhile(0, parse_utc(utc))


def test_a_certificate_that_would_end_no_later_is_not_asked_for(office: "Office") -> None:
    office.renewals().require_worthwhile(NOW + 40 * DAY_NS, NOW)
    with pytest.raises(RenewalError, match="nearly over"):
        office.renewals().require_worthwhile(NOW + 90 * DAY_NS, NOW)


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"\x30\x00", RenewalError), (b"", RenewalError), (request("cam0043"), IssueError)],
    ids=["no-request", "empty", "another-camera"],
)
def test_an_unfit_request(office: "Office", data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        office.renewals().issue("cam0042", data, NOW)


def test_a_link_ca_that_is_revoked_issues_nothing(office: "Office", tmp_path: Path) -> None:
    shutil.copytree(office.pki.directory / "agency", tmp_path / "agency")
    crl = revoke(office.pki.directory / "dock7" / "link-ca.pem", tmp_path / "agency", "stolen").crl
    with pytest.raises(PeerRefusedError, match="revoked"):
        office.renewals(office.revocations(crl)).issue("cam0042", request(), time.time_ns())


def test_a_dock_without_link_ca_and_one_with_half_of_it(office: "Office", tmp_path: Path) -> None:
    assert load_link_ca(tmp_path) is None
    keys = office.pki.directory / "dock7"
    shutil.copy(keys / "link-ca.key", tmp_path)
    with pytest.raises(RenewalError):
        load_link_ca(tmp_path)
    shutil.copy(keys / "dock-link.pem", tmp_path / "link-ca.pem")
    with pytest.raises(RenewalError, match="no pair"):
        load_link_ca(tmp_path)
    (tmp_path / "link-ca.key").write_bytes(b"no key")
    with pytest.raises(RenewalError, match="unusable"):
        load_link_ca(tmp_path)
