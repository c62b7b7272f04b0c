"""The dock's configuration: a TOML file, checked strictly, with the line of what is wrong (docs/dock.md)."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from docklink.limits import Timeouts
from evidence.errors import EvidenceError
from evidence.toml import convert_toml, place_of, read_toml
from host.mqttsection import MqttSection

__all__ = [
    "BadgeSection",
    "BaySection",
    "ClockSection",
    "ConfigError",
    "ConfigSection",
    "CustodySection",
    "DockConfig",
    "DockSection",
    "LimitSection",
    "RenewalSection",
    "StoreSection",
    "TimeoutSection",
    "load_config",
    "parse_config",
]

_Id = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")]
_BayName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,32}\Z")]
_Wait = Annotated[float, Meta(gt=0, le=3600)]
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT = 65_535


class ConfigError(EvidenceError):
    """A configuration file cannot be used; the line says which file, which key, and what would be right."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all tables of the file have in common: no unknown keys."""


class DockSection(_Section, frozen=True, kw_only=True):
    """Who this dock is, its keys, whom it trusts, and where it keeps what is not evidence."""

    id: _Id
    keys: str = "/etc/preroll/keys"
    root: str = "/etc/preroll/root.pem"
    crls: tuple[str, ...] = ()
    state: str = "/var/lib/preroll/dock"


class StoreSection(_Section, frozen=True, kw_only=True):
    """Where clips are kept for good; `id` guards against another disk in the same place."""

    path: str
    id: _Id
    reserve_mib: Annotated[int, Meta(ge=0)] = 1024


class LimitSection(_Section, frozen=True, kw_only=True):
    """How many bays move footage at once, and how large a part each takes in its turn."""

    offloads: Annotated[int, Meta(ge=1, le=1024)] = 8
    part_mib: Annotated[int, Meta(ge=1, le=1024)] = 8


class TimeoutSection(_Section, frozen=True, kw_only=True):
    """Seconds: those of the link (docs/docklink.md), and how often an idle bay is looked at."""

    connect_s: _Wait = 3.0
    handshake_s: _Wait = 10.0
    progress_s: _Wait = 5.0
    answer_s: _Wait = 60.0
    line_s: _Wait = 30.0
    look_s: _Wait = 5.0
    retry_s: _Wait = 10.0

    @property
    def link(self) -> Timeouts:
        """Those of one session."""
        return Timeouts(handshake_s=self.handshake_s, progress_s=self.progress_s, answer_s=self.answer_s)


class ClockSection(_Section, frozen=True, kw_only=True):
    """How far off the dock's own clock can be; cameras add it to their bound."""

    error_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 100


class RenewalSection(_Section, frozen=True, kw_only=True):
    """When a link certificate is renewed: once less than this part of a new one's life is left."""

    part: Annotated[float, Meta(gt=0, lt=1)] = 0.5


class ConfigSection(_Section, frozen=True, kw_only=True):
    """Where signed configurations for cameras lie, `NAME.json` with `NAME.p7s`; none if not given."""

    directory: str | None = None


class CustodySection(_Section, frozen=True, kw_only=True):
    """When checkpoints of the custody log are made, and directories that get a copy of each."""

    checkpoint_entries: Annotated[int, Meta(ge=1)] = 1000
    checkpoint_minutes: Annotated[float, Meta(gt=0)] = 60.0
    copies: tuple[str, ...] = ()


class MetricsSection(_Section, frozen=True, kw_only=True):
    """Where figures for Prometheus are served: on loopback, or where `beyond_loopback` is said, anywhere."""

    listen: Annotated[str, Meta(pattern=r"\A(\[[0-9A-Fa-f:]+\]|[0-9.]+):[0-9]{1,5}\Z")] = "127.0.0.1:9464"
    beyond_loopback: bool = False

    @property
    def address(self) -> tuple[str, int]:
        """The address and the port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    def problem(self) -> tuple[str, str] | None:
        """Say what would be right and what is there; `None` if all is."""
        host, port = self.address
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return "an IP address and a port", self.listen
        if port > _HIGHEST_PORT:
            return "a port up to 65535", str(port)
        if not address.is_loopback and not self.beyond_loopback:
            return "an address of loopback, or `beyond_loopback = true`", host
        return None


class BadgeSection(_Section, frozen=True, kw_only=True):
    """One badge reader: `keyboard` (an input event device) or `serial` (a device that sends lines).

    Who shows a badge gets the camera in the bay `bay`, or else the `next` one that is docked or taken out
    within `wait_s`. `file` maps badges to pseudonyms.
    """

    name: _BayName
    file: str
    keyboard: str | None = None
    serial: str | None = None
    baud: Annotated[int, Meta(ge=1200, le=10_000_000)] = 9600
    bay: _BayName | None = None
    next: Literal["docked", "undocked"] = "docked"
    hours: Annotated[float, Meta(gt=0, le=48)] = 12.0
    wait_s: _Wait = 60.0


class BaySection(_Section, frozen=True, kw_only=True):
    """One bay; exactly one of `tcp` (HOST:PORT), `serial` (a device) and `usb` (a USB serial number)."""

    name: _BayName
    tcp: str | None = None
    serial: str | None = None
    usb: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,128}\Z")] | None = None
    baud: Annotated[int, Meta(ge=1200, le=10_000_000)] = 115_200

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port, if it is a TCP bay; `parse_config` has checked the form."""
        found = _ADDRESS.fullmatch(self.tcp or "")
        return (found["host"].strip("[]"), int(found["port"])) if found else None


class DockConfig(_Section, frozen=True, kw_only=True):
    """The whole file."""

    dock: DockSection
    store: StoreSection
    limits: LimitSection = LimitSection()
    timeouts: TimeoutSection = TimeoutSection()
    clock: ClockSection = ClockSection()
    renewal: RenewalSection = RenewalSection()
    config: ConfigSection = ConfigSection()
    custody: CustodySection = CustodySection()
    bay: tuple[BaySection, ...] = ()
    badge: tuple[BadgeSection, ...] = ()
    mqtt: MqttSection | None = None
    metrics: MetricsSection | None = None

    def resolved(self, directory: Path) -> "DockConfig":
        """Return it with relative paths taken from the directory of the file."""
        dock, store = self.dock, self.store
        return msgspec.structs.replace(
            self,
            dock=msgspec.structs.replace(
                dock,
                keys=str(directory / dock.keys),
                root=str(directory / dock.root),
                crls=tuple(str(directory / each) for each in dock.crls),
                state=str(directory / dock.state),
            ),
            store=msgspec.structs.replace(store, path=str(directory / store.path)),
            config=ConfigSection(
                directory=None if self.config.directory is None else str(directory / self.config.directory)
            ),
            custody=msgspec.structs.replace(
                self.custody, copies=tuple(str(directory / each) for each in self.custody.copies)
            ),
            badge=tuple(msgspec.structs.replace(each, file=str(directory / each.file)) for each in self.badge),
            mqtt=None if self.mqtt is None else self.mqtt.resolved(directory),
        )


def load_config(path: Path) -> DockConfig:
    """Read and check a configuration file; relative paths in it start at its directory.

    Raises:
        ConfigError: it cannot be read, is not TOML, has an unknown or wrong key, or a bay without a way to it.
    """
    return parse_config(read_toml(path, ConfigError), str(path)).resolved(path.resolve().parent)


def parse_config(text: str, name: str) -> DockConfig:
    """Check the text of a configuration; `name` is what errors call it.

    Raises:
        ConfigError: as `load_config`.
    """
    config = convert_toml(text, DockConfig, name, ConfigError)
    _check_bays(config, text, name)
    _check_badges(config, text, name)
    problem = None if config.mqtt is None else config.mqtt.problem()
    if problem is not None:
        key, expected, found = problem
        raise ConfigError(place_of(text, name, "mqtt", *key.split(".")), expected=expected, found=found)
    wrong = None if config.metrics is None else config.metrics.problem()
    if wrong is not None:
        raise ConfigError(place_of(text, name, "metrics", "listen"), expected=wrong[0], found=wrong[1])
    return config


def _check_bays(config: DockConfig, text: str, name: str) -> None:
    seen: set[str] = set()
    for number, bay in enumerate(config.bay):
        place = f"{place_of(text, name, 'bay', number)} {bay.name}"
        ways = [each for each in (bay.tcp, bay.serial, bay.usb) if each is not None]
        if len(ways) != 1:
            raise ConfigError(place, expected="one of tcp, serial and usb", found=f"{len(ways)} of them")
        if bay.tcp is not None and (bay.address is None or not 0 < bay.address[1] <= _HIGHEST_PORT):
            raise ConfigError(f"{place}: tcp", expected="HOST:PORT", found=ascii(bay.tcp[:80]))
        for key in {bay.name, f"way {ways[0]}"}:
            if key in seen:
                raise ConfigError(place, expected="a name and a way of its own", found=f"{key!a} twice")
            seen.add(key)


def _check_badges(config: DockConfig, text: str, name: str) -> None:
    seen: set[str] = set()
    for number, badge in enumerate(config.badge):
        place = f"{place_of(text, name, 'badge', number)} {badge.name}"
        devices = [each for each in (badge.keyboard, badge.serial) if each is not None]
        if len(devices) != 1:
            raise ConfigError(
                place,
                expected="one of keyboard and serial",
                found=f"{len(devices)} of them",
            )
        if badge.bay is not None and badge.bay not in {bay.name for bay in config.bay}:
            raise ConfigError(place, expected="the name of a bay", found=badge.bay)
        for key in {badge.name, f"device {devices[0]}"}:
            if key in seen:
                raise ConfigError(
                    place,
                    expected="a name and a device of its own",
                    found=f"{key!a} twice",
                )
            seen.add(key)
