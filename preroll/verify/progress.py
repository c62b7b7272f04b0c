"""A line on standard error that counts the bytes verified; only on a terminal, only where it takes a while."""

import threading
import time
from collections.abc import Sequence
from typing import TextIO

from evidence.holdings import Holdings

__all__ = ["Progress"]

_MIB = 1 << 20
_SHOWN_FROM_BYTES = 64 * _MIB
_EVERY_S = 0.2


class Progress:
    """Counts bytes of all threads. The total is that of the encrypted files, as they lie there."""

    def __init__(self, stream: TextIO, holdings: Sequence[Holdings]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._done = 0
        self._last_s = 0.0
        self._total = _total_bytes(holdings) if stream.isatty() else 0
        self._shown = False

    def advance(self, count: int) -> None:
        """Count bytes that were just read."""
        if self._total < _SHOWN_FROM_BYTES:
            return
        with self._lock:
            self._done += count
            now_s = time.monotonic()
            if now_s - self._last_s < _EVERY_S:
                return
            self._last_s = now_s
            percent = min(100, self._done * 100 // self._total)
            self._stream.write(f"\rverified {self._done // _MIB} of {self._total // _MIB} MiB, {percent} %")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Leave an empty line for what comes next."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _total_bytes(holdings: Sequence[Holdings]) -> int:
    total = 0
    for each in holdings:
        for clip in each.clips:
            try:
                total += (clip / "clip.mp4.age").stat().st_size
            except OSError:
                continue  # a clip without it says so in its checks
    return total
