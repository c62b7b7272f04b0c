"""What a microphone is: blocks of PCM whose first sample has a time on CLOCK_MONOTONIC.

One format everywhere: signed 16 bit, little-endian, mono, nominally 48 kHz. Nominally, because the card's
crystal decides; `device.capture.sound.drift` puts the samples onto the monotonic clock.
"""

import threading
from typing import Protocol

import msgspec

from device.errors import DeviceError

__all__ = [
    "BYTES_PER_SAMPLE",
    "SAMPLE_RATE",
    "Microphone",
    "MicrophoneError",
    "PcmBlock",
    "index_at",
    "time_of",
]

SAMPLE_RATE = 48_000
BYTES_PER_SAMPLE = 2
_NS_NUMERATOR, _NS_DENOMINATOR = 62_500, 3  # 10^9 / 48,000 in lowest terms


class MicrophoneError(DeviceError):
    """There is no usable microphone, or it is gone; the camera films on without it."""


class PcmBlock(msgspec.Struct, frozen=True, gc=False):
    """Samples that follow each other without a hole.

    `first_sample_ns` is CLOCK_MONOTONIC at the first sample, by the sound card. `after_hole` says that samples
    were lost between the block before and this one.
    """

    first_sample_ns: int
    pcm_s16le: bytes
    after_hole: bool = False

    @property
    def samples(self) -> int:
        """How many samples the block holds."""
        return len(self.pcm_s16le) // BYTES_PER_SAMPLE


class Microphone(Protocol):
    """A microphone, or what stands in for one. All three are called from one thread."""

    @property
    def name(self) -> str:
        """What a person calls this microphone, such as `ALSA plughw:1,0`."""

    def open(self) -> None:
        """Start to capture; may be called again after `close`.

        Raises:
            MicrophoneError: there is none, or it cannot do what is asked of it.
        """

    def read(self, stop: threading.Event) -> PcmBlock | None:
        """Wait for the next block; `None` if none came within 100 ms or `stop` was set.

        Blocks come in order and do not overlap but for the jitter of their times. After `MicrophoneError` the
        only call left is `close`.

        Raises:
            MicrophoneError: it was unplugged, does not deliver any more, or is not open.
        """

    def close(self) -> None:
        """Let go of the device; more than once is harmless."""


def index_at(instant_ns: int) -> int:
    """Return the number of the sample nearest to an instant, counted at 48 kHz from CLOCK_MONOTONIC's zero."""
    return (2 * instant_ns * _NS_DENOMINATOR + _NS_NUMERATOR) // (2 * _NS_NUMERATOR)


def time_of(index: int) -> int:
    """Return CLOCK_MONOTONIC in nanoseconds (rounded down) of the sample with this number."""
    return index * _NS_NUMERATOR // _NS_DENOMINATOR
