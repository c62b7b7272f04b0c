"""Upkeep within a session: a link certificate renewed, a configuration handed over."""

from typing import TYPE_CHECKING

import msgspec

from docklink.client import DockClient
from docklink.errors import PeerRefusedError
from docklink.httpclient import AnswerError
from docklink.messages import Device, SignedDocument
from evidence.clock import format_utc
from evidence.documents import ConfigRef
from evidence.errors import EvidenceError
from host.upkeep.configs import ConfigShelf, ShelvedConfig
from host.upkeep.renewal import Renewals, Renewed

if TYPE_CHECKING:
    from host.offload.station import Docking, Station

__all__ = ["Tended", "Upkeep", "tend"]

_CONFLICT = 409
_LATER = frozenset((500, 503))


class Upkeep(msgspec.Struct, frozen=True):
    """What a dock has for its cameras; `None`: no `link-ca` key, no directory of configurations."""

    renewals: Renewals | None = None
    configs: ConfigShelf | None = None


class Tended(msgspec.Struct, frozen=True):
    """What came of it: `renewed` and `configured` if the camera took something now.

    `config` says in words what is the matter with the configuration that is here for the camera; empty if it
    is in force, or none is here.
    """

    renewed: bool = False
    configured: bool = False
    config: str = ""


def tend(
    camera: DockClient, station: "Station", docking: "Docking", device: Device, *, clips_done: bool
) -> Tended:
    """Renew and configure as far as there is need; to be called before the clips, and once more after them.

    A camera whose evidence key is revoked gets nothing: it was reported lost, whoever brings it now.

    Raises:
        LinkError: the session has failed; the next one goes for the clips first.
    """
    upkeep = station.upkeep
    if docking.upkeep.key_revoked_utc_ns is not None:
        return Tended()
    renewed = False
    if upkeep.renewals is not None:
        renewed = _renew(camera, station, docking, upkeep.renewals, clips_done=clips_done)
    if upkeep.configs is None:
        return Tended(renewed=renewed)
    configured, words = _configure(camera, station, docking, device, upkeep.configs, clips_done=clips_done)
    return Tended(renewed=renewed, configured=configured, config=words)


def _renew(
    camera: DockClient, station: "Station", docking: "Docking", renewals: Renewals, *, clips_done: bool
) -> bool:
    memory, not_after = docking.upkeep, camera.peer.not_after_utc_ns
    now_ns, this = station.now_utc_ns(), f"renewal of {camera.peer.fingerprint}"
    if not_after is None or not renewals.due(not_after, now_ns) or memory.refusal_of(this):
        return False
    if not memory.may_begin(this, clips_done=clips_done):
        return False
    try:
        renewals.require_worthwhile(not_after, now_ns)
        memory.begin(this)
        renewed = renewals.issue(docking.device, camera.begin_renewal(), now_ns)
        camera.end_renewal(renewed.chain)
    except AnswerError as error:
        memory.done(this)
        if error.status not in _LATER:
            memory.refuse(this, str(error))
        station.announce("fault", docking.device, f"the camera takes no link certificate: {error}")
        return False
    except (PeerRefusedError, EvidenceError) as error:
        memory.done(this)
        station.announce("fault", docking.device, f"the link certificate is not renewed: {error}")
        return False
    memory.done(this)
    memory.refuse(this, "renewed")  # this session goes on with the old one
    _log_renewal(station, docking.device, renewed)
    return True


def _log_renewal(station: "Station", device: str, renewed: Renewed) -> None:
    station.log(
        "link_renewed",
        device=device,
        detail={
            "serial": renewed.serial,
            "certificate": renewed.peer.fingerprint,
            "not_after": format_utc(renewed.not_after_utc_ns),
        },
    )


def _configure(
    camera: DockClient,
    station: "Station",
    docking: "Docking",
    device: Device,
    shelf: ConfigShelf,
    *,
    clips_done: bool,
) -> tuple[bool, str]:
    """Hand over the newest configuration if the camera has an older one; say what is the matter."""
    newest, memory = shelf.newest_for(docking.device), docking.upkeep
    if newest is None or not _is_due(newest, device.config):
        return False, _contradiction(station, docking.device, newest, device.config)
    if refusal := memory.refusal_of(newest.sha256):
        return False, refusal
    if not memory.may_begin(newest.sha256, clips_done=clips_done):
        return False, f"version {newest.config.version} broke the session; it waits"
    memory.begin(newest.sha256)
    try:
        camera.send_config(SignedDocument(document=newest.document, cms=newest.cms))
    except AnswerError as error:
        memory.done(newest.sha256)
        return False, _refused(station, docking, newest, error)
    memory.done(newest.sha256)
    station.log(
        "config_accepted",
        device=docking.device,
        detail={"version": newest.config.version, "sha256": newest.sha256},
    )
    return True, ""


def _is_due(newest: ShelvedConfig, current: ConfigRef | None) -> bool:
    return current is None or current.version < newest.config.version


def _contradiction(
    station: "Station", device: str, newest: ShelvedConfig | None, current: ConfigRef | None
) -> str:
    """Say so if the camera has the same version with other bytes: one version was signed twice."""
    same = newest is not None and current is not None and newest.config.version == current.version
    if newest is None or current is None or not same or newest.sha256 == current.sha256:
        return ""
    words = f"version {current.version} is in force with other bytes than {newest.name} has"
    station.announce("config_refused", device, words)
    return words


def _refused(station: "Station", docking: "Docking", config: ShelvedConfig, error: AnswerError) -> str:
    """Say it, and remember what will not change while the camera is docked: it would be tried all the time."""
    problem = error.problem
    field = f" ({problem.field[:80]})" if problem.field else ""
    words = f"version {config.config.version} is not taken: {problem.status}{field} {problem.detail[:300]}"
    station.announce("config_refused", docking.device, words)
    recording = problem.status == _CONFLICT and problem.field is None
    if not recording and problem.status not in _LATER:
        docking.upkeep.refuse(config.sha256, words)
        station.log(
            "config_refused",
            device=docking.device,
            detail={
                "version": config.config.version,
                "sha256": config.sha256,
                "status": problem.status,
                "reason": problem.detail[:500],
            },
        )
    return words
