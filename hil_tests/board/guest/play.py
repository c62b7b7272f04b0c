"""Plays raw samples into the virtual microphone: `play.py FILE RATE CHANNELS`, signed 16-bit little-endian.

The sound card is a loop (snd-aloop): what is played into its second device is recorded from its first.
"""

import sys
from pathlib import Path

import alsaaudio

__all__: list[str] = []

_DEVICE = "hw:Loopback,1"
_PERIOD_FRAMES = 480
_BYTES = 2


def _main(file: str, rate: str, channels: str) -> None:
    samples = Path(file).read_bytes()
    pcm = alsaaudio.PCM(
        type=alsaaudio.PCM_PLAYBACK,
        mode=alsaaudio.PCM_NORMAL,
        device=_DEVICE,
        rate=int(rate),
        channels=int(channels),
        format=alsaaudio.PCM_FORMAT_S16_LE,
        periodsize=_PERIOD_FRAMES,
    )
    size = _PERIOD_FRAMES * _BYTES * int(channels)
    print("playing", flush=True)  # noqa: T201 - its log, which the bench waits for
    for begin in range(0, len(samples), size):
        pcm.write(samples[begin : begin + size])
    pcm.drain()
    pcm.close()


_main(*sys.argv[1:])
