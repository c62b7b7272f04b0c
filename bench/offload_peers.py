"""The peers of `bench.offload`: scp and rsync from an sshd of their own, `sync` and `sha256sum`.

The sshd listens on 127.0.0.1 as whoever runs the bench, with keys and a configuration of its own in a directory
that goes with the bench; its algorithms are its defaults. Its CPU time is that of the processes which it made
for the connections and waited for (`/proc/PID/stat`), without the start of the listener.
"""

import getpass
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

__all__ = [
    "Run",
    "SshServer",
    "children_cpu_s",
    "drop_cache",
    "find_sshd",
    "measured",
    "sha256sum",
    "sync_data",
]

_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication no
Subsystem sftp internal-sftp
"""
_NEEDS = ("scp", "ssh", "ssh-keygen", "sync", "sha256sum")
_START_S = 10.0
_CHILD_TIMES = slice(13, 15)  # cutime and cstime, counted from behind the name, which may hold anything
_LOOK_S = 0.005


class Run(msgspec.Struct, frozen=True):
    """Seconds of one run: wall time, and CPU time, user and system, of all processes at both ends."""

    wall_s: float
    cpu_s: float

    def __add__(self, other: "Run") -> "Run":
        """Return one run after the other."""
        return Run(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


def find_sshd() -> str | None:
    """Return the path of sshd, `None` if it, or another program that this needs, is not installed."""
    if not all(shutil.which(each) for each in _NEEDS):
        return None
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def measured(command: list[str | Path], *, output: bool = False) -> tuple[Run, str]:
    """Run a program to its end; its CPU time is that of its children, too.

    Raises:
        CalledProcessError: it failed.
    """
    before_s, begin_s = children_cpu_s(), time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE if output else None, text=True)
    wall_s = time.perf_counter() - begin_s
    return Run(wall_s, children_cpu_s() - before_s), done.stdout or ""


def children_cpu_s() -> float:
    """Return the CPU time of all programs that this process has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def sync_data(path: Path) -> Run:
    """Run `sync -d`."""
    return measured(["sync", "-d", path])[0]


def sha256sum(path: Path, expected: str) -> Run:
    """Run `sha256sum`, which has to find that digest."""
    run, text = measured(["sha256sum", path], output=True)
    if text.split()[0].lstrip("\\") != expected:
        sys.exit("a peer of the bench copied something else")
    return run


def drop_cache(path: Path) -> None:
    """Have the next reading of a synced file come from storage; not a part of any run."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


class SshServer:
    """An sshd that runs until `close`, with its configuration in a new directory."""

    def __init__(self, sshd: str, directory: Path) -> None:
        directory.mkdir()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        if os.geteuid() == 0:  # sshd asks for the directory that its service makes at boot
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as held:
            self._port = int(held.getsockname()[1])
        self._directory = directory
        config = directory / "config"
        config.write_text(_CONFIG.format(port=self._port, directory=directory), encoding="utf-8")
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen([sshd, "-D", "-e", "-f", config], stderr=log)
        self._await_listening()

    def scp(self, source: Path, target: Path, *options: str) -> Run:
        """Copy with scp, from the server to here."""
        return self._both_ends(
            ["scp", "-q", *self._client("-P"), *options, f"{self._host}:{source}", str(target)]
        )

    def rsync(self, source: Path, target: Path) -> Run:
        """Copy with rsync, the whole file."""
        shell = " ".join(["ssh", *self._client("-p")])
        return self._both_ends(["rsync", "--whole-file", "-e", shell, f"{self._host}:{source}", str(target)])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    @property
    def _host(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1"

    def _client(self, port_flag: str) -> list[str]:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        given = [word for option in options for word in ("-o", option)]
        return ["-F", "/dev/null", "-i", str(self._directory / "user"), port_flag, str(self._port), *given]

    def _both_ends(self, command: list[str | Path]) -> Run:
        before = self._served_s()
        run, _ = measured(command)
        _wait(lambda: not self._children(), "the server's processes end")
        return Run(run.wall_s, run.cpu_s + self._served_s() - before)

    def _served_s(self) -> float:
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        ticks = stat.rpartition(")")[2].split()[_CHILD_TIMES]
        return sum(int(each) for each in ticks) / os.sysconf("SC_CLK_TCK")

    def _children(self) -> str:
        pid = self._process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")

    def _await_listening(self) -> None:
        def answers() -> bool:
            if self._process.poll() is not None:
                sys.exit(f"sshd does not start: {(self._directory / 'log').read_text('utf-8').strip()}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self._port)) == 0

        _wait(answers, "sshd listens")
        _wait(lambda: not self._children(), "the first connection ends")


def _wait(condition: Callable[[], object], what: str) -> None:
    give_up, pause = time.monotonic() + _START_S, threading.Event()
    while not condition():
        if time.monotonic() > give_up:
            sys.exit(f"waited in vain until {what}")
        pause.wait(_LOOK_S)
