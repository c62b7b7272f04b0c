"""The camera's TOML: hardware, paths, and the policy that holds until a dock pushes a signed one."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from device.capture.source import CaptureError, SourceKind, SourceOptions, SourceSpec, parse_source
from device.controls.config import ControlsConfig
from device.errors import DeviceError
from device.health.config import HealthConfig
from evidence.toml import convert_toml, place_of, read_toml

__all__ = [
    "CameraSection",
    "ConfigError",
    "DeviceConfig",
    "DeviceSection",
    "DockportSection",
    "PolicySection",
    "RingSection",
    "SoundSection",
    "StorageSection",
    "load_config",
    "parse_config",
]

_DeviceId = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{0,32}\Z")]
_Serial = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{0,64}\Z")]
_YEAR_S = 366 * 86_400
_Seconds = Annotated[float, Meta(ge=0, le=_YEAR_S)]
_MICROPHONE = re.compile(r"none|synthetic|replay|alsa:.+")


class ConfigError(DeviceError):
    """A configuration file cannot be used; the line says which file, which key, and what would be right."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all tables of the file have in common: no unknown keys."""


class DeviceSection(_Section, frozen=True, kw_only=True):
    """Who this camera is, and where it keeps things.

    Without `id` an enrolment gives one; `serial` is the number that USB shows, the board's own if it is empty.
    """

    id: _DeviceId = ""
    serial: _Serial = ""
    vault: str = "/var/lib/preroll/vault"
    keys: str = "/etc/preroll/keys"


class CameraSection(_Section, frozen=True, kw_only=True):
    """The frame source; size, rate and bit rate are ignored by a replayed H.264 file."""

    source: str = "picamera"
    width: Annotated[int, Meta(ge=64, le=4096)] = 1920
    height: Annotated[int, Meta(ge=64, le=2304)] = 1080
    rate: Annotated[int, Meta(ge=1, le=120)] = 30
    bitrate_kbps: Annotated[int, Meta(ge=100, le=50_000)] = 10_000
    gop_s: Annotated[float, Meta(gt=0, le=10)] = 1.0


class SoundSection(_Section, frozen=True, kw_only=True):
    """The microphone: `alsa:DEVICE`, `synthetic`, `replay` (the sound of the replayed file) or `none`."""

    microphone: str = "alsa:default"


class RingSection(_Section, frozen=True, kw_only=True):
    """Memory for encoded frames, those that storage has yet to take included."""

    limit_mib: Annotated[int, Meta(ge=1, le=2048)] = 96


class StorageSection(_Section, frozen=True, kw_only=True):
    """When space is called low, and when it is called full."""

    alarm_minutes: Annotated[float, Meta(ge=0, le=_YEAR_S / 60)] = 10.0
    minimum_mib: Annotated[int, Meta(ge=1)] = 8


class DockportSection(_Section, frozen=True, kw_only=True):
    """Where a dock finds the camera: `listen` as `ADDRESS:PORT`, serial lines by their paths. None by default.

    `anchors` is the file with the agency's root certificate; `anchors.pem` beside the keys if it is not named.
    """

    listen: Annotated[str, Meta(pattern=r"^(|(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):[0-9]{1,5})$")] = ""
    serial: tuple[str, ...] = ()
    anchors: str = ""

    @property
    def enabled(self) -> bool:
        """Whether there is any port."""
        return bool(self.listen or self.serial)


class PolicySection(_Section, frozen=True, kw_only=True):
    """What is recorded and for whom, until a dock has pushed a signed configuration."""

    recipients: tuple[str, ...] = ()
    recipients_file: str = ""
    window_s: Annotated[float, Meta(ge=0, le=120)] = 30.0
    sound: bool = True
    sound_before_press: bool = False
    hold_s: Annotated[float, Meta(ge=0.5, le=30)] = 3.0
    confirm_stop: bool = False
    confirm_s: Annotated[float, Meta(ge=1, le=60)] = 5.0
    limit_minutes: Annotated[float, Meta(gt=0, le=_YEAR_S / 60)] = 240.0
    reminder_s: _Seconds = 120.0
    stealth: bool = False
    keep_released_hours: Annotated[float, Meta(ge=0, le=_YEAR_S / 3600)] = 72.0


class DeviceConfig(_Section, frozen=True, kw_only=True):
    """The whole file."""

    device: DeviceSection
    camera: CameraSection = CameraSection()
    sound: SoundSection = SoundSection()
    ring: RingSection = RingSection()
    storage: StorageSection = StorageSection()
    controls: ControlsConfig = ControlsConfig()
    health: HealthConfig = HealthConfig()
    dockport: DockportSection = DockportSection()
    policy: PolicySection = PolicySection()

    @property
    def source(self) -> SourceSpec:
        """The frame source by kind and target."""
        return parse_source(self.camera.source)

    @property
    def source_options(self) -> SourceOptions:
        """How the picture is to be made."""
        camera = self.camera
        return SourceOptions(
            width=camera.width,
            height=camera.height,
            rate=Fraction(camera.rate),
            bitrate_bps=camera.bitrate_kbps * 1000,
            gop_ns=int(camera.gop_s * 1e9),
        )


def load_config(path: Path) -> DeviceConfig:
    """Read and check a configuration file.

    Raises:
        ConfigError: it cannot be read, is not TOML, has an unknown or wrong key, or combines what can't be
        combined.
    """
    return parse_config(read_toml(path, ConfigError), str(path))


def parse_config(text: str, name: str) -> DeviceConfig:
    """Check the text of a configuration; `name` is what errors call it.

    Raises:
        ConfigError: as `load_config`.
    """
    try:
        config = convert_toml(text, DeviceConfig, name, ConfigError)
    except ConfigError:
        raise
    except DeviceError as error:  # of a table that contradicts itself
        raise ConfigError(f"{name}: {error}") from error
    _check(config, text, name)
    return config


def _check(config: DeviceConfig, text: str, name: str) -> None:
    try:
        spec = config.source
    except CaptureError as error:
        place = place_of(text, name, "camera", "source")
        raise ConfigError(f"{place}: {error.what}", expected=error.expected, found=error.found) from error
    microphone = config.sound.microphone
    if not _MICROPHONE.fullmatch(microphone):
        raise ConfigError(
            place_of(text, name, "sound", "microphone"),
            expected="alsa:DEVICE, synthetic, replay or none",
            found=repr(microphone),
        )
    if microphone == "replay" and spec.kind is not SourceKind.REPLAY:
        raise ConfigError(
            f"{place_of(text, name, 'sound', 'microphone')}: sound.microphone is replay",
            expected="camera.source = replay:FILE",
            found=str(spec),
        )
    if not config.device.id and not config.dockport.enabled:
        raise ConfigError(
            f"{name}: device.id is missing",
            expected="an id, or a [dockport] at which the camera is enrolled",
        )
    policy = config.policy
    given = [each for each in (policy.recipients, policy.recipients_file) if each]
    if len(given) != 1 and (given or not config.dockport.enabled):  # an enrolment brings recipients
        raise ConfigError(
            place_of(text, name, "policy"),
            expected="either recipients or recipients_file",
            found="both" if policy.recipients else "neither",
            remedy="name who can open the clips; without one nothing may be recorded",
        )
