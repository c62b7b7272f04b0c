"""The policy in force, and its change while the camera runs: for clips that start from then on."""

import threading
import time
from collections.abc import Callable

from device.buffer.ring import DEFAULT_MARGIN_NS, Ring
from device.capture.sound.gate import SoundGate
from device.config import DeviceConfig
from device.controls.panel import ControlPanel, PanelPolicy, indicator_policy
from device.errors import DeviceError
from device.policy import Policy, PolicyError
from device.recording.core import RecorderPolicy
from device.recording.events import PolicyChange
from evidence.age.errors import AgeError
from evidence.age.writer import AgeWriter
from evidence.documents import Config

__all__ = ["PolicySwitch", "panel_policy", "recorder_policy"]

_NS_PER_S = 1_000_000_000
_PICTURE_PATIENCE_S = 3.0
_LOOK_AGAIN_S = 0.02


def recorder_policy(document: Config) -> RecorderPolicy:
    """Return what the recorder goes by."""
    return RecorderPolicy(
        confirm_stop=document.gestures.confirm_stop,
        confirm_ns=document.gestures.confirm_ns,
        limit_ns=document.limit_ns,
    )


def panel_policy(document: Config) -> PanelPolicy:
    """Return what the controls go by."""
    return PanelPolicy(
        hold_ns=document.gestures.hold_ns, stealth=document.stealth, reminder_ns=document.reminder_ns or None
    )


class PolicySwitch:
    """Holds the policy; `current` from any thread, `apply` and `check` from one at a time."""

    def __init__(
        self,
        policy: Policy,
        config: DeviceConfig,
        *,
        ring: Ring,
        gate: SoundGate,
        panel: ControlPanel,
        post: Callable[[PolicyChange], None],
        set_sound: Callable[[bool], None],
    ) -> None:
        self._current = policy
        self._previous = policy
        self._config = config
        self._ring = ring
        self._gate = gate
        self._panel = panel
        self._post = post
        self._set_sound = set_sound
        self._pause = threading.Event()  # never set

    @property
    def current(self) -> Policy:
        """The policy in force."""
        return self._current

    def apply(self, policy: Policy) -> None:
        """Put a policy in force; a clip that is open goes on by the one that it began with.

        Going back to the one before is always possible: a trial must not end with what failed it.

        Raises:
            PolicyError: the camera cannot do what it asks for; nothing has changed.
        """
        document = policy.document
        if policy not in (self._previous, self._current):
            self._check_window(document.window_ns)
        self._ring.set_window(document.window_ns)
        self._gate.set_before_press(document.sound.before_press)
        controls = panel_policy(document)
        self._panel.set_policy(indicator_policy(self._config.controls.lights, controls))
        self._panel.set_hold(document.gestures.hold_ns)
        self._post(PolicyChange(recorder_policy(document)))
        self._previous, self._current = self._current, policy
        self._set_sound(document.sound.recording)

    def check(self, policy: Policy) -> None:
        """Try the camera with the policy in force: a header for its recipients can be made, pictures come.

        Raises:
            DeviceError: what does not work.
        """
        try:
            AgeWriter(policy.recipients, lambda _: None).close()
        except AgeError as error:
            raise PolicyError("recipients", expected="recipients to encrypt to", found=str(error)) from error
        before_ns = self._ring.stats().newest_pts_ns
        if before_ns is None:
            return  # there was no picture before, either
        give_up = time.monotonic() + _PICTURE_PATIENCE_S
        while self._ring.stats().newest_pts_ns == before_ns:
            if time.monotonic() > give_up:
                raise DeviceError("no picture comes any more", expected="a frame within 3 s")
            self._pause.wait(_LOOK_AGAIN_S)

    def _check_window(self, window_ns: int) -> None:
        """Refuse seconds that the ring's memory cannot hold at the rate of what it holds now."""
        stats = self._ring.stats()
        if stats.held_ns < _NS_PER_S:
            return
        needed = stats.held_bytes * (window_ns + DEFAULT_MARGIN_NS) // stats.held_ns
        limit = self._config.ring.limit_mib * 1024 * 1024
        if needed > limit:
            raise PolicyError(
                "window_ns",
                expected=f"what the ring's {self._config.ring.limit_mib} MiB hold at this bit rate",
                found=f"{window_ns / _NS_PER_S:.0f} s",
            )
