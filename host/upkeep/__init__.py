"""What a dock does for a camera beside taking its clips: certificates renewed, configurations, revocations."""

from host.upkeep.configs import ConfigShelf, ShelvedConfig
from host.upkeep.memory import UpkeepMemory
from host.upkeep.opening import OpenedUpkeep, open_upkeep
from host.upkeep.renewal import RenewalError, Renewals, Renewed, load_link_ca
from host.upkeep.revocations import RevocationFiles, authorities_of
from host.upkeep.visit import Tended, Upkeep, tend

__all__ = [
    "ConfigShelf",
    "OpenedUpkeep",
    "RenewalError",
    "Renewals",
    "Renewed",
    "RevocationFiles",
    "ShelvedConfig",
    "Tended",
    "Upkeep",
    "UpkeepMemory",
    "authorities_of",
    "load_link_ca",
    "open_upkeep",
    "tend",
]
