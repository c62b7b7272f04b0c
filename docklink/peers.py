"""Who the other end is: its certificates held against the agency, its role, its time and the revocations.

OpenSSL has verified the signatures, and that the peer holds its key, when these functions see a chain; it
knows neither the roles nor a camera's idea of time: both are judged here, without I/O, time as an argument.

Time: a camera may have no clock. It holds the end of each of the dock's certificates against its *time floor*,
the latest time that it durably learned from an authenticated source: what had expired by then is refused. The
dock judges by its own clock; a camera whose certificate has expired is accepted with `expired` set, because its
clips are worth more than its renewal, and every clip is verified by itself.
"""

import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

import msgspec
from cryptography import x509

from docklink.errors import PeerRefusedError
from evidence.der import CertificateError, certificate_der, load_certificate
from evidence.paths import PathError, VerifiedIdentity, verify_path
from evidence.revocation import utc_ns_of
from evidence.roles import Role

__all__ = ["Peer", "anonymous", "fingerprint", "judge_camera", "judge_dock", "judge_self_signed"]


class Peer(msgspec.Struct, frozen=True):
    """The other end of a session.

    `role` and `subject_id` are `None` in an enrolment. `not_after_utc_ns` is the earliest end of its path;
    `expired` says that it has passed by the dock's clock: raise an alarm, renew.
    """

    subject_id: str | None
    role: Role | None
    fingerprint: str
    serials: tuple[int, ...] = ()
    not_after_utc_ns: int | None = None
    expired: bool = False


def judge_dock(
    chain: Sequence[bytes],
    roots: Sequence[x509.Certificate],
    *,
    time_floor_utc_ns: int,
    revoked_serials: AbstractSet[int],
) -> Peer:
    """Judge a dock's chain (DER, leaf first) as a camera does.

    A revoked certificate counts no more from the moment that the camera knows of it: without a clock it cannot
    tell that an effective time is still to come.

    Raises:
        PeerRefusedError: not of the agency, not a dock-link certificate, expired, revoked.
    """
    certificates, identity = _walk(chain, roots, Role.DOCK_LINK)
    for serial in identity.serials:
        if serial in revoked_serials:
            raise PeerRefusedError("the dock's certificate is revoked", found=f"serial number {serial:x}")
    not_after = min(utc_ns_of(each.not_valid_after_utc) for each in certificates)
    if not_after < time_floor_utc_ns:
        raise PeerRefusedError(
            "the dock's certificate has expired",
            expected="an end after the latest time that this camera was told",
            found=_shown(min(each.not_valid_after_utc for each in certificates)),
            remedy="issue the dock's certificates again",
        )
    return _peer(certificates[0], identity, not_after, expired=False)


def judge_camera(
    chain: Sequence[bytes],
    roots: Sequence[x509.Certificate],
    *,
    now_utc_ns: int,
    revocations: Mapping[int, int],
) -> Peer:
    """Judge a camera's chain (DER, leaf first) as a dock does.

    Args:
        chain: what the camera sent.
        roots: the agency's.
        now_utc_ns: the dock's clock, nanoseconds since 1970.
        revocations: serial numbers, with the time since when they count no more, nanoseconds since 1970.

    Raises:
        PeerRefusedError: not of the agency, not a camera-link certificate, not valid yet, revoked.
    """
    certificates, identity = _walk(chain, roots, Role.CAMERA_LINK)
    for serial in identity.serials:
        if serial in revocations and revocations[serial] <= now_utc_ns:
            raise PeerRefusedError("the camera's certificate is revoked", found=f"serial number {serial:x}")
    newest = max(each.not_valid_before_utc for each in certificates)
    if utc_ns_of(newest) > now_utc_ns:
        raise PeerRefusedError(
            "the camera's certificate is not valid yet",
            found=f"valid from {_shown(newest)}",
            remedy="see that the dock's clock is right",
        )
    not_after = min(utc_ns_of(each.not_valid_after_utc) for each in certificates)
    return _peer(certificates[0], identity, not_after, expired=not_after < now_utc_ns)


def judge_self_signed(chain: Sequence[bytes]) -> Peer:
    """Take whoever an enrolment finds; people compare the fingerprint.

    Raises:
        PeerRefusedError: not one certificate alone.
    """
    if len(chain) != 1:
        raise PeerRefusedError(
            "no camera to enrol", expected="one self-signed certificate", found="a chain of an agency"
        )
    return Peer(subject_id=None, role=None, fingerprint=fingerprint(chain[0]))


def anonymous() -> Peer:
    """Return the dock as a camera in enrolment sees it: nobody that it could know."""
    return Peer(subject_id=None, role=None, fingerprint="")


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate's DER, lower-case hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def _walk(
    chain: Sequence[bytes], roots: Sequence[x509.Certificate], role: Role
) -> tuple[tuple[x509.Certificate, ...], VerifiedIdentity]:
    certificates = _load(chain)
    try:
        identity = verify_path(certificates[0], certificates[1:], roots, role, None)
    except PathError as error:
        raise PeerRefusedError(f"the other end is no {role} of this agency", found=str(error)) from error
    return certificates, identity


def _load(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    if not chain:
        raise PeerRefusedError("the other end has shown no certificate")
    try:
        return tuple(load_certificate(der) for der in chain)
    except CertificateError as error:
        raise PeerRefusedError("the other end has shown an unusable certificate", found=str(error)) from error


def _peer(leaf: x509.Certificate, identity: VerifiedIdentity, not_after_utc_ns: int, *, expired: bool) -> Peer:
    return Peer(
        subject_id=identity.subject_id,
        role=identity.role,
        fingerprint=fingerprint(certificate_der(leaf)),
        serials=identity.serials,
        not_after_utc_ns=not_after_utc_ns,
        expired=expired,
    )


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
