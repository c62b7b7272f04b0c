"""The firmware put together: controls first, then the camera, then everything that storage is needed for.

The order is the order of what a press needs: from the moment the button's line is claimed a press counts, and
from the first keyframe there is something to record.
"""

import gc
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import device
from device.buffer.ring import Ring
from device.capture.sound.gate import SoundGate
from device.capture.sound.microphone import Microphone
from device.capture.source import FrameSource, open_source
from device.config import ConfigError, DeviceConfig
from device.controls.edges import open_pin_factory
from device.controls.panel import ControlPanel
from device.controls.patterns import IndicatorState
from device.dockport.enrolstore import settle_identity
from device.dockport.late import LateDockPort, OpenPort
from device.errors import DeviceError
from device.health.clock import CameraClock, read_boot_id, read_mapping
from device.health.picture import PictureWatch
from device.health.readings import SYS
from device.health.storagewatch import StorageWatch
from device.health.watch import HealthParts, HealthWatch
from device.identity import board_serial, identified
from device.inbox import Inbox
from device.policy import Policy, load_policy, policy_of_toml
from device.policycheck import doubt_about
from device.policyswitch import PolicySwitch, panel_policy, recorder_policy
from device.recording.events import LogTrouble, ShutdownRequest
from device.recording.machine import RECORDING_STATES, State
from device.recording.recorder import ClipHandle, Recorder
from device.recording.writer import ClipThread, WriterContext
from device.soundswitch import SoundSwitch
from device.vault.dockstate import DockMemory
from device.vault.eventlog import EventLog
from device.vault.layout import VaultLayout, format_vault, is_blank, open_layout
from device.vault.logthread import LogThread
from device.vault.recovery import Load, VaultRecovery
from device.vault.vault import FileOpener, Vault
from evidence.clock import UtcMapping
from evidence.errors import ExplainedError
from evidence.roles import Role
from evidence.signer import Signer, load_signer
from evidence.storage import PosixAppendFile, StorageError

__all__ = ["DeviceService", "ServiceParts", "gpio_factory"]

_log = logging.getLogger(__name__)
_MIB = 1024 * 1024
_NS_PER_S = 1_000_000_000
_WRITER_WAITS_NS = 3 * _NS_PER_S
"""A writer that has not turned for so long makes the storage watch try whether storage still answers."""
_SWITCH_S = 0.001
"""How long a thread may keep the interpreter while another waits for it. At CPython's 5 ms a writer that
flushes holds the encoder's thread up for several turns of that (`python -m bench --only append`)."""


class ServiceParts(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand in for the board's own parts: pins, source, microphone, storage, clock, sysfs.

    `memory_trouble` is why memory could not be locked, or empty.
    """

    factory: Any = None
    source: FrameSource | None = None
    microphone: Microphone | None = None
    open_file: FileOpener = PosixAppendFile
    read_mapping: Callable[[], UtcMapping] = read_mapping
    drain_s: float = 1.0
    sys_root: Path = SYS
    memory_trouble: str = ""


class DeviceService:
    """One camera. The constructor claims and opens; `run` works until `stop`, seals what is open, and returns.

    Raises:
        ConfigError: the configuration cannot be used.
        DeviceError: the camera's source cannot be opened, or the vault is another's or in use.
        EvidenceError: a key or its certificate is missing.
    """

    def __init__(self, config: DeviceConfig, directory: Path, parts: ServiceParts | None = None) -> None:
        keys = directory / config.device.keys
        settle_identity(keys, directory / config.device.vault)
        self.config = config = identified(config, keys)
        self._parts = parts or ServiceParts()
        self.stopped_by = ""
        switch_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        self._closing: list[Callable[[], None]] = [lambda: sys.setswitchinterval(switch_s)]
        self._writers: list[ClipThread] = []
        self.dock: LateDockPort | None = None
        policy = load_policy(config, directory)
        try:
            self._build(policy, directory)
        except BaseException:
            self._close()
            raise

    def run(self) -> None:
        """Record until `stop`; whatever is open is sealed before this returns."""
        facts = {"firmware": device.__version__, "source": self.config.camera.source}
        powered_on = self.log.post("power_on", time.monotonic_ns(), facts, urgent=True)
        self.recovery.start(powered_on)
        gc.freeze()  # what is loaded stays; to look through it all would stop every thread for 20 ms and more
        try:
            self.recorder.run()
        finally:
            gc.unfreeze()
            self._close()

    def stop(self, reason: str) -> None:
        """Ask `run` to return; from any thread or signal handler."""
        self.stopped_by = self.stopped_by or reason
        self.recorder.post(ShutdownRequest(reason))

    def stop_on_signals(self) -> None:
        """Let SIGTERM and SIGINT seal and end; in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda caught, _: self.stop(signal.Signals(caught).name))

    def _build(self, policy: Policy, directory: Path) -> None:
        inbox: Inbox[Any] = Inbox()  # takes presses before there is a recorder
        self._film(policy, inbox.put)
        signer = load_signer(directory / self.config.device.keys, Role.CAMERA_EVIDENCE)
        boot = read_boot_id()
        doubt = doubt_about(policy, directory / self.config.device.vault, self._anchors(directory))
        if doubt:
            policy = policy_of_toml(self.config, directory)
        self._open_storage(directory, signer, boot, inbox.put)
        self.sound = SoundSwitch(
            self.config, self.source, self.gate, self.log, microphone=self._parts.microphone
        )
        self.policy = PolicySwitch(
            policy,
            self.config,
            ring=self.ring,
            gate=self.gate,
            panel=self.panel,
            post=inbox.put,
            set_sound=self.sound.set,
        )
        if doubt:
            self._distrust(doubt)
        self.recorder = Recorder(
            recorder_policy(policy.document),
            inbox=inbox,
            ring=self.ring,
            panel=self.panel,
            log=self.log,
            gate=self.gate,
            start_clip=self._clip_starter(policy, signer, boot, inbox.put),
            now_ns=time.monotonic_ns,
            low_minutes=self.config.storage.alarm_minutes,
        )
        self._start(policy)
        if self.config.dockport.enabled:
            self.dock = LateDockPort(lambda: self._make_dock(directory, signer, boot), self._is_settled)
            self.dock.start()
            self._closing.append(self.dock.close)

    def _distrust(self, doubt: str) -> None:
        """Go by the TOML instead of a stored configuration that is not the agency's, and say so."""
        _log.error("the configuration in the vault is not used: %s", doubt)
        detail = {"clip": None, "what": "config", "detail": doubt[:500]}
        self.log.post("integrity", time.monotonic_ns(), detail, urgent=True)
        self.policy.apply(self.policy.current)

    def _film(self, policy: Policy, post: Callable[[Any], None]) -> None:
        """Claim the controls and let frames flow into the ring: all that a press needs to count."""
        config, document = self.config, policy.document
        self.panel = self._claim_controls(policy, post)
        self.ring = Ring(document.window_ns, config.ring.limit_mib * _MIB)
        self.gate = SoundGate(self.ring, before_press=document.sound.before_press)
        self.source = self._parts.source or open_source(config.source, config.source_options)
        self.picture = PictureWatch(
            self.source,
            self.ring,
            post,
            silent_ns=int(config.health.camera_silent_s * _NS_PER_S),
            began_ns=time.monotonic_ns(),
        )
        self.picture.start()
        self._closing.append(self.picture.stop)

    def _open_storage(self, directory: Path, signer: Signer, boot: str, post: Callable[[Any], None]) -> None:
        """Open the vault, its memory of docks, the event log, and the recovery of what was left open."""
        self.vault = self._open_vault(directory / self.config.device.vault)
        self.memory = DockMemory(self.vault.layout)
        if self.memory.damage:
            _log.error("vault: %s", self.memory.damage)
        self.clock = CameraClock(self._parts.read_mapping)
        self.log = self._open_log(self.vault.layout, signer, boot, post)
        self.recovery = VaultRecovery(
            self.vault.layout,
            signer,
            self.log.post,
            load=self._load,
            give_up_reserve=self.vault.reserve.give_up,
        )
        self._closing.append(self.recovery.close)

    def _clip_starter(
        self, policy: Policy, signer: Signer, boot: str, post: Callable[[Any], None]
    ) -> Callable[[str, int, Any], ClipHandle]:
        """Return what starts the writer of a clip, with the policy and the frame rate of that moment."""
        context = WriterContext(
            vault=self.vault,
            signer=signer,
            policy=policy,
            boot=boot,
            firmware=device.__version__,
            rate=self.config.source_options.rate,
            read_mapping=self.clock.read,
            log_head=lambda: self.log.head,
            post=post,
            now_ns=time.monotonic_ns,
            drain_s=self._parts.drain_s,
            wearer=self.memory.wearer_at,
        )

        def start_clip(source: str, edge_ns: int, cursor: Any) -> ClipHandle:
            nominal = self.source.nominal_format
            rate = nominal.rate if nominal else context.rate
            current = msgspec.structs.replace(context, rate=rate, policy=self.policy.current)
            thread = ClipThread(current, source, edge_ns, cursor)
            self._writers = [*(each for each in self._writers if not each.join(0)), thread]
            thread.start()
            return thread

        return start_clip

    def _make_dock(self, directory: Path, signer: Signer, boot: str) -> OpenPort:
        from device.dockport.camera import DockedCamera  # noqa: PLC0415  # TLS and X.509: 300 ms of CPU
        from device.dockport.dockport import DockPort  # noqa: PLC0415  # as above

        config = self.config
        keys = directory / config.device.keys
        low_bytes = int(config.storage.alarm_minutes * 60 * config.camera.bitrate_kbps * 125)
        camera = DockedCamera(
            vault=self.vault,
            signer=signer,
            log=self.log,
            clock=self.clock,
            memory=self.memory,
            boot=boot,
            firmware=device.__version__,
            status=lambda: self.recorder.status,
            policy=lambda: self.policy.current,
            apply=self.policy.apply,
            try_policy=self.policy.check,
            recovery_state=self._recovery_state,
            recovered=lambda: self.recovery.join(0),
            health=lambda: self.health.report,
            writing=lambda: any(not writer.join(0) for writer in self._writers),
            post=self.recorder.post,
            space_limit_bytes=low_bytes + config.storage.minimum_mib * _MIB,
            serial=board_serial(config),
        )
        return DockPort(camera, config.dockport, keys=keys, anchors=self._anchors(directory))

    def _anchors(self, directory: Path) -> Path:
        named = self.config.dockport.anchors
        return directory / (named or Path(self.config.device.keys) / "anchors.pem")

    def _recovery_state(self, clip: str) -> str | None:
        return self.recovery.report.state_of(clip)

    def _is_settled(self) -> bool:
        return self.recorder.status.state is not State.STARTING

    def _load(self) -> Load:
        status = self.recorder.status
        return Load(recording=status.state in RECORDING_STATES, caught_up=status.caught_up)

    def _claim_controls(self, policy: Policy, post: Callable[[Any], None]) -> ControlPanel:
        factory = self._parts.factory if self._parts.factory is not None else gpio_factory()
        panel = ControlPanel(self.config.controls, factory, post, policy=panel_policy(policy.document))
        panel.start()
        panel.show(IndicatorState.STARTING)  # now, and not when storage has answered
        self._closing.append(panel.close)
        return panel

    def _open_vault(self, root: Path) -> Vault:
        if is_blank(root):
            format_vault(root, self.config.device.id)
        layout = open_layout(root, self.config.device.id)
        self._closing.append(layout.close)
        vault = Vault(layout, self._parts.open_file)
        for damage in vault.damaged:
            _log.error("vault: %s", damage)
        return vault

    def _open_log(
        self, layout: VaultLayout, signer: Signer, boot: str, post: Callable[[Any], None]
    ) -> LogThread:
        log = EventLog(layout, signer, boot, self.clock.read, self._parts.open_file)
        for damage in log.damaged:
            _log.error("event log: %s", damage)

        def trouble(error: StorageError | None) -> None:
            post(LogTrouble(str(error) if error else ""))

        thread = LogThread(log, trouble)
        self._closing.append(thread.close)
        return thread

    def _start(self, policy: Policy) -> None:
        post, now_ns = self.recorder.post, time.monotonic_ns
        storage = StorageWatch(
            self.vault.layout.root,
            self.vault.reserve,
            post,
            minimum_bytes=self.config.storage.minimum_mib * _MIB,
            now_ns=now_ns,
            wants_probe=lambda: now_ns() - self._writers_turn_ns(now_ns()) > _WRITER_WAITS_NS,
            open_file=self._parts.open_file,
        )
        parts = HealthParts(
            storage=storage,
            picture=self.picture,
            newest_ns=lambda: self.ring.stats().newest_pts_ns,
            clock=self.clock.read,
            microphone=lambda: self.sound.condition,
            troubles=self._troubles,
        )
        self.health = HealthWatch(self.config.health, parts, post, now_ns=now_ns, root=self._parts.sys_root)
        self.health.start()
        self._closing += [self.health.close, lambda: self.sound.set(False)]
        self.sound.set(policy.document.sound.recording)

    def progress(self) -> dict[str, int]:
        """Return when each part last got something done, CLOCK_MONOTONIC in nanoseconds: for a watchdog.

        What a restart cannot heal is no lack of progress: a camera that is known to be gone, a card that does
        not answer. Both are shown as faults while the process lives on.
        """
        now_ns = time.monotonic_ns()
        return {
            "main loop": self.recorder.last_turn_ns,
            "controls": self.panel.last_turn_ns,
            "frames": self.picture.progress_ns(now_ns),
            "health": self.health.looked_ns,
            "writer": now_ns if self.health.storage_frozen else self._writers_turn_ns(now_ns),
        }

    def _writers_turn_ns(self, now_ns: int) -> int:
        """Return when the slowest of the writers at work last turned, or now if none is at work."""
        return min((writer.turn_ns for writer in self._writers if not writer.join(0)), default=now_ns)

    def _troubles(self) -> dict[str, str]:
        """Say of parts that are well or not what is wrong with them; empty for nothing."""
        stuck = (
            "down for a long time: jammed, or pressed in its place" if self.panel.core.button.is_stuck else ""
        )
        return {
            "button": stuck,
            "controls": "; ".join(str(fault) for fault in self.panel.faults),
            "memory": self._parts.memory_trouble,
        }

    def _close(self) -> None:
        """Close in reverse order; one part that fails to close keeps none of the others open."""
        while self._closing:
            close = self._closing.pop()
            try:
                close()
            except (OSError, RuntimeError, ExplainedError) as error:
                _log.error("closing: %s", error)  # one line; the rest must be closed too


def gpio_factory() -> Any:
    """Return the pin factory of this machine (`GPIOZERO_PIN_FACTORY` chooses another).

    Raises:
        ConfigError: there are no pins that can be used.
    """
    try:
        return open_pin_factory()
    except DeviceError as error:
        raise ConfigError(
            "no GPIO pins", expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
