"""Processes of a board: started, signalled, reaped by the one loop that is their parent."""

import os
import shutil
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
        os.chdir(directory)  # a child starts where its parent is
        try:
            pid = _spawn(command, output, errors, environment)
        except OSError as error:
            with errors.open("a", encoding="utf-8") as file:
                file.write(f"{command[0]}: {error}\n")
            pid = _spawn(["/bin/sh", "-c", f"exit {_CANNOT_START}"], output, errors, environment)
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


def _spawn(command: Sequence[str], output: Path, errors: Path, environment: Mapping[str, str]) -> int:
    """Start a program as the leader of its group; a fork would copy the agent first, and that takes long."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o644),
        (os.POSIX_SPAWN_OPEN, 2, str(errors), flags, 0o644),
    ]
    program = shutil.which(command[0], path=environment.get("PATH")) or command[0]
    return os.posix_spawn(
        program, list(command), environment, file_actions=actions, setpgroup=0, setsigdef=[signal.SIGCHLD]
    )
