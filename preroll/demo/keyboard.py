"""The space bar as a button. A terminal tells when a key goes down and repeats, never when it is let go."""

import os
import select
import sys
import termios
import time
import tty

__all__ = ["SpaceBar"]

_RELEASE_S = 0.65
"""No repeat for so long means let go; terminals begin to repeat a held key after half a second."""


class SpaceBar:
    """Whether the space bar is down, as far as a terminal can tell; takes over standard input until `close`."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._saved = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        self._last_s: float | None = None

    @staticmethod
    def available() -> bool:
        """Whether there is a terminal to read from."""
        return sys.stdin.isatty() and sys.stdout.isatty()

    def is_down(self) -> bool:
        """Read what was typed since the last call, and say whether the bar is down."""
        while select.select([self._fd], [], [], 0)[0]:
            typed = os.read(self._fd, 64)
            if not typed:
                break
            if b" " in typed:
                self._last_s = time.monotonic()
        if self._last_s is not None and time.monotonic() - self._last_s > _RELEASE_S:
            self._last_s = None
        return self._last_s is not None

    def close(self) -> None:
        """Give standard input back."""
        # Flushed: what nobody read is no input for the shell.
        termios.tcsetattr(self._fd, termios.TCSAFLUSH, self._saved)
