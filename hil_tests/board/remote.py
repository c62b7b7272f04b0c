"""A machine reached through a command such as ssh: a real board; without any, the bench's own host."""

import os
import shlex
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from hil_tests.board.agentboard import AgentBoard
from hil_tests.board.channel import Channel
from hil_tests.board.protocol import BoardError, Finished, Places, Service
from hil_tests.board.service import BoardService

__all__ = ["RemoteComputer"]


class RemoteComputer(AgentBoard):
    """Runs the agent of `guest/remote.py` there. `checkout` is the project there.

    `shell` is what runs a command there, such as `("ssh", "root@camera")`; empty for this machine.
    """

    def __init__(self, name: str, places: Places, checkout: str, shell: Sequence[str] = ()) -> None:
        super().__init__()
        self.name = name
        self._places = places
        self._checkout = checkout
        self._shell = tuple(shell)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def places(self) -> Places:
        """Where things lie there."""
        return self._places

    def connect(self, *, timeout_s: float = 60) -> None:
        """Start the agent there.

        Raises:
            BoardError: it doesn't answer.
        """
        channel = Channel()
        command = ("env", f"PYTHONPATH={self._checkout}", self.places.python, "-B", "-m")
        try:
            self._process = subprocess.Popen(
                self._there(*command, "hil_tests.board.guest.remote"), stdin=channel.fd, stdout=channel.fd
            )
        finally:
            os.close(channel.fd)
        self._channel = channel
        try:
            self._info = channel.answer(0, "connect", timeout_s)
        except BoardError:
            self.disconnect()
            raise
        self.run("mkdir", "-p", f"{self.places.files}/log")

    def disconnect(self) -> None:
        """End the agent; what it has started goes on."""
        self._hang_up()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None, timeout_s: float = 120
    ) -> Finished:
        """Run a program to its end; see `Computer`."""
        name = f"run-{uuid.uuid4().hex}"
        files = [f"/tmp/{name}.out", f"/tmp/{name}.err"]
        channel = self.channel()
        number = channel.send("start", **_start(name, command, environment, files), wait=True)
        try:
            status = channel.answer(number, " ".join(command), timeout_s)["status"]
            output, errors = (self.read(file) for file in files)
        finally:
            channel.send("signal", name=name, number=9)
            for file in files:
                channel.send("remove", path=file)
        return Finished(status, output, errors)

    def start(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> Service:
        """Start a program and leave it running; see `Computer`."""
        log = f"{self.places.files}/log/{name}-{uuid.uuid4().hex}.log"
        channel = self.channel()
        channel.ended.pop(name, None)
        channel.ask("start", **_start(name, command, environment, [log, log]), wait=False)
        return BoardService(name, channel, lambda: self.read(log))

    def put(self, source: Path, name: str) -> str:
        """Copy a file or directory there; see `Computer`."""
        target = f"{self.places.files}/{name}"
        made = self.run("mkdir", "-p", target if source.is_dir() else target.rpartition("/")[0])
        if made.status != 0:
            raise BoardError(f"{self.name}: {made.errors.strip()}")
        inner = "." if source.is_dir() else source.name
        base = source if source.is_dir() else source.parent
        rename = [] if source.is_dir() else [f"--transform=s,.*,{target.rpartition('/')[2]},"]
        where = target if source.is_dir() else target.rpartition("/")[0]
        packed = subprocess.run(["tar", "-C", base, "-c", *rename, inner], check=True, capture_output=True)
        subprocess.run(self._there("tar", "-C", where, "-x"), check=True, input=packed.stdout)
        return target

    def get(self, path: str, target: Path) -> None:
        """Copy a file or directory from there; see `Computer`."""
        base, _, name = path.rpartition("/")
        packed = subprocess.run(
            self._there("tar", "-C", base or "/", "-c", name), check=True, capture_output=True
        )
        unpacked = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        unpacked.mkdir()
        subprocess.run(["tar", "-C", unpacked, "-x"], check=True, input=packed.stdout)
        (unpacked / name).rename(target)
        unpacked.rmdir()

    def _there(self, *command: str) -> list[str]:
        return [*self._shell, shlex.join(command)] if self._shell else list(command)


def _start(
    name: str, command: Sequence[str], environment: Mapping[str, str] | None, files: Sequence[str]
) -> dict[str, object]:
    return {
        "name": name,
        "command": list(command),
        "output": files[0],
        "errors": files[1],
        "directory": "/tmp",
        "environment": dict(environment or {}),
    }
