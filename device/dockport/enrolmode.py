"""A camera that belongs to nobody: it cannot record, says so, and waits to be enrolled at a dock.

Without an identity there is no key to sign with and nobody to encrypt to, so a press is refused. The button is
watched for another reason here: who holds it says that this camera may be taken.
"""

import logging
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

from cryptography import x509

from device.config import ConfigError, DeviceConfig
from device.controls.gestures import Held, PressBegan, ReleasedLong, ReleasedShort, Stuck
from device.controls.panel import ControlEvent, ControlPanel, PanelPolicy
from device.controls.patterns import IndicatorState, Signal
from device.controls.triggers import Trigger
from device.dockport.enrolcheck import load_trusted
from device.dockport.enroldesk import EnrolDesk
from device.dockport.enrolservice import EnrolService
from device.dockport.enrolstore import SCRATCH
from device.dockport.ports import Port, SerialLinePort, TcpLinkPort
from device.identity import board_serial
from device.vault.layout import VaultError, read_vault_device
from docklink.enrolment import make_enrolment
from docklink.limits import Timeouts
from docklink.peers import fingerprint
from docklink.server import LinkServer, SessionEnd
from docklink.tls import CameraEnrolment
from evidence.der import certificate_der
from evidence.storage import StorageError

__all__ = ["EnrolmentMode", "open_scratch", "scratch_fingerprint"]

_log = logging.getLogger(__name__)
_HOLD_NS = 1_000_000_000
_TIMEOUTS = Timeouts(idle_s=75.0)
"""Between two requests people compare fingerprints, for as long as the button may be held."""
_LAST_ANSWER_S = 5.0


class EnrolmentMode:
    """The firmware until there is an identity. The constructor claims controls and ports; `run` waits."""

    def __init__(self, config: DeviceConfig, directory: Path, *, factory: Any) -> None:
        """Claim the button and the ports.

        Raises:
            ConfigError: there is no port of a dock, or the vault is another camera's.
            StorageError: the directory of the keys cannot be written.
            EvidenceError: roots that were given beforehand cannot be read.
            LinkError: a TCP address cannot be had.
        """
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._over = threading.Event()
        keys, vault = directory / config.device.keys, directory / config.device.vault
        device = _device_of(config, vault)
        trusted = _trusted(config, directory, keys)
        shown, self.fingerprint = open_scratch(keys)
        vault.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.serial = board_serial(config)
        self.panel = ControlPanel(
            config.controls, factory, self._felt, policy=PanelPolicy(hold_ns=_HOLD_NS, reminder_ns=None)
        )
        self.desk = EnrolDesk(
            device=device,
            serial=self.serial,
            fingerprint=self.fingerprint,
            keys=keys,
            vault=vault,
            trusted=trusted,
            changed=self._show,
        )
        server = LinkServer(
            EnrolService(self.desk, vault),
            lambda: shown,
            on_end=self._ended,
            on_fault=lambda route, error: _log.error("request %s failed: %s", route, type(error).__name__),
            timeouts=_TIMEOUTS,
        )
        self.tcp: TcpLinkPort | None = None
        try:
            self._ports = self._open_ports(server, config)
        except BaseException:
            self.panel.close()
            raise

    def run(self) -> bool:
        """Wait; returns whether the camera has an identity now, or was stopped.

        Raises:
            DeviceError: a line cannot be let go.
        """
        self.panel.start()
        self._show(False)
        _log.warning(
            "this camera belongs to nobody and cannot record: enrol it at a dock; board %s, fingerprint %s",
            self.serial or "without a number",
            self.fingerprint,
        )
        try:
            for port in self._ports:
                port.start()
            self._wake.wait()
            if self.desk.enrolled.is_set():
                self._over.wait(_LAST_ANSWER_S)  # the dock is still to hear of it
        finally:
            for port in self._ports:
                port.close()
            self.panel.close()
        return self.desk.enrolled.is_set()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Ask `run` to return; from any thread or signal handler."""
        self._stopped.set()
        self._wake.set()

    def stop_on_signals(self) -> None:
        """Let SIGTERM and SIGINT end it; in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())

    def _open_ports(self, server: LinkServer, config: DeviceConfig) -> list[Port]:
        ports: list[Port] = [SerialLinePort(server, path) for path in config.dockport.serial]
        if config.dockport.listen:
            host, _, number = config.dockport.listen.rpartition(":")
            self.tcp = TcpLinkPort(server, host.strip("[]"), int(number))
            ports.append(self.tcp)
        return ports

    def _felt(self, event: ControlEvent) -> None:
        """Take what the controls say, in their thread."""
        if isinstance(event, Held):
            self.desk.button(held=True)
        elif isinstance(event, ReleasedLong | Stuck):
            self.desk.button(held=False)
        elif isinstance(event, ReleasedShort | Trigger):
            _log.warning("a press is refused: this camera belongs to nobody, nothing can be recorded")
            self.panel.signal(Signal.REFUSED)
        elif isinstance(event, PressBegan):
            return  # what it is to be, its length says

    def _show(self, may_enrol: bool) -> None:
        self.panel.show(IndicatorState.ENROLLING if may_enrol else IndicatorState.NOT_ENROLLED)

    def _ended(self, end: SessionEnd) -> None:
        if end.error is not None:
            _log.info("an enrolment's session ended: %s", end.error)
        self.desk.end_session()
        if self.desk.enrolled.is_set():
            self._over.set()
            self._wake.set()


def open_scratch(keys: Path) -> tuple[CameraEnrolment, str]:
    """Return the key that TLS shows until there is an identity, made once, and its fingerprint.

    It outlives a restart, so that the fingerprint of the selftest is still the one at the dock.

    Raises:
        StorageError: the directory cannot be written.
    """
    directory = keys / SCRATCH
    known = scratch_fingerprint(keys)
    if known is not None and (directory / "enrolment.key").is_file():
        return CameraEnrolment(directory / "enrolment.pem", directory / "enrolment.key"), known
    try:
        if directory.exists():
            shutil.rmtree(directory)  # cut short while it was made
        directory.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"cannot make {directory}", error) from error
    return make_enrolment(directory)


def scratch_fingerprint(keys: Path) -> str | None:
    """Return the fingerprint of the certificate that is shown until there is an identity, if it was made."""
    try:
        certificate = x509.load_pem_x509_certificate((keys / SCRATCH / "enrolment.pem").read_bytes())
    except (OSError, ValueError):
        return None
    return fingerprint(certificate_der(certificate))


def _device_of(config: DeviceConfig, vault: Path) -> str:
    """Return the only id that the camera may get: that of its TOML, that of its vault, or any (empty)."""
    if not config.dockport.enabled:
        raise ConfigError(
            "the camera has no identity, and no port to get one",
            expected="keys as `preroll keys issue` makes them, or a [dockport] for an enrolment",
        )
    try:
        owner = read_vault_device(vault)
    except VaultError as error:
        raise ConfigError(f"device.vault: {error}") from error
    named = config.device.id
    if owner and named and owner != named:
        raise ConfigError("device.vault is another camera's", expected=named, found=owner)
    return named or owner or ""


def _trusted(config: DeviceConfig, directory: Path, keys: Path) -> tuple[x509.Certificate, ...] | None:
    named = config.dockport.anchors
    if named and not (directory / named).exists():
        raise ConfigError(
            "dockport.anchors",
            expected=f"the file {directory / named}",
            found="none",
            remedy="leave the key out: the enrolment brings the agency's root",
        )
    return load_trusted(directory / named if named else keys / "anchors.pem")
