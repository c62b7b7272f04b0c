"""A virtual board that stands still for an instant, and its card as a cut at that instant would leave it.

All that a board would lose with its power is in the memory of its kernel's process: the page cache, the queues
of the device-mapper, what the programs hold. While that process and its helpers are stopped (SIGSTOP), nothing
of it reaches the card's image, and nothing would if it were killed there. So a copy of the image taken then is
the card after a SIGKILL at that instant (test_copies.py holds one against the other), and the board goes on.

The board's programs, which the kernel traces, are left alone: the first thing they want of it stops them.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hil_tests.board.protocol import BoardError

__all__ = ["Freezer", "copy_image"]

_PATIENCE_S = 10.0
_PIECE_BYTES = 1 << 20


class Freezer:
    """Stops one kernel. `members` tells all processes that are it (`VirtualBoard.processes`)."""

    def __init__(self, members: Callable[[], Iterable[int]]) -> None:
        self._members = members
        self._known: set[int] = set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have it stand still; the processes known from the last time first, so that it is quick.

        Raises:
            BoardError: it is gone, or does not stop.
        """
        stopped: set[int] = set()
        fresh = set(self._known) or set(self._own())
        try:
            while fresh:
                stopped |= fresh
                _stop(fresh)
                fresh = set(self._own()) - stopped
            if not stopped:
                raise BoardError("there is no kernel to stop: the board is off")
            self._known = stopped
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):  # killed while it stood still
                    os.kill(pid, signal.SIGCONT)

    def _own(self) -> Iterator[int]:
        """Give the kernel's own processes, without those that it traces: they are its programs."""
        for pid in self._members():
            if not _traced(pid):
                yield pid


def copy_image(source: Path, target: Path) -> None:
    """Copy an image in place: holes stay holes, and a file that is open elsewhere stays the same file."""
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(reading).st_size
        os.ftruncate(writing, size)
        end = 0
        while end < size:
            try:
                start = os.lseek(reading, end, os.SEEK_DATA)
            except OSError:  # ENXIO: a hole up to the end
                break
            end = os.lseek(reading, start, os.SEEK_HOLE)
            for position in range(start, end, _PIECE_BYTES):
                os.pwrite(writing, os.pread(reading, min(_PIECE_BYTES, end - position), position), position)
    finally:
        os.close(reading)
        os.close(writing)


def _stop(pids: Iterable[int]) -> None:
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        give_up = time.monotonic() + _PATIENCE_S
        for pid in pids:
            while not all(state in "Tt" for state in _states(pid)):
                if time.monotonic() > give_up:
                    raise BoardError(f"process {pid} of the kernel does not stop")
                time.sleep(0)
    except (ProcessLookupError, FileNotFoundError) as error:
        raise BoardError("the kernel ended by itself") from error


def _states(pid: int) -> Iterator[str]:
    """Give the states of all threads of a process: a call that writes to the card ends before T is told."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        stat = (task / "stat").read_bytes()
        yield chr(stat[stat.rindex(b")") + 2])


def _traced(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):  # a program that has ended just now
        return True
    return "\nTracerPid:\t0\n" not in status
