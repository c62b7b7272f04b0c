"""What of the camera works: each part tried as recording would use it; nothing is left behind."""

import enum
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from device.capture.source import SourceState, StateKind, open_source
from device.config import ConfigError, DeviceConfig
from device.dockport.enrolstore import settle_identity
from device.errors import DeviceError
from device.health.clock import read_mapping
from device.health.memory import try_locking
from device.identity import board_serial, has_identity, identified
from device.policy import load_policy
from device.vault.layout import format_vault, is_blank, open_layout
from device.vault.space import Reserve, read_space
from evidence.clock import format_utc
from evidence.errors import ExplainedError
from evidence.frames import EncodedFrame, Span, Track
from evidence.roles import Role
from evidence.signer import load_signer
from evidence.storage import create_file, sync_directory

__all__ = ["Finding", "Result", "run_selftest"]

_MIB = 1024 * 1024
_PROBE_BYTES = 4 * _MIB
_SWAPS = Path("/proc/swaps")


class Result(enum.StrEnum):
    """What came of trying a part."""

    WORKS = "works"
    WARNING = "warning"  # recording goes on without it, or with less than it promises
    FAILS = "fails"


_Part = tuple[str, Callable[[], str]]


class Finding(msgspec.Struct, frozen=True):
    """One part, tried."""

    part: str
    result: Result
    detail: str

    @property
    def fatal(self) -> bool:
        """Whether recording needs this part and it does not work."""
        return self.result is Result.FAILS


class _WarningError(DeviceError):
    """A part does not work, and recording goes on."""


def run_selftest(config: DeviceConfig, directory: Path, *, camera_timeout_s: float = 10.0) -> list[Finding]:
    """Try every part; relative paths of the configuration start at `directory`. The firmware must not run."""
    root, keys = directory / config.device.vault, directory / config.device.keys
    if not has_identity(keys) and config.dockport.enabled:
        parts = [("identity", lambda: _nobody(config, keys)), *_hardware(config, root, camera_timeout_s)]
        return [_tried(name, part) for name, part in parts]
    settle_identity(keys, root)
    config = identified(config, keys)
    parts = [
        ("policy", lambda: _policy(config, directory)),
        ("keys", lambda: _keys(config, directory)),
        ("vault", lambda: _vault(config, root)),
        *_hardware(config, root, camera_timeout_s),
    ]
    return [_tried(name, part) for name, part in parts]


def _hardware(config: DeviceConfig, root: Path, camera_timeout_s: float) -> list[_Part]:
    return [
        ("storage", lambda: _storage(root)),
        ("camera", lambda: _camera(config, camera_timeout_s)),
        ("controls", lambda: _controls(config)),
        ("microphone", lambda: _microphone(config)),
        ("clock", _clock),
        ("memory", _memory),
        ("swap", _swap),
    ]


def _tried(name: str, part: Callable[[], str]) -> Finding:
    try:
        return Finding(name, Result.WORKS, part())
    except _WarningError as error:
        return Finding(name, Result.WARNING, str(error))
    except ExplainedError as error:
        return Finding(name, Result.FAILS, str(error))
    except OSError as error:
        return Finding(name, Result.FAILS, error.strerror or type(error).__name__)


def _nobody(config: DeviceConfig, keys: Path) -> str:
    """Say that there is no identity, and what the dock has to show when it gives one."""
    from device.dockport.enrolmode import scratch_fingerprint  # noqa: PLC0415  # TLS, which nothing else needs

    fingerprint = scratch_fingerprint(keys) or "made when the firmware first runs"
    raise ConfigError(
        "this camera belongs to nobody and cannot record",
        found=f"board {board_serial(config) or 'without a number'}, enrolment's fingerprint {fingerprint}",
        remedy="run it, hold its button, and enrol it with `preroll dock enrol`",
    )


def _policy(config: DeviceConfig, directory: Path) -> str:
    policy = load_policy(config, directory)
    seconds = policy.document.window_ns // 1_000_000_000
    return f"{len(policy.recipients)} recipients ({policy.recipients[0].kind}), {seconds} s before the press"


def _keys(config: DeviceConfig, directory: Path) -> str:
    signer = load_signer(directory / config.device.keys, Role.CAMERA_EVIDENCE)
    started = time.perf_counter()
    signer.sign_digest(bytes(32))
    return f"signs in {(time.perf_counter() - started) * 1e3:.1f} ms"


def _vault(config: DeviceConfig, root: Path) -> str:
    if is_blank(root):
        format_vault(root, config.device.id)
    layout = open_layout(root, config.device.id)
    try:
        Reserve(layout.reserve).hold()
        return f"epoch {layout.facts.epoch[:8]}…, generation {layout.facts.generation}"
    finally:
        layout.close()


def _storage(root: Path) -> str:
    """Write, sync and remove a file of some MiB: the rate is what a flush would get."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    probe = root / ".selftest"
    probe.unlink(missing_ok=True)
    started = time.perf_counter()
    try:
        create_file(probe, os.urandom(_PROBE_BYTES))
        sync_directory(root)
        seconds = time.perf_counter() - started
    finally:
        probe.unlink(missing_ok=True)
    space = read_space(root)
    rate = _PROBE_BYTES / _MIB / seconds
    return f"{rate:.0f} MiB/s written and synced, {space.free_bytes / _MIB:,.0f} MiB free"


class _FirstKeyframe:
    """A sink that waits for one keyframe and keeps nothing."""

    def __init__(self) -> None:
        self.seen = threading.Event()
        self.reason = "no picture came"

    def frame(self, frame: EncodedFrame) -> None:
        if frame.track is Track.VIDEO and frame.keyframe:
            self.seen.set()

    def gap(self, gap: Span) -> None:
        del gap

    def state(self, state: SourceState) -> None:
        if state.kind is StateKind.FAILED:
            self.reason = state.detail


def _camera(config: DeviceConfig, timeout_s: float) -> str:
    sink = _FirstKeyframe()
    source = open_source(config.source, config.source_options)
    started = time.perf_counter()
    source.start(sink, sink.state)
    try:
        came = sink.seen.wait(timeout_s)
    finally:
        source.stop()
    if not came:
        raise DeviceError(f"no picture from {source.name}", expected="a keyframe", found=sink.reason)
    video = source.nominal_format
    size = f"{video.width}x{video.height} at {float(video.rate):.0f}/s, " if video else ""
    return f"{source.name}: {size}first keyframe after {time.perf_counter() - started:.2f} s"


def _controls(config: DeviceConfig) -> str:
    """Claim every line and blink each light once; without a terminal nobody need look."""
    from device.controls.panel import ControlPanel  # noqa: PLC0415  # after the camera
    from device.service import gpio_factory  # noqa: PLC0415  # pulls in all of the firmware

    panel = ControlPanel(config.controls, gpio_factory(), lambda _event: None)
    faults = list(panel.faults)
    panel.close()
    if faults:
        raise DeviceError("a line cannot be claimed", found="; ".join(str(fault) for fault in faults))
    return f"button on GPIO {config.controls.button.pin}, {len(config.controls.triggers)} trigger lines"


def _microphone(config: DeviceConfig) -> str:
    kind, _, target = config.sound.microphone.partition(":")
    if kind != "alsa":
        return f"{kind}: nothing to try"
    from device.capture.sound.alsa import AlsaMicrophone  # noqa: PLC0415  # only where it is used
    from device.capture.sound.microphone import MicrophoneError  # noqa: PLC0415  # as above

    microphone = AlsaMicrophone(target)
    try:
        microphone.open()
        microphone.close()
    except MicrophoneError as error:
        raise _WarningError(f"{error}; clips will be without sound") from error
    return f"{target} opens"


def _clock() -> str:
    mapping = read_mapping()
    if mapping.utc_ns is None:
        raise _WarningError("UTC is unknown; clips will be named `notime` until a dock sets the clock")
    bound = "unknown" if mapping.error_ns is None else f"{mapping.error_ns / 1e6:.0f} ms"
    return f"{format_utc(mapping.utc_ns)} by {mapping.source}, error bound {bound}"


def _memory() -> str:
    """Whether the firmware's memory can be locked: then no frame is swapped, swap or no swap."""
    trouble = try_locking()
    if trouble:
        raise _WarningError(
            "memory cannot be locked: frames that nobody recorded could be swapped to storage",
            found=trouble,
            remedy="the unit lifts the limit (LimitMEMLOCK=); run this as docs/install-device.md has it",
        )
    return "can be locked"


def _swap() -> str:
    """Frames of the ring must never reach storage, so a camera has no swap and no zram."""
    try:
        swaps = _SWAPS.read_text(encoding="ascii").splitlines()[1:]
    except OSError as error:
        raise ConfigError("cannot tell whether there is swap", found=error.strerror or "") from error
    if swaps:
        names = [line.split()[0] for line in swaps]
        zram = any("zram" in name for name in names)
        raise _WarningError(
            f"{'zram' if zram else 'swap'} is on: frames that nobody recorded could leave the memory",
            found=", ".join(names),
            remedy="`swapoff -a`, and take away what turns it on: "
            "`apt-get purge dphys-swapfile zram-tools systemd-zram-generator rpi-swap`",
        )
    return "no swap, no zram"
