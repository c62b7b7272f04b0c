"""Reading a clip for a dock so that the clip that is being recorded comes first."""

import io
import threading
from collections.abc import Callable
from pathlib import Path

from device.vault.recovery import Load

__all__ = ["PacedFile"]

_PIECE_BYTES = 64 * 1024
_BUSY_BYTES_PER_S = 8 * 1024 * 1024
_LONGEST_REST_S = 2.0
"""Below the dock's patience for an answer that stands still."""
_LOOK_AGAIN_S = 0.02


class PacedFile(io.FileIO):
    """A file whose reads stand aside: small and slow while a clip is open, rarer still while it catches up."""

    def __init__(self, path: Path, load: Callable[[], Load]) -> None:
        super().__init__(path, "rb")
        self._load = load
        self._pause = threading.Event()  # never set

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is not in 3.11's collections.abc
        """Read what fits; less of it while recording."""
        if not self._load().recording:
            return super().readinto(buffer) or 0
        with memoryview(buffer) as view:
            size = super().readinto(view[:_PIECE_BYTES]) or 0
        self._pause.wait(size / _BUSY_BYTES_PER_S)
        rested_s = 0.0
        while self._catching_up() and rested_s < _LONGEST_REST_S:
            self._pause.wait(_LOOK_AGAIN_S)
            rested_s += _LOOK_AGAIN_S
        return size

    def _catching_up(self) -> bool:
        load = self._load()
        return load.recording and not load.caught_up
