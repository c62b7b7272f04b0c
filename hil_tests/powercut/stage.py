"""What a campaign needs before its first cut: an agency, footage at three bit rates, configurations."""

import shutil
import uuid
from pathlib import Path

import msgspec

from evidence.age.keyfiles import parse_identities
from evidence.age.keys import Identity
from tests.campaign.stage import Picture, make_footage
from tests.device.dockport.dockbench import Agency, make_agency
from tests.device.vault_recovery.rig import DEVICE

__all__ = [
    "FULL_CONFIG",
    "LOOP_FRAMES",
    "NET_PORT",
    "RATE",
    "SERIAL_PORT",
    "VAULT",
    "Stage",
    "dock_config",
    "make_stage",
]

RATE = 30
_LOOP_S = 5
LOOP_FRAMES = _LOOP_S * RATE
"""After so many frames the replayed footage begins again; a frame's number in it is drawn into its picture."""
VAULT = "/mnt/card/vault"
SERIAL_PORT = 'serial = ["/dev/tty2"]'
"""The board's second console, which has a dock at its other end."""
NET_PORT = 'listen = "127.0.0.1:7001"'
"""A port that nobody comes to."""
FULL_CONFIG = "[storage]\nminimum_mib = 1\n"
"""Behind the rest of a camera's TOML: one that presses also on a card that is as good as full."""
_PICTURES = {
    "0.2": Picture(width=320, height=180, bitrate_kbps=200),
    "2": Picture(width=640, height=360, bitrate_kbps=2000, noise=60),
    "10": Picture(width=640, height=360, bitrate_kbps=10_000, noise=60),
}

_CAMERA = """\
[device]
id = "{camera}"
vault = "{vault}"
keys = "{files}/agency/camera"
[camera]
source = "replay:{files}/footage.mp4"
bitrate_kbps = {bitrate_kbps}
[sound]
microphone = "none"
[policy]
recipients_file = "{files}/agency/agency/identity/recipients.txt"
window_s = {window_s}
hold_s = 0.5
keep_released_hours = 0.0
"""
_PORT = """\
[dockport]
{port}
anchors = "{files}/agency/agency/root/root.pem"
"""
_DOCK = """\
[dock]
id = "dock7"
keys = "{agency}/dock"
root = "{root}"
state = "state"
[store]
path = "store"
id = "dock7-a"
reserve_mib = 0
[timeouts]
look_s = 0.1
retry_s = 0.2
handshake_s = 20.0
progress_s = 10.0
answer_s = 20.0
line_s = 30.0
[[bay]]
name = "1"
serial = "{line}"
"""


class Stage(msgspec.Struct, frozen=True):
    """Made once a campaign; every chain of cuts has its own copy of what the board reads."""

    directory: Path

    @property
    def agency(self) -> Agency:
        """Who trusts the camera and the dock."""
        return Agency(self.directory / "agency")

    @property
    def identities(self) -> list[Identity]:
        """With what clips open."""
        text = (self.directory / "agency" / "agency" / "identity" / "identity.txt").read_text(encoding="ascii")
        return list(parse_identities(text))

    def footage(self, mbit: str) -> Path:
        """Return the footage of a bit rate; it is made when it is first asked for."""
        path = self.directory / f"footage-{mbit}.mp4"
        if not path.exists():
            draft = path.with_name(f"{uuid.uuid4().hex}.mp4")
            make_footage(draft, _PICTURES[mbit], _LOOP_S).rename(path)
        return path

    def furnish(self, share: Path, mbit: str, config: str) -> None:
        """Put on a board what its camera reads: keys, footage, configuration."""
        shutil.copytree(self.directory / "agency", share / "agency")
        shutil.copy(self.footage(mbit), share / "footage.mp4")
        (share / "device.toml").write_text(config, encoding="utf-8")

    def camera_config(self, files: str, mbit: str, window_s: float, *, port: str = "") -> str:
        """Return a camera's TOML; `files` is where the board finds agency and footage.

        `port` is `SERIAL_PORT`, `NET_PORT`, or empty for a camera that meets no dock.
        """
        text = _CAMERA.format(
            camera=DEVICE,
            vault=VAULT,
            files=files,
            bitrate_kbps=_PICTURES[mbit].bitrate_kbps,
            window_s=float(window_s),
        )
        return text + _PORT.format(port=port, files=files) if port else text


def make_stage(directory: Path) -> Stage:
    """Make the agency, if it is not there yet."""
    directory.mkdir(parents=True, exist_ok=True)
    stage = Stage(directory)
    if not (directory / "made").exists():
        make_agency(directory / "agency")
        (directory / "made").touch()
    return stage


def dock_config(stage: Stage, line: Path) -> str:
    """Return the TOML of a dock at the other end of a serial line."""
    return _DOCK.format(agency=stage.directory / "agency", root=stage.agency.root_file, line=line)
