"""`[mqtt]` of the dock's configuration: which broker, as whom, and where below it (docs/mqtt.md)."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["BROKER_PATTERN", "MqttSection"]

BROKER_PATTERN = r"\A(mqtts?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?\Z"
"""Scheme, host, port; a name or a password does not belong into an address, which gets logged."""
_CREDENTIAL = "credential:"
_Level = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
_Prefix = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,32}(/[A-Za-z0-9._-]{1,32}){0,3}\Z")]
_File = Annotated[str, Meta(min_length=1, max_length=4096)]


class MqttSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The broker. With `mqtts://` it is verified by `ca`; this dock shows a certificate or a password."""

    broker: Annotated[str, Meta(min_length=1, max_length=300)]
    site: _Level
    prefix: _Prefix = "preroll"
    ca: _File | None = None
    certificate: _File | None = None
    key: _File | None = None
    user: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    password_file: _File | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    keepalive_s: Annotated[int, Meta(ge=1, le=3600)] = 30
    progress_s: Annotated[float, Meta(ge=0.1, le=60)] = 1.0
    window: Annotated[int, Meta(ge=1, le=256)] = 16
    outbox_events: Annotated[int, Meta(ge=100, le=10_000_000)] = 100_000
    retired: tuple[Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")], ...] = ()
    homeassistant: _Prefix | None = None

    def problem(self) -> tuple[str, str, str] | None:
        """Say what does not go together: the key, what would be right, what is there; `None` if all does."""
        found = re.fullmatch(BROKER_PATTERN, self.broker)
        if found is None:  # not quoted: somebody may have put a password into it
            return "broker", "mqtts://HOST:PORT or mqtt://HOST:PORT", "another form"
        scheme, host, port = found.groups()
        if port is not None and not 0 < int(port) < 1 << 16:
            return "broker", "a port from 1 to 65535", port
        if scheme == "mqtt" and not _is_local(host) and self.user is not None:
            return "broker", "mqtts:// where a password is sent over a network", "mqtt://"
        if scheme == "mqtt" and (self.certificate is not None or self.ca is not None):
            return "broker", "mqtts:// with `ca` or `certificate`", "mqtt://"
        return self._incomplete()

    def resolved(self, directory: Path) -> "MqttSection":
        """Return it with relative paths taken from a directory; `credential:NAME` stays."""

        def path(name: str | None) -> str | None:
            return name if name is None or name.startswith(_CREDENTIAL) else str(directory / name)

        return msgspec.structs.replace(
            self,
            ca=path(self.ca),
            certificate=path(self.certificate),
            key=path(self.key),
            password_file=path(self.password_file),
        )

    def _incomplete(self) -> tuple[str, str, str] | None:
        if (self.certificate is None) != (self.key is None):
            return "certificate", "`certificate` and `key`, or neither", "one of them"
        if self.password_file is not None and self.user is None:
            return "password_file", "`user` beside it", "none"
        return None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
