"""A user-mode kernel as a process tree: found or built, started, killed with all that belongs to it."""

import contextlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hil_tests.board.protocol import BoardError

__all__ = ["CHECKOUT", "KernelProcess", "executable_memory", "interpreter", "kernel_path"]

CHECKOUT = Path(__file__).resolve().parents[2]
_log = logging.getLogger(__name__)
_BUILD = Path(__file__).with_name("build-kernel")
_NICENESS = -10
_GONE_S = 10.0
_POLL_S = 0.002
_turns = itertools.count(os.getpid())


def kernel_path() -> Path:
    """Return the cached kernel; builds it where there is none, which takes minutes.

    Raises:
        BoardError: it can't be built; what build-kernel said is in the message.
    """
    done = subprocess.run([_BUILD], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BoardError(f"there is no kernel for the virtual board: {done.stderr.strip()}")
    return Path(done.stdout.strip())


def executable_memory() -> Path:
    """Return a directory for the kernels' memory files: in RAM if possible, and not mounted noexec."""
    for place in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        if os.access(place, os.W_OK) and not os.statvfs(place).f_flag & os.ST_NOEXEC:
            return place
    raise BoardError("no directory from which memory may be mapped executable; set TMPDIR to one")


class KernelProcess:
    """One user-mode kernel with its helpers: a session of its own, so that nothing of it is ever missed."""

    def __init__(
        self, command: Sequence[str], *, console: Path, fds: Sequence[int], environment: Mapping[str, str]
    ) -> None:
        with _on_one_processor():
            self._main = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # a console can't be a plain file: the kernel polls it
                stderr=subprocess.STDOUT,
                pass_fds=fds,
                env=dict(environment),
                start_new_session=True,
            )
        _put_first(self._main.pid)
        self._console = console
        self._reader = threading.Thread(target=self._keep_console, name="board-console", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The kernel's main process, which leads the session."""
        return self._main.pid

    @property
    def runs(self) -> bool:
        """Whether the main process still runs."""
        return self._main.poll() is None

    def members(self) -> list[int]:
        """Return the processes of this kernel that are not yet gone; a zombie is gone."""
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                state, session = _state_and_session(int(entry.name))
                if session == self.pid and state not in "ZX":
                    found.append(int(entry.name))
        return found

    def kill(self) -> None:
        """Kill everything at once, as a cut of power does; returns when nothing is left.

        Raises:
            BoardError: something of it survives.
        """
        give_up = time.monotonic() + _GONE_S
        try:
            os.killpg(self.pid, signal.SIGKILL)  # one system call: no helper sees another one die
        except ProcessLookupError:
            self._main.poll()  # it had ended by itself
        self._main.wait(_GONE_S)
        while left := self.members():
            for pid in left:
                _kill(pid)
            if time.monotonic() > give_up:
                raise BoardError(f"processes of the kernel survive SIGKILL: {left}")
            time.sleep(_POLL_S)
        self._reader.join()

    def wait(self, timeout_s: float) -> None:
        """Wait until it has ended by itself, then clear away what is left.

        Raises:
            BoardError: it runs on.
        """
        try:
            self._main.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise BoardError(f"the kernel did not switch off within {timeout_s} s") from error
        self.kill()

    def _keep_console(self) -> None:
        assert self._main.stdout is not None
        with self._main.stdout as output, self._console.open("ab", buffering=0) as console:
            while chunk := os.read(output.fileno(), 65_536):
                console.write(chunk)


@contextlib.contextmanager
def _on_one_processor() -> Iterator[None]:
    """Have what is started meanwhile stay on one processor, in turn.

    The kernel traces its processes: at each system call and page fault one waits for the other. Across two
    processors that takes several times as long.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[next(_turns) % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _put_first(session: int) -> None:
    """Let a board run before what else the machine does, where this user may.

    Where the kernel groups processes by session, their priorities count within it only (sched(7), autogroup).
    """
    try:
        os.setpriority(os.PRIO_PGRP, session, _NICENESS)
        Path(f"/proc/{session}/autogroup").write_text(str(_NICENESS), encoding="ascii")
    except OSError as error:
        _log.info("the board runs at the priority of everything else: %s", error)


def _state_and_session(pid: int) -> tuple[str, int]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    fields = stat[stat.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[3])


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def interpreter() -> str:
    """Return the interpreter that is process 1: this one's own, without any virtual environment."""
    return str(Path(sys.executable).resolve())
