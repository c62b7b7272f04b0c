"""Offload beside scp, and over a pseudo-terminal beside raw pyserial, in one call.

    python -m bench.offload [--mebibytes 256] [--seconds 60]

A simulated camera (`docklink.simulated_process`) and a dock's bay (`bench.offload_dock`) are processes of their
own. A run of ours is a whole session: TLS, the clip into the store, synced, read back from storage past the
cache, verified against what the camera signed, published, entered in the custody log, the receipt handed over.
The peer copies the same file with `scp` from an sshd on this machine, then `sync -d`, then `sha256sum` once the
file's cache was dropped: the same file system, the source in the page cache for all. CPU time is user and
system time of both ends; the start of daemons (camera, dock, sshd) is left out, that of programs is not.

Over the pseudo-terminal, raw pyserial reads zeros that a process writes without a pause.
"""

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.offload_dock import Cost, Order
from bench.offload_peers import Run, SshServer, children_cpu_s, drop_cache, find_sshd, sha256sum, sync_data
from bench.report import Goal, Section, Table, spread, text
from bench.rig import scratch
from bench.verify_rate import make_clip
from docklink.simulated_process import Listening, Usage
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.roles import Role
from evidence.signer import load_signer

__all__ = ["offload_bench"]

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)
Runs = dict[str, Callable[[], Run]]
_MIB = 1 << 20
_GIB = 1 << 30
_ROUNDS = 3
_CAMERA = "cam0042"
_OURS = "preroll: stored, read back, verified"
_PEER, _BARE = "scp, sync -d, sha256sum", "scp alone"
_RSYNC = "rsync, sync -d, sha256sum"
_LINE, _LINE_FETCH, _RAW = "preroll: stored, read back, verified", "preroll: fetched alone", "raw pyserial"
_RATE_GOAL, _CPU_GOAL, _LINE_GOAL = 1.3, 2 / 3, 0.9
_LINE_SHARE = 4
"""The line is slower: it gets this part of the bytes."""
_WRITER = """
import os, sys
block, rest = memoryview(bytes(1 << 18)), int(sys.argv[1])
os.read(0, 2)
while rest:
    rest -= os.write(1, block[: min(rest, len(block))])
"""
"""The far end of a raw line: it waits for a word, then writes so many bytes."""


def offload_bench(*, seconds: float = 60, mebibytes: int = 256) -> Section:
    """Measure for about that long, three rounds at least of each."""
    line_mebibytes = max(1, mebibytes // _LINE_SHARE)
    with scratch() as folder, ExitStack() as stack:
        place = _Place(Path(folder), stack)
        over_tcp = _rounds(place.tcp_runs(mebibytes), seconds / 2)
        over_line = _rounds(place.line_runs(line_mebibytes), seconds / 2)
    size, line_size = mebibytes * _MIB, line_mebibytes * _MIB
    return Section(
        name="offload",
        title="Offload beside `scp`, and beside a raw serial line",
        method="A camera and a dock as processes, interleaved with the peers; CPU time of both ends together.",
        tables=(
            _table(f"{mebibytes} MiB over TCP on this machine, to one file system", over_tcp, size, _PEER),
            _table(f"{line_mebibytes} MiB over a pseudo-terminal", over_line, line_size, _RAW),
        ),
        goals=(*_tcp_goals(over_tcp), *_line_goals(over_line)),
        notes=(
            *(
                ()
                if _PEER in over_tcp
                else ("scp, sshd, sync or sha256sum is not installed: no peer over TCP.",)
            ),
            "Over the pseudo-terminal a run of ours ends with the receipt: reading back and verifying count.",
        ),
    )


class _Place:
    """A directory with an agency, a dock's process, and cameras' processes with one clip each."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        agency = create_agency("Bench", directory / "agency")
        self._root, self._recipient = agency.root_certificate, agency.recipient
        issue_new(SubjectKind.CAMERA, _CAMERA, directory / "agency", directory / "camera")
        issue_new(SubjectKind.DOCK, "dock7", directory / "agency", directory / "dock")
        self._dock = _Process(stack, "bench.offload_dock")

    def tcp_runs(self, mebibytes: int) -> Runs:
        """Return what is compared over TCP, by name."""
        clip = self._clip("tcp", mebibytes)
        camera, listening = self._camera(clip, [])
        runs: Runs = {_OURS: lambda: self._ours(camera, Order(what="offload", port=listening.port))}
        sshd = find_sshd()
        if sshd is None:
            return runs
        server = SshServer(sshd, self._directory / "ssh")
        self._stack.callback(server.close)
        source, target = clip / "clip.mp4.age", self._directory / "copied"
        with source.open("rb") as file:  # leaves it in the page cache, too
            digest = hashlib.file_digest(file, "sha256").hexdigest()

        def copied(copy: Callable[[Path, Path], Run], *, finish: bool) -> Run:
            target.unlink(missing_ok=True)
            run = copy(source, target)
            if finish:
                run += sync_data(target)
                drop_cache(target)
                run += sha256sum(target, digest)
            return run

        runs[_PEER] = lambda: copied(server.scp, finish=True)
        runs[_BARE] = lambda: copied(server.scp, finish=False)
        if shutil.which("rsync"):
            runs[_RSYNC] = lambda: copied(server.rsync, finish=True)
        return runs

    def line_runs(self, mebibytes: int) -> Runs:
        """Return what is compared over a pseudo-terminal, by name."""
        clip = self._clip("line", mebibytes)
        size = (clip / "clip.mp4.age").stat().st_size
        camera, listening = self._camera(clip, ["--terminal"])
        path = listening.terminal
        return {
            _LINE: lambda: self._ours(camera, Order(what="offload", terminal=path)),
            _LINE_FETCH: lambda: self._ours(camera, Order(what="fetch", terminal=path, size_bytes=size)),
            _RAW: lambda: self._raw(size),
        }

    def _clip(self, name: str, mebibytes: int) -> Path:
        clips = self._directory / name
        clips.mkdir()
        signer = load_signer(self._directory / "camera", Role.CAMERA_EVIDENCE)
        return make_clip(clips, signer, self._recipient, mebibytes)

    def _camera(self, clip: Path, way: list[str]) -> tuple["_Process", Listening]:
        words: list[str | Path] = [
            "--device",
            _CAMERA,
            "--clips",
            clip.parent,
            "--keys",
            self._directory / "camera",
        ]
        process = _Process(self._stack, "docklink.simulated_process", *words, "--root", self._root, *way)
        return process, process.read(Listening)

    def _ours(self, camera: "_Process", order: Order) -> Run:
        store = self._directory / "store"
        order = msgspec.structs.replace(
            order,
            store=str(store),
            keys=str(self._directory / "dock"),
            root=str(self._root),
            device=_CAMERA,
        )
        before = camera.ask("forget", Usage)
        cost = self._dock.ask(msgspec.json.encode(order).decode(), Cost)
        after = camera.ask("usage", Usage)
        shutil.rmtree(store, ignore_errors=True)
        return Run(cost.wall_s, cost.cpu_s + (after.cpu_ns - before.cpu_ns) / 1e9)

    def _raw(self, size: int) -> Run:
        far, near = os.openpty()
        try:
            tty.setraw(near)
            before = children_cpu_s()
            writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(size)], stdin=far, stdout=far)
            order = Order(what="raw", terminal=os.ttyname(near), size_bytes=size)
            cost = self._dock.ask(msgspec.json.encode(order).decode(), Cost)
            writer.wait()
            written_s = children_cpu_s() - before
        finally:
            os.close(far)
            os.close(near)
        return Run(cost.wall_s, cost.cpu_s + written_s)


class _Process:
    """A Python module in a process that answers lines with lines of JSON; its input's end ends it."""

    def __init__(self, stack: ExitStack, module: str, *arguments: str | Path) -> None:
        pipe, words = subprocess.PIPE, [sys.executable, "-m", module, *map(str, arguments)]
        self._name = module
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe)
        stack.callback(self._end)

    def ask(self, line: str, kind: type[AnswerT]) -> AnswerT:
        """Send a line and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self.read(kind)

    def read(self, kind: type[AnswerT]) -> AnswerT:
        """Return the next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self._name} has ended")
        return msgspec.json.decode(line, type=kind)

    def _end(self) -> None:
        self._process.communicate()


def _rounds(runs: Runs, seconds: float) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {name: [] for name in runs}
    begin, count = time.monotonic(), 0
    while count < _ROUNDS or time.monotonic() - begin < seconds:
        for name, run in runs.items():
            found[name].append(run())
        count += 1
    return found


def _wall(runs: list[Run]) -> float:
    return statistics.median(each.wall_s for each in runs)


def _cpu(runs: list[Run]) -> float:
    return statistics.median(each.cpu_s for each in runs)


def _table(caption: str, found: Mapping[str, list[Run]], size_bytes: int, peer: str) -> Table:
    rows = []
    for name, runs in found.items():
        beside = found.get(peer)
        rows.append(
            (
                name,
                spread([each.wall_s for each in runs]),
                spread([size_bytes / each.wall_s / 1e6 for each in runs], 0),
                spread([each.cpu_s / size_bytes * _GIB for each in runs]),
                "" if beside is None else f"{_wall(beside) / _wall(runs):.2f}",
                "" if beside is None else f"{_cpu(runs) / _cpu(beside):.2f}",
            )
        )
    columns = ("", "wall s", "MB/s", "CPU s/GiB", f"rate of {peer}", "its CPU")
    return Table(caption, columns, tuple(rows))


def _tcp_goals(found: Mapping[str, list[Run]]) -> tuple[Goal, ...]:
    if _PEER not in found:
        return ()
    rate = _wall(found[_PEER]) / _wall(found[_OURS])
    share = _cpu(found[_OURS]) / _cpu(found[_PEER])
    return (
        Goal(
            "offload over TCP, wall time",
            f"{_RATE_GOAL} times the rate of {_PEER}",
            f"{rate:.2f}",
            rate >= _RATE_GOAL,
        ),
        Goal(
            "offload over TCP, CPU time", f"at most two thirds of {_PEER}", f"{share:.2f}", share <= _CPU_GOAL
        ),
    )


def _line_goals(found: Mapping[str, list[Run]]) -> tuple[Goal, ...]:
    share = _wall(found[_RAW]) / _wall(found[_LINE])
    goal = f"at least {_LINE_GOAL:.0%} of {_RAW}"
    return (Goal("offload over a pseudo-terminal", goal, f"{share:.0%}", share >= _LINE_GOAL),)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    print(text(offload_bench(seconds=arguments.seconds, mebibytes=arguments.mebibytes)))


if __name__ == "__main__":
    main()
