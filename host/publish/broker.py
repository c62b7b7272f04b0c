"""Which broker, and how to be let in: addresses, TLS, credentials. Secrets are read when they are needed."""

import os
import re
import ssl
from pathlib import Path

import msgspec

from host.mqttsection import BROKER_PATTERN
from host.publish.errors import PublishError

__all__ = ["BrokerSettings", "parse_broker", "read_password", "tls_context"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_HIGHEST_PORT = 65_535
_PASSWORD_LIMIT = 4096
_CREDENTIAL = "credential:"


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a broker. `password_file` may be `credential:NAME`, one of systemd's."""

    host: str
    port: int
    client_id: str
    tls: bool = True
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    user: str | None = None
    password_file: str | None = None
    protocol: str = "5"
    keepalive_s: int = 30
    connect_s: float = 5.0


class _ClosedOnFailure(ssl.SSLSocket):
    """A socket whose handshake, where it fails, leaves nothing open; paho would leave that to chance."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, or close."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def parse_broker(url: str) -> tuple[bool, str, int]:
    """Read `mqtts://HOST[:PORT]` or `mqtt://…`; returns whether it is TLS, the host and the port.

    Raises:
        PublishError: it has another form. Names and passwords do not belong into an address.
    """
    found = re.fullmatch(BROKER_PATTERN, url)
    port = int(found[3] or _PORTS[found[1]]) if found else 0
    if found is None or not 0 < port <= _HIGHEST_PORT:
        raise PublishError(
            "the broker's address", expected="mqtts://HOST:PORT or mqtt://HOST:PORT", found="another form"
        )
    return found[1] == "mqtts", found[2].strip("[]"), port


def read_password(file: str) -> str:
    """Read a password, without its one trailing newline.

    Raises:
        PublishError: it cannot be read. The text never holds the password.
    """
    path = Path(file)
    if file.startswith(_CREDENTIAL):
        path = Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / file.removeprefix(_CREDENTIAL)
    try:
        with path.open(encoding="utf-8") as opened:
            return opened.read(_PASSWORD_LIMIT).removesuffix("\n")
    except OSError as error:
        raise PublishError(
            f"cannot read the broker's password file {path}", found=error.strerror or ""
        ) from error
    except UnicodeDecodeError as error:
        raise PublishError(f"the broker's password file {path}", expected="UTF-8") from error


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """Make a context that verifies the broker, and shows our certificate where there is one.

    Raises:
        PublishError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=settings.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = _ClosedOnFailure
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.key)
    except OSError as error:  # ssl.SSLError too
        raise PublishError(
            "the certificates for the broker cannot be used",
            expected="PEM files in `ca`, `certificate` and `key`",
            found=error.strerror or type(error).__name__,
        ) from error
    return context
