"""Whether a certificate counts for a role: the walk from a leaf to the agency's root.

OpenSSL knows nothing of the private roles and would accept any of them for any signature, so the walk is our
own (docs/formats.md, "Roles"; the order of the checks follows RFC 5280, section 6). Nothing is searched for:
the intermediates come in their order, and all of them are used.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evidence.cms import verify_cms
from evidence.der import CertificateError, certificate_der, load_certificate
from evidence.errors import EvidenceError
from evidence.roles import ROLE_ARC, Role

__all__ = [
    "PathError",
    "VerifiedIdentity",
    "issued_links",
    "leaf_identity",
    "load_roots",
    "verify_path",
    "verify_signed",
]

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)
_LONGEST_PATH = 4  # leaf, link-ca, enrol, and one to spare
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SUBJECT_ID = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_COMPANIONS = frozenset(
    (
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )
)
_MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises when it opens parts of a certificate that it had not looked into before."""
_KNOWN_EXTENSIONS = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage)


class PathError(EvidenceError):
    """A certificate does not count: not issued by the agency, wrong role, not valid at that time."""


class VerifiedIdentity(msgspec.Struct, frozen=True):
    """Who a good path speaks for; `serials` are those of the path without the root, for a look into a CRL."""

    role: Role
    subject_id: str
    serials: tuple[int, ...]


def verify_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    role: Role,
    at_utc_ns: int | None,
) -> VerifiedIdentity:
    """Verify a path from a leaf to one of the roots, and that it gives exactly this role.

    Args:
        leaf: the certificate of the key that signed.
        intermediates: the others, each the issuer of the one before.
        roots: what is trusted (`--ca`); they too have to be certificates for issuing. An intermediate that is
            trusted itself ends the walk where it stands in the path.
        role: what the key has to be for.
        at_utc_ns: when the certificates have to be valid, nanoseconds since 1970; `None` switches that off.

    Raises:
        PathError: what is wrong, and with which certificate.
    """
    if len(intermediates) >= _LONGEST_PATH:
        raise PathError("the path is too long", expected=f"at most {_LONGEST_PATH} certificates")
    try:
        links = issued_links(leaf, intermediates, roots)
        for below, (certificate, issuer) in enumerate(links):
            if certificate.subject == certificate.issuer:
                raise PathError("a root certificate inside the path", expected="leaf and intermediates alone")
            _check_issued(certificate, issuer)
            _check_certificate(certificate, at_utc_ns)
            if below:
                _check_authority(certificate, below - 1, role)
        root = links[-1][1]
        _check_certificate(root, at_utc_ns)
        _check_authority(root, len(links) - 1, role)
        _check_leaf(leaf, role)
        subject_id = _subject_id(leaf)
    except CertificateError as error:
        raise PathError("a certificate of the path is malformed", found=str(error)) from error
    except _MALFORMED as error:
        raise PathError("a certificate of the path is malformed", found=type(error).__name__) from error
    serials = tuple(each.serial_number for each, _ in links)
    return VerifiedIdentity(role=role, subject_id=subject_id, serials=serials)


def leaf_identity(leaf: x509.Certificate, role: Role) -> str:
    """Return the id in a certificate that has exactly this role; who issued it is not looked at.

    For one about to sign: what it signs with another certificate would count nowhere.

    Raises:
        PathError: it has another role, or no id.
    """
    _check_leaf(leaf, role)
    return _subject_id(leaf)


def verify_signed(
    content: bytes,
    signature_file: bytes,
    roots: Sequence[x509.Certificate],
    role: Role,
    at_utc_ns: int | None,
) -> VerifiedIdentity:
    """Verify a document with its `.p7s`: the signature, and the path of the signer up to the role.

    Raises:
        CmsError: the signature is not good.
        PathError: it is, but the signer does not count.
    """
    signer = verify_cms(content, signature_file)
    return verify_path(signer.leaf, signer.intermediates, roots, role, at_utc_ns)


def issued_links(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> tuple[tuple[x509.Certificate, x509.Certificate], ...]:
    """Return each certificate of a path with its issuer, the leaf first, up to the one that is trusted.

    Only the last link is verified here, to find the root that made it; `verify_path` verifies them all.

    Raises:
        PathError: no root issued the last one.
    """
    path, anchor = _up_to_anchor((leaf, *intermediates), roots)
    root = anchor or _root_of(path[-1], roots)
    return tuple(zip(path, (*path[1:], root), strict=True))


def load_roots(path: Path) -> tuple[x509.Certificate, ...]:
    """Read the agency's root certificate (`root.pem`), or several in one file.

    Raises:
        CertificateError: missing, unreadable, or no certificate of the accepted form in it.
    """
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CertificateError(
            f"no root certificate {path}",
            found=error.strerror or type(error).__name__,
            remedy="give the agency's root/root.pem",
        ) from error
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError(f"unusable root file {path}", expected="certificates in PEM form") from error
    return tuple(load_certificate(certificate_der(certificate)) for certificate in certificates)


def _up_to_anchor(
    path: tuple[x509.Certificate, ...], roots: Sequence[x509.Certificate]
) -> tuple[tuple[x509.Certificate, ...], x509.Certificate | None]:
    """Cut the path at the first intermediate that is trusted itself; a root inside it stays, and fails."""
    for place, certificate in enumerate(path[1:], start=1):
        if certificate in roots and certificate.subject != certificate.issuer:
            return path[:place], certificate
    return path, None


def _root_of(last: x509.Certificate, roots: Sequence[x509.Certificate]) -> x509.Certificate:
    for root in roots:
        if root.subject == last.issuer:
            try:
                last.verify_directly_issued_by(root)
            except InvalidSignature:
                continue  # another root of the same name
            return root
    raise PathError(
        "not issued by the agency", expected="a path to the given root", found=f"issuer {_shown(last.issuer)}"
    )


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError) as error:
        raise PathError(
            "a certificate is not issued by the next one",
            found=f"{_shown(certificate.subject)} below {_shown(issuer.subject)}",
        ) from error


def _check_certificate(certificate: x509.Certificate, at_utc_ns: int | None) -> None:
    """Check what holds for every certificate of a path."""
    key = load_certificate(certificate_der(certificate)).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PathError(f"certificate of {_shown(certificate.subject)}", expected="a key on P-256")
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _KNOWN_EXTENSIONS):
            raise PathError(
                f"certificate of {_shown(certificate.subject)}",
                found=f"an unknown critical extension {extension.oid.dotted_string}",
            )
    if at_utc_ns is None:
        return
    moment = _EPOCH + timedelta(microseconds=at_utc_ns // 1000)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        raise PathError(
            f"certificate of {_shown(certificate.subject)} is not valid at that time",
            expected=f"{certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}",
            found=f"{moment}",
        )


def _check_authority(certificate: x509.Certificate, intermediates_below: int, role: Role) -> None:
    """Check that a certificate may issue, that deep, and for that role."""
    name = _shown(certificate.subject)
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        raise PathError(f"{name} may not issue certificates")
    if constraints.path_length is not None and constraints.path_length < intermediates_below:
        raise PathError(
            f"{name} may not issue that deep",
            expected=f"at most {constraints.path_length} intermediates below it",
            found=f"{intermediates_below}",
        )
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and role.oid not in {purpose.dotted_string for purpose in purposes}:
        raise PathError(f"{name} may not issue certificates for {role}")


def _check_leaf(leaf: x509.Certificate, role: Role) -> None:
    """Check that a leaf has exactly one role, this one, and cannot issue."""
    constraints = _extension(leaf, x509.BasicConstraints)
    usage = _extension(leaf, x509.KeyUsage)
    if constraints is None or constraints.ca:
        raise PathError("the signer's certificate is not one for signing", expected="one that cannot issue")
    if usage is None or not usage.digital_signature or usage.key_cert_sign:
        raise PathError("the signer's certificate is not one for signing", expected="digitalSignature alone")
    purposes = set(_extension(leaf, x509.ExtendedKeyUsage) or ())
    roles = {each.dotted_string for each in purposes if each.dotted_string.startswith(f"{ROLE_ARC}.")}
    if roles != {role.oid}:
        names = sorted(str(each) for each in Role if each.oid in roles) or ["none"]
        raise PathError("wrong role", expected=f"{role}", found=", ".join(names))
    if not {each for each in purposes if each.dotted_string not in roles} <= _COMPANIONS:
        raise PathError("the signer's certificate has a purpose that is no business of ours")


def _extension(certificate: x509.Certificate, kind: type[ExtensionT]) -> ExtensionT | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _subject_id(leaf: x509.Certificate) -> str:
    names = list(leaf.subject)
    if len(names) != 1 or names[0].oid != NameOID.COMMON_NAME or not _SUBJECT_ID.fullmatch(str(names[0].value)):
        raise PathError("the subject is no id", expected="one common name", found=_shown(leaf.subject))
    return str(names[0].value)


def _shown(name: x509.Name) -> str:
    return ascii(name.rfc4514_string()[:80])
