"""Processes of a board: started, signalled, reaped by the one loop that is their parent."""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Processes"]

_CANNOT_START = 127


class Processes:
    """Children by name. A child leads its own process group, which is what is signalled."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    @property
    def running(self) -> dict[str, int]:
        """Process ids by name."""
        return {name: pid for pid, name in self._names.items()}

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        output: Path,
        errors: Path,
        directory: str,
        environment: Mapping[str, str],
    ) -> int:
        """Start a program with its output going to files; returns its process id."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        out = os.open(output, flags, 0o644)
        err = out if errors == output else os.open(errors, flags, 0o644)
        pid = os.fork()
        if pid == 0:
            _become(command, directory, environment, out, err)
        for fd in {out, err}:
            os.close(fd)
        self._names[pid] = name
        return pid

    def signal(self, name: str, number: int) -> bool:
        """Signal a child's process group; `False` if it has ended."""
        pid = self.running.get(name)
        if pid is None:
            return False
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # it ends just now; reap will tell
            return False
        return True

    def reap(self) -> list[tuple[str, int]]:
        """Return name and exit status (negative: the signal) of every child that has ended since."""
        ended: list[tuple[str, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            name = self._names.pop(pid, None)
            if name is not None:  # others are orphans that process 1 inherits
                ended.append((name, os.waitstatus_to_exitcode(status)))


def _become(command: Sequence[str], directory: str, environment: Mapping[str, str], out: int, err: int) -> None:
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.closerange(3, 256)
        os.chdir(directory)
        os.execvpe(command[0], list(command), dict(environment))
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    finally:
        os._exit(_CANNOT_START)
