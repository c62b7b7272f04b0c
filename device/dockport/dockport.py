"""The dock's port put together: identity, ports, and the keeper that lets clips go when their time is over."""

import logging
import threading
import time
from pathlib import Path

from cryptography import x509

from device.config import DockportSection
from device.dockport.camera import DockedCamera
from device.dockport.linkidentity import LinkIdentity
from device.dockport.ports import Port, SerialLinePort, TcpLinkPort
from device.dockport.service import DockService
from device.recording.events import DockPresence
from device.vault.release import HoldClock, Releases
from device.vault.space import read_space
from device.vault.trust import AgencyTrust
from docklink.errors import PeerRefusedError
from docklink.limits import Timeouts
from docklink.server import LinkServer, SessionEnd
from docklink.tls import CameraTrust
from evidence.errors import ExplainedError
from evidence.paths import load_roots
from evidence.storage import StorageError

__all__ = ["DockPort"]

_log = logging.getLogger(__name__)
_LOOK_S = 1.0
_PRESENCE_S = 20.0
"""A dock comes back for another session within that; the light need not flicker meanwhile."""
_REFUSALS_APART_S = 10.0
"""A stranger that knocks all the time must not fill the event log."""


class DockPort:
    """Serves a camera's vault to docks. `start` claims the ports, `close` ends sessions and releases them."""

    def __init__(
        self,
        camera: DockedCamera,
        section: DockportSection,
        *,
        keys: Path,
        anchors: Path,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Load the camera's link identity and whom it trusts, and claim what can be claimed.

        Raises:
            DeviceError: no usable link certificate.
            EvidenceError: no usable anchors.
            LinkError: a TCP address cannot be had.
        """
        self._camera = camera
        self._roots: tuple[x509.Certificate, ...] = load_roots(anchors)
        layout = camera.vault.layout
        self._link = LinkIdentity(camera.device, keys, layout.root)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self.releases = Releases(
            layout,
            camera.signer.public_key,
            self._agency_trust,
            camera.log.post,
            recovery_state=camera.recovery_state,
            writing=lambda: camera.recording,
            give_up_reserve=camera.vault.reserve.give_up,
        )
        self.service = DockService(
            camera, self.releases, self._link, self._agency_trust, released_soon=self._wake.set
        )
        server = LinkServer(
            self.service, self._link_trust, on_end=self._ended, on_fault=self._failed, timeouts=timeouts
        )
        self.tcp = _tcp_port(server, section.listen)
        self._ports: list[Port] = [SerialLinePort(server, path) for path in section.serial]
        if self.tcp is not None:
            self._ports.append(self.tcp)
        self.server = server
        self._docked = False
        self._last_end_s = float("-inf")
        self._refused_s = float("-inf")
        self._refusals = 0
        self._finished = False
        self._trouble = ""
        self._keeper = threading.Thread(target=self._keep, name="dock-keeper", daemon=True)

    def start(self) -> None:
        """Serve, and let go what is due."""
        self.service.configs.check_stored()
        for port in self._ports:
            port.start()
        self._keeper.start()

    def close(self) -> None:
        """End all sessions and the keeper."""
        self._stop.set()
        self._wake.set()
        for port in self._ports:
            port.close()
        if self._keeper.ident is not None:
            self._keeper.join()

    def look(self) -> None:
        """Show whether a dock is there, and release what is due."""
        self._show_presence()
        if not self._camera.recovered():
            return  # it may be looking at the clip that would go
        try:
            if not self._finished:
                self.releases.finish()
                self._finished = True
            self._release()
        except (StorageError, OSError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.error("releasing clips: %s", error)

    def _keep(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._wake.wait(_LOOK_S)
            self._wake.clear()

    def _release(self) -> None:
        camera = self._camera
        if camera.recording and not self._space_needed():
            return  # deleting keeps a card busy; it can wait for the end of the clip
        now = HoldClock(camera.boot, camera.clock.read())
        for name in self.releases.release(now, camera.policy().document.hold_ns, self._space_needed):
            _log.info("released %s", name)

    def _space_needed(self) -> bool:
        return read_space(self._camera.vault.layout.root).free_bytes < self._camera.space_limit_bytes

    def _show_presence(self) -> None:
        recent = time.monotonic() - self._last_end_s < _PRESENCE_S
        docked = self.service.sessions > 0 or recent
        if docked != self._docked:
            self._docked = docked
            self._camera.post(DockPresence(docked))

    def _agency_trust(self) -> AgencyTrust:
        return AgencyTrust(self._roots, self.service.revoked())

    def _link_trust(self) -> CameraTrust:
        files = self._link.files
        return CameraTrust(
            chain=files.chain,
            key=files.key,
            roots=self._roots,
            time_floor_utc_ns=self._camera.memory.time_floor_utc_ns,
            revoked_serials=self.service.revoked(),
        )

    def _ended(self, end: SessionEnd) -> None:
        self.service.end_session()
        if end.peer is not None:
            self._last_end_s = time.monotonic()
            _log.info("session with %s: %d requests%s", end.peer.subject_id, end.requests, _why(end))
        elif isinstance(end.error, PeerRefusedError):
            self._note_refusal(end.error)
        else:
            _log.info("no session came about%s", _why(end))

    def _note_refusal(self, error: PeerRefusedError) -> None:
        self._refusals += 1
        now_s = time.monotonic()
        if now_s - self._refused_s < _REFUSALS_APART_S:
            return
        self._refused_s = now_s
        _log.warning("a peer was refused: %s", error)
        self._camera.note("dock_refused", {"reason": str(error)[:500], "refusals": self._refusals})

    def _failed(self, route: str, error: Exception) -> None:
        _log.error("request %s failed: %s", route, error)
        reason = str(error)[:200] if isinstance(error, ExplainedError) else type(error).__name__
        self._camera.note("dock_fault", {"route": route, "reason": reason}, urgent=False)


def _tcp_port(server: LinkServer, listen: str) -> TcpLinkPort | None:
    if not listen:
        return None
    host, _, port = listen.rpartition(":")
    return TcpLinkPort(server, host.strip("[]"), int(port))


def _why(end: SessionEnd) -> str:
    return f", ended by: {end.error}" if end.error else ""
