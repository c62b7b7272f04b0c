"""What the dock's port needs of the rest of the camera."""

from collections.abc import Callable

import msgspec

from device.health.clock import CameraClock
from device.health.watch import HealthReport
from device.policy import Policy
from device.recording.events import DockPresence
from device.recording.machine import RECORDING_STATES
from device.recording.recorder import RecorderStatus
from device.vault.dockstate import DockMemory
from device.vault.logthread import Detail, LogThread
from device.vault.vault import Vault
from evidence.signer import Signer

__all__ = ["DockedCamera"]


class DockedCamera(msgspec.Struct, frozen=True, kw_only=True):
    """One camera as its dock's port sees it.

    `policy` is the one in force; `apply` puts another one in force for new clips, `try_policy` then raises
    `DeviceError` if the camera does not work with it. `recovery_state` is `RecoveryReport.state_of`,
    `recovered` says that every clip of earlier runs was looked at, `writing` that a clip's writer is at work.
    Below `space_limit_bytes` of free space releasable clips go before their time.
    """

    vault: Vault
    signer: Signer
    log: LogThread
    clock: CameraClock
    memory: DockMemory
    boot: str
    firmware: str
    status: Callable[[], RecorderStatus]
    policy: Callable[[], Policy]
    apply: Callable[[Policy], None]
    try_policy: Callable[[Policy], None]
    recovery_state: Callable[[str], str | None]
    recovered: Callable[[], bool]
    writing: Callable[[], bool]
    post: Callable[[DockPresence], None]
    space_limit_bytes: int
    health: Callable[[], HealthReport] = HealthReport
    serial: str | None = None

    @property
    def device(self) -> str:
        """The camera's id."""
        return self.vault.layout.facts.device

    @property
    def recording(self) -> bool:
        """Whether a clip is open, or still on its way to storage."""
        return self.status().state in RECORDING_STATES or self.writing()

    def note(self, kind: str, detail: Detail, *, urgent: bool = True) -> None:
        """Log an event of now."""
        self.log.post(kind, self.clock.read().monotonic_ns, detail, urgent=urgent)
