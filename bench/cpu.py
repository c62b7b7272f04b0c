"""CPU a frame of the whole write path, live, beside what ffmpeg needs to segment the same frames in plain."""

import cProfile
import hashlib
import io
import pstats
import resource
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any, cast

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bench.footage import NS_PER_S, FrameStream
from bench.report import Goal, Section, Table, spread
from bench.rig import Rig, scratch
from device.buffer.cursor import Cursor, Item
from device.buffer.ring import Ring
from device.recording.events import ClipProgress
from evidence.clock import ClockSource, UtcMapping
from evidence.documents.fields import Ended
from evidence.frames import VideoFormat
from evidence.media.clipstream import MediaWriter

__all__ = ["StepCursor", "cipher_cpu", "cpu_bench", "hash_cpu", "mux", "segment_cpu", "write_cpu"]

_GOAL = 0.85
_CHUNK = 64 * 1024
_RING_BYTES = 96 * 1024 * 1024
_CLIP_S = 60
_PROFILE_ROWS = 25


class StepCursor:
    """A cursor whose reader is handed the next frame the moment it asks: one frame at a time, without waiting.

    What it does costs what it costs in the camera: the frame is appended to a real ring and read from it.
    """

    def __init__(self, ring: Ring, stream: FrameStream, count: int, start_ns: int) -> None:
        self._ring = ring
        self._stream = stream
        self._left = count
        self._number = 0
        self._start_ns = start_ns
        self._append()
        self._cursor = ring.open_cursor(start_ns, 0)
        self.on_end: Callable[[], object] | None = None

    def __getattr__(self, name: str) -> Any:
        """Answer everything else as the real cursor does."""
        return getattr(self._cursor, name)

    def read(
        self, limit_items: int = 4096, limit_bytes: int = 1 << 22, timeout_s: float | None = None
    ) -> list[Item]:
        """Append a frame, and return it."""
        del timeout_s
        items = self._cursor.read_nowait(limit_items, limit_bytes)
        if self._left:
            self._append()
        elif self.on_end is not None:
            self.on_end()
        return items

    def _append(self) -> None:
        pts_ns = self._start_ns + self._number * self._stream.frame_ns
        self._ring.frame(self._stream.frame(self._number, pts_ns))
        self._number += 1
        self._left -= 1


def write_cpu(rig: Rig, stream: FrameStream, count: int, profile: cProfile.Profile | None = None) -> float:
    """Write a clip of so many frames with the real writer, live; returns the process's CPU seconds."""
    start_ns = time.monotonic_ns()
    stop_ns = start_ns + count * stream.frame_ns
    cursor = StepCursor(Ring(0, _RING_BYTES, margin_ns=NS_PER_S), stream, count, start_ns)
    clip = rig.make_clip(cast("Cursor", cursor), start_ns)
    cursor.on_end = lambda: clip.end(Ended.STOPPED, stop_ns)
    begin_s = time.process_time()
    if profile is None:
        clip.start()
        rig.wait_for(lambda event: not isinstance(event, ClipProgress))
    else:
        profile.runcall(clip._run)  # noqa: SLF001  # a profiler sees the thread that it is called in
    seconds = time.process_time() - begin_s
    rig.clear()
    return seconds


def segment_cpu(source: Path, directory: Path) -> float:
    """Let ffmpeg cut a file into plain segments without encoding; CPU seconds of the child."""
    before_s = _children_cpu()
    _ffmpeg("-i", str(source), "-map", "0", "-c", "copy", "-f", "segment", str(directory / "%03d.mp4"))
    seconds = _children_cpu() - before_s
    for segment in directory.glob("*.mp4"):
        segment.unlink()
    return seconds


def mux(stream: FrameStream, count: int, sink: Callable[[bytes | memoryview], object]) -> float:
    """Mux so many frames with their sound track into a sink; CPU seconds."""
    begin_s = time.process_time()
    writer = MediaWriter(
        stream.frame(0, 0),
        VideoFormat(1920, 1080, Fraction(NS_PER_S, stream.frame_ns).limit_denominator(1001)),
        sound_from_ns=None,
        utc=UtcMapping(0, 0, ClockSource.SYSTEM),
        sink=sink,
    )
    for number in range(count):
        writer.write(stream.frame(number, number * stream.frame_ns))
    writer.close()
    return time.process_time() - begin_s


def hash_cpu(size: int) -> float:
    """Hash so many bytes three times (plaintext, ciphertext, interval); CPU seconds."""
    block = bytes(_CHUNK)
    begin_s = time.process_time()
    for _ in range(3 * size // _CHUNK):
        hashlib.sha256(block)
    return time.process_time() - begin_s


def cipher_cpu(size: int) -> float:
    """Encrypt so many bytes in chunks; CPU seconds."""
    cipher = ChaCha20Poly1305(bytes(32))
    nonce = bytes(12)  # the result is thrown away
    block, sealed = bytes(_CHUNK), bytearray(_CHUNK + 16)
    begin_s = time.process_time()
    for _ in range(size // _CHUNK):
        cipher.encrypt_into(nonce, block, None, sealed)
    return time.process_time() - begin_s


def cpu_bench(
    units: list[tuple[bytes, bool]], frame_ns: int, *, seconds: float, profile: bool = False
) -> Section:
    """Measure all rows, round robin, for about so many seconds."""
    stream = FrameStream(units, frame_ns)
    count = _CLIP_S * round(NS_PER_S / frame_ns)
    size = sum(len(stream.frame(number, 0).data) for number in range(count))
    found: dict[str, list[float]] = {}
    with scratch() as folder, Rig(Path(folder)) as rig:
        source = _plain_file(Path(folder), stream, count)
        segments = Path(folder) / "segments"
        segments.mkdir()

        def note(row: str, run_s: float) -> None:
            found.setdefault(row, []).append(run_s / count * 1e6)

        for _ in range(max(1, min(9, int(seconds / 4)))):
            note("ffmpeg -c copy -f segment", segment_cpu(source, segments))
            note("preroll", write_cpu(rig, stream, count))
            note("  storage: write, sync", rig.counts.storage_cpu_ns / NS_PER_S)
            note("  sign", rig.counts.sign_cpu_ns / NS_PER_S)
            note("  three hashes", hash_cpu(size))
            note("  encrypt", cipher_cpu(size))
            note("  mux, sound track", mux(stream, count, len))
        syncs, signatures = rig.counts.syncs, rig.counts.signatures
        if profile:
            _print_profile(rig, stream, count)
    return _section(found, syncs / _CLIP_S, signatures / _CLIP_S)


def _section(found: dict[str, list[float]], syncs_per_s: float, signatures_per_s: float) -> Section:
    peer = found["ffmpeg -c copy -f segment"]
    parts = [sum(values) for values in zip(*(found[row] for row in found if row.startswith("  ")), strict=True)]
    found["  rest: ring, cursor, sync points"] = [
        whole - part for whole, part in zip(found["preroll"], parts, strict=True)
    ]
    rows = tuple(
        (name, spread(values, 0), spread([mine / its for mine, its in zip(values, peer, strict=True)]))
        for name, values in found.items()
    )
    ratios = [mine / its for mine, its in zip(found["preroll"], peer, strict=True)]
    return Section(
        name="cpu",
        title="CPU a frame of the whole write path",
        method=(
            f"{_CLIP_S} s of 1080p30 at 10 Mbit/s with a sound track through ring, cursor and the real writer, "
            "one frame at a time, a signed sync point per fragment, on this machine's disk; the peer cuts the "
            "same frames and sound into plain MP4 segments, without any sync. Storage and signing are timed "
            "where they happen, hashing, encrypting and muxing by themselves on the same number of bytes."
        ),
        tables=(Table("CPU, microseconds a frame", ("", "us a frame", "of ffmpeg's"), rows),),
        goals=(
            Goal("whole write path", f"at most {_GOAL} of ffmpeg's", spread(ratios), median(ratios) <= _GOAL),
        ),
        notes=(
            f"{syncs_per_s:.1f} syncs and {signatures_per_s:.1f} signatures a second of footage; ffmpeg: none.",
        ),
    )


def _plain_file(directory: Path, stream: FrameStream, count: int) -> Path:
    """Make the plain MP4 file that the peer reads, from the same frames and sound."""
    fragmented, plain = directory / "fragmented.mp4", directory / "plain.mp4"
    with fragmented.open("wb") as file:
        mux(stream, count, file.write)
    _ffmpeg("-i", str(fragmented), "-map", "0", "-c", "copy", str(plain))
    fragmented.unlink()
    return plain


def _ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *arguments], check=True)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _print_profile(rig: Rig, stream: FrameStream, count: int) -> None:
    profile = cProfile.Profile()
    write_cpu(rig, stream, count, profile)
    out = io.StringIO()
    pstats.Stats(profile, stream=out).strip_dirs().sort_stats("tottime").print_stats(_PROFILE_ROWS)
    print(out.getvalue())
