"""The sound of a media file as a microphone, for replay: looped with the picture, on the picture's timeline."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import msgspec
from av.container import InputContainer

from device.capture.pacing import CaptureClock, MonotonicClock
from device.capture.sound.microphone import BYTES_PER_SAMPLE, SAMPLE_RATE, MicrophoneError, PcmBlock

__all__ = ["FileMicrophone", "LoopTimeline"]

_NS_PER_S = 1_000_000_000
_NS_PER_US = 1_000
_LONGEST_WAIT_NS = 100_000_000
_BLOCK_SAMPLES = 2_048  # at most; a decoded frame is usually shorter
_BLOCK_BYTES = _BLOCK_SAMPLES * BYTES_PER_SAMPLE
_HOLE_NS = 1_000_000  # the file's own times may be rounded to milliseconds (Matroska)


class LoopTimeline(msgspec.Struct, frozen=True):
    """How the times of a looped file lie on CLOCK_MONOTONIC.

    What the file has at `media_start_ns` (usually its first picture) is at `origin_ns` in the first loop and
    `period_ns` later in each further one. Sound outside of that period is left out.
    """

    origin_ns: int
    period_ns: int
    media_start_ns: int = 0


class FileMicrophone:
    """Plays the first sound track of a file, decoded and resampled to 48 kHz mono.

    A loop whose sound is shorter than the picture ends with a hole. Opened in the middle of things, it joins in
    where the picture is.
    """

    def __init__(self, path: str | Path, timeline: LoopTimeline, *, clock: CaptureClock | None = None) -> None:
        self._path = Path(path)
        self._timeline = timeline
        self._clock = clock or MonotonicClock()
        self._container: InputContainer | None = None
        self._blocks: Iterator[PcmBlock] | None = None
        self._next: PcmBlock | None = None

    @property
    def name(self) -> str:
        """What a person calls this microphone."""
        return f"sound of {self._path.name}"

    def open(self) -> None:
        """Open the file at the place where the clock is.

        Raises:
            MicrophoneError: it cannot be read, or has no sound.
        """
        self.close()
        elapsed_ns = max(self._clock.now_ns() - self._timeline.origin_ns, 0)
        try:
            self._container = _opened(self._path)
        except av.FFmpegError as error:
            raise self._error(error) from error
        self._blocks = self._looped(self._container, *divmod(elapsed_ns, self._timeline.period_ns))

    def read(self, stop: threading.Event) -> PcmBlock | None:
        """Wait until the last sample of the next block is due.

        Raises:
            MicrophoneError: the file cannot be decoded any further, has no sound, or is not open.
        """
        if self._blocks is None:
            raise MicrophoneError(f"{self.name} is not open", remedy="open it first")
        if self._next is None:
            try:
                self._next = next(self._blocks)
            except av.FFmpegError as error:
                raise self._error(error) from error
        due_ns = self._next.first_sample_ns + _duration(self._next.samples)
        until_ns = min(due_ns, self._clock.now_ns() + _LONGEST_WAIT_NS)
        if not self._clock.wait_until(until_ns, stop) or until_ns < due_ns:
            return None
        block, self._next = self._next, None
        return block

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._container = self._blocks = self._next = None

    def _looped(self, container: InputContainer, loop: int, elapsed_ns: int) -> Iterator[PcmBlock]:
        """Blocks of all loops from `loop` on, the first of them from `elapsed_ns` on."""
        timeline = self._timeline
        while True:
            container.seek((timeline.media_start_ns + elapsed_ns) // _NS_PER_US)
            base_ns = timeline.origin_ns + loop * timeline.period_ns
            end_ns, found = None, False
            for media_ns, pcm in _pieces(container):
                at_ns = media_ns - timeline.media_start_ns
                length_ns = _duration(len(pcm) // BYTES_PER_SAMPLE)
                if at_ns >= timeline.period_ns:
                    break
                found = True
                if at_ns < 0 or at_ns + length_ns <= elapsed_ns:
                    continue
                kept = _cut(pcm, timeline.period_ns - at_ns)
                yield PcmBlock(base_ns + at_ns, kept, end_ns is None or abs(at_ns - end_ns) > _HOLE_NS)
                end_ns = at_ns + length_ns
            if not found and not elapsed_ns:
                raise MicrophoneError(f"no sound in {self._path.name}", found="a sound track that holds none")
            loop, elapsed_ns = loop + 1, 0

    def _error(self, error: av.FFmpegError) -> MicrophoneError:
        return MicrophoneError(f"no sound from {self._path.name}", found=error.strerror or type(error).__name__)


def _opened(path: Path) -> InputContainer:
    container = av.open(str(path))
    if not container.streams.audio:
        container.close()
        raise MicrophoneError(f"no sound in {path.name}", expected="a sound track", found="none")
    return container


def _pieces(container: InputContainer) -> Iterator[tuple[int, bytes]]:
    """Decoded sound from where the container stands: time in the file, and up to `_BLOCK_SAMPLES` of PCM.

    Times are counted in samples as long as the file's own agree but for rounding.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    origin_ns = counted = 0
    for decoded in itertools.chain(container.decode(audio=0), (None,)):
        for frame in resampler.resample(decoded):
            assert frame.pts is not None
            assert frame.time_base is not None
            start_ns = int(frame.pts * frame.time_base * _NS_PER_S)
            if not counted or abs(start_ns - origin_ns - _duration(counted)) > _HOLE_NS:
                origin_ns, counted = start_ns, 0
            pcm = bytes(frame.planes[0])[: frame.samples * BYTES_PER_SAMPLE]
            for offset in range(0, len(pcm), _BLOCK_BYTES):
                piece = pcm[offset : offset + _BLOCK_BYTES]
                yield origin_ns + _duration(counted), piece
                counted += len(piece) // BYTES_PER_SAMPLE


def _duration(samples: int) -> int:
    return samples * _NS_PER_S // SAMPLE_RATE


def _cut(pcm: bytes, limit_ns: int) -> bytes:
    """No more of it than fits into the time that is left."""
    samples = (limit_ns * SAMPLE_RATE + _NS_PER_S - 1) // _NS_PER_S
    return pcm[: samples * BYTES_PER_SAMPLE]
