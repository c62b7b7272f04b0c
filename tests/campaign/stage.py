"""What camera processes need before they can start: keys, footage, configuration."""

from fractions import Fraction
from pathlib import Path

import av
import msgspec
from cryptography import x509

from device.capture.drawing import SyntheticPicture
from device.capture.stamp import FrameStamp
from evidence.age.keyfiles import parse_identities
from evidence.age.keys import Identity
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import Signer, load_signer

__all__ = ["CAMERA_ID", "Keys", "Picture", "make_footage", "make_keys", "write_config"]

CAMERA_ID = "cam-campaign"
HOLD_S = 0.5
_RATE = 30

_TOML = """\
[device]
id = "{camera}"
vault = "vault"
keys = {keys}

[camera]
source = {source}
width = {width}
height = {height}
rate = {rate}
bitrate_kbps = {bitrate_kbps}

[sound]
microphone = "synthetic"

[policy]
recipients_file = {recipients}
window_s = {window_s}
hold_s = {hold_s}
"""


class Keys(msgspec.Struct, frozen=True):
    """An agency and one camera of it."""

    directory: Path

    @property
    def camera(self) -> Path:
        """The camera's keys."""
        return self.directory / "camera"

    @property
    def signer(self) -> Signer:
        """The camera's evidence key."""
        return load_signer(self.camera, Role.CAMERA_EVIDENCE)

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The agency's root certificates."""
        return load_roots(self.directory / "agency" / "root" / "root.pem")

    @property
    def recipients(self) -> Path:
        """For whom clips are encrypted."""
        return self.directory / "agency" / "identity" / "recipients.txt"

    @property
    def identities(self) -> list[Identity]:
        """With what they open."""
        text = (self.directory / "agency" / "identity" / "identity.txt").read_text(encoding="ascii")
        return list(parse_identities(text))


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The picture of a camera; `footage` is a file to replay, or `None` for the synthetic source."""

    width: int
    height: int
    bitrate_kbps: int
    noise: int = 0
    footage: Path | None = None


def make_keys(directory: Path) -> Keys:
    """Make an agency and issue a camera's keys."""
    create_agency("Campaign agency", directory / "agency")
    issue_new(SubjectKind.CAMERA, CAMERA_ID, directory / "agency", directory / "camera")
    return Keys(directory)


def write_config(directory: Path, keys: Keys, picture: Picture, window_s: float) -> Path:
    """Write a camera's TOML; its vault will lie beside it."""
    quoted = {
        "source": f"replay:{picture.footage}" if picture.footage else "synthetic",
        "keys": str(keys.camera),
        "recipients": str(keys.recipients),
    }
    path = directory / "device.toml"
    path.write_text(
        _TOML.format(
            camera=CAMERA_ID,
            width=picture.width,
            height=picture.height,
            rate=_RATE,
            bitrate_kbps=picture.bitrate_kbps,
            window_s=float(window_s),
            hold_s=HOLD_S,
            **{name: msgspec.json.encode(value).decode() for name, value in quoted.items()},
        ),
        encoding="utf-8",
    )
    return path


def make_footage(path: Path, picture: Picture, seconds: int, *, speed: int = 1) -> Path:
    """Encode numbered noise at the picture's bit rate, a keyframe a second, so that replaying costs little.

    At a `speed` the same frames follow each other so many times as fast, which is what the file then says.
    """
    drawn = SyntheticPicture(picture.width, picture.height, picture.noise)
    kbps = f"{picture.bitrate_kbps * speed}k"
    options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "g": str(_RATE),
        "sc_threshold": "0",
        "bf": "0",
        "maxrate": kbps,
        "bufsize": kbps,
        "nal-hrd": "cbr",
    }
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=_RATE * speed, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        stream.bit_rate = picture.bitrate_kbps * speed * 1000
        for number in range(seconds * _RATE):
            frame = drawn.draw(FrameStamp(number, number))
            frame.pict_type = av.video.frame.PictureType.NONE
            frame.pts, frame.time_base = number, Fraction(1, _RATE * speed)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
