"""Revoking a certificate: the agency's revocation list, written anew with one entry more (docs/formats.md)."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

from evidence.agency import load_enrol, load_root
from evidence.certificates import NEVER, Authority, IssueError
from evidence.revocation import check_crl, load_crl, shown
from evidence.roles import ROLE_ARC
from evidence.storage import publish_file

__all__ = ["REASON_OID", "Revoked", "revoke"]

REASON_OID = x509.ObjectIdentifier(f"{ROLE_ARC}.7")
"""Entry extension with the reason in the words of the person who revoked: a UTF8String."""
_REASON_LIMIT = 200
_REASONS = {
    reason.value.lower(): reason
    for reason in x509.ReasonFlags
    if reason not in (x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl)
}
_UTF8_STRING = 0x0C
_SHORT_LENGTH = 0x80
_PUBLIC_MODE = 0o644


class Revoked(msgspec.Struct, frozen=True):
    """What `revoke` wrote."""

    crl: Path
    number: int
    subject: str
    serial: str
    effective: datetime


def revoke(
    certificate_file: Path,
    agency: Path,
    reason: str,
    *,
    effective: datetime | None = None,
    now: datetime | None = None,
) -> Revoked:
    """Revoke the first certificate of a PEM file; writes `crl/enrol.crl` or `crl/root.crl` of the agency.

    Earlier entries stay; a certificate that is revoked already can only be revoked for an earlier time.

    Args:
        certificate_file: the certificate, as `preroll keys issue` wrote it.
        agency: the agency's directory with the key of the issuer.
        reason: words; those of RFC 5280 (`keyCompromise`, `superseded`, …) also become the entry's code.
        effective: what was signed before counts; now if not given. Rounded down to a second.
        now: for tests.

    Raises:
        IssueError: the certificate is not the agency's, the reason unfit, or it is revoked already.
        RevocationError: the list that is there is not the agency's.
        StorageError: the list cannot be written.
    """
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    since = (effective or moment).astimezone(UTC).replace(microsecond=0)
    if since > moment:
        raise IssueError("a revocation cannot lie ahead", expected=f"{moment} or before", found=str(since))
    certificate = _load(certificate_file)
    stem, authority = _issuer(certificate, agency)
    path = agency / "crl" / f"{stem}.crl"
    entries, number = _earlier(path, authority)
    earlier = entries.pop(certificate.serial_number, None)
    if earlier is not None and earlier.revocation_date_utc <= since:
        raise IssueError("revoked already", found=f"with effect from {earlier.revocation_date_utc}")
    entries[certificate.serial_number] = _entry(certificate.serial_number, since, reason)
    _write(path, authority, list(entries.values()), number + 1, moment)
    return Revoked(
        crl=path,
        number=number + 1,
        subject=shown(certificate.subject),
        serial=f"{certificate.serial_number:x}",
        effective=since,
    )


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as error:
        raise IssueError(f"no certificate {path}", found=error.strerror or "") from error
    except (ValueError, x509.InvalidVersion) as error:
        raise IssueError(
            f"no certificate in {path}", expected="PEM form, as `preroll keys issue` writes it"
        ) from error


def _issuer(certificate: x509.Certificate, agency: Path) -> tuple[str, Authority]:
    """Load the authority of the agency that issued a certificate: the root for enrol, enrol for all others.

    Only the issuer's key has to be there: whoever revokes enrol may have lost its key, or have it nowhere near.
    """
    by_root = certificate.issuer in _subjects(agency / "root" / "root.pem")
    stem, authority = ("root", load_root(agency)) if by_root else ("enrol", load_enrol(agency))
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, ValueError) as error:
        raise IssueError(
            "not a certificate that this agency issued", found=shown(certificate.issuer)
        ) from error
    if certificate == authority.certificate:
        raise IssueError("a root cannot be revoked", remedy="stop trusting it: make a new agency")
    return stem, authority


def _subjects(path: Path) -> tuple[x509.Name, ...]:
    """Name the certificates of a file; a root that is off line altogether has none here."""
    return (_load(path).subject,) if path.exists() else ()


def _earlier(path: Path, authority: Authority) -> tuple[dict[int, x509.RevokedCertificate], int]:
    if not path.exists():
        return {}, 0
    crl = load_crl(path)
    check_crl(crl, authority.certificate)
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return {entry.serial_number: entry for entry in crl}, number


def _entry(serial: int, since: datetime, reason: str) -> x509.RevokedCertificate:
    words = reason.strip().encode()
    if not words or len(words) > _REASON_LIMIT or not reason.isprintable():
        raise IssueError("not a reason", expected=f"1 to {_REASON_LIMIT} bytes of printable text")
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
    code = _REASONS.get(reason.strip().lower().replace("-", "").replace("_", "").replace(" ", ""))
    if code is not None:
        builder = builder.add_extension(x509.CRLReason(code), critical=False)
    return builder.add_extension(
        x509.UnrecognizedExtension(REASON_OID, _utf8_string(words)), critical=False
    ).build()


def _write(
    path: Path, authority: Authority, entries: list[x509.RevokedCertificate], number: int, now: datetime
) -> None:
    """Publish the list. It has no next update: a verifier says of when its list is, and no clock ends it."""
    issuer = authority.certificate
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now)
        .next_update(NEVER)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    crl = builder.sign(authority.key, hashes.SHA256())
    path.parent.mkdir(mode=0o755, exist_ok=True)
    publish_file(path, crl.public_bytes(serialization.Encoding.PEM))
    path.chmod(_PUBLIC_MODE)


def _utf8_string(text: bytes) -> bytes:
    """DER of a UTF8String of at most 255 bytes."""
    length = bytes([len(text)]) if len(text) < _SHORT_LENGTH else bytes([0x81, len(text)])
    return bytes([_UTF8_STRING]) + length + text
