"""The dock's end of `bench.offload`, a process of its own so that its CPU time can be told.

    python -m bench.offload_dock

Each line of JSON on standard input, an `Order`, is carried out and answered by one line of JSON, a `Cost`.
"""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import serial

from docklink.client import DockClient, RequestLimit, open_session
from docklink.serialport import SerialStream
from docklink.streams import connect_tcp
from docklink.tls import DockTrust
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import load_signer
from host.custody import CustodyLog
from host.offload import Docking, Settings, Station, Watch, run_session
from host.store import FileStore, Trust, format_store

__all__ = ["Cost", "Order", "main"]

_RAW_READ_BYTES = 64 * 1024


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure.

    `offload`: everything a bay does with a camera at `port` or `terminal`, into a store that is formatted in
    `store`. `fetch`: the ciphertext of its only clip, thrown away. `raw`: read `size_bytes` from the terminal
    with pyserial alone. `keys` and `root` are the dock's.
    """

    what: str
    port: int | None = None
    terminal: str | None = None
    store: str = ""
    keys: str = ""
    root: str = ""
    device: str = ""
    size_bytes: int = 0


class Cost(msgspec.Struct, frozen=True):
    """Seconds: from connecting to the last answer, and this process' user and system time meanwhile."""

    wall_s: float
    cpu_s: float


def main() -> int:
    """Carry out orders until standard input ends."""
    logging.basicConfig(level=logging.ERROR)  # a simulated camera shows no head; that is no news here
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        cost = {"offload": _offload, "fetch": _fetch, "raw": _raw}[order.what](order)
        sys.stdout.buffer.write(msgspec.json.encode(cost) + b"\n")
        sys.stdout.flush()
    return 0


def _offload(order: Order) -> Cost:
    place = Path(order.store)
    format_store(place, "bench")
    store = FileStore(place)
    custody = CustodyLog(place / "custody.jsonl", "bench")
    roots = load_roots(Path(order.root))
    signer = load_signer(Path(order.keys), Role.DOCK_RECEIPT)
    station = Station(store, custody, signer, Trust(roots), dock_id="bench")

    def run() -> None:
        with _connect(order) as camera:
            report = run_session(camera, station, Docking(order.device), Settings(), Watch())
        if report.stored != 1 or report.error is not None:
            sys.exit(f"the offload of the bench failed: {report.error or report.outcomes}")

    try:
        return _timed(run)
    finally:
        custody.close()
        store.close()


def _fetch(order: Order) -> Cost:
    def run() -> None:
        with _connect(order) as camera:
            (entry,) = camera.clips()
            got = sum(len(chunk) for chunk in camera.fetch(entry.clip, "clip.mp4.age", sha256=None))
            if got < order.size_bytes:
                sys.exit(f"fetched {got} bytes of {order.size_bytes}")

    return _timed(run)


def _raw(order: Order) -> Cost:
    with serial.Serial(order.terminal, timeout=10) as port:

        def run() -> None:
            rest = order.size_bytes
            while rest:
                got = len(port.read(min(rest, _RAW_READ_BYTES)))
                if not got:
                    sys.exit("the raw line stands still")
                rest -= got

        port.write(b"go")
        return _timed(run)


def _connect(order: Order) -> DockClient:
    keys = Path(order.keys)
    stem = keys / Role.DOCK_LINK.file_stem
    roots = load_roots(Path(order.root))
    trust = DockTrust(stem.with_suffix(".pem"), stem.with_suffix(".key"), roots, time.time_ns())
    if order.terminal is not None:
        return open_session(SerialStream(order.terminal), trust, limit=RequestLimit())
    return open_session(connect_tcp("127.0.0.1", order.port or 0, 5), trust)


def _timed(run: Callable[[], None]) -> Cost:
    cpu_ns, begin_ns = time.process_time_ns(), time.monotonic_ns()
    run()
    return Cost((time.monotonic_ns() - begin_ns) / 1e9, (time.process_time_ns() - cpu_ns) / 1e9)


if __name__ == "__main__":
    sys.exit(main())
