"""Turns runs of PCM on the 48 kHz grid into AAC frames on a grid of 1024 samples.

Frame boundaries lie at multiples of 1024 samples from CLOCK_MONOTONIC's zero, whatever happens in between. So
a hole in the sound is a whole number of missing frames, which encoded silence fills exactly.
"""

from device.capture.sound.drift import PcmRun
from device.capture.sound.microphone import BYTES_PER_SAMPLE, time_of
from evidence.frames import EncodedFrame, Track
from evidence.media.aac import FRAME_SAMPLES, AacEncoder

__all__ = ["SoundEncoder"]

_BRIDGED_SAMPLES = 2 * FRAME_SAMPLES  # a shorter hole is filled with silence here; it frees no whole frame


class SoundEncoder:
    """Takes runs, gives frames: what a decoder makes of a frame begins with the sample taken at its `pts_ns`.

    What is before the first sample in its frame, and behind the last one, is silence. A frame comes out when
    the two frames after it are in (`evidence.media.aac.DELAY_SAMPLES`). Pushing and finishing raise
    `EvidenceError` or `av.FFmpegError` if the encoder fails; then it starts anew with the next run.
    """

    def __init__(self) -> None:
        self._aac: AacEncoder | None = None
        self._frame_index = 0  # of the first sample of the next frame out
        self._next_index = 0  # of the next sample in; nothing before it can be taken

    @property
    def next_index(self) -> int:
        """Number of the sample after the last one taken in."""
        return self._next_index

    def push(self, run: PcmRun) -> list[EncodedFrame]:
        """Take the next run; return the frames that are now complete."""
        frames = []
        if self._aac is not None and run.first_index - self._next_index >= _BRIDGED_SAMPLES:
            frames = self.finish()
        pcm, first_index = run.pcm_s16le, run.first_index
        if first_index < self._next_index:  # begins in a frame that is finished
            pcm = pcm[(self._next_index - first_index) * BYTES_PER_SAMPLE :]
            first_index = self._next_index
        if not pcm:
            return frames
        aac = self._aac
        if aac is None:
            aac = AacEncoder()
            self._frame_index = self._next_index = first_index // FRAME_SAMPLES * FRAME_SAMPLES
        self._aac = None  # stays so if the encoder fails
        silent = bytes((first_index - self._next_index) * BYTES_PER_SAMPLE)
        self._next_index = first_index + len(pcm) // BYTES_PER_SAMPLE
        encoded = aac.encode(silent + pcm)
        self._aac = aac
        return frames + self._stamped(encoded)

    def finish(self) -> list[EncodedFrame]:
        """Return the last frames of the sound so far; the next run begins anew."""
        aac, self._aac = self._aac, None
        self._next_index = -(-self._next_index // FRAME_SAMPLES) * FRAME_SAMPLES
        return [] if aac is None else self._stamped(aac.flush())

    def _stamped(self, encoded: list[bytes]) -> list[EncodedFrame]:
        frames = []
        for data in encoded:
            pts_ns = time_of(self._frame_index)
            self._frame_index += FRAME_SAMPLES
            duration_ns = time_of(self._frame_index) - pts_ns
            frames.append(EncodedFrame(Track.AUDIO, data, pts_ns, pts_ns, duration_ns, keyframe=True))
        return frames
