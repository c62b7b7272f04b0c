"""The six roles that a certificate can have, and their object identifiers (docs/formats.md, "Roles")."""

import enum

__all__ = ["LINK_CA", "ROLE_ARC", "Role"]

ROLE_ARC = "2.25.6604642350452863752728213921585004416"
LINK_CA = "link-ca"
"""Name of the files of a dock's intermediate, which may issue camera-link certificates; no role of its own."""


class Role(enum.StrEnum):
    """What a key may sign; a certificate has exactly one."""

    CAMERA_EVIDENCE = "camera-evidence"
    CAMERA_LINK = "camera-link"
    DOCK_LINK = "dock-link"
    DOCK_RECEIPT = "dock-receipt"
    CONFIG = "config"
    CUSTODIAN = "custodian"

    @property
    def oid(self) -> str:
        """Dotted object identifier of its extended key usage."""
        return f"{ROLE_ARC}.{list(Role).index(self) + 1}"

    @property
    def file_stem(self) -> str:
        """What its files `STEM.pem` and `STEM.key` are called."""
        return self.value.removeprefix("camera-")

    @property
    def tls(self) -> bool:
        """Whether it is for TLS rather than for signing documents."""
        return self in (Role.CAMERA_LINK, Role.DOCK_LINK)
