"""Certificate paths: every wrong role, and every way in which a chain can be wrong."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evidence.agency import load_enrol
from evidence.certificates import (
    Authority,
    IssueError,
    issue_leaf,
    issue_link_ca,
    make_enrol,
    make_root,
    new_key,
)
from evidence.der import CertificateError
from evidence.paths import PathError, load_roots, verify_path
from evidence.roles import ROLE_ARC, Role

if TYPE_CHECKING:
    from tests.evidence.signing.conftest import Pki

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000
ENDLESS = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_CN = x509.NameAttribute(NameOID.COMMON_NAME, "cam0042")
IDS = {Role.CUSTODIAN: "j.doe", Role.CONFIG: "policy"}


@pytest.fixture(scope="module")
def root() -> Authority:
    return make_root("Test Trust", NOW)


@pytest.fixture(scope="module")
def enrol(root: Authority) -> Authority:
    return make_enrol("Test Trust", root, NOW)


def verify(
    chain: tuple[x509.Certificate, ...], root: Authority, role: Role, at_utc_ns: int | None = NOW_NS
) -> str:
    return verify_path(chain[0], chain[1:], [root.certificate], role, at_utc_ns).subject_id


def leaf_with(
    enrol: Authority,
    *,
    purposes: list[x509.ObjectIdentifier] | None = None,
    ca: bool = False,
    usage: bool = True,
    subject: x509.Name | None = None,
    extra: tuple[x509.ExtensionType, bool] | None = None,
    algorithm: hashes.SHA256 | hashes.SHA384 | None = None,
) -> tuple[x509.Certificate, ...]:
    """A leaf that differs from ours in one thing."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([_CN]) if subject is None else subject)
        .issuer_name(enrol.certificate.subject)
        .public_key(new_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(ENDLESS)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if usage:
        builder = builder.add_extension(_usage(issues=False), critical=True)
    if purposes is None:
        purposes = [x509.ObjectIdentifier(Role.CAMERA_EVIDENCE.oid)]
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if extra:
        builder = builder.add_extension(extra[0], critical=extra[1])
    return (builder.sign(enrol.key, algorithm or hashes.SHA256()), enrol.certificate)


def _usage(*, issues: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(
        **{name: name == ("key_cert_sign" if issues else "digital_signature") for name in names}
    )


def test_the_roles_are_the_six_of_the_format() -> None:
    assert [role.oid for role in Role] == [f"{ROLE_ARC}.{number}" for number in range(1, 7)]
    formats = (Path(__file__).parents[3] / "docs" / "formats.md").read_text("utf-8")
    for number, role in enumerate(Role, 1):
        assert f"| {number} | `{role}` |" in formats


@pytest.mark.parametrize("issued", Role)
@pytest.mark.parametrize("wanted", Role)
def test_a_certificate_counts_for_its_own_role_alone(
    issued: Role, wanted: Role, root: Authority, enrol: Authority
) -> None:
    subject_id = IDS.get(issued, "cam0042")
    chain = issue_leaf(issued, subject_id, new_key().public_key(), enrol, NOW)
    if issued is wanted:
        assert verify(chain, root, wanted) == subject_id
    else:
        with pytest.raises(PathError, match=f"wrong role, expected {wanted}, found {issued}"):
            verify(chain, root, wanted)


@pytest.mark.parametrize("role", Role)
def test_evidence_lasts_and_links_do_not(role: Role, root: Authority, enrol: Authority) -> None:
    chain = issue_leaf(role, IDS.get(role, "cam0042"), new_key().public_key(), enrol, NOW)
    later_ns = NOW_NS + 400 * 366 * 86_400 * 1_000_000_000  # 400 years
    assert verify(chain, root, role, None)
    if role.tls:
        with pytest.raises(PathError, match="not valid at that time"):
            verify(chain, root, role, later_ns)
    else:
        assert verify(chain, root, role, later_ns)
        assert chain[0].not_valid_after_utc == ENDLESS
    with pytest.raises(PathError, match="not valid at that time"):
        verify(chain, root, role, NOW_NS - 2 * 3_600 * 1_000_000_000)


def test_a_dock_can_renew_camera_links_and_nothing_else(root: Authority, enrol: Authority) -> None:
    key = new_key()
    certificate, *above = issue_link_ca("dock7", key.public_key(), enrol, NOW)
    link_ca = Authority(key=key, certificate=certificate, above=tuple(above))
    chain = issue_leaf(Role.CAMERA_LINK, "cam0042", new_key().public_key(), link_ca, NOW)
    assert len(chain) == 3
    assert verify(chain, root, Role.CAMERA_LINK) == "cam0042"
    for role in set(Role) - {Role.CAMERA_LINK}:
        chain = issue_leaf(role, "cam0042", new_key().public_key(), link_ca, NOW)
        with pytest.raises(PathError, match=f"may not issue certificates for {role}"):
            verify(chain, root, role)


def test_a_link_ca_cannot_issue_another(root: Authority, enrol: Authority) -> None:
    key, deeper = new_key(), new_key()
    certificate, *above = issue_link_ca("dock7", key.public_key(), enrol, NOW)
    link_ca = Authority(key=key, certificate=certificate, above=tuple(above))
    certificate, *above = issue_link_ca("dock8", deeper.public_key(), link_ca, NOW)
    chain = issue_leaf(
        Role.CAMERA_LINK, "cam0042", new_key().public_key(), Authority(deeper, certificate, tuple(above)), NOW
    )
    with pytest.raises(PathError, match="may not issue that deep"):
        verify(chain, root, Role.CAMERA_LINK)


def test_a_leaf_cannot_issue(root: Authority, enrol: Authority) -> None:
    key = new_key()
    certificate, *above = issue_leaf(Role.CAMERA_EVIDENCE, "cam0042", key.public_key(), enrol, NOW)
    forged = issue_leaf(
        Role.CAMERA_EVIDENCE, "cam0043", new_key().public_key(), Authority(key, certificate, tuple(above)), NOW
    )
    with pytest.raises(PathError, match="may not issue"):
        verify(forged, root, Role.CAMERA_EVIDENCE)


def test_another_agency_of_the_same_name_does_not_count(root: Authority) -> None:
    other_root = make_root("Test Trust", NOW)
    other = make_enrol("Test Trust", other_root, NOW)
    chain = issue_leaf(Role.CAMERA_EVIDENCE, "cam0042", new_key().public_key(), other, NOW)
    with pytest.raises(PathError, match="not issued by the agency"):
        verify(chain, root, Role.CAMERA_EVIDENCE)
    found = verify_path(
        chain[0], chain[1:], [root.certificate, other_root.certificate], Role.CAMERA_EVIDENCE, NOW_NS
    )
    assert found.serials == (chain[0].serial_number, chain[1].serial_number)


def test_a_path_with_a_hole_or_out_of_order_does_not_count(root: Authority, enrol: Authority) -> None:
    key = new_key()
    certificate, *above = issue_link_ca("dock7", key.public_key(), enrol, NOW)
    link_ca = Authority(key=key, certificate=certificate, above=tuple(above))
    leaf, first, second = issue_leaf(Role.CAMERA_LINK, "cam0042", new_key().public_key(), link_ca, NOW)
    for path in ((leaf, second), (leaf, first), (leaf,), (leaf, second, first), (leaf, first, first, second)):
        with pytest.raises(PathError):
            verify(path, root, Role.CAMERA_LINK)
    with pytest.raises(PathError, match="too long"):
        verify((leaf, first, first, first, second), root, Role.CAMERA_LINK)


ROLE = x509.ObjectIdentifier(Role.CAMERA_EVIDENCE.oid)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda enrol: leaf_with(enrol, purposes=[]), "found none"),
        (lambda enrol: leaf_with(enrol, purposes=[ExtendedKeyUsageOID.EMAIL_PROTECTION]), "found none"),
        (lambda enrol: leaf_with(enrol, purposes=[ROLE, x509.ObjectIdentifier(Role.CONFIG.oid)]), "wrong role"),
        (lambda enrol: leaf_with(enrol, purposes=[ROLE, x509.ObjectIdentifier(f"{ROLE_ARC}.7")]), "wrong role"),
        (lambda enrol: leaf_with(enrol, purposes=[x509.ObjectIdentifier(f"{ROLE_ARC}.1.1")]), "wrong role"),
        (lambda enrol: leaf_with(enrol, purposes=[ROLE, ExtendedKeyUsageOID.CODE_SIGNING]), "no business"),
        (lambda enrol: leaf_with(enrol, purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "found none"),
        (lambda enrol: leaf_with(enrol, ca=True), "not one for signing"),
        (lambda enrol: leaf_with(enrol, usage=False), "not one for signing"),
        (lambda enrol: leaf_with(enrol, subject=x509.Name([])), "subject is no id"),
        (lambda enrol: leaf_with(enrol, subject=x509.Name([_CN, _CN])), "subject is no id"),
        (
            lambda enrol: leaf_with(
                enrol, subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a/../b")])
            ),
            "subject is no id",
        ),
        (lambda enrol: leaf_with(enrol, extra=(x509.PolicyConstraints(0, None), True)), "unknown critical"),
        (lambda enrol: leaf_with(enrol, algorithm=hashes.SHA384()), "ecdsa-with-SHA256"),
    ],
)
def test_a_leaf_that_is_not_as_ours(
    make: Callable[[Authority], tuple[x509.Certificate, ...]], match: str, root: Authority, enrol: Authority
) -> None:
    with pytest.raises(PathError, match=match):
        verify(make(enrol), root, Role.CAMERA_EVIDENCE)


def test_an_unknown_extension_that_is_not_critical_is_none_of_our_business(
    root: Authority, enrol: Authority
) -> None:
    chain = leaf_with(enrol, extra=(x509.PolicyConstraints(0, None), False))
    assert verify(chain, root, Role.CAMERA_EVIDENCE) == "cam0042"


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_a_key_on_another_curve_does_not_count(
    curve: ec.EllipticCurve, root: Authority, enrol: Authority
) -> None:
    key = ec.generate_private_key(curve)
    chain = issue_leaf(Role.CAMERA_EVIDENCE, "cam0042", key.public_key(), enrol, NOW)
    with pytest.raises(PathError, match="P-256"):
        verify(chain, root, Role.CAMERA_EVIDENCE)


def test_a_root_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    path = tmp_path / "root.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    with pytest.raises(CertificateError, match="ecdsa-with-SHA256"):
        load_roots(path)


@pytest.mark.parametrize(
    "content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_root_file_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CertificateError):
        load_roots(path)


def test_what_the_enrol_key_issues_is_for_the_loaded_agency(pki: "Pki") -> None:
    enrol = load_enrol(pki.agency_directory)
    chain = issue_leaf(Role.CUSTODIAN, "a.b@c-d_e", new_key().public_key(), enrol, datetime.now(UTC))
    assert verify_path(chain[0], chain[1:], pki.roots, Role.CUSTODIAN, None).subject_id == "a.b@c-d_e"


@pytest.mark.parametrize("name", ["", "Cam", "a_b", "a" * 33, "cam\n", "../x"])
def test_an_id_outside_the_grammar_is_not_issued(name: str, enrol: Authority) -> None:
    with pytest.raises(IssueError, match="not an id"):
        issue_leaf(Role.CAMERA_EVIDENCE, name, new_key().public_key(), enrol, NOW)
