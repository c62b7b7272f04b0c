"""How loud the microphone is: whether it has been too quiet for too long to be believed."""

from device.capture.sound.microphone import PcmBlock

__all__ = ["LevelMeter"]

_FULL_SCALE = 32_768
_STEP = 16
"""Every 16th sample, 3,000 a second, is enough to tell a room from a covered microphone."""


class LevelMeter:
    """Takes blocks of sound; `is_quiet` says that no sample looked at was louder for so long.

    Written in one thread, read in any.
    """

    def __init__(self, quiet_dbfs: float, quiet_ns: int) -> None:
        self._limit = _FULL_SCALE * 10 ** (quiet_dbfs / 20)
        self._quiet_ns = quiet_ns
        self._since_ns: int | None = None
        self._latest_ns = 0

    def push(self, block: PcmBlock) -> None:
        """Take the next block."""
        samples = memoryview(block.pcm_s16le).cast("h")[::_STEP]
        if not len(samples):
            return
        peak = max(abs(min(samples)), abs(max(samples)))
        self._latest_ns = block.first_sample_ns
        if peak >= self._limit:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = block.first_sample_ns

    @property
    def is_quiet(self) -> bool:
        """Whether the microphone has been too quiet for too long."""
        since_ns = self._since_ns
        return since_ns is not None and self._latest_ns - since_ns >= self._quiet_ns
