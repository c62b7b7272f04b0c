"""CPU a frame of the whole write path, live, beside what ffmpeg needs to segment the same frames in plain."""

import cProfile
import gc
import hashlib
import io
import pstats
import subprocess
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any, cast

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bench.footage import NS_PER_S, FrameStream
from bench.report import Goal, Plot, Section, Table, bar, spread
from bench.rig import Rig, scratch
from bench.stopwatch import Spent, Stopwatch
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
_PEER, _OURS = "ffmpeg -c copy -f segment", "preroll"
_STORAGE, _SIGN, _HASH, _ENCRYPT = "  storage: write, sync", "  sign", "  three hashes", "  encrypt"
_FOREIGN = (_STORAGE, _SIGN, _HASH, _ENCRYPT)
"""Work of OpenSSL and the kernel."""
_REST = "  rest: ring, cursor, sync points"


class StepCursor:
    """A cursor whose reader never waits: time jumps to the next frame when it asks for one, and over its rests.

    What it does costs what it costs in the camera: each frame is appended to a real ring and read from it.
    """

    def __init__(self, ring: Ring, stream: FrameStream, count: int, start_ns: int) -> None:
        self._ring = ring
        self._frame_ns = stream.frame_ns
        self._frames = [stream.frames(number, start_ns + number * stream.frame_ns) for number in range(count)]
        self._number = 0
        self._start_ns = start_ns
        self._append()
        self._cursor = ring.open_cursor(start_ns, 0)
        self.on_end: Callable[[], object] | None = None

    def __getattr__(self, name: str) -> Any:
        """Answer everything else as the real cursor does."""
        return getattr(self._cursor, name)

    @property
    def lag_ns(self) -> int:
        """As the real cursor."""
        return self._cursor.lag_ns

    def now_ns(self) -> int:
        """Return the time: the end of the newest picture."""
        return self._start_ns + self._number * self._frame_ns

    def rest(self, event: threading.Event, seconds: float) -> None:
        """Let time go by."""
        del event
        until_ns = self.now_ns() + int(seconds * NS_PER_S)
        while self._number < len(self._frames) and self.now_ns() + self._frame_ns <= until_ns:
            self._append()

    def read(
        self, limit_items: int = 4096, limit_bytes: int = 1 << 22, timeout_s: float | None = None
    ) -> list[Item]:
        """Append a frame, and return it."""
        del timeout_s
        items = self._cursor.read_nowait(limit_items, limit_bytes)
        if items:
            return items
        if self._number < len(self._frames):
            self._append()
            return self._cursor.read_nowait(limit_items, limit_bytes)
        if self.on_end is not None:
            self.on_end()
        return items

    def _append(self) -> None:
        for frame in self._frames[self._number]:
            self._ring.frame(frame)
        self._number += 1


def write_cpu(rig: Rig, stream: FrameStream, count: int, profile: cProfile.Profile | None = None) -> Spent:
    """Write a clip of so many frames with the real writer, live; returns what the process spent."""
    start_ns = time.monotonic_ns()
    stop_ns = start_ns + count * stream.frame_ns
    cursor = StepCursor(Ring(0, _RING_BYTES, margin_ns=NS_PER_S), stream, count, start_ns)
    clip = rig.make_clip(cast("Cursor", cursor), start_ns)
    rig.now_ns, rig.rest = cursor.now_ns, cursor.rest
    cursor.on_end = lambda: clip.end(Ended.STOPPED, stop_ns)
    gc.freeze()  # as the camera does once it has started
    watch = Stopwatch()
    if profile is None:
        clip.start()
        rig.wait_for(lambda event: not isinstance(event, ClipProgress))
    else:
        profile.runcall(clip._run)  # noqa: SLF001  # a profiler sees the thread that it is called in
    spent = watch.spent()
    gc.unfreeze()
    rig.now_ns, rig.rest = time.monotonic_ns, threading.Event.wait
    rig.clear()
    return spent


def segment_cpu(source: Path, directory: Path) -> Spent:
    """Let ffmpeg cut a file into plain segments without encoding; what the child spent."""
    watch = Stopwatch(children=True)
    _ffmpeg("-i", str(source), "-map", "0", "-c", "copy", "-f", "segment", str(directory / "%03d.mp4"))
    spent = watch.spent()
    for segment in directory.glob("*.mp4"):
        segment.unlink()
    return spent


def mux(stream: FrameStream, count: int, sink: Callable[[bytes | memoryview], object]) -> float:
    """Mux so many frames with their sound track into a sink; CPU seconds."""
    frames = [stream.frames(number, number * stream.frame_ns) for number in range(count)]
    watch = Stopwatch()
    writer = MediaWriter(
        stream.frame(0, 0),
        VideoFormat(1920, 1080, Fraction(NS_PER_S, stream.frame_ns).limit_denominator(1001)),
        sound_from_ns=0,
        utc=UtcMapping(0, 0, ClockSource.SYSTEM),
        sink=sink,
    )
    for shown in frames:
        for frame in shown:
            writer.write(frame)
    writer.close()
    return watch.spent().cpu_s


def hash_cpu(size: int) -> float:
    """Hash so many bytes three times (plaintext, ciphertext, interval); CPU seconds."""
    block = bytes(_CHUNK)
    watch = Stopwatch()
    for _ in range(3 * size // _CHUNK):
        hashlib.sha256(block)
    return watch.spent().cpu_s


def cipher_cpu(size: int) -> float:
    """Encrypt so many bytes in chunks; CPU seconds."""
    cipher = ChaCha20Poly1305(bytes(32))
    nonce = bytes(12)  # the result is thrown away
    block, sealed = bytes(_CHUNK), bytearray(_CHUNK + 16)
    watch = Stopwatch()
    for _ in range(size // _CHUNK):
        cipher.encrypt_into(nonce, block, None, sealed)
    return watch.spent().cpu_s


def cpu_bench(stream: FrameStream, *, seconds: float, profile: bool = False) -> Section:
    """Measure all rows, round robin, for about so many seconds."""
    count = _CLIP_S * round(NS_PER_S / stream.frame_ns)
    size = sum(len(frame.data) for number in range(count) for frame in stream.frames(number, 0))
    found: dict[str, list[float]] = {}
    wall: dict[str, list[float]] = {}
    with scratch() as folder, Rig(Path(folder)) as rig:
        source = _plain_file(Path(folder), stream, count)
        segments = Path(folder) / "segments"
        segments.mkdir()

        def note(row: str, run_s: float) -> None:
            found.setdefault(row, []).append(run_s / count * 1e6)

        def note_whole(row: str, spent: Spent) -> None:
            note(row, spent.cpu_s)
            wall.setdefault(row, []).append(spent.wall_s / count * 1e6)

        for _ in range(max(1, min(9, int(seconds / 4)))):
            note_whole(_PEER, segment_cpu(source, segments))
            note_whole(_OURS, write_cpu(rig, stream, count))
            note(_STORAGE, rig.counts.storage_cpu_ns / NS_PER_S)
            note(_SIGN, rig.counts.sign_cpu_ns / NS_PER_S)
            note(_HASH, hash_cpu(size))
            note(_ENCRYPT, cipher_cpu(size))
            note("  mux, sound track", mux(stream, count, len))
        promises = (rig.counts.syncs / _CLIP_S, rig.counts.signatures / _CLIP_S)
        if profile:
            _print_profile(rig, stream, count)
    return _section(found, wall, promises)


def _section(
    found: dict[str, list[float]], wall: dict[str, list[float]], promises: tuple[float, float]
) -> Section:
    peer = found[_PEER]
    parts = [sum(values) for values in zip(*(found[row] for row in found if row.startswith("  ")), strict=True)]
    found[_REST] = [whole - part for whole, part in zip(found[_OURS], parts, strict=True)]
    promised = {_PEER: ("0", "0"), _OURS: tuple(f"{figure:.1f}" for figure in promises)}
    rows = tuple(
        (
            name,
            spread(values, 0),
            spread([mine / its for mine, its in zip(values, peer, strict=True)]),
            spread(wall[name], 0) if name in wall else "",
            *promised.get(name, ("", "")),
        )
        for name, values in found.items()
    )
    ratios = [mine / its for mine, its in zip(found[_OURS], peer, strict=True)]
    fixed = [sum(values) / its for *values, its in zip(*(found[row] for row in _FOREIGN), peer, strict=True)]
    rest = median(found[_REST]) / median(found[_OURS])
    columns = ("", "CPU, us", "of ffmpeg's", "wall, us", "syncs a second", "signatures a second")
    return Section(
        name="cpu",
        title="CPU a frame of the whole write path",
        method=(
            f"{_CLIP_S} s of 1080p30 at 10 Mbit/s with AAC through ring, cursor and the real writer, "
            "one frame at a time, a signed sync point per fragment, on this machine's disk; the peer cuts the "
            "same frames and sound into plain MP4 segments, without any sync. Storage and signing are timed "
            "where they happen, hashing, encrypting and muxing by themselves on the same number of bytes. "
            "Syncs and signatures are a second of footage."
        ),
        tables=(Table("A frame of picture with its sound", columns, rows),),
        goals=(
            Goal(
                "whole write path",
                f"at most {_GOAL} of ffmpeg's",
                spread(ratios),
                median(ratios) <= _GOAL,
                reason=(
                    "What OpenSSL and the kernel need for hashes, encryption, signatures, writes and syncs "
                    f"alone comes to {median(fixed):.2f} times what ffmpeg needs for all that it does. Fewer "
                    "syncs or signatures a second would be a weaker promise."
                ),
            ),
        ),
        notes=(
            (
                "SHA-256 over plaintext, ciphertext and interval, encryption, signatures and syncs are code of "
                "OpenSSL and the kernel that the peer does not run at all; Preroll's own sequence and sync "
                f"points are {rest:.0%} of the whole, and a part of *mux*."
            ),
        ),
        plots=(Plot("cpu-a-frame", "CPU a frame", "microseconds", tuple(bar(*row) for row in found.items())),),
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


def _print_profile(rig: Rig, stream: FrameStream, count: int) -> None:
    profile = cProfile.Profile()
    write_cpu(rig, stream, count, profile)
    out = io.StringIO()
    pstats.Stats(profile, stream=out).strip_dirs().sort_stats("tottime").print_stats(_PROFILE_ROWS)
    print(out.getvalue())
