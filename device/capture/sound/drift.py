"""Puts sound onto CLOCK_MONOTONIC: blocks by the sound card's clock in, samples on a 48 kHz grid out.

The grid is one for ever: sample number K lies at K / 48,000 s of CLOCK_MONOTONIC (`microphone.time_of`), so
sound before and after a hole, and of two microphones one after the other, fits together to the sample.
Without I/O, clock or thread.
"""

import msgspec

from device.capture.sound.cardclock import CardClock
from device.capture.sound.microphone import BYTES_PER_SAMPLE, PcmBlock, index_at
from device.capture.sound.stretch import PIECE_SAMPLES, stretch

__all__ = ["DriftCorrector", "PcmRun"]

_TOLERATED_STRAY = 2  # samples; below it rounding alone would add a sample here and leave one out there


class PcmRun(msgspec.Struct, frozen=True, gc=False):
    """Samples on the grid; `first_index` is the number of the first one.

    A run that starts where the last one ended continues it; one that starts later follows a hole.
    """

    first_index: int
    pcm_s16le: bytes

    @property
    def end_index(self) -> int:
        """The number of the sample after the last one."""
        return self.first_index + len(self.pcm_s16le) // BYTES_PER_SAMPLE


class DriftCorrector:
    """Turns blocks into runs.

    The card's rate is estimated (`CardClock`), and where the output has strayed by two samples from where it
    belongs, they are added or left out (`stretch`). That follows the clock at up to 2,000 ppm. A block that
    is marked, or whose time is off by more than `jump_ns`, starts anew at its own time: a hole stays a hole.
    Time never runs back: samples that would lie before the end of the last run are left out and counted.
    """

    def __init__(self, jump_ns: int = 20_000_000) -> None:
        self._jump_ns = jump_ns
        self._clock = CardClock()
        self._next_index: int | None = None
        self._fresh = True
        self.holes = 0
        self.overlapping_samples = 0
        self.added_samples = 0
        self.removed_samples = 0

    @property
    def drift_ppm(self) -> float:
        """How much slower than 48 kHz the card samples, in parts per million, as far as known."""
        return self._clock.drift_ppm

    def interrupt(self) -> None:
        """Say that the microphone was closed: the next block starts anew."""
        self._fresh = True

    def push(self, block: PcmBlock) -> PcmRun | None:
        """Take the next block; `None` if it lies wholly before the end of the last run, or is empty."""
        pcm = block.pcm_s16le
        stray_ns = block.first_sample_ns - self._clock.next_sample_ns
        if self._next_index is None or self._fresh or block.after_hole or abs(stray_ns) > self._jump_ns:
            first_index = self._start_anew(block.first_sample_ns)
            pcm = pcm[(first_index - index_at(block.first_sample_ns)) * BYTES_PER_SAMPLE :]
        else:
            first_index = self._next_index
            self._clock.observe(block.first_sample_ns)
        self._clock.advance(block.samples)
        self._next_index = first_index
        if not pcm:
            self._fresh = True  # still before the end of the last run: the next block is placed by its own time
            return None
        run = PcmRun(first_index, self._fitted(first_index, pcm))
        self._next_index = run.end_index
        return run

    def _start_anew(self, first_sample_ns: int) -> int:
        first_index = index_at(first_sample_ns)
        self._clock.restart(first_sample_ns)
        if self._next_index is not None:
            self.holes += first_index > self._next_index
            self.overlapping_samples += max(self._next_index - first_index, 0)
            first_index = max(first_index, self._next_index)
        self._fresh = False
        return first_index

    def _fitted(self, first_index: int, pcm: bytes) -> bytes:
        samples = len(pcm) // BYTES_PER_SAMPLE
        stray = index_at(self._clock.next_sample_ns) - (first_index + samples)
        if abs(stray) < _TOLERATED_STRAY:
            return pcm
        most = samples // PIECE_SAMPLES
        extra = min(max(stray, -most), most)
        self.added_samples += max(extra, 0)
        self.removed_samples -= min(extra, 0)
        return stretch(pcm, extra)
