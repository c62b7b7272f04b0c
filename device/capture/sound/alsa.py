"""An ALSA microphone, read through pyalsaaudio with the timestamps that the driver takes.

Not through libavdevice, which stamps with the wall clock. At each period's interrupt the driver notes
CLOCK_MONOTONIC and how far the card had got; `PCM.htimestamp()` gives that pair as (seconds, nanoseconds,
frames in the buffer). Straight after a read of n samples, the first of them was thus taken (frames + n) /
48,000 s before that time (alsa-lib, `snd_pcm_htimestamp`).

A device without such timestamps is refused: stamping with the time of arrival instead would go unnoticed and
be wrong by up to a buffer. pyalsaaudio ignores the error of `snd_pcm_htimestamp` and then hands out what was in
memory, so every stamp is checked against the clock before it is believed.
"""

import errno
import select
import threading
import time
from typing import Any

from device.capture.sound.microphone import SAMPLE_RATE, MicrophoneError, PcmBlock

__all__ = ["AlsaMicrophone"]

_NS_PER_S = 1_000_000_000
_PERIOD_SAMPLES = 960  # 20 ms
_PERIODS = 25  # half a second of Python being held up before samples are lost
_WAIT_MS = 100
_NOTHING_S = 0.005  # a plugin may say that it is ready and have nothing: no busy loop then
_SILENT_NS = 2_000_000_000  # a card that stays silent for longer is gone, whatever its driver says
_AHEAD_NS = 5_000_000  # a stamp may not lie in the future; two readings of one clock, some slack
_REMEDY = "see `arecord -L` for names; plughw:CARD,DEV fits most"


class AlsaMicrophone:
    """A PCM capture device of ALSA, such as `plughw:1,0`.

    `alsa` is for tests: what stands in for the module `alsaaudio`.
    """

    def __init__(self, device: str = "default", *, alsa: Any = None) -> None:
        self._device = device
        self._alsa = alsa
        self._pcm: Any = None
        self._poll = select.poll()
        self._descriptors: list[tuple[int, int]] = []
        self._buffer_samples = 0
        self._after_hole = False
        self._last_sound_ns = 0
        self.overruns = 0

    @property
    def name(self) -> str:
        """What a person calls this microphone."""
        return f"ALSA {self._device}"

    def open(self) -> None:
        """Open the device for 48 kHz, mono, 16 bit, with monotonic timestamps, and start it.

        Raises:
            MicrophoneError: pyalsaaudio or the device is missing, busy, or cannot do that.
        """
        self.close()
        alsa = self._alsa = self._alsa or _import_alsa()
        try:
            self._pcm = alsa.PCM(
                type=alsa.PCM_CAPTURE,
                mode=alsa.PCM_NONBLOCK,
                device=self._device,
                rate=SAMPLE_RATE,
                channels=1,
                format=alsa.PCM_FORMAT_S16_LE,
                periodsize=_PERIOD_SAMPLES,
                periods=_PERIODS,
            )
            self._configure()
        except alsa.ALSAAudioError as error:
            self.close()
            raise MicrophoneError(
                f"no microphone {self._device}",
                expected="an ALSA capture device",
                found=str(error),
                remedy=_REMEDY,
            ) from error
        except MicrophoneError:
            self.close()
            raise

    def read(self, stop: threading.Event) -> PcmBlock | None:
        """Wait up to 100 ms for a period. After an overrun the next block is marked `after_hole`.

        Raises:
            MicrophoneError: it was unplugged, is silent for 2 s, has no timestamps, or is not open.
        """
        if self._pcm is None:
            raise MicrophoneError(f"microphone {self._device} is not open", remedy="open it first")
        if stop.is_set():
            return None
        try:
            self._wait()
            count, pcm = self._pcm.read()
            seconds, nanoseconds, waiting = self._pcm.htimestamp()
            if count == -errno.EPIPE:
                self.overruns += 1
                self._after_hole = True
                self._start()
        except self._alsa.ALSAAudioError as error:
            raise self._lost(str(error)) from error
        now_ns = time.monotonic_ns()
        if count <= 0:
            self._check_alive(now_ns)
            stop.wait(_NOTHING_S)
            return None
        self._last_sound_ns = now_ns
        stamp_ns = self._checked(seconds * _NS_PER_S + nanoseconds, waiting, now_ns)
        block = PcmBlock(stamp_ns - (waiting + count) * _NS_PER_S // SAMPLE_RATE, pcm, self._after_hole)
        self._after_hole = False
        return block

    def close(self) -> None:
        """Let go of the device."""
        for descriptor, _ in self._descriptors:
            self._poll.unregister(descriptor)
        self._descriptors = []
        if self._pcm is not None:
            self._pcm.close()
        self._pcm = None

    def _configure(self) -> None:
        alsa, pcm = self._alsa, self._pcm
        info = pcm.info()
        found = (info["rate"], info["channels"], info["format"])
        if found != (SAMPLE_RATE, 1, alsa.PCM_FORMAT_S16_LE):
            raise MicrophoneError(
                f"microphone {self._device} does not fit",
                expected="48000 Hz, 1 channel, S16_LE",
                found=f"{info['rate']} Hz, {info['channels']} channels, {info['format_name']}",
                remedy="name it plughw:CARD,DEV, so that ALSA converts",
            )
        try:
            pcm.set_tstamp_mode(alsa.PCM_TSTAMP_ENABLE)
            pcm.set_tstamp_type(alsa.PCM_TSTAMP_TYPE_MONOTONIC)
        except RuntimeError as error:  # that is what pyalsaaudio raises for these two
            raise self._no_timestamps(str(error)) from error
        if pcm.get_tstamp_type() != alsa.PCM_TSTAMP_TYPE_MONOTONIC:
            raise self._no_timestamps("another clock")
        self._buffer_samples = info["buffer_size"]
        self._after_hole = False
        self._last_sound_ns = time.monotonic_ns()
        self._descriptors = pcm.polldescriptors()
        for descriptor, events in self._descriptors:
            self._poll.register(descriptor, events)
        self._start()

    def _start(self) -> None:
        """Start a stream that is prepared: the first read does, and a real card has nothing to give yet."""
        self._pcm.read()

    def _wait(self) -> None:
        """Wait until the device has something to say; tells plugins what its descriptors said."""
        said = dict(self._poll.poll(_WAIT_MS))
        if said:
            self._pcm.polldescriptors_revents([(fd, said.get(fd, 0)) for fd, _ in self._descriptors])

    def _check_alive(self, now_ns: int) -> None:
        if self._pcm.state() == self._alsa.PCM_STATE_DISCONNECTED:
            raise MicrophoneError(
                f"microphone {self._device} lost", found="disconnected", remedy="plug it in again"
            )
        if now_ns - self._last_sound_ns > _SILENT_NS:
            raise MicrophoneError(
                f"microphone {self._device} lost", found="no sample in 2 s", remedy="plug it in again"
            )

    def _checked(self, stamp_ns: int, waiting: int, now_ns: int) -> int:
        oldest_ns = now_ns - _SILENT_NS
        if not (oldest_ns <= stamp_ns <= now_ns + _AHEAD_NS and 0 <= waiting <= self._buffer_samples):
            raise self._no_timestamps("a time that is not CLOCK_MONOTONIC's" if stamp_ns else "zero")
        return stamp_ns

    def _lost(self, found: str) -> MicrophoneError:
        return MicrophoneError(f"microphone {self._device} lost", found=found, remedy="plug it in again")

    def _no_timestamps(self, found: str) -> MicrophoneError:
        return MicrophoneError(
            f"microphone {self._device} has no timestamps",
            expected="CLOCK_MONOTONIC at each period",
            found=found,
            remedy="name the card itself: hw:CARD,DEV or plughw:CARD,DEV",
        )


def _import_alsa() -> Any:
    try:
        import alsaaudio  # noqa: PLC0415  # on demand: a camera without a microphone does without
    except ImportError as error:
        raise MicrophoneError(
            "no microphone",
            expected="pyalsaaudio",
            found="it is not installed",
            remedy="pip install preroll[pi]",
        ) from error
    return alsaaudio
