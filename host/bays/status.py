"""What a bay shows (docs/dock.md)."""

import enum

import msgspec

from docklink.messages import Device, HealthEntry
from host.offload.accounts import Completeness

__all__ = ["BayState", "BayStatus", "CameraStatus"]


class BayState(enum.StrEnum):
    """The state of a bay."""

    EMPTY = "empty"
    CHARGING = "charging"
    OFFLOADING = "offloading"
    READY = "ready"
    FAULT = "fault"


class CameraStatus(msgspec.Struct, frozen=True):
    """A camera as it was in its last session.

    `config` says what is the matter with the configuration that the dock has for it, empty if nothing is;
    `health` names the camera's parts that are not as they should be.
    """

    device: str
    firmware: str
    recorder: str
    battery_percent: int | None
    charging: bool | None
    free_bytes: int
    total_bytes: int
    wearer: str | None
    clock_error_ns: int | None
    waiting: int
    completeness: Completeness | None
    config_version: int | None = None
    config: str = ""
    link_not_after_utc: str | None = None
    health: tuple[HealthEntry, ...] = ()

    @classmethod
    def of(
        cls, device: Device, waiting: int, completeness: Completeness | None, config: str = ""
    ) -> "CameraStatus":
        """Take what a camera said."""
        return cls(
            device=device.device or "",
            firmware=device.firmware,
            recorder=device.recorder.value,
            battery_percent=device.battery.percent,
            charging=device.battery.charging,
            free_bytes=device.storage.free_bytes,
            total_bytes=device.storage.total_bytes,
            wearer=device.wearer,
            clock_error_ns=device.clock.error_ns,
            waiting=waiting,
            completeness=completeness,
            config_version=None if device.config is None else device.config.version,
            config=config,
            link_not_after_utc=device.link_not_after_utc,
            health=device.health or (),
        )


class BayStatus(msgspec.Struct, frozen=True):
    """One bay now. `detail` is for people; `clip`, `step` and bytes are set while `offloading`.

    `queued` counts the clips that the session under way began with, `stored` those stored since the docking;
    `oldest` is the name of the oldest clip that is still to be taken and has a time.
    """

    bay: str
    way: str
    state: BayState = BayState.EMPTY
    detail: str = ""
    device: str | None = None
    clip: str | None = None
    step: str | None = None
    done_bytes: int = 0
    clip_bytes: int = 0
    queued: int = 0
    queued_bytes: int = 0
    stored: int = 0
    failed_sessions: int = 0
    camera: CameraStatus | None = None
    oldest: str | None = None
