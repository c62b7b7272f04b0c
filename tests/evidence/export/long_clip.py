"""One step of a long clip's life in a process of its own, which says how much memory it took at most.

Time is simulated: a second of small pictures is encoded once and written over and over with later times,
through the real writer. Storage is real but for `fdatasync`, which would only take time. The short clips of the
other tests are made here too.
"""

import hashlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import msgspec
from av.video.codeccontext import VideoCodecContext

from evidence.age import Identity, decrypt_file, parse_identities, parse_recipient, read_header
from evidence.check import Finding, check_sealed_clip
from evidence.clipwriter import ClipWriter, WriterLimits
from evidence.clock import ClockSource, UtcMapping, format_utc
from evidence.documents import (
    AudioFacts,
    Blob,
    ClipStart,
    Clock,
    ConfigRef,
    MediaFacts,
    Requested,
    Trigger,
    Unattested,
    VideoFacts,
    clip_name,
)
from evidence.documents.fields import Ended
from evidence.export.moments import parse_moment
from evidence.export.report import ExportRequest, export_clip
from evidence.frames import EncodedFrame, GapCause, Span, Track, VideoFormat
from evidence.journal import JournalBuilder
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.media.aac import silence
from evidence.media.clipstream import MediaWriter
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.seal import seal_clip
from evidence.signer import load_signer
from evidence.storage import PosixAppendFile

_NS = 1_000_000_000
_RATE, _WIDTH, _HEIGHT = 30, 96, 64
_BASE_NS = 5_000 * _NS
_UTC = UtcMapping(
    _BASE_NS, 1_795_000_000 * _NS, ClockSource.NTP, error_ns=20_000_000, set_ns=_BASE_NS - 60 * _NS
)


class _Unsynced(PosixAppendFile):
    def sync(self) -> None:
        """Leave the bytes to the kernel."""


def write(directory: Path, minutes: float) -> None:
    film_clip(directory, directory / "clips", seconds=round(minutes * 60), press_s=30, waiting_ns=4 * _NS)


def film_clip(
    directory: Path,
    clips: Path,
    *,
    seconds: int,
    press_s: float,
    waiting_ns: int = 200_000_000,
    marks: bool = False,
    power_lost: bool = False,
) -> Path:
    """Write and seal a clip with the keys of a directory; `power_lost` leaves it without its end."""
    pictures = _one_second()
    press_ns = _BASE_NS + round(press_s * _NS)
    clip = clips / clip_name("cam0042", 1, _UTC.utc_at(_BASE_NS))
    clip.mkdir(parents=True)
    signer = load_signer(directory / "camera", Role.CAMERA_EVIDENCE)
    recipients = (directory / "agency" / "identity" / "recipients.txt").read_text().split()
    journal, journal_file = JournalBuilder(signer), _Unsynced(clip / "journal.jsonl")
    start = _start(clip.name, tuple(recipients), press_ns)
    journal_file.append(journal.line(start))
    summary = JournalSummary(start, journal.previous)
    writer = ClipWriter(
        journal=journal,
        journal_file=journal_file,
        media_file=_Unsynced(clip / "clip.mp4.age"),
        recipients=[parse_recipient(text) for text in recipients],
        make_media=lambda sink, on_fragment: MediaWriter(
            pictures[0],
            VideoFormat(_WIDTH, _HEIGHT, Fraction(_RATE)),
            sound_from_ns=press_ns,
            utc=_UTC,
            sink=sink,
            on_fragment=on_fragment,
        ),
        give_up_reserve=lambda: None,
        on_line=summary.add,
        limits=WriterLimits(waiting_ns=waiting_ns),
    )
    end_ns = _film(writer, pictures, seconds=seconds, marks=marks)
    if power_lost:
        writer.abandon()
    else:
        writer.finish(Ended.STOPPED, end_ns, end_ns)
    seal_clip(clip, build_manifest(summary, _present(clip, journal, summary)), signer)
    return clip


def _present(clip: Path, journal: JournalBuilder, summary: JournalSummary) -> BytesPresent:
    """Measure what lies there, as recovery would."""
    attested = summary.attested().ciphertext_bytes
    with (clip / "clip.mp4.age").open("rb") as file:
        header = read_header(file).raw
        file.seek(attested)
        rest = file.read()
    with (clip / "clip.mp4.age").open("rb") as file:
        whole = hashlib.file_digest(file, "sha256").hexdigest()
    return BytesPresent(
        journal=journal.figures,
        ciphertext=Blob(bytes=attested + len(rest), sha256=whole),
        header=Blob(bytes=len(header), sha256=hashlib.sha256(header).hexdigest()),
        unattested=_unattested(attested, rest),
    )


def _unattested(start: int, rest: bytes) -> Unattested | None:
    return Unattested(start=start, bytes=len(rest), sha256=hashlib.sha256(rest).hexdigest()) if rest else None


def verify(directory: Path, _: float) -> None:
    _require_authentic(directory)


def verify_with_key(directory: Path, _: float) -> None:
    _require_authentic(directory, with_key=True)


def decrypt(directory: Path, _: float) -> None:
    digest = hashlib.sha256()

    class Target:
        def write(self, data: memoryview) -> None:
            digest.update(data)

    with (_clip(directory) / "clip.mp4.age").open("rb") as source:
        decrypt_file(source, Target(), _identities(directory))


def export(directory: Path, _: float) -> None:
    _export(directory, "whole.mp4")


def excerpt(directory: Path, minutes: float) -> None:
    """Cut the last minute but one."""
    _export(directory, "excerpt.mp4", start=minutes * 60 - 60.5, end=minutes * 60 - 30.5)


def excerpt_of_all(directory: Path, _: float) -> None:
    """Let the whole clip go through the cutter."""
    _export(directory, "all.mp4", start=0)


def _film(writer: ClipWriter, pictures: list[EncodedFrame], *, seconds: int, marks: bool) -> int:
    sound = _sound()
    microphone = next(sound)
    now_ns = _BASE_NS
    for second in range(seconds):
        if marks and second == seconds // 2:
            writer.bookmark(_BASE_NS + second * _NS)
            writer.trigger(Trigger(source="holster", edge_ns=_BASE_NS + second * _NS + _NS // 4))
            writer.write(Span(_BASE_NS + second * _NS, _BASE_NS + second * _NS + 1, GapCause.CAMERA_DROPPED))
        for picture in pictures:
            shifted = msgspec.structs.replace(
                picture, pts_ns=picture.pts_ns + second * _NS, dts_ns=picture.dts_ns + second * _NS
            )
            now_ns = shifted.dts_ns
            while microphone.pts_ns + microphone.duration_ns <= now_ns:
                writer.write(microphone)
                microphone = next(sound)
            writer.write(shifted)
            writer.sync_if_due(now_ns, live=True)
    return now_ns


def _sound() -> Iterator[EncodedFrame]:
    data = silence().frame
    for index in itertools.count():
        time_ns = _BASE_NS + index * 1024 * _NS // 48_000
        yield EncodedFrame(Track.AUDIO, data, time_ns, time_ns, 21_333_333, keyframe=True)


def _one_second() -> list[EncodedFrame]:
    encoder = VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, _RATE), Fraction(_RATE)
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "g": str(_RATE),
        "x264-params": "repeat-headers=1:annexb=1:scenecut=0",
    }
    packets = []
    for index in range(_RATE):
        picture = av.VideoFrame(_WIDTH, _HEIGHT, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes((index * 8 + place // 64) % 256 for place in range(plane.buffer_size)))
        picture.pts, picture.time_base = index, Fraction(1, _RATE)
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    frames = []
    for index, packet in enumerate(packets):
        time_ns = _BASE_NS + index * _NS // _RATE
        frames.append(
            EncodedFrame(Track.VIDEO, bytes(packet), time_ns, time_ns, _NS // _RATE, packet.is_keyframe)
        )
    return frames


def _start(name: str, recipients: tuple[str, ...], press_ns: int) -> ClipStart:
    assert _UTC.utc_ns is not None
    return ClipStart(
        clip=name,
        device="cam0042",
        epoch="5e1f2a6c0d9b4e7f8a1b2c3d4e5f6071",
        generation=1,
        number=1,
        previous_start=None,
        log=None,
        trigger=Trigger(source="button", edge_ns=press_ns),
        preevent=Requested(requested_ns=30 * _NS, available_ns=press_ns - _BASE_NS, shortfall=None),
        first_pts_ns=_BASE_NS,
        boot="0f0e0d0c0b0a09080706050403020100",
        monotonic_ns=_UTC.monotonic_ns,
        utc=format_utc(_UTC.utc_ns),
        clock=Clock(source=_UTC.source, error_ns=_UTC.error_ns, set_ns=_UTC.set_ns),
        config=ConfigRef(version=0, sha256="0" * 64),
        recipients=recipients,
        wearer=None,
        media=MediaFacts(
            video=VideoFacts("h264", _WIDTH, _HEIGHT, _RATE, 1), audio=AudioFacts("aac", 48_000, 1)
        ),
        firmware="test",
    )


def _require_authentic(directory: Path, *, with_key: bool = False) -> None:
    roots = load_roots(directory / "agency" / "root" / "root.pem")
    identities = _identities(directory) if with_key else []
    report = check_sealed_clip(_clip(directory), roots, identities=identities)
    if report.finding is not Finding.AUTHENTIC:
        raise SystemExit(f"not authentic: {report.checks}")


def _export(directory: Path, name: str, start: float | None = None, end: float | None = None) -> None:
    roots = load_roots(directory / "agency" / "root" / "root.pem")
    export_clip(
        ExportRequest(
            clip=_clip(directory),
            output=directory / name,
            start=None if start is None else parse_moment(f"{start:.3f}"),
            end=None if end is None else parse_moment(f"{end:.3f}"),
        ),
        check=lambda path: check_sealed_clip(path, roots),
        identities=_identities(directory),
        made_utc="2026-11-22T08:00:00.000000Z",
        software="test",
    )


def _clip(directory: Path) -> Path:
    (clip,) = (directory / "clips").iterdir()
    return clip


def _identities(directory: Path) -> "list[Identity]":
    return parse_identities((directory / "agency" / "identity" / "identity.txt").read_text())


def _peak_bytes() -> int:
    """Read the high-water mark of this process alone; `getrusage` would tell the parent's at the fork."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


STEPS: dict[str, Callable[[Path, float], None]] = {
    step.__name__: step for step in (write, verify, verify_with_key, decrypt, export, excerpt, excerpt_of_all)
}

if __name__ == "__main__":
    begin = time.monotonic()
    STEPS[sys.argv[1]](Path(sys.argv[2]), float(sys.argv[3]))
    took = {"peak_bytes": _peak_bytes(), "seconds": time.monotonic() - begin}
    sys.stdout.write(msgspec.json.encode(took).decode())
