"""A simulated camera as a process of its own, for docks, cables and load: `docklink.simulated` on a port.

    python -m docklink.simulated_process --device ID --clips DIR --keys DIR --root PEM [--port N | --terminal]

`--keys` holds `link.pem` and `link.key`. The process prints one line of JSON, `Listening`, once it listens.
Each line on its standard input is answered by one line of JSON, a `Usage`; the line `forget` has the camera
forget its receipts first, so that all its clips wait again. The end of that input ends the process.
"""

import argparse
import io
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from docklink.messages import FILES, SignedDocument
from docklink.peers import Peer
from docklink.serialport import PtyPair
from docklink.server import LinkServer, SessionEnd, TcpPort, serve_line
from docklink.service import FileAnswer
from docklink.simulated import SimulatedCamera
from docklink.tls import CameraTrust
from evidence.paths import load_roots

__all__ = ["Listening", "Usage", "main"]

_logger = logging.getLogger(__name__)
_MARK_BYTES = 1024 * 1024


class Listening(msgspec.Struct, frozen=True):
    """The first line of output: the number of a TCP port, or the path of a pseudo-terminal."""

    port: int | None = None
    terminal: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """What the process has used and given until now.

    `cpu_ns` is user and system time of all threads. `marks` are pairs of CLOCK_MONOTONIC in nanoseconds and
    bytes served by then, one for each MiB or so. `sessions` counts those that have ended, `broken` those of
    them that ended in an error.
    """

    cpu_ns: int
    served_bytes: int
    marks: tuple[tuple[int, int], ...]
    receipts: tuple[str, ...]
    sessions: int
    broken: int


class _CountingCamera(SimulatedCamera):
    """Counts the bytes of the files that it gives."""

    def __init__(self, device_id: str, clips: Path, monotonic_ns: Callable[[], int]) -> None:
        super().__init__(device_id, clips, monotonic_ns)
        self.clips_path = clips
        self.served_bytes = 0
        self.marks: list[tuple[int, int]] = []
        self._now_ns = monotonic_ns

    def file(self, peer: Peer, clip: str, name: str) -> FileAnswer:
        """Open a file."""
        answer = super().file(peer, clip, name)
        path = self.clips_path / clip / name
        return msgspec.structs.replace(answer, open=lambda: cast("BinaryIO", _CountedFile(path, self._served)))

    def receipt(self, peer: Peer, clip: str, receipt: SignedDocument) -> None:
        """Take a receipt."""
        self._mark()
        super().receipt(peer, clip, receipt)

    def forget(self) -> None:
        """Have no receipts any more."""
        self.receipts.clear()
        self.states.clear()

    def know_digests(self, peer: Peer) -> None:
        """Have all digests at hand, as a camera does that made the files: it never hashes them for a dock."""
        for directory in self.clips_path.iterdir():
            for name in FILES:
                if (directory / name).is_file():
                    super().file(peer, directory.name, name)

    def _served(self, count: int) -> None:
        self.served_bytes += count
        if not self.marks or self.served_bytes - self.marks[-1][1] >= _MARK_BYTES:
            self._mark()

    def _mark(self) -> None:
        self.marks.append((self._now_ns(), self.served_bytes))


class _CountedFile(io.FileIO):
    """A file that says how much was read of it."""

    def __init__(self, path: Path, noted: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._noted = noted

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is not in 3.11's collections.abc
        """Read what fits."""
        count = super().readinto(buffer) or 0
        self._noted(count)
        return count


def main(arguments: list[str] | None = None) -> int:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m docklink.simulated_process")
    parser.add_argument("--device", required=True, help="the camera's id, as in its certificate")
    parser.add_argument("--clips", required=True, type=Path, help="a directory of clips")
    parser.add_argument("--keys", required=True, type=Path, help="a directory with link.pem and link.key")
    parser.add_argument("--root", required=True, type=Path, help="the agency's root certificate")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1 (default: a free one)")
    ways.add_argument("--terminal", action="store_true", help="a pseudo-terminal instead of TCP")
    chosen = parser.parse_args(arguments)
    camera = _CountingCamera(chosen.device, chosen.clips, time.monotonic_ns)
    camera.know_digests(Peer(None, None, ""))
    trust = CameraTrust(chosen.keys / "link.pem", chosen.keys / "link.key", load_roots(chosen.root), 0)
    ends: list[SessionEnd] = []
    server = LinkServer(camera, lambda: trust, on_end=ends.append, on_fault=_report)
    listening, close = _serve_line(server) if chosen.terminal else _serve_tcp(server, chosen.port)
    _say(listening)
    for line in sys.stdin:
        if line.strip() == "forget":
            camera.forget()
        _say(_usage(camera, ends))
    close()
    return 0


def _serve_tcp(server: LinkServer, number: int) -> tuple[Listening, Callable[[], None]]:
    port = TcpPort("127.0.0.1", number)
    thread = threading.Thread(target=port.run, args=(server,))
    thread.start()

    def close() -> None:
        port.close()
        thread.join()

    return Listening(port=port.port), close


def _serve_line(server: LinkServer) -> tuple[Listening, Callable[[], None]]:
    pair, stop = PtyPair(), threading.Event()
    stream = pair.far()
    thread = threading.Thread(target=serve_line, args=(server, stream, stop))
    thread.start()

    def close() -> None:
        stop.set()
        stream.close()
        thread.join()
        pair.close()

    return Listening(terminal=pair.path), close


def _usage(camera: _CountingCamera, ends: list[SessionEnd]) -> Usage:
    return Usage(
        cpu_ns=time.process_time_ns(),
        served_bytes=camera.served_bytes,
        marks=(*camera.marks, (time.monotonic_ns(), camera.served_bytes)),
        receipts=tuple(camera.receipts),
        sessions=len(ends),
        broken=sum(end.error is not None for end in ends),
    )


def _report(route: str, error: Exception) -> None:
    _logger.error("request %s failed: %s", route, error)


def _say(line: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
