"""The camera's link key and certificate: as issued, or as a dock has renewed them.

What was issued lies with the camera's other keys, where the firmware may not be able to write. A renewed key
and its chain are one file of the vault, `link.pem`, so that they are replaced together. Of the two the one that
is valid longer counts.
"""

import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device.errors import DeviceError
from device.vault.trust import AgencyTrust
from evidence.certificates import new_key, self_signed_request
from evidence.der import load_certificate
from evidence.errors import EvidenceError
from evidence.paths import verify_path
from evidence.revocation import utc_ns_of
from evidence.roles import Role
from evidence.storage import publish_file

__all__ = ["LinkFiles", "LinkIdentity", "LinkIdentityError"]


class LinkIdentityError(DeviceError):
    """There is no usable link certificate, or the one offered is not for this camera."""


class LinkFiles(msgspec.Struct, frozen=True):
    """Where certificate chain and key lie (PEM, possibly one file), and until when they are valid."""

    chain: Path
    key: Path
    not_after_utc_ns: int


class LinkIdentity:
    """The files in use, and the renewal under way. Thread-safe."""

    def __init__(self, device: str, keys: Path, vault: Path) -> None:
        """Look for files; `keys` is the camera's key directory, `vault` the root of its vault.

        Raises:
            LinkIdentityError: neither place has a certificate.
        """
        self._device = device
        self._renewed = vault / "link.pem"
        self._lock = threading.Lock()
        self._pending: ec.EllipticCurvePrivateKey | None = None
        stem = Role.CAMERA_LINK.file_stem
        found = [
            LinkFiles(chain, key, utc_ns_of(until))
            for chain, key in ((keys / f"{stem}.pem", keys / f"{stem}.key"), (self._renewed, self._renewed))
            if (until := _end_of(chain)) is not None
        ]
        if not found:
            raise LinkIdentityError(
                "no link certificate", expected=f"{keys / stem}.pem", remedy="make it with `preroll keys issue`"
            )
        self._files = max(found, key=lambda each: each.not_after_utc_ns)

    @property
    def files(self) -> LinkFiles:
        """What the next session shows."""
        with self._lock:
            return self._files

    def begin(self) -> bytes:
        """Make a new key; returns its signing request (PKCS #10, DER)."""
        key = new_key()
        with self._lock:
            self._pending = key
        return self_signed_request(self._device, key).public_bytes(serialization.Encoding.DER)

    @property
    def begun(self) -> bool:
        """Whether a key waits for its certificate."""
        return self._pending is not None

    def install(self, chain: Sequence[bytes], trust: AgencyTrust, time_floor_utc_ns: int) -> LinkFiles:
        """Take the certificate for the key of the last `begin` (DER, leaf first), durably.

        Raises:
            LinkIdentityError: it is not for that key, this camera and this role, over already, or ends before
                the one in use, which the next start would prefer.
            StorageError: it cannot be written; the old one stays.
        """
        with self._lock:
            if self._pending is None:
                raise LinkIdentityError("no renewal was begun")
            certificates = self._checked(chain, trust)
            not_after = utc_ns_of(min(each.not_valid_after_utc for each in certificates))
            if not_after <= time_floor_utc_ns:
                raise LinkIdentityError("the certificate is over already")
            if not_after < self._files.not_after_utc_ns:
                raise LinkIdentityError("the certificate ends before the one in use")
            publish_file(self._renewed, _pem(self._pending, certificates))
            self._pending = None
            self._files = LinkFiles(self._renewed, self._renewed, not_after)
            return self._files

    def _checked(self, chain: Sequence[bytes], trust: AgencyTrust) -> tuple[x509.Certificate, ...]:
        assert self._pending is not None  # the caller looked
        try:
            certificates = tuple(load_certificate(der) for der in chain)
            identity = verify_path(certificates[0], certificates[1:], trust.roots, Role.CAMERA_LINK, None)
        except EvidenceError as error:
            raise LinkIdentityError(f"not a link certificate of this agency: {error}") from error
        if identity.subject_id != self._device:
            raise LinkIdentityError(
                "the certificate is another camera's", expected=self._device, found=identity.subject_id
            )
        if certificates[0].public_key() != self._pending.public_key():
            raise LinkIdentityError("the certificate is for another key")
        if any(serial in trust.revoked_serials for serial in identity.serials):
            raise LinkIdentityError("the certificate, or its issuer's, is revoked")
        return certificates


def _end_of(chain: Path) -> datetime | None:
    """Return when a chain ends, `None` if the file is not there or holds none."""
    try:
        certificates = x509.load_pem_x509_certificates(chain.read_bytes())
    except (OSError, ValueError, x509.InvalidVersion):
        return None
    return min(each.not_valid_after_utc for each in certificates)


def _pem(key: ec.EllipticCurvePrivateKey, chain: Sequence[x509.Certificate]) -> bytes:
    parts = [
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    ]
    parts += [each.public_bytes(serialization.Encoding.PEM) for each in chain]
    return b"".join(parts)
