"""What the demo needs before it can start: an agency, keys, a configuration."""

from pathlib import Path

import msgspec

from device.capture.source import SourceKind, SourceSpec, default_options, parse_source
from device.config import DeviceConfig, parse_config
from evidence.agency import SubjectKind, create_agency, issue_new

__all__ = ["CAMERA_ID", "DOCK_ID", "Stage", "set_stage"]

CAMERA_ID = "cam-demo"
DOCK_ID = "dock-demo"

_TOML = """\
# The demo's camera. `preroll device run --config {path}` would run it on real pins.
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
"""


class Stage(msgspec.Struct, frozen=True):
    """Where the demo keeps things."""

    directory: Path
    config: DeviceConfig
    root: Path
    identity: Path


def set_stage(directory: Path, camera: str, window_s: float) -> Stage:
    """Make keys where there are none yet, write `device.toml`, and load it.

    Raises:
        ConfigError: the camera's name or the seconds cannot be used.
        CaptureError: the camera's name is none.
        IssueError, StorageError: keys cannot be made.
    """
    spec = parse_source(camera)
    agency = directory / "keys" / "agency"
    if not (agency / "root" / "root.pem").exists():
        create_agency("Demo agency", agency)
    for kind, name, subject in ((SubjectKind.CAMERA, "camera", CAMERA_ID), (SubjectKind.DOCK, "dock", DOCK_ID)):
        if not (directory / "keys" / name).exists():
            issue_new(kind, subject, agency, directory / "keys" / name)
    text = _toml(directory, spec, window_s)
    (directory / "device.toml").write_text(text, encoding="utf-8")
    config = parse_config(text, str(directory / "device.toml"))
    return Stage(directory, config, agency / "root" / "root.pem", agency / "identity" / "identity.txt")


def _toml(directory: Path, spec: SourceSpec, window_s: float) -> str:
    options = default_options(spec)
    microphone = {SourceKind.REPLAY: "replay", SourceKind.SYNTHETIC: "synthetic"}.get(spec.kind, "alsa:default")
    target = Path(spec.target).resolve() if spec.kind is SourceKind.REPLAY else spec.target
    named = f"{spec.kind}:{target}" if spec.target else str(spec.kind)
    return _TOML.format(
        path=directory / "device.toml",
        camera=CAMERA_ID,
        source=msgspec.json.encode(named).decode(),  # a JSON string is a TOML string
        width=options.width,
        height=options.height,
        rate=int(options.rate),
        bitrate_kbps=options.bitrate_bps // 1000,
        microphone=microphone,
        window_s=float(window_s),
    )
