"""Plays clicks into the virtual microphone until SIGTERM, then prints when each was heard: `clicks.py SEED`.

The card is a loop (snd-aloop). Its driver says how many samples it had passed on at which CLOCK_MONOTONIC; that
count is behind by up to a tick and never ahead, so the tightest of all such pairs dates the samples.
"""

import random
import signal
import sys
from array import array

import alsaaudio

__all__: list[str] = []

_DEVICE = "hw:Loopback,1"
_RATE = 48_000
_PERIOD = 480
_PERIODS = 300  # 3 s: one emulated processor is away for long when the bench's host is busy
_NS_PER_S = 1_000_000_000
_CLICK = [20_000 if index // 8 % 2 == 0 else -20_000 for index in range(240)]  # 3 kHz for 5 ms
_LEAST_S, _MOST_S = 0.45, 0.75


class _Clicks:
    """The samples: silence with clicks at instants that repeat in no pattern."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.starts = [_RATE]

    def block(self, first: int) -> bytes:
        """Return the samples from number `first` on; called in order."""
        samples = array("h", bytes(2 * _PERIOD))
        if first + _PERIOD > self.starts[-1] + len(_CLICK):
            self.starts.append(self.starts[-1] + int(self._random.uniform(_LEAST_S, _MOST_S) * _RATE))
        for start in self.starts[-2:]:
            begin, end = max(start, first), min(start + len(_CLICK), first + _PERIOD)
            if begin < end:
                samples[begin - first : end - first] = array("h", _CLICK[begin - start : end - start])
        return samples.tobytes()


def _main(seed: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # looked for; it must not interrupt a write
    pcm = alsaaudio.PCM(
        type=alsaaudio.PCM_PLAYBACK,
        mode=alsaaudio.PCM_NORMAL,
        device=_DEVICE,
        rate=_RATE,
        channels=1,
        format=alsaaudio.PCM_FORMAT_S16_LE,
        periodsize=_PERIOD,
        periods=_PERIODS,
    )
    pcm.set_tstamp_mode(alsaaudio.PCM_TSTAMP_ENABLE)
    pcm.set_tstamp_type(alsaaudio.PCM_TSTAMP_TYPE_MONOTONIC)
    size = pcm.info()["buffer_size"]
    clicks, written, zero_ns = _Clicks(seed), 0, 0
    print("playing", flush=True)  # noqa: T201 - its log, which the bench waits for
    while signal.SIGTERM not in signal.sigpending():
        if pcm.write(clicks.block(written)) < 0:
            raise SystemExit("the loop ran dry: samples can't be dated any more")
        written += _PERIOD
        seconds, nanoseconds, room = pcm.htimestamp()
        passed = written - (size - room)
        if passed > _RATE // 2:  # it runs
            at_ns = seconds * _NS_PER_S + nanoseconds - passed * _NS_PER_S // _RATE
            zero_ns = min(zero_ns or at_ns, at_ns)
    for start in clicks.starts:
        if start < written - size:
            print("click", zero_ns + start * _NS_PER_S // _RATE, flush=True)  # noqa: T201 - as above
    pcm.close()


_main(sys.argv[1])
