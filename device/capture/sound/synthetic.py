"""A microphone that needs no sound card: a tone, and a click at each full second of CLOCK_MONOTONIC.

Deterministic: what a sample holds depends on its number and its time alone, and jitter comes from a seeded
generator. The card's drift, a late first sample, lost samples and unplugging can be simulated.
"""

import math
import random
import threading
from array import array
from collections.abc import Sequence

import msgspec

from device.capture.pacing import CaptureClock, MonotonicClock
from device.capture.sound.microphone import BYTES_PER_SAMPLE, SAMPLE_RATE, MicrophoneError, PcmBlock

__all__ = ["CLICK_SAMPLES", "SyntheticMicrophone", "SyntheticSound"]

_NS_PER_S = 1_000_000_000
_PPM = 1_000_000
_LONGEST_WAIT_NS = 100_000_000
_TONE_HZ = 400  # divides the sample rate, so that a block is a slice of one table
_TONE_PEAK = 2_000
_CLICK_PEAK = 28_000
CLICK_SAMPLES = 24  # half a millisecond


class SyntheticSound(msgspec.Struct, frozen=True, kw_only=True):
    """What the card is like.

    `drift_ppm`: how much slower than 48 kHz it samples (negative: faster). `jitter_ns`: the times of blocks
    are off by up to so much, either way. `first_sound_ns`: how long after `open` the first sample is taken.
    `unplugged`, `lost`: spans `(start_ns, end_ns)` of CLOCK_MONOTONIC in which there is no card, or in which
    its samples are lost as in an overrun.
    """

    block_samples: int = 960
    drift_ppm: int = 0
    jitter_ns: int = 0
    first_sound_ns: int = 0
    unplugged: Sequence[tuple[int, int]] = ()
    lost: Sequence[tuple[int, int]] = ()
    seed: int = 1


class SyntheticMicrophone:
    """See the module; `clock` paces it, CLOCK_MONOTONIC by default."""

    def __init__(self, sound: SyntheticSound | None = None, *, clock: CaptureClock | None = None) -> None:
        self._sound = sound or SyntheticSound()
        self._clock = clock or MonotonicClock()
        self._jitter = random.Random(self._sound.seed)  # noqa: S311  # noise for a test, not a secret
        self._tone = _tone(self._sound.block_samples)
        self._first_ns: int | None = None
        self._taken = 0
        self._after_hole = False

    @property
    def name(self) -> str:
        """What a person calls this microphone."""
        return "synthetic"

    def open(self) -> None:
        """Start to capture now, or `first_sound_ns` later.

        Raises:
            MicrophoneError: it is unplugged.
        """
        now_ns = self._clock.now_ns()
        if _within(self._sound.unplugged, now_ns, now_ns + 1):
            raise MicrophoneError("no microphone", found="a synthetic one, unplugged", remedy="wait")
        self._first_ns = now_ns + self._sound.first_sound_ns
        self._taken = 0
        self._after_hole = False

    def read(self, stop: threading.Event) -> PcmBlock | None:
        """Wait for the end of the next block.

        Raises:
            MicrophoneError: it was unplugged, or is not open.
        """
        if self._first_ns is None:
            raise MicrophoneError("synthetic microphone is not open", remedy="open it first")
        start_ns = self._time_of(self._taken)
        end_ns = self._time_of(self._taken + self._sound.block_samples)
        until_ns = min(end_ns, self._clock.now_ns() + _LONGEST_WAIT_NS)
        if not self._clock.wait_until(until_ns, stop):
            return None
        if _within(self._sound.unplugged, start_ns, until_ns):
            raise MicrophoneError("microphone lost", found="it was unplugged", remedy="plug it in again")
        if until_ns < end_ns:
            return None
        block = self._block(start_ns)
        self._taken += self._sound.block_samples
        if _within(self._sound.lost, start_ns, end_ns):
            self._after_hole = True
            return None
        self._after_hole = False
        return block

    def close(self) -> None:
        """Stop to capture."""
        self._first_ns = None

    def _time_of(self, sample: int) -> int:
        """When the card takes its sample with this number."""
        assert self._first_ns is not None
        scaled = sample * (_PPM + self._sound.drift_ppm) * (_NS_PER_S // _PPM)
        return self._first_ns + scaled // SAMPLE_RATE

    def _block(self, start_ns: int) -> PcmBlock:
        offset = self._taken % (SAMPLE_RATE // _TONE_HZ) * BYTES_PER_SAMPLE
        pcm = self._tone[offset : offset + self._sound.block_samples * BYTES_PER_SAMPLE]
        jitter = self._sound.jitter_ns
        stamp_ns = start_ns + self._jitter.randint(-jitter, jitter) if jitter else start_ns
        return PcmBlock(stamp_ns, self._with_clicks(pcm, start_ns), self._after_hole)

    def _with_clicks(self, pcm: bytes, start_ns: int) -> bytes:
        """Lay over the tone whatever of a click falls into the block; a click may reach over two."""
        count = self._sound.block_samples
        sample_ns = _NS_PER_S / SAMPLE_RATE * (1 + self._sound.drift_ppm / _PPM)
        second_ns = start_ns // _NS_PER_S * _NS_PER_S
        for click_ns in (second_ns, second_ns + _NS_PER_S):
            first = math.ceil((click_ns - start_ns) / sample_ns)
            begin, end = max(first, 0), min(first + CLICK_SAMPLES, count)
            if begin < end:
                click = array("h", [_CLICK_PEAK] * (end - begin)).tobytes()
                pcm = pcm[: begin * BYTES_PER_SAMPLE] + click + pcm[end * BYTES_PER_SAMPLE :]
        return pcm


def _tone(block_samples: int) -> bytes:
    """A block of the tone, and one period more to slice at any phase."""
    period = SAMPLE_RATE // _TONE_HZ
    wave = [round(_TONE_PEAK * math.sin(2 * math.pi * index / period)) for index in range(period)]
    return array("h", (wave * (block_samples // period + 2))).tobytes()


def _within(spans: Sequence[tuple[int, int]], start_ns: int, end_ns: int) -> bool:
    """Whether any of the spans overlaps with the stretch from start to end."""
    return any(span_start < end_ns and start_ns < span_end for span_start, span_end in spans)
