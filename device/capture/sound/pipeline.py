"""From the microphone to the ring: one thread that reads, corrects drift, encodes and hands over."""

import enum
import logging
import threading
from collections.abc import Callable, Sequence

import av
import msgspec

from device.capture.pacing import CaptureClock, MonotonicClock
from device.capture.sound.drift import DriftCorrector
from device.capture.sound.encoder import SoundEncoder
from device.capture.sound.gate import SoundGate
from device.capture.sound.level import LevelMeter
from device.capture.sound.microphone import Microphone, MicrophoneError, PcmBlock, time_of
from evidence.errors import EvidenceError

__all__ = ["SoundListener", "SoundPipeline", "SoundState", "SoundStateKind", "SoundStatistics"]

_log = logging.getLogger(__name__)
_LONGEST_PAUSE_NS = 500_000_000  # between two looks at what the gate may forget
_NS_PER_S = 1_000_000_000


class SoundStateKind(enum.StrEnum):
    """How the microphone is doing."""

    PRESENT = "present"  # sound comes
    ABSENT = "absent"  # there has been none since the start
    LOST = "lost"  # there was one, and it is gone


class SoundState(msgspec.Struct, frozen=True):
    """A change in how the microphone is doing.

    `monotonic_ns` is the time of the first sample if present, of the end of the last one if lost; `detail` is
    one line for a person, or empty.
    """

    kind: SoundStateKind
    detail: str
    monotonic_ns: int


SoundListener = Callable[[SoundState], None]


class SoundStatistics(msgspec.Struct, frozen=True):
    """What the pipeline has done so far."""

    blocks: int
    frames: int
    holes: int
    losses: int
    encoder_errors: int
    drift_ppm: float
    added_samples: int
    removed_samples: int


class SoundPipeline:
    """Carries sound from a microphone through the gate for as long as it runs.

    Without a microphone it tries again after each of `backoff_s` in turn, then always after the last of them;
    once sound came, it begins with the first again. A missing or broken microphone is told to `on_state`, in
    the thread of the pipeline, and to nobody else: it is no reason not to film.
    """

    def __init__(
        self,
        microphone: Microphone,
        gate: SoundGate,
        on_state: SoundListener,
        *,
        clock: CaptureClock | None = None,
        level: LevelMeter | None = None,
        backoff_s: Sequence[float] = (0.5, 1, 2, 5, 10),
    ) -> None:
        if not backoff_s:
            raise ValueError("backoff_s needs at least one pause")
        self._microphone = microphone
        self._gate = gate
        self._on_state = on_state
        self._clock = clock or MonotonicClock()
        self._level = level
        self._backoff_ns = [int(pause * _NS_PER_S) for pause in backoff_s]
        self._corrector = DriftCorrector()
        self._encoder = SoundEncoder()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._kind: SoundStateKind | None = None
        self._failures = 0  # since sound last came
        self._blocks = self._frames = self._losses = self._encoder_errors = 0

    @property
    def statistics(self) -> SoundStatistics:
        """What was done so far; may be read from any thread."""
        corrector = self._corrector
        return SoundStatistics(
            blocks=self._blocks,
            frames=self._frames,
            holes=corrector.holes,
            losses=self._losses,
            encoder_errors=self._encoder_errors,
            drift_ppm=corrector.drift_ppm,
            added_samples=corrector.added_samples,
            removed_samples=corrector.removed_samples,
        )

    def start(self) -> None:
        """Start the thread; a pipeline is started once."""
        self._thread = threading.Thread(target=self._run, name="sound", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop and join, every frame handed over before; more than once is harmless."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._listen_once()
                if not self._stop.is_set():
                    self._pause()
        finally:
            if (
                not self._stop.is_set()
            ):  # an error of ours ends the thread; Python reports it, we say what it means
                self._tell_missing("the sound thread ended with an error")

    def _listen_once(self) -> None:
        """Open the microphone and listen until it fails or the pipeline is stopped."""
        try:
            self._microphone.open()
            self._listen()
        except MicrophoneError as error:
            self._tell_missing(str(error))
        except (EvidenceError, av.FFmpegError) as error:
            self._count_encoder_error(error)
            self._tell_missing("the sound encoder failed")
        finally:
            self._microphone.close()
        self._finish()

    def _listen(self) -> None:
        while not self._stop.is_set():
            block = self._microphone.read(self._stop)
            if block is not None:
                self._take(block)

    def _take(self, block: PcmBlock) -> None:
        self._blocks += 1
        self._failures = 0
        if self._level is not None:
            self._level.push(block)
        run = self._corrector.push(block)
        if self._kind is not SoundStateKind.PRESENT:
            self._tell(SoundStateKind.PRESENT, "", block.first_sample_ns)
        if run is not None:
            for frame in self._encoder.push(run):
                self._frames += 1
                self._gate.frame(frame)

    def _finish(self) -> None:
        """Hand over what is still in the encoder; the next sound begins anew."""
        self._corrector.interrupt()
        try:
            frames = self._encoder.finish()
        except (EvidenceError, av.FFmpegError) as error:
            self._count_encoder_error(error)
            return
        for frame in frames:
            self._frames += 1
            self._gate.frame(frame)

    def _pause(self) -> None:
        """Wait before the next try. No frame comes meanwhile, so the gate is told what time it is."""
        pause_ns = self._backoff_ns[min(self._failures, len(self._backoff_ns) - 1)]
        self._failures += 1
        end_ns = self._clock.now_ns() + pause_ns
        waiting = True
        while waiting and (now_ns := self._clock.now_ns()) < end_ns:
            waiting = self._clock.wait_until(min(end_ns, now_ns + _LONGEST_PAUSE_NS), self._stop)
            self._gate.expire(self._clock.now_ns())

    def _tell_missing(self, detail: str) -> None:
        if self._kind is None:
            self._tell(SoundStateKind.ABSENT, detail, self._clock.now_ns())
        elif self._kind is SoundStateKind.PRESENT:
            self._losses += 1
            self._tell(SoundStateKind.LOST, detail, time_of(self._encoder.next_index))

    def _tell(self, kind: SoundStateKind, detail: str, monotonic_ns: int) -> None:
        self._kind = kind
        level = logging.INFO if kind is SoundStateKind.PRESENT else logging.WARNING
        _log.log(level, "microphone %s: %s %s", kind, self._microphone.name, detail)
        self._on_state(SoundState(kind, detail, monotonic_ns))

    def _count_encoder_error(self, error: Exception) -> None:
        self._encoder_errors += 1
        _log.error("sound encoder failed: %s", error)
