"""Detached CMS signatures in one strict profile (docs/formats.md, "Two ways of signing"; RFC 5652, RFC 5754).

All of the file but the certificates and the signature value is a function of the signed bytes and of the leaf.
So a reader takes those two out, builds the file again, and requires the same bytes: nothing is left that could
be altered unnoticed. `openssl cms -verify` accepts what is made here.
"""

import hashlib
from typing import Annotated

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ObjectIdentifier

from evidence.der import (
    ECDSA_WITH_SHA256,
    Algorithm,
    CertificateError,
    DerCertificate,
    certificate_der,
    strict_certificate,
)
from evidence.errors import EvidenceError
from evidence.signer import SignatureError, Signer, verify_digest

__all__ = ["CMS_LIMIT_BYTES", "CmsError", "CmsSigner", "sign_cms", "verify_cms"]

CMS_LIMIT_BYTES = 64 * 1024
"""A longer file is refused unread; ours have some 1.5 KB."""
_SIGNED_DATA = ObjectIdentifier("1.2.840.113549.1.7.2")
_DATA = ObjectIdentifier("1.2.840.113549.1.7.1")
_CONTENT_TYPE = ObjectIdentifier("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = ObjectIdentifier("1.2.840.113549.1.9.4")
_SHA256 = ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_MOST_CERTIFICATES = 8  # a path has four at most; putting them in order takes the square of their number
_VERSION = 1  # of SignedData and SignerInfo, where the signer is named by issuer and serial number


class CmsError(EvidenceError):
    """A signature file is not of the profile, or does not sign the bytes beside it."""


class CmsSigner(msgspec.Struct, frozen=True):
    """Who made a signature that checked out; whether its certificates count, `verify_path` says."""

    leaf: x509.Certificate
    intermediates: tuple[x509.Certificate, ...]


@asn1.sequence
class _Attribute:
    kind: ObjectIdentifier
    values: asn1.SetOf[ObjectIdentifier | bytes]


@asn1.sequence
class _Attributes:
    """Wraps the signed attributes so that their SET OF can be had with its own tag, as it is signed."""

    attributes: asn1.SetOf[_Attribute]


@asn1.sequence
class _Issuer:
    name: asn1.TLV
    serial: int


@asn1.sequence
class _SignerInfo:
    version: int
    signer: _Issuer
    digest: Algorithm
    attributes: Annotated[asn1.SetOf[_Attribute], asn1.Implicit(0)]
    algorithm: Algorithm
    signature: bytes


@asn1.sequence
class _Detached:
    content_type: ObjectIdentifier


@asn1.sequence
class _SignedData:
    version: int
    digests: asn1.SetOf[Algorithm]
    content: _Detached
    certificates: Annotated[asn1.SetOf[DerCertificate], asn1.Implicit(0)]
    signers: asn1.SetOf[_SignerInfo]


@asn1.sequence
class _ContentInfo:
    content_type: ObjectIdentifier
    content: Annotated[_SignedData, asn1.Explicit(0)]


def sign_cms(content: bytes, signer: Signer) -> bytes:
    """Sign bytes; returns the DER of the `.p7s` file, with the signer's whole chain in it."""
    attributes = _attributes(content)
    certificates = [asn1.decode_der(DerCertificate, certificate_der(each)) for each in signer.chain]
    signature = signer.sign_digest(hashlib.sha256(_signed_bytes(attributes)).digest())
    return asn1.encode_der(_assembled(certificates[0], certificates, attributes, signature))


def verify_cms(content: bytes, signature_file: bytes) -> CmsSigner:
    """Verify the signature over `content` and return its maker, whose certificates are yet to be judged.

    Raises:
        CmsError: not the strict profile, or not a good signature of these bytes.
    """
    if len(signature_file) > CMS_LIMIT_BYTES:
        raise CmsError(
            "signature file too long",
            expected=f"at most {CMS_LIMIT_BYTES} bytes",
            found=f"{len(signature_file)} bytes",
        )
    try:
        data = asn1.decode_der(_ContentInfo, signature_file).content
    except ValueError as error:
        raise CmsError("not a signature file of the profile", found=ascii(str(error)[:120])[1:-1]) from error
    certificates, signers = data.certificates.as_list(), data.signers.as_list()
    if len(signers) != 1:
        raise CmsError("not a signature file of the profile", expected="one signer", found=f"{len(signers)}")
    if len(certificates) > _MOST_CERTIFICATES:
        raise CmsError(
            "not a signature file of the profile",
            expected=f"at most {_MOST_CERTIFICATES} certificates",
            found=f"{len(certificates)}",
        )
    path = _ordered(certificates, signers[0].signer)
    attributes = _attributes(content)
    if asn1.encode_der(_Attributes(attributes=signers[0].attributes)) != asn1.encode_der(attributes):
        raise CmsError("the signature is not of these bytes", remedy="one of the two files was altered")
    expected = _assembled(path[0], certificates, attributes, signers[0].signature)
    if asn1.encode_der(expected) != signature_file:
        raise CmsError("not a signature file of the profile", found="other bytes than its values encode to")
    leaf, *intermediates = _certificates(path)
    _verify(leaf, attributes, signers[0].signature)
    return CmsSigner(leaf=leaf, intermediates=tuple(intermediates))


def _attributes(content: bytes) -> _Attributes:
    digest = hashlib.sha256(content).digest()
    return _Attributes(
        attributes=asn1.SetOf(
            [
                _Attribute(kind=_CONTENT_TYPE, values=asn1.SetOf([_DATA])),
                _Attribute(kind=_MESSAGE_DIGEST, values=asn1.SetOf([digest])),
            ]
        )
    )


def _signed_bytes(attributes: _Attributes) -> bytes:
    """Return what is signed: the attributes with the tag of a SET OF (RFC 5652, section 5.4)."""
    sequence = asn1.encode_der(attributes)
    return sequence[2:]  # the wrapper's tag and its length, which is one byte below 128


def _assembled(
    leaf: DerCertificate, certificates: list[DerCertificate], attributes: _Attributes, signature: bytes
) -> _ContentInfo:
    signer_info = _SignerInfo(
        version=_VERSION,
        signer=_Issuer(name=leaf.tbs.issuer, serial=leaf.tbs.serial),
        digest=Algorithm(algorithm=_SHA256),
        attributes=attributes.attributes,
        algorithm=Algorithm(algorithm=ECDSA_WITH_SHA256),
        signature=signature,
    )
    signed_data = _SignedData(
        version=_VERSION,
        digests=asn1.SetOf([Algorithm(algorithm=_SHA256)]),
        content=_Detached(content_type=_DATA),
        certificates=asn1.SetOf(certificates),
        signers=asn1.SetOf([signer_info]),
    )
    return _ContentInfo(content_type=_SIGNED_DATA, content=signed_data)


def _ordered(certificates: list[DerCertificate], signer: _Issuer) -> list[DerCertificate]:
    """Bring the set of certificates into the order of the path: each issued by the next, none left over."""
    rest = list(certificates)
    path: list[DerCertificate] = []
    while rest:
        fitting = [each for each in rest if _follows(path, each, signer)]
        if len(fitting) != 1:
            raise CmsError("the certificates are no path", expected="the signer's, then each one's issuer")
        path.append(fitting[0])
        rest.remove(fitting[0])
    if not path:
        raise CmsError("no certificate in the signature file")
    return path


def _follows(path: list[DerCertificate], candidate: DerCertificate, signer: _Issuer) -> bool:
    tbs = candidate.tbs
    if not path:
        return tbs.serial == signer.serial and _same(tbs.issuer, signer.name)
    return _same(tbs.subject, path[-1].tbs.issuer)


def _same(one: asn1.TLV, other: asn1.TLV) -> bool:
    return one.tag_bytes == other.tag_bytes and one.data == other.data


def _certificates(path: list[DerCertificate]) -> list[x509.Certificate]:
    try:
        return [strict_certificate(each) for each in path]
    except CertificateError as error:
        raise CmsError("an unacceptable certificate in the signature file", found=str(error)) from error


def _verify(leaf: x509.Certificate, attributes: _Attributes, signature: bytes) -> None:
    try:
        public_key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CmsError("the signer's certificate holds no usable key") from error
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        raise CmsError("the signer's certificate holds no usable key", expected="a key on P-256")
    try:
        verify_digest(public_key, hashlib.sha256(_signed_bytes(attributes)).digest(), signature)
    except SignatureError as error:
        raise CmsError("the signature over the signed attributes is not good", found=str(error)) from error
