"""Certificates for a new camera, from the agency's directory on the operator's machine."""

import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from docklink.messages import SigningRequests
from docklink.peers import fingerprint
from evidence.agency import load_enrol
from evidence.certificates import Authority, IssueError, check_signing_request, issue_leaf
from evidence.der import certificate_der
from evidence.errors import EvidenceError
from evidence.paths import load_roots, verify_path
from evidence.roles import Role
from evidence.storage import StorageError, create_file, rename, sync_directory

__all__ = ["AgencyDesk", "Issued"]


class Issued(msgspec.Struct, frozen=True):
    """Both certificates with their intermediates, leaf first."""

    evidence: tuple[x509.Certificate, ...]
    link: tuple[x509.Certificate, ...]

    @property
    def evidence_serial(self) -> str:
        """Serial number of the evidence certificate, hexadecimal."""
        return f"{self.evidence[0].serial_number:x}"

    @property
    def link_serial(self) -> str:
        """Serial number of the link certificate, hexadecimal."""
        return f"{self.link[0].serial_number:x}"


class AgencyDesk:
    """An agency's directory: its root, and its enrol key, which is held for the length of one command."""

    def __init__(self, agency: Path) -> None:
        """Load root and enrol key.

        Raises:
            IssueError: the directory cannot be used.
            CertificateError: there is no usable root.
        """
        self._agency = agency
        self._authority: Authority = load_enrol(agency)
        roots = load_roots(agency / "root" / "root.pem")
        if len(roots) != 1:
            raise IssueError("root/root.pem", expected="one root", found=f"{len(roots)} certificates")
        self.root = roots[0]
        self.root_der = certificate_der(self.root)
        self.fingerprint = fingerprint(self.root_der)

    def issue(self, device: str, requests: SigningRequests, *, now: datetime | None = None) -> Issued:
        """Issue both certificates; each request has to prove that the camera holds the key.

        Raises:
            IssueError: a request is not as it has to be, or both are for one key.
            PathError: the enrol key is not one of the agency's root.
        """
        moment = now or datetime.now(UTC)
        keys = {
            role: check_signing_request(_load(data), device)
            for role, data in ((Role.CAMERA_EVIDENCE, requests.evidence), (Role.CAMERA_LINK, requests.link))
        }
        if len({key.public_numbers() for key in keys.values()}) != len(keys):
            raise IssueError("two signing requests are for one key", expected="a key of its own for each")
        chains = {role: issue_leaf(role, device, key, self._authority, moment) for role, key in keys.items()}
        for role, chain in chains.items():
            verify_path(chain[0], chain[1:], (self.root,), role, None)
        return Issued(chains[Role.CAMERA_EVIDENCE], chains[Role.CAMERA_LINK])

    def keep(self, device: str, issued: Issued) -> Path:
        """Keep copies, for a revocation later: `enrolled/DEVICE/SERIAL/evidence.pem` and `link.pem`.

        Raises:
            StorageError: they cannot be written.
        """
        place = self._agency / "enrolled" / device / issued.evidence_serial
        making = place.with_name(f".making-{secrets.token_hex(4)}")
        try:
            making.mkdir(parents=True, mode=0o755)
        except OSError as error:
            raise StorageError(f"cannot make {making.parent}", error) from error
        for role, chain in ((Role.CAMERA_EVIDENCE, issued.evidence), (Role.CAMERA_LINK, issued.link)):
            create_file(making / f"{role.file_stem}.pem", _pem(chain))
        sync_directory(making)
        rename(making, place)
        sync_directory(place.parent)
        return place

    def recipients(self) -> tuple[str, ...]:
        """Return who can open the clips: `identity/recipients.txt`, in which lines with `#` are comments.

        Raises:
            EvidenceError: it cannot be read.
        """
        path = self._agency / "identity" / "recipients.txt"
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            found = os.strerror(error.errno or 0) if isinstance(error, OSError) else "not text"
            raise EvidenceError(
                f"no recipients {path}",
                found=found,
                remedy="name a signed configuration with --policy",
            ) from error
        return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _load(data: bytes) -> x509.CertificateSigningRequest:
    try:
        return x509.load_der_x509_csr(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise IssueError("unusable signing request of the camera", expected="PKCS #10 in DER form") from error


def _pem(chain: Sequence[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
