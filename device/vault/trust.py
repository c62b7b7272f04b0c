"""Whom the camera believes: documents signed by the agency's roles, less what its policy has revoked.

A revoked certificate counts no more from the moment that the camera knows of it, whatever the effective time:
without a clock that it trusts it cannot tell, and what it refuses it can be sent again under another key.
"""

import hashlib
from collections.abc import Set as AbstractSet

import msgspec
from cryptography import x509

from device.errors import DeviceError
from evidence.cms import verify_cms
from evidence.errors import EvidenceError
from evidence.paths import VerifiedIdentity, verify_path
from evidence.roles import Role

__all__ = ["AgencyTrust", "UntrustedError", "sha256_of"]


class UntrustedError(DeviceError):
    """A document is not signed by whom it has to be; the sentence says what is wrong."""


class AgencyTrust(msgspec.Struct, frozen=True):
    """The agency's roots, and the serial numbers of certificates that count no more."""

    roots: tuple[x509.Certificate, ...]
    revoked_serials: AbstractSet[int] = frozenset()

    def verify(self, document: bytes, cms: bytes, role: Role) -> VerifiedIdentity:
        """Return who signed these bytes in this role.

        Raises:
            UntrustedError: the signature is not good, of another agency or role, or revoked.
        """
        try:
            signer = verify_cms(document, cms)
            identity = verify_path(signer.leaf, signer.intermediates, self.roots, role, None)
        except EvidenceError as error:
            raise UntrustedError(str(error)) from error
        for serial in identity.serials:
            if serial in self.revoked_serials:
                raise UntrustedError("the signer's certificate is revoked", found=f"serial number {serial:x}")
        return identity


def sha256_of(data: bytes) -> str:
    """Return a digest as documents write it."""
    return hashlib.sha256(data).hexdigest()
