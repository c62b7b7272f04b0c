"""Status over MQTT at the size of a force: 400 cameras in 25 docks in five sites, against one mosquitto.

    python -m bench.mqtt [--docks 25] [--bays 16] [--seconds 60]

Every dock is a process with the real publisher (outbox on disk, session, rate limit) and a recorded workload
(`bench.mqtt_dock`): all bays move bytes at once. The peer is the same with paho alone, which keeps nothing on
disk. One subscriber takes everything, as a fleet view would; it counts the messages. CPU time is user and
system time from the word to go until the last acknowledgement; starting is left out.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.mqtt_dock import Answer, Order
from bench.report import Goal, Section, Table, spread, text
from bench.rig import scratch
from host.publish import BrokerSettings
from host.watch import Feed, Up, Watched
from preroll.demo.broker import DemoBroker, find_broker, start_broker

__all__ = ["mqtt_bench"]

_SITES = 5
_GOAL = 0.05
_LEAST_S = 2.0
_START_SHARE = 0.3
"""What of the time goes into starting processes."""
_MIB = 1 << 20
_POLL_S = 0.2


class _Run(msgspec.Struct, frozen=True):
    """One run of all docks."""

    docks: tuple[Answer, ...]
    broker_cpu_s: float
    broker_rss_bytes: int
    messages: int
    wall_s: float
    seconds: float

    @property
    def shares(self) -> list[float]:
        """Each dock's part of one core, in percent of the time that the workload is made for."""
        return [100 * dock.cpu_s / self.seconds for dock in self.docks]


def mqtt_bench(*, seconds: float = 60, docks: int = 25, bays: int = 16) -> Section:
    """Measure for about that long, half of it the peer."""
    make = find_broker()
    if make is None or make.protocol != "5":
        return Section(
            name="mqtt", title="Status over MQTT", method="", tables=(), goals=(), notes=("no mosquitto here",)
        )
    window_s = max(_LEAST_S, seconds * (1 - _START_SHARE) / 2)
    found: dict[bool, _Run] = {}
    for raw in (False, True):
        with scratch() as folder:
            broker = start_broker(make, Path(folder))
            with contextlib.closing(broker):
                found[raw] = _run(broker, docks, bays, window_s, raw=raw)
    return _section(make.name, found[False], found[True], docks, bays)


def _section(name: str, ours: _Run, peer: _Run, docks: int, bays: int) -> Section:
    worst = max(ours.shares)
    columns = (
        "",
        "CPU of a dock, % of a core",
        "RSS of a dock, MiB",
        "broker CPU, %",
        "broker RSS, MiB",
        "behind, s",
        "messages/s",
    )
    return Section(
        name="mqtt",
        title="Status over MQTT: a force of cameras against one broker",
        method=f"{docks * bays} cameras in {docks} docks in {min(_SITES, docks)} sites, each dock a process,"
        f" {name}, one subscriber to everything; all bays offload all the time; outboxes in memory, as docks do"
        " not share a disk.",
        tables=(
            Table(
                caption=f"{docks} docks of {bays} bays",
                columns=columns,
                rows=(_row("preroll", ours), _row("paho alone, nothing on disk", peer)),
            ),
        ),
        goals=(
            Goal(
                what="an agent's status work",
                goal=f"below {_GOAL:.0%} of one core",
                found=f"{statistics.median(ours.shares):.1f} %, the worst dock {worst:.1f} %",
                met=worst < 100 * _GOAL,
            ),
        ),
    )


def _row(name: str, run: _Run) -> tuple[str, ...]:
    return (
        name,
        spread(run.shares),
        spread([dock.rss_bytes / _MIB for dock in run.docks], 1),
        f"{100 * run.broker_cpu_s / run.wall_s:.1f}",
        f"{run.broker_rss_bytes / _MIB:.1f}",
        f"{run.wall_s - run.seconds:.1f}",
        f"{run.messages / run.wall_s:.0f}",
    )


def _run(broker: DemoBroker, docks: int, bays: int, seconds: float, *, raw: bool) -> _Run:
    with contextlib.ExitStack() as stack:
        counter = _Counter(broker.port)
        stack.callback(counter.close)
        orders = [Order(broker.port, f"site{n % _SITES}", f"dock{n}", bays, seconds, raw) for n in range(docks)]
        process = stack.enter_context(_started(orders))
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("a dock does not get ready")
        begun_s, before, cpu_s = time.monotonic(), counter.messages, _cpu_s(broker.pid)
        process.stdin.write("go\n")
        process.stdin.flush()
        answers = msgspec.json.decode(process.stdout.readline(), type=tuple[Answer, ...])
        wall_s = time.monotonic() - begun_s
        return _Run(
            answers,
            _cpu_s(broker.pid) - cpu_s,
            _rss_bytes(broker.pid),
            counter.messages - before,
            wall_s,
            seconds,
        )


@contextlib.contextmanager
def _started(orders: list[Order]) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "bench.mqtt_dock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(orders).decode() + "\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


class _Counter:
    """A subscriber to everything, in a thread."""

    def __init__(self, port: int) -> None:
        self.messages = 0
        self._ended = False
        self._up = threading.Event()
        settings = BrokerSettings(host="127.0.0.1", port=port, client_id="fleet", tls=False)
        self._feed = Feed(settings, ("preroll/#",))
        self._thread = threading.Thread(target=self._count)
        self._thread.start()
        self._up.wait(30)

    def close(self) -> None:
        self._ended = True
        self._thread.join()

    def _count(self) -> None:
        with contextlib.closing(self._feed):
            while not self._ended:
                heard = self._feed.poll(_POLL_S)
                self.messages += sum(isinstance(each, Watched) for each in heard)
                if any(isinstance(each, Up) for each in heard):
                    self._up.set()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(arguments: list[str] | None = None) -> int:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.mqtt")
    parser.add_argument("--docks", type=int, default=25)
    parser.add_argument("--bays", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args(arguments)
    print(text(mqtt_bench(seconds=given.seconds, docks=given.docks, bays=given.bays)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
