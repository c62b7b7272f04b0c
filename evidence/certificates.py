"""Making certificates: what each kind contains (docs/formats.md, "Roles"). Files: `evidence.agency`.

Certificates of keys that sign documents never expire (99991231235959Z, RFC 5280, section 4.1.2.5): a document
has to verify after decades, and no one shall need to trust a camera's clock. TLS certificates live shortly.
"""

import re
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evidence.errors import EvidenceError
from evidence.roles import Role

__all__ = [
    "LINK_LIFETIME",
    "NEVER",
    "Authority",
    "IssueError",
    "check_id",
    "check_signing_request",
    "issue_leaf",
    "issue_link_ca",
    "make_enrol",
    "make_root",
    "new_key",
    "self_signed_request",
]

NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The end of what does not end (RFC 5280, section 4.1.2.5)."""
_CLOCK_SLACK = timedelta(hours=1)
"""Certificates are valid from so long before they are made, for clocks that are a little behind."""
LINK_LIFETIME = timedelta(days=90)
"""How long a camera's link certificate lives."""
_LIFETIMES = {
    Role.CAMERA_LINK: LINK_LIFETIME,  # any dock renews it
    Role.DOCK_LINK: timedelta(days=400),  # someone has to come and renew it, once a year
}
_LINK_CA_LIFETIME = timedelta(days=5 * 365)
_COMPANIONS = {
    Role.CAMERA_LINK: ExtendedKeyUsageOID.SERVER_AUTH,
    Role.DOCK_LINK: ExtendedKeyUsageOID.CLIENT_AUTH,
}
_DEVICE_ID = re.compile(r"[a-z0-9-]{1,32}")
_PERSON_ID = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_AGENCY_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,48}")
_DEVICE_ROLES = (Role.CAMERA_EVIDENCE, Role.CAMERA_LINK, Role.DOCK_LINK, Role.DOCK_RECEIPT)


class IssueError(EvidenceError):
    """A certificate cannot be issued: an id or a signing request is not as it must be."""


class Authority(msgspec.Struct, frozen=True):
    """A key that issues, with its certificates up to, and without, the root."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def check_id(role: Role, subject_id: str) -> None:
    """Refuse an id that is not in the grammar for its role.

    Raises:
        IssueError: cameras and docks want `[a-z0-9-]{1,32}`, the others `[A-Za-z0-9._@-]{1,64}`.
    """
    form = _DEVICE_ID if role in _DEVICE_ROLES else _PERSON_ID
    if not form.fullmatch(subject_id):
        raise IssueError(f"not an id for {role}", expected=form.pattern, found=ascii(subject_id[:70]))


def make_root(name: str, now: datetime) -> Authority:
    """Make an agency's root: self-signed, two intermediates deep at most.

    Raises:
        IssueError: the name is empty, too long or holds control characters.
    """
    if not _AGENCY_NAME.fullmatch(name):
        raise IssueError(
            "not a name for an agency", expected="1 to 48 printable characters", found=ascii(name[:60])
        )
    key = new_key()
    subject = _common_name(f"{name} root")
    begin = now - _CLOCK_SLACK
    builder = _builder(subject, key.public_key(), begin, NEVER, key.public_key()).issuer_name(subject)
    return Authority(key=key, certificate=_with_authority(builder, 2).sign(key, hashes.SHA256()))


def make_enrol(name: str, root: Authority, now: datetime) -> Authority:
    """Make the intermediate that issues all certificates of devices, docks and persons.

    It carries no extended key usage: it is for every role, and an OpenSSL that knows none of them finds no
    limit in it either.
    """
    key = new_key()
    builder = _issued(_common_name(f"{name} enrol"), key.public_key(), root, now, NEVER)
    return Authority(key=key, certificate=_with_authority(builder, 1).sign(root.key, hashes.SHA256()))


def issue_leaf(
    role: Role,
    subject_id: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: Authority,
    now: datetime,
    *,
    since: datetime | None = None,
) -> tuple[x509.Certificate, ...]:
    """Issue a certificate with exactly one role; returns it with its intermediates.

    It is valid from an hour before `now` on, or from `since` on where that is given.

    Raises:
        IssueError: the id is not in the grammar for that role.
    """
    check_id(role, subject_id)
    lifetime = _LIFETIMES.get(role)
    until = NEVER if lifetime is None else now + lifetime
    purposes = [
        x509.ObjectIdentifier(role.oid),
        _COMPANIONS.get(role, ExtendedKeyUsageOID.EMAIL_PROTECTION),
    ]
    certificate = (
        _issued(_common_name(subject_id), public_key, issuer, now, until, since=since)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(issues=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return (certificate, *_chain(issuer))


def issue_link_ca(
    dock_id: str, public_key: ec.EllipticCurvePublicKey, issuer: Authority, now: datetime
) -> tuple[x509.Certificate, ...]:
    """Issue a dock's intermediate: it can make camera-link certificates and nothing else, nor issue deeper.

    `serverAuth` stands beside the role: OpenSSL wants a leaf's purpose in each intermediate that has any.

    Raises:
        IssueError: the id is not in the grammar.
    """
    check_id(Role.DOCK_LINK, dock_id)
    purposes = [x509.ObjectIdentifier(Role.CAMERA_LINK.oid), ExtendedKeyUsageOID.SERVER_AUTH]
    subject = _common_name(f"{dock_id} link-ca")
    builder = _issued(subject, public_key, issuer, now, now + _LINK_CA_LIFETIME)
    certificate = (
        _with_authority(builder, 0)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return (certificate, *_chain(issuer))


def self_signed_request(subject_id: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    """Make a PKCS #10 signing request in the form that `check_signing_request` wants."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_common_name(subject_id))
    return builder.sign(key, hashes.SHA256())


def check_signing_request(
    request: x509.CertificateSigningRequest, subject_id: str
) -> ec.EllipticCurvePublicKey:
    """Check a signing request and return its key; extensions that it asks for are not granted.

    Raises:
        IssueError: its signature is not good, its key is not on P-256, or its subject is not one common name
            with exactly this id.
    """
    try:
        key, good, names = request.public_key(), request.is_signature_valid, list(request.subject)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IssueError("unusable signing request", expected="a key on P-256") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IssueError("unusable signing request", expected="a key on P-256", found="another kind of key")
    if not good:
        raise IssueError("unusable signing request", found="a signature that is not good")
    if len(names) != 1 or names[0].oid != NameOID.COMMON_NAME or names[0].value != subject_id:
        raise IssueError(
            "the signing request is for someone else",
            expected=f"CN={subject_id} alone",
            found=ascii(request.subject.rfc4514_string()[:80]),
        )
    return key


def _common_name(value: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value)])


def _chain(issuer: Authority) -> tuple[x509.Certificate, ...]:
    return (issuer.certificate, *issuer.above)


def _issued(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer: Authority,
    now: datetime,
    until: datetime,
    *,
    since: datetime | None = None,
) -> x509.CertificateBuilder:
    begin = now - _CLOCK_SLACK if since is None else since
    builder = _builder(subject, public_key, begin, until, issuer.key.public_key())
    return builder.issuer_name(issuer.certificate.subject)


def _builder(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    begin: datetime,
    until: datetime,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    """Start a certificate."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _with_authority(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(constraints, critical=True).add_extension(
        _key_usage(issues=True), critical=True
    )


def _key_usage(*, issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issues,
        crl_sign=issues,
        encipher_only=False,
        decipher_only=False,
    )
