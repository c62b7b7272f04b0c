"""The end of the demo: check a clip without its key, open it with it, decode it, and count."""

import shutil
from pathlib import Path

import msgspec

from evidence.age.keyfiles import parse_identities
from evidence.age.reader import decrypt_file
from evidence.check import CheckReport, Finding, check_sealed_clip
from evidence.documents import Manifest
from evidence.paths import load_roots

__all__ = ["Opened", "check", "instructions", "open_clip"]

_NS_PER_S = 1_000_000_000


class Opened(msgspec.Struct, frozen=True):
    """What decoding the opened clip found; `defects` is empty if all is as the manifest says."""

    frames: int
    delivered_s: float
    duration_s: float
    sound_frames: int
    defects: tuple[str, ...]


def check(clip: Path, root: Path) -> CheckReport:
    """Check a clip as anybody can who has the agency's root certificate."""
    return check_sealed_clip(clip, load_roots(root))


def open_clip(clip: Path, identity: Path, output: Path, manifest: Manifest) -> Opened:
    """Decrypt a clip to `output`, decode every frame, and hold what is there against the manifest.

    Raises:
        AgeError: it does not open.
        av.FFmpegError: it does not decode.
    """
    identities = parse_identities(identity.read_text(encoding="ascii"))
    with (clip / "clip.mp4.age").open("rb") as source, output.open("wb") as target:
        decrypt_file(source, target, identities)
    frames, pts, dts, first_key = _decode(output)
    defects = []
    if frames != manifest.frames:
        defects.append(f"{frames} pictures decode, the manifest says {manifest.frames}")
    if not first_key:
        defects.append("the first frame is not a keyframe")
    if len(set(pts)) != len(pts):
        defects.append("a picture is doubled")
    if dts != sorted(set(dts)):
        defects.append("decode times do not increase")
    sound = _sound_frames(output)
    if not sound:
        defects.append("there is no sound track")
    return Opened(
        frames=frames,
        delivered_s=manifest.preevent.delivered_ns / _NS_PER_S,
        duration_s=manifest.duration_ns / _NS_PER_S,
        sound_frames=sound,
        defects=tuple(defects),
    )


def instructions(clip: Path, root: Path, identity: Path) -> list[str]:
    """Commands with which anybody can do the same without Preroll; only those whose tools are installed."""
    lines = []
    if shutil.which("openssl"):
        lines.append(
            f"openssl cms -verify -binary -inform DER -in {clip}/manifest.p7s"
            f" -content {clip}/manifest.json -CAfile {root} -out /dev/null"
        )
    if shutil.which("age"):
        lines.append(f"age -d -i {identity} -o clip.mp4 {clip}/clip.mp4.age")
    return lines


def finding_words(report: CheckReport) -> str:
    """Say in one line what the checks came to."""
    words = {
        Finding.AUTHENTIC: "authentic and complete",
        Finding.INCOMPLETE: "authentic, but interrupted or incomplete",
        Finding.NOT_AUTHENTIC: "NOT AUTHENTIC",
        Finding.CANNOT_TELL: "cannot tell",
    }
    return words[report.finding]


def _decode(path: Path) -> tuple[int, list[int], list[int], bool]:
    import av

    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        pts = [packet.pts for packet in packets if packet.pts is not None]
        dts = [packet.dts for packet in packets if packet.dts is not None]
        first_key = bool(packets) and packets[0].is_keyframe
    with av.open(path) as container:
        frames = sum(1 for _ in container.decode(video=0))
    return frames, pts, dts, first_key


def _sound_frames(path: Path) -> int:
    import av

    with av.open(path) as container:
        if not container.streams.audio:
            return 0
        return sum(1 for _ in container.decode(audio=0))
