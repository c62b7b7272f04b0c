"""What the demo needs before it can start: an agency, keys, and a configuration for camera and dock."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from device.capture.source import SourceKind, SourceSpec, default_options, parse_source
from device.config import DeviceConfig
from device.config import parse_config as parse_device_config
from evidence.agency import SubjectKind, create_agency, issue_new
from host.agent import socket_path
from host.config import DockConfig
from host.config import load_config as load_dock_config
from preroll.demo.errors import StageError

__all__ = ["CAMERA_ID", "DOCK_ID", "SITE", "STORE_ID", "Stage", "set_stage", "with_broker"]

CAMERA_ID = "cam-demo"
DOCK_ID = "dock-demo"
STORE_ID = "store-demo"
SITE = "demo"
_SOCKET_PATH_BYTES = 107  # of sun_path, without its final zero (unix(7))

_MARK = "# Written by `preroll demo`, anew each time."
_DEVICE = """\
{mark}
# `preroll device run --config device.toml` would run this camera on real pins.
[device]
id = "{camera}"
vault = "vault"
keys = "keys/camera"

[camera]
source = {source}
width = {width}
height = {height}
rate = {rate}
bitrate_kbps = {bitrate_kbps}

[sound]
microphone = "{microphone}"

[policy]
recipients_file = "keys/agency/identity/recipients.txt"
window_s = {window_s}
keep_released_hours = 0  # with the dock's receipt the clip goes at once; 72 by default

[dockport]
serial = [{line}]
anchors = "keys/agency/root/root.pem"
"""
_DOCK = """\
{mark}
# `preroll dock run --config dock.toml` would run this dock.
[dock]
id = "{dock}"
keys = "keys/dock"
root = "keys/agency/root/root.pem"
state = "dock"

[store]
path = "store"
id = "{store}"
reserve_mib = 16

[timeouts]  # for a machine that has other things to do
handshake_s = 60
progress_s = 30
answer_s = 120
line_s = 60
look_s = 0.5
retry_s = 2

[[bay]]
name = "1"
serial = {line}
"""
_MQTT = """
[mqtt]  # the broker of one demo: its port is another one the next time
broker = {broker}
site = "{site}"
protocol = "{protocol}"
"""


class Stage(msgspec.Struct, frozen=True):
    """Where the demo keeps things."""

    directory: Path
    config: DeviceConfig
    dock: DockConfig
    root: Path
    identity: Path

    @property
    def vault(self) -> Path:
        """The camera's storage."""
        return self.directory / "vault"

    @property
    def store(self) -> Path:
        """The dock's."""
        return self.directory / "store"

    @property
    def camera_line(self) -> Path:
        """The camera's end of the cable."""
        return self.directory / "line" / "camera"

    @property
    def dock_line(self) -> Path:
        """The dock's end of it."""
        return self.directory / "line" / "dock"


def set_stage(directory: Path, camera: str, window_s: float) -> Stage:
    """Make keys where there are none yet, write `device.toml` and `dock.toml`, and load them.

    A directory of an earlier demo is gone on with: same agency, camera, dock, vault and store.

    Raises:
        ConfigError: the camera's name or the seconds cannot be used.
        CaptureError: the camera's name is none.
        StageError: the directory has files of somebody else, or too long a path.
        IssueError, StorageError: keys cannot be made.
    """
    spec = parse_source(camera)
    device_toml, dock_toml = directory / "device.toml", directory / "dock.toml"
    for path in (device_toml, dock_toml):
        _refuse_foreign(path)
    root = directory / "keys" / "agency" / "root" / "root.pem"
    identity = directory / "keys" / "agency" / "identity" / "identity.txt"
    text = _device_text(directory, spec, window_s)
    config = parse_device_config(text, str(device_toml))
    device_toml.write_text(text, encoding="utf-8")
    line = _quoted(str(directory / "line" / "dock"))
    dock_text = _DOCK.format(mark=_MARK, dock=DOCK_ID, store=STORE_ID, line=line)
    dock_toml.write_text(dock_text, encoding="utf-8")
    stage = Stage(directory, config, load_dock_config(dock_toml), root, identity)
    _check_socket(socket_path(stage.dock))
    _make_keys(directory / "keys")
    return stage


def with_broker(stage: Stage, broker: str, protocol: str) -> Stage:
    """Return the stage with a dock that publishes to a broker by its address, in MQTT of that version.

    Raises:
        ConfigError: the address cannot be used.
    """
    dock_toml = stage.directory / "dock.toml"
    with dock_toml.open("a", encoding="utf-8") as file:
        file.write(_MQTT.format(broker=_quoted(broker), site=SITE, protocol=protocol))
    return msgspec.structs.replace(stage, dock=load_dock_config(dock_toml))


def _make_keys(keys: Path) -> None:
    agency = keys / "agency"
    _make(agency, lambda out: create_agency("Demo agency", out))
    for kind, name, subject in ((SubjectKind.CAMERA, "camera", CAMERA_ID), (SubjectKind.DOCK, "dock", DOCK_ID)):
        _make(keys / name, lambda out, kind=kind, subject=subject: issue_new(kind, subject, agency, out))  # type: ignore[misc]  # mypy infers no type for the bound arguments


def _make(directory: Path, make: Callable[[Path], object]) -> None:
    """Make a directory of keys as a whole or not at all, so that an interrupted demo can be run again."""
    if directory.exists():
        return
    draft = directory.with_name(f".{directory.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    make(draft)
    draft.rename(directory)


def _refuse_foreign(path: Path) -> None:
    """Leave a configuration alone that no demo has written."""
    if path.exists() and not path.read_bytes().startswith((_MARK.encode(), b"# The demo's camera.")):
        raise StageError(
            f"{path} is not of a demo",
            expected="a directory of an earlier demo, or a new one",
            remedy="name another with --dir",
        )


def _check_socket(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > _SOCKET_PATH_BYTES:
        raise StageError(
            f"the path of the dock's socket, {path}, is too long for Linux",
            expected=f"at most {_SOCKET_PATH_BYTES} bytes",
            found=f"{length}",
            remedy="name a directory with a shorter path with --dir",
        )


def _device_text(directory: Path, spec: SourceSpec, window_s: float) -> str:
    options = default_options(spec)
    microphone = {SourceKind.REPLAY: "replay", SourceKind.SYNTHETIC: "synthetic"}.get(spec.kind, "alsa:default")
    target = Path(spec.target).resolve() if spec.kind is SourceKind.REPLAY else spec.target
    named = f"{spec.kind}:{target}" if spec.target else str(spec.kind)
    return _DEVICE.format(
        mark=_MARK,
        camera=CAMERA_ID,
        source=_quoted(named),
        width=options.width,
        height=options.height,
        rate=int(options.rate),
        bitrate_kbps=options.bitrate_bps // 1000,
        microphone=microphone,
        window_s=float(window_s),
        line=_quoted(str(directory / "line" / "camera")),
    )


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()  # a JSON string is a TOML string
