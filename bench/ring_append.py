"""Appending to the ring while its 30 s are flushed, beside two plain deques; `bench.append` measures with it.

One thread appends frames at a steady rate (10 Mbit/s, keyframes of 264 kB) as an encoder would: it sleeps until
the frame is due, then needs the GIL, then appends. Beside it a consumer flushes the whole ring again and again.
For the deques that is `flusher`: batches, SHA-256, ChaCha20-Poly1305, write, fdatasync every 4 MiB, and a stall
of the card; `heavier` multiplies what the cipher does in one call, because it keeps the GIL so long. A busy
thread of pure Python that never gives the GIL up before it must shows what the switch interval is worth.

- *in lock*: how long the lock is held, by either side.
- *returned*: from when the frame was due (the thread became runnable) to when the append had returned. *own*
  leaves out what the kernel says that the thread waited for a processor: on a shared machine.
"""

import hashlib
import math
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from device.buffer.cursor import Item
from device.buffer.ring import Ring
from device.buffer.timedlock import TimedLock
from evidence.frames import EncodedFrame, Track

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
_RATE = 30
_PICTURE_NS = _NS_PER_S // _RATE
_WINDOW_S = 30
_KEY_BYTES = 264_000
_BYTES_PER_S = 1_250_000
_IDR, _SLICE = b"\x00\x00\x00\x01\x65", b"\x00\x00\x00\x01\x41"
_WITHOUT_ZERO = bytes([1, *range(1, 256)])
_CHUNK = 65_536
_SYNC_BYTES = 4 * 1024 * 1024
_PAUSE_S = 0.02  # from one flush to the next


Report = Callable[[int], object]
"""Takes nanoseconds; called from any thread."""


class BatchSource(Protocol):
    """What a consumer reads: a cursor, or what a peer has in its place."""

    def read_nowait(self, limit_items: int = ..., limit_bytes: int = ...) -> list[Item]:
        """Return the next frames; empty at the end."""

    def close(self) -> None:
        """Let go."""


Consumer = Callable[[BatchSource], int]
"""Flushes all that there is and returns its payload bytes. The real clip writer can be put here."""


class Subject(Protocol):
    """A ring to be measured."""

    def frame(self, frame: EncodedFrame) -> None:
        """Append."""

    def open(self, at_ns: int) -> BatchSource:
        """Open what a consumer reads."""


class PrerollRing:
    """`device.buffer.ring`, with its lock timed."""

    def __init__(self, report: Report, report_own: Report) -> None:
        lock = TimedLock(report, report_own)
        self._ring = Ring(_WINDOW_S * _NS_PER_S, 96 * 1024 * 1024, lock=lock)
        self.frame = self._ring.frame

    def open(self, at_ns: int) -> BatchSource:
        """Open a cursor."""
        return self._ring.open_cursor(at_ns)


class Snapshot:
    """Frames copied out of a deque."""

    def __init__(self, frames: list[Item]) -> None:
        self._frames = frames
        self._next = 0

    def read_nowait(self, limit_items: int = 32, limit_bytes: int = 0) -> list[Item]:
        """Return the next frames."""
        del limit_bytes
        batch = self._frames[self._next : self._next + limit_items]
        self._next += len(batch)
        return batch

    def close(self) -> None:
        """Let go."""
        self._frames = []


class CopiedDeque:
    """A deque of frames, copied as a whole at the press: no bound but a count; what follows has to be found."""

    def __init__(self, report: Report, report_own: Report) -> None:
        self._frames: deque[Item] = deque(maxlen=_WINDOW_S * _RATE)
        self._lock = TimedLock(report, report_own)

    def frame(self, frame: EncodedFrame) -> None:
        """Append."""
        with self._lock:
            self._frames.append(frame)

    def open(self, at_ns: int) -> BatchSource:
        """Copy."""
        del at_ns
        with self._lock:
            return Snapshot(list(self._frames))


class HeldDeque(CopiedDeque):
    """A deque whose lock is held while it is flushed, as an output does that writes from within its encoder."""

    def open(self, at_ns: int) -> BatchSource:
        """Take the lock until `close`."""
        del at_ns
        self._lock.__enter__()
        held = Snapshot(list(self._frames))
        held.close = lambda: self._lock.__exit__(None, None, None)  # type: ignore[method-assign]  # let go = unlock
        return held


class Figures(NamedTuple):
    """What one case came to, in milliseconds."""

    appends: int
    flushes: int
    flushed_bytes_per_s: float
    lock_ms: list[float]
    lock_own_ms: list[float]
    returned_ms: list[float]
    own_ms: list[float]


def pooled(parts: list[Figures]) -> Figures:
    """Put the figures of several runs of one case together."""
    return Figures(
        appends=sum(part.appends for part in parts),
        flushes=sum(part.flushes for part in parts),
        flushed_bytes_per_s=statistics.mean(part.flushed_bytes_per_s for part in parts),
        lock_ms=sorted(value for part in parts for value in part.lock_ms),
        lock_own_ms=sorted(value for part in parts for value in part.lock_own_ms),
        returned_ms=sorted(value for part in parts for value in part.returned_ms),
        own_ms=sorted(value for part in parts for value in part.own_ms),
    )


class Stream:
    """Frames at 10 Mbit/s, each with memory of its own, as an encoder makes them: keyframes and noise.

    `rate` is how many there are a second. `key` is the access unit of all keyframes: with a real one the
    camera's writer takes the stream for H.264.
    """

    def __init__(self, rate: int = _RATE, key: bytes = b"") -> None:
        self.rate = rate
        self.frame_ns = _NS_PER_S // rate
        noise = os.urandom(_KEY_BYTES).translate(_WITHOUT_ZERO)  # so that no start code is in it
        other = (_BYTES_PER_S - _KEY_BYTES) // (rate - 1) if rate > 1 else 0
        self._key = memoryview(key or _IDR + noise)
        self._other = memoryview(_SLICE + noise[:other])
        self._number = 0

    def next(self, pts_ns: int) -> EncodedFrame:
        """Return the next frame."""
        key = self._number % self.rate == 0
        self._number += 1
        data = bytes(self._key if key else self._other)
        return EncodedFrame(Track.VIDEO, data, pts_ns, pts_ns, self.frame_ns, key)


def flusher(path: Path, heavier: int, stall_s: float, rate_bytes_per_s: float = math.inf) -> Consumer:
    """Return a consumer with the work of a clip writer: hash, encrypt, write, sync, and a slow card."""
    cipher = ChaCha20Poly1305(os.urandom(32))
    nonce = bytes(12)  # the same again: nothing of it is ever decrypted
    burden = bytes(_CHUNK * (heavier - 1))

    def consume(source: BatchSource) -> int:
        digest = hashlib.sha256()
        total = unsynced = 0
        pending = bytearray()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            while batch := source.read_nowait():
                for item in batch:
                    if isinstance(item, EncodedFrame):
                        pending += item.data
                        total += len(item.data)
                while len(pending) >= _CHUNK:
                    chunk = cipher.encrypt(nonce, bytes(pending[:_CHUNK]), None)
                    if burden:
                        cipher.encrypt(nonce, burden, None)
                    del pending[:_CHUNK]
                    digest.update(chunk)
                    unsynced += os.write(fd, chunk)
                    if unsynced >= _SYNC_BYTES:
                        os.fdatasync(fd)
                        time.sleep(stall_s + unsynced / rate_bytes_per_s)
                        unsynced = 0
        finally:
            os.close(fd)
        return total

    return consume


def measure(
    make: Callable[[Report, Report], Subject],
    seconds: float,
    consumer: Consumer | None,
    *,
    busy: bool = False,
    key: bytes = b"",
    rate: int = _RATE,
) -> Figures:
    """Append for so many seconds beside a consumer that flushes again and again, if any, and a busy thread.

    What is there at first are 30 frames a second; then `rate` a second are appended, at the same bit rate.
    """
    holds: list[int] = []
    owns: list[int] = []
    subject = make(holds.append, owns.append)
    filling, stream = Stream(key=key), Stream(rate, key)
    filled = (_WINDOW_S + 3) * _RATE
    start_ns = time.monotonic_ns() - filled * _PICTURE_NS
    for number in range(filled):
        subject.frame(filling.next(start_ns + number * _PICTURE_NS))
    holds.clear()
    owns.clear()
    ended = threading.Event()
    flushed: list[int] = []

    def consume() -> None:
        while consumer is not None and not ended.is_set():
            source = subject.open(time.monotonic_ns())
            try:
                flushed.append(consumer(source))
            finally:
                source.close()
            ended.wait(_PAUSE_S)

    def burn() -> None:
        count = 0
        while busy and not ended.is_set():
            count += 1

    others = [threading.Thread(target=consume), threading.Thread(target=burn)]
    samples: list[tuple[int, int]] = []
    appender = threading.Thread(target=lambda: samples.extend(_appends(subject, stream, seconds)))
    appender.start()
    for other in others:
        other.start()
    appender.join()
    ended.set()
    for other in others:
        other.join()
    return Figures(
        appends=len(samples),
        flushes=len(flushed),
        flushed_bytes_per_s=sum(flushed) / seconds,
        lock_ms=sorted(hold / _NS_PER_MS for hold in holds),
        lock_own_ms=sorted(own / _NS_PER_MS for own in owns),
        returned_ms=sorted(took / _NS_PER_MS for took, _ in samples),
        own_ms=sorted(max(0, took - queued) / _NS_PER_MS for took, queued in samples),
    )


def _appends(subject: Subject, stream: Stream, seconds: float) -> Iterator[tuple[int, int]]:
    """Append on time; yield from due to returned, and how long of it the thread waited for a processor."""
    start_ns = time.monotonic_ns() + stream.frame_ns
    with _queue_delay() as delay_ns:
        for number in range(round(seconds * stream.rate)):
            due_ns = start_ns + number * stream.frame_ns
            if time.monotonic_ns() > start_ns + seconds * _NS_PER_S:
                break  # held up for so long that the row's time is over
            frame = stream.next(due_ns - stream.frame_ns)
            before_ns = delay_ns()
            time.sleep(max(0, due_ns - time.monotonic_ns()) / _NS_PER_S)
            subject.frame(frame)
            took_ns = time.monotonic_ns() - due_ns
            yield took_ns, delay_ns() - before_ns


@contextmanager
def _queue_delay() -> Iterator[Callable[[], int]]:
    """Give a function that says how long this thread has waited for a processor (Linux schedstat), else 0."""
    try:
        fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield lambda: 0
        return
    try:
        yield lambda: int(os.pread(fd, 80, 0).split()[1])
    finally:
        os.close(fd)


def at(values: list[float], share: float) -> float:
    """Return a quantile of sorted values, the next higher one if between two."""
    return values[min(len(values) - 1, int(len(values) * share))]


class Case(NamedTuple):
    """One row."""

    name: str
    make: Callable[[Report, Report], Subject]
    interval_ms: float
    flushes: bool = True
    busy: bool = False
    frozen: bool = False
