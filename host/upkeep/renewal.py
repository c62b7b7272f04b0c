"""Renewing a camera's link certificate with the dock's `link-ca` key, which can issue nothing else.

A renewed certificate is valid from the beginning of the `link-ca` certificate on: a dock whose clock is ahead
must not make a camera that every other dock takes for not valid yet.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from docklink.peers import Peer, judge_camera
from evidence.certificates import LINK_LIFETIME, Authority, check_signing_request, issue_leaf
from evidence.clock import format_utc
from evidence.der import certificate_der
from evidence.errors import EvidenceError
from evidence.revocation import utc_ns_of
from evidence.roles import LINK_CA, Role
from host.upkeep.revocations import RevocationFiles

__all__ = ["RenewalError", "Renewals", "Renewed", "load_link_ca"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIFETIME_NS = int(LINK_LIFETIME / timedelta(microseconds=1)) * 1000
_WORTHWHILE_NS = 24 * 3600 * 1_000_000_000


class RenewalError(EvidenceError):
    """This dock cannot renew a link certificate; the camera keeps the one that it has."""


class Renewed(msgspec.Struct, frozen=True):
    """A certificate that was issued: the chain (DER, leaf first), and what a log says of it."""

    chain: tuple[bytes, ...]
    peer: Peer

    @property
    def not_after_utc_ns(self) -> int:
        """Until when its path is valid."""
        return self.peer.not_after_utc_ns or 0

    @property
    def serial(self) -> str:
        """Serial number of the leaf, hexadecimal."""
        return f"{self.peer.serials[0]:x}"


class Renewals:
    """Decides and issues; no I/O."""

    def __init__(
        self,
        authority: Authority,
        own: Sequence[x509.Certificate],
        roots: Sequence[x509.Certificate],
        revocations: RevocationFiles,
        *,
        part: float,
    ) -> None:
        """Take the `link-ca` key.

        Args:
            authority: as `load_link_ca` returns it.
            own: the dock's own link certificate and its intermediates: its clock is held against them.
            roots: the agency's.
            revocations: nothing is issued below what they revoke.
            part: a certificate is renewed once less than this part of a new one's life is left.
        """
        self._authority = authority
        self._own = tuple(own)
        self._roots = tuple(roots)
        self._revocations = revocations
        self._margin_ns = int(_LIFETIME_NS * part)

    def due(self, not_after_utc_ns: int, now_utc_ns: int) -> bool:
        """Whether a certificate that is valid until then is to be renewed now."""
        return not_after_utc_ns - now_utc_ns < self._margin_ns

    def require_worthwhile(self, not_after_utc_ns: int, now_utc_ns: int) -> None:
        """Make sure, before a camera is asked for a key, that a new certificate would be good for something.

        Raises:
            RenewalError: this dock's clock is not within its own certificates, or what it can issue ends about
                when the present one does.
        """
        for each in (*self._own, self._authority.certificate):
            if not utc_ns_of(each.not_valid_before_utc) <= now_utc_ns <= utc_ns_of(each.not_valid_after_utc):
                raise RenewalError(
                    "no renewal: this dock's own certificate is over, or its clock is wrong",
                    expected=f"a time up to {each.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC",
                    found=format_utc(now_utc_ns),
                    remedy="see to the clock, or issue the dock's certificates again",
                )
        end_ns = min(now_utc_ns + _LIFETIME_NS, utc_ns_of(self._authority.certificate.not_valid_after_utc))
        if end_ns < not_after_utc_ns + _WORTHWHILE_NS:
            raise RenewalError(
                "no renewal: this dock's link-ca certificate is nearly over",
                found=f"it ends {self._authority.certificate.not_valid_after_utc:%Y-%m-%d}",
                remedy="issue the dock's certificates again",
            )

    def issue(self, device: str, request_der: bytes, now_utc_ns: int) -> Renewed:
        """Issue a certificate for a camera's signing request, and judge it as any dock would.

        Raises:
            IssueError: the request is unfit or for another device.
            RenewalError: it is no request.
            PeerRefusedError: no dock would take the certificate; the link-ca is revoked, for example.
        """
        try:
            request = x509.load_der_x509_csr(request_der)
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise RenewalError("no signing request", expected="PKCS #10 in DER form") from error
        key = check_signing_request(request, device)
        now = _EPOCH + timedelta(microseconds=now_utc_ns // 1000)
        since = self._authority.certificate.not_valid_before_utc
        certificates = issue_leaf(Role.CAMERA_LINK, device, key, self._authority, now, since=since)
        chain = tuple(certificate_der(each) for each in certificates)
        peer = judge_camera(chain, self._roots, now_utc_ns=now_utc_ns, revocations=self._revocations.serials)
        return Renewed(chain, peer)


def load_link_ca(keys: Path) -> Authority | None:
    """Load `link-ca.key` and `link-ca.pem`; `None` where a dock was given neither.

    Raises:
        RenewalError: one of them is missing or unusable, or they are no pair.
    """
    paths = [keys / f"{LINK_CA}.{kind}" for kind in ("key", "pem")]
    if not any(path.exists() for path in paths):
        return None
    try:
        key = serialization.load_pem_private_key(paths[0].read_bytes(), None)
        certificates = x509.load_pem_x509_certificates(paths[1].read_bytes())
    except OSError as error:
        raise RenewalError(f"no {error.filename}", found=error.strerror or "") from error
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise RenewalError(
            f"unusable {LINK_CA} files in {keys}", expected="what `preroll keys issue` wrote"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificates[0].public_key() != key.public_key():
        raise RenewalError(
            f"unusable {LINK_CA} files in {keys}", found="a key and a certificate that are no pair"
        )
    return Authority(key=key, certificate=certificates[0], above=tuple(certificates[1:]))
