"""Upkeep from a dock's configuration: key, lists and directory opened together."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from cryptography import x509

from evidence.roles import LINK_CA, Role
from host.config import DockConfig
from host.upkeep.configs import ConfigShelf
from host.upkeep.renewal import Renewals, load_link_ca
from host.upkeep.revocations import RevocationFiles, authorities_of
from host.upkeep.visit import Upkeep

__all__ = ["OpenedUpkeep", "open_upkeep"]


class OpenedUpkeep(msgspec.Struct, frozen=True):
    """The parts: `revocations` are also for the trust of store and link."""

    revocations: RevocationFiles
    upkeep: Upkeep

    def announce_to(self, announce: Callable[[str, str | None, str], object]) -> None:
        """Let everything that goes wrong later be heard there, as `Station.announce` takes it."""

        def fault(detail: str) -> None:
            announce("fault", None, detail)

        self.revocations.announce = fault
        if self.upkeep.configs is not None:
            self.upkeep.configs.announce = fault


def open_upkeep(config: DockConfig, roots: Sequence[x509.Certificate]) -> OpenedUpkeep:
    """Load what the configuration names.

    Raises:
        EvidenceError: a revocation list or a key cannot be used.
    """
    keys = Path(config.dock.keys)
    link = keys / f"{Role.DOCK_LINK.file_stem}.pem"
    chains = [link, keys / f"{Role.DOCK_RECEIPT.file_stem}.pem", keys / f"{LINK_CA}.pem"]
    authorities = authorities_of(roots, [path for path in chains if path.exists()])
    revocations = RevocationFiles([Path(each) for each in config.dock.crls], authorities)
    authority = load_link_ca(keys)
    renewals = None
    if authority is not None:
        own = x509.load_pem_x509_certificates(link.read_bytes())  # `authorities_of` has read it
        renewals = Renewals(authority, own, roots, revocations, part=config.renewal.part)
    configs = None
    if config.config.directory is not None:
        configs = ConfigShelf(Path(config.config.directory), roots, revocations)
    return OpenedUpkeep(revocations, Upkeep(renewals, configs))
