"""The camera's part of an enrolment: its button, its new keys, and the one offer that it takes."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device.dockport.enrolcheck import PendingKeys, check_identity
from device.dockport.enrolstore import commit_identity, settle_identity
from device.dockport.enrolwindow import Effect, EnrolmentWindow, Happening, Stage
from device.errors import DeviceError
from device.identity import EnrolmentFacts
from docklink.messages import EnrolBegin, EnrolInstall, SigningRequests
from docklink.service import RefusalError
from evidence.certificates import new_key, self_signed_request
from evidence.errors import EvidenceError
from evidence.storage import StorageError

__all__ = ["EnrolDesk"]

_log = logging.getLogger(__name__)
_REFUSALS = {
    Effect.REFUSE_NOT_HELD: (403, "the camera's button is not held: hold it until the camera is enrolled"),
    Effect.REFUSE_LATE: (403, "the button was held for more than 60 s: let go, and hold it again"),
    Effect.REFUSE_NOT_BEGUN: (409, "no `begin` before, in this session"),
    Effect.REFUSE_TAKEN: (409, "this camera has an identity"),
}


class EnrolDesk:
    """One enrolment at a time. Thread-safe: gestures come from the controls, requests from the sessions."""

    def __init__(
        self,
        *,
        device: str,
        serial: str | None,
        fingerprint: str,
        keys: Path,
        vault: Path,
        trusted: Sequence[x509.Certificate] | None = None,
        changed: Callable[[bool], object] = lambda _: None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Take who the camera is so far.

        Args:
            device: the only id that it may get, any if empty.
            serial: its board's number.
            fingerprint: of the certificate that it shows.
            keys: where the identity will lie.
            vault: root of its vault, which may not be there yet.
            trusted: roots that it was given beforehand, `None` for any.
            changed: hears, after each happening, whether a dock may begin or go on; must not block.
            now_ns: CLOCK_MONOTONIC.
        """
        self.enrolled = threading.Event()
        self.fingerprint = fingerprint
        self.serial = serial
        self._device = device
        self._keys = keys
        self._vault = vault
        self._trusted = trusted
        self._changed = changed
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._window = EnrolmentWindow()
        self._pending: PendingKeys | None = None
        self._session: int | None = None

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        with self._lock:
            return self._window.stage

    def button(self, *, held: bool) -> None:
        """Hear that the button is held, or was let go."""
        self._happen(Happening.HOLD if held else Happening.LET_GO)

    def end_session(self) -> None:
        """End the session of this thread: keys that it asked for are gone."""
        with self._lock:
            mine = self._session == threading.get_ident()
        if mine:
            self._happen(Happening.SESSION_OVER)

    def begin(self, step: EnrolBegin) -> SigningRequests:
        """Make keys and return their signing requests.

        Raises:
            RefusalError: the button, the time, somebody in between, another id, another session.
        """
        _log.warning(
            "a dock asks to enrol this camera as %s; agency's fingerprint %s, this camera's %s",
            step.device,
            step.agency_fingerprint,
            self.fingerprint,
        )
        try:
            return self._begin(step)
        except RefusalError as error:
            _log.warning("enrolment refused: %s", error)
            raise

    def install(self, offer: EnrolInstall) -> None:
        """Take the identity that is offered for the keys of the last `begin`; it is durable on return.

        Raises:
            RefusalError: the button, the time, anything wrong with the offer (nothing is written then), or 503
                because it cannot be kept.
        """
        try:
            self._install(offer)
        except RefusalError as error:
            _log.warning("enrolment refused, nothing installed: %s", error)
            raise

    def _begin(self, step: EnrolBegin) -> SigningRequests:
        if step.camera_fingerprint != self.fingerprint:
            raise RefusalError(
                403,
                "camera_fingerprint: the dock did not see this camera's certificate; somebody is in between",
                field="camera_fingerprint",
            )
        if self._device and step.device != self._device:
            raise RefusalError(
                422, f"device: expected {self._device}, this camera's id, found {step.device}", field="device"
            )
        me = threading.get_ident()
        with self._lock:
            busy = self._pending is not None and self._session != me
        if busy:
            raise RefusalError(503, "another session is enrolling this camera")
        self._require(Happening.BEGIN)
        facts = EnrolmentFacts(1, step.device, self.serial, self.fingerprint, step.agency_fingerprint)
        pending = PendingKeys(facts, new_key(), new_key())
        with self._lock:
            if self._window.stage is Stage.BEGUN:  # else it was let go meanwhile; `install` will say so
                self._pending, self._session = pending, me
        return SigningRequests(
            evidence=_request(step.device, pending.evidence), link=_request(step.device, pending.link)
        )

    def _install(self, offer: EnrolInstall) -> None:
        with self._lock:
            mine = self._session == threading.get_ident() or self._pending is None
        if not mine:
            raise RefusalError(*_REFUSALS[Effect.REFUSE_NOT_BEGUN])
        pending = self._require(Happening.INSTALL)
        if pending is None:
            self._happen(Happening.FOUND_BAD)
            raise RefusalError(*_REFUSALS[Effect.REFUSE_NOT_BEGUN])
        try:
            identity = check_identity(offer, pending, self._vault, self._trusted)
        except RefusalError:
            self._happen(Happening.FOUND_BAD)
            raise
        self._require(Happening.FOUND_GOOD)
        try:
            commit_identity(self._keys, identity)
        except (StorageError, OSError) as error:
            self._happen(Happening.NOT_WRITTEN)
            raise RefusalError(503, f"the identity cannot be kept: {error}") from error
        self._happen(Happening.WRITTEN)
        try:
            settle_identity(self._keys, self._vault)
        except (EvidenceError, DeviceError) as error:  # it is the camera's all the same
            _log.error("the new identity is kept, and put in place at the next start: %s", error)
        facts = identity.facts
        _log.warning("enrolled as %s; agency's fingerprint %s", facts.device, facts.agency_fingerprint)
        self.enrolled.set()

    def _require(self, happening: Happening) -> PendingKeys | None:
        """Let something happen, or refuse; returns the keys that wait, as of that moment."""
        effect, pending = self._happen(happening)
        if effect in _REFUSALS:
            raise RefusalError(*_REFUSALS[effect])
        return pending

    def _happen(self, happening: Happening) -> tuple[Effect, PendingKeys | None]:
        with self._lock:
            effect = self._window.happen(happening, self._now_ns())
            stage = self._window.stage
            if stage not in (Stage.BEGUN, Stage.CHECKING, Stage.WRITING) or effect is Effect.MAKE_KEYS:
                self._pending = self._session = None
            pending, may = self._pending, self._window.open
        self._changed(may)
        return effect, pending


def _request(device: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    return self_signed_request(device, key).public_bytes(serialization.Encoding.DER)
