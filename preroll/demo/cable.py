"""A serial cable between camera and dock: two pseudo-terminals, and what carries bytes between them.

Both ends have stable paths, so that configurations can name them: links, which go when the cable goes, for the
number of a pseudo-terminal may belong to anybody's window after that.
"""

import os
import threading
from contextlib import ExitStack
from pathlib import Path

from docklink.errors import LinkTimeoutError, StreamError
from docklink.serialport import PtyPair
from docklink.streams import FdStream
from preroll.demo.interrupts import join

__all__ = ["Cable"]

_READ_BYTES = 65_536
_LOOK_S = 0.5
_WRITE_S = 30.0


class Cable:
    """Two ends with a path each. Bytes are lost until `plug`, and where nobody takes them for half a minute."""

    def __init__(self, camera: Path, dock: Path) -> None:
        """Lay it; `camera` and `dock` become links to the ends.

        Raises:
            OSError: there are no pseudo-terminals left, or a link cannot be made.
        """
        self._plugged = threading.Event()
        self._stack = ExitStack()
        try:
            ends = (self._lay(camera), self._lay(dock))
        except BaseException:
            self._stack.close()
            raise
        for source, target in (ends, ends[::-1]):
            thread = threading.Thread(target=self._carry, args=(source, target), name="cable", daemon=True)
            thread.start()
            self._stack.callback(join, thread)
        for end in ends:
            self._stack.callback(end.close)  # first of all, so that the threads end

    def plug(self) -> None:
        """Put the camera into the dock."""
        self._plugged.set()

    def unplug(self) -> None:
        """Take it out."""
        self._plugged.clear()

    def close(self) -> None:
        """Take the cable and its links away; more than once does no harm."""
        self._stack.close()

    def _lay(self, link: Path) -> FdStream:
        pair = PtyPair()
        self._stack.callback(pair.close)
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            link.unlink()  # of a demo that was killed
        link.symlink_to(os.path.realpath(pair.path))
        self._stack.callback(link.unlink, missing_ok=True)
        end = pair.far()
        self._stack.callback(end.close)
        return end

    def _carry(self, source: FdStream, target: FdStream) -> None:
        while True:
            try:
                data = source.read(_READ_BYTES, _LOOK_S)
                if self._plugged.is_set():
                    target.write(data, _WRITE_S)
            except LinkTimeoutError:
                continue  # nothing to carry, or nobody takes it: a wire keeps nothing
            except StreamError:
                return
