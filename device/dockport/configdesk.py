"""Taking a configuration: signed by the agency, newer, fit for this camera, tried; and only then kept."""

import logging
import threading
from collections.abc import Callable

from device.dockport.camera import DockedCamera
from device.errors import DeviceError
from device.policy import Policy, PolicyError, policy_of
from device.vault.configstore import PushedConfig, publish_config, read_config, settle_config
from device.vault.trust import AgencyTrust, UntrustedError
from docklink.messages import SignedDocument
from docklink.service import RefusalError
from evidence.errors import EvidenceError
from evidence.roles import Role
from evidence.storage import StorageError

__all__ = ["ConfigDesk", "revoked_serials"]

_log = logging.getLogger(__name__)


def revoked_serials(policy: Policy) -> frozenset[int]:
    """Return the serial numbers that a policy revokes."""
    return frozenset(int(each.serial, 16) for each in policy.document.revocations)


class ConfigDesk:
    """One configuration at a time."""

    def __init__(self, camera: DockedCamera, trust: Callable[[], AgencyTrust]) -> None:
        self._camera = camera
        self._trust = trust
        self._lock = threading.Lock()

    def check_stored(self) -> None:
        """Finish a replacement that was cut short; what cannot be read or finished is an alarm.

        Whether it is the agency's was asked before the first clip (`device.policycheck`).
        """
        root = self._camera.vault.layout.root
        try:
            settle_config(root)
            read_config(root)
        except EvidenceError as error:
            _log.error("the configuration in the vault: %s", error)
            self._camera.note("integrity", {"clip": None, "what": "config", "detail": str(error)[:500]})

    def take(self, signed: SignedDocument) -> None:
        """Put a configuration in force, durably; raises `RefusalError` and leaves the old one otherwise."""
        with self._lock:
            policy, signer = self._judge(signed)
            old = self._camera.policy()
            if policy.document.version <= old.document.version:
                raise RefusalError(
                    409,
                    f"not newer: version {policy.document.version}, in force is {old.document.version}",
                    field="version",
                )
            if self._camera.recording:
                raise RefusalError(409, "recording: a configuration is tried between clips")
            self._try(policy, old)
            try:
                publish_config(self._camera.vault.layout.root, PushedConfig(signed.document, signed.cms))
            except StorageError as error:
                self._camera.apply(old)
                raise RefusalError(503, f"the configuration cannot be kept: {error}") from error
            reference = policy.reference
            self._camera.note(
                "config", {"version": reference.version, "sha256": reference.sha256, "signer": signer}
            )

    def _judge(self, signed: SignedDocument) -> tuple[Policy, str]:
        try:
            identity = self._trust().verify(signed.document, signed.cms, Role.CONFIG)
            return policy_of(signed.document, self._camera.device), identity.subject_id
        except UntrustedError as error:
            raise RefusalError(403, str(error)) from error
        except PolicyError as error:
            raise RefusalError(422, str(error), field=error.field) from error

    def _try(self, policy: Policy, old: Policy) -> None:
        """Put it in force and see whether the camera works; back to the old one if it does not."""
        try:
            self._camera.apply(policy)
            self._camera.try_policy(policy)
        except DeviceError as error:
            self._camera.apply(old)
            version = policy.reference.version
            _log.error("configuration %d is rolled back: %s", version, error)
            self._camera.note("config_rolled_back", {"version": version, "reason": str(error)[:500]})
            field = error.field if isinstance(error, PolicyError) else None
            raise RefusalError(422, f"rolled back: {error}", field=field) from error
