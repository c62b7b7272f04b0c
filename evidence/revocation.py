"""Certificate revocation lists: reading them, and what they say of a path (RFC 5280, section 5).

A revocation has an effective time, the entry's `revocationDate`. What the key signed before it counts; so a
document counts by the earliest time that an independent party attests it existed.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.cms import CmsSigner
from evidence.errors import EvidenceError
from evidence.paths import issued_links

__all__ = [
    "CrlFacts",
    "RevocationError",
    "Revocations",
    "Standing",
    "check_crl",
    "load_crl",
    "load_revocations",
    "shown",
    "utc_ns_of",
]

_LIMIT_BYTES = 16 * 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PEM_START = b"-----BEGIN"
_MALFORMED = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises when it opens parts of a list that it had not looked into before."""


class RevocationError(EvidenceError):
    """A revocation list cannot be used."""


class CrlFacts(msgspec.Struct, frozen=True):
    """What a report says of a list: whose, its number, of when (nanoseconds since 1970)."""

    issuer: str
    number: int
    utc_ns: int


class Standing(msgspec.Struct, frozen=True):
    """What the given lists say of a path: since when one of it is revoked, whose lists are lacking."""

    revoked_utc_ns: int | None
    lacking: tuple[str, ...]


class Revocations:
    """The lists given to a verification; without any, nothing was checked and the answer has to say so."""

    def __init__(self, lists: Sequence[x509.CertificateRevocationList] = ()) -> None:
        self._lists = tuple(sorted(lists, key=_number))

    @property
    def given(self) -> bool:
        """Whether there is any list."""
        return bool(self._lists)

    @property
    def facts(self) -> tuple[CrlFacts, ...]:
        """The lists, the oldest first."""
        return tuple(
            CrlFacts(issuer=shown(each.issuer), number=_number(each), utc_ns=utc_ns_of(each.last_update_utc))
            for each in self._lists
        )

    def standing(self, signer: CmsSigner, roots: Sequence[x509.Certificate]) -> Standing:
        """Look a verified path up; of several lists of one issuer the one with the highest number counts.

        Raises:
            RevocationError: a list names an issuer of the path, and is not signed by it.
        """
        revoked: list[int] = []
        lacking: list[str] = []
        for certificate, issuer in issued_links(signer.leaf, signer.intermediates, roots):
            fitting = [each for each in self._lists if each.issuer == issuer.subject]
            if not fitting:
                lacking.append(shown(issuer.subject))
                continue
            for each in fitting:
                check_crl(each, issuer)
            entry = fitting[-1].get_revoked_certificate_by_serial_number(certificate.serial_number)
            if entry is not None:
                revoked.append(utc_ns_of(entry.revocation_date_utc))
        return Standing(revoked_utc_ns=min(revoked, default=None), lacking=tuple(lacking))


def load_revocations(paths: Sequence[Path]) -> Revocations:
    """Read lists, each in PEM or DER.

    Raises:
        RevocationError: one is unreadable, or of a kind that cannot be used.
    """
    return Revocations([load_crl(path) for path in paths])


def load_crl(path: Path) -> x509.CertificateRevocationList:
    """Read one list; whether its issuer signed it, `check_crl` says.

    Raises:
        RevocationError: missing, unreadable, without a number, or with a critical extension, which would mean
            that it is not a whole list.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT_BYTES)
    except OSError as error:
        raise RevocationError(f"no revocation list {path}", found=error.strerror or "") from error
    try:
        pem = data.startswith(_PEM_START)
        crl = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
        usable = _is_usable(crl)
    except _MALFORMED as error:
        raise RevocationError(f"unusable revocation list {path}", expected="an X.509 CRL") from error
    if not usable:
        raise RevocationError(
            f"unusable revocation list {path}",
            expected="a whole list with a number, SHA-256, no critical extension",
        )
    return crl


def check_crl(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    """Check that a list is signed by the issuer that it names.

    Raises:
        RevocationError: it is not.
    """
    key = issuer.public_key()
    try:
        good = isinstance(key, ec.EllipticCurvePublicKey) and crl.is_signature_valid(key)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        good = False
    if not good:
        raise RevocationError(f"the revocation list of {shown(issuer.subject)} is not signed by it")


def utc_ns_of(moment: datetime) -> int:
    """Nanoseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def shown(name: x509.Name) -> str:
    """Write a name so that it harms no terminal."""
    return ascii(name.rfc4514_string()[:80])[1:-1]


def _is_usable(crl: x509.CertificateRevocationList) -> bool:
    """Look into every part that is used later, so that a malformed one raises here; see `load_crl`."""
    shown(crl.issuer)
    utc_ns_of(crl.last_update_utc)
    for entry in crl:
        utc_ns_of(entry.revocation_date_utc)
    extensions = (*crl.extensions, *(each for entry in crl for each in entry.extensions))
    return (
        not any(each.critical for each in extensions)
        and any(isinstance(each.value, x509.CRLNumber) for each in crl.extensions)
        and isinstance(crl.signature_hash_algorithm, hashes.SHA256)
    )


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
