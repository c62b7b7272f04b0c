"""Certificates as strict DER: what `cryptography.x509` would forgive is refused before it sees it.

A certificate inside a CMS is covered by its issuer's signature only from `tbs_certificate` inwards; the outer
algorithm and the unused bits of the signature are not, so they are held to one form here (RFC 5280, section
4.1).
"""

from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ObjectIdentifier

from evidence.errors import EvidenceError

__all__ = [
    "ECDSA_WITH_SHA256",
    "Algorithm",
    "CertificateError",
    "DerCertificate",
    "certificate_der",
    "load_certificate",
    "strict_certificate",
]

ECDSA_WITH_SHA256 = ObjectIdentifier("1.2.840.10045.4.3.2")


class CertificateError(EvidenceError):
    """A certificate is not in the one form that Preroll accepts."""


@asn1.sequence
class Algorithm:
    """An AlgorithmIdentifier without parameters, the only kind in a Preroll signature."""

    algorithm: ObjectIdentifier


@asn1.sequence
class _ToBeSigned:
    version: Annotated[int, asn1.Explicit(0)]
    serial: int
    signature: Algorithm
    issuer: asn1.TLV
    validity: asn1.TLV
    subject: asn1.TLV
    public_key: asn1.TLV
    extensions: Annotated[asn1.TLV, asn1.Explicit(3)]


@asn1.sequence
class DerCertificate:
    """An X.509 certificate, opened as far as its outer form needs."""

    tbs: _ToBeSigned
    algorithm: Algorithm
    signature: asn1.BitString


def strict_certificate(certificate: DerCertificate) -> x509.Certificate:
    """Turn an opened certificate into one of `cryptography`.

    Raises:
        CertificateError: not version 3, not ECDSA with SHA-256, a serial number that is not positive, unused
            bits in the signature, or not parseable.
    """
    tbs = certificate.tbs
    checks = (
        (tbs.version == 2, "version 3"),  # noqa: PLR2004 - v3 is written as 2, RFC 5280
        (tbs.serial > 0, "a positive serial number"),
        (tbs.signature.algorithm == ECDSA_WITH_SHA256, "ecdsa-with-SHA256"),
        (certificate.algorithm.algorithm == ECDSA_WITH_SHA256, "ecdsa-with-SHA256 outside too"),
        (certificate.signature.padding_bits() == 0, "a signature of whole bytes"),
    )
    for good, expected in checks:
        if not good:
            raise CertificateError("not an acceptable certificate", expected=expected)
    try:
        return x509.load_der_x509_certificate(asn1.encode_der(certificate))
    except ValueError as error:
        raise CertificateError("not an acceptable certificate", found=_described(error)) from error


def load_certificate(der: bytes) -> x509.Certificate:
    """Read one certificate in strict DER.

    Raises:
        CertificateError: see `strict_certificate`; also where the bytes are not DER.
    """
    try:
        opened = asn1.decode_der(DerCertificate, der)
    except ValueError as error:
        raise CertificateError("not an acceptable certificate", found=_described(error)) from error
    return strict_certificate(opened)


def certificate_der(certificate: x509.Certificate) -> bytes:
    """DER of a certificate."""
    return certificate.public_bytes(serialization.Encoding.DER)


def _described(error: Exception) -> str:
    return ascii(str(error)[:120])[1:-1]
