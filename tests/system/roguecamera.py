"""A camera of the agency that behaves badly, as a process of its own.

    python -m tests.system.roguecamera CONDUCT --device ID --clips DIR --keys DIR --root PEM

Prints `{"port": N}` and serves until its standard input ends. What it does:

    hang      half of the footage, and then nothing, the connection open
    lie       footage of another size than it signed for
    flood     an answer without end to every request
    bad-tls   garbage instead of TLS, as much as the dock takes
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

from docklink.errors import LinkError
from docklink.peers import Peer
from docklink.server import LinkServer, TcpPort
from docklink.service import FileAnswer
from docklink.simulated import SimulatedCamera
from docklink.simulated_process import Listening
from docklink.streams import ByteStream
from docklink.tls import CameraTrust, TlsStream
from evidence.paths import load_roots

_logger = logging.getLogger(__name__)
CONDUCTS = ("hang", "lie", "flood", "bad-tls")
_BIG = "clip.mp4.age"
_MIB = 1 << 20


class _Hanging(io.FileIO):
    """Gives half of a file, then nothing for as long as the process lives."""

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is not in 3.11's collections.abc
        if self.tell() >= Path(str(self.name)).stat().st_size // 2:
            threading.Event().wait()
        with memoryview(buffer) as view:
            return super().readinto(view[:65_536]) or 0


class _Rogue(SimulatedCamera):
    def __init__(self, conduct: str, device: str, clips: Path) -> None:
        super().__init__(device, clips, time.monotonic_ns)
        self._conduct = conduct
        self._place = clips

    def file(self, peer: Peer, clip: str, name: str) -> FileAnswer:
        answer = super().file(peer, clip, name)
        if name != _BIG:
            return answer
        if self._conduct == "hang":
            path = self._place / clip / name
            return msgspec.structs.replace(answer, open=lambda: cast("BinaryIO", _Hanging(str(path))))
        return msgspec.structs.replace(answer, size_bytes=answer.size_bytes + 10 * _MIB)


def _flood(stream: ByteStream, trust: CameraTrust) -> None:
    """Answer whatever is asked with a list of clips that never ends."""
    tls = TlsStream(stream, trust, handshake_timeout_s=10)
    tls.read(65_536, 10)
    tls.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", 10)
    chunk = b"10000\r\n" + b"[" * 0x10000 + b"\r\n"
    while True:
        tls.write(chunk, 10)


def _garble(stream: ByteStream) -> None:
    while True:
        stream.write(b"\x16\x03\x03\x40\x00" + bytes(0x4000), 10)


class _Wild(LinkServer):
    """Serves sessions by a function that ends in an error, always."""

    def __init__(self, run: Callable[[ByteStream], None], camera: SimulatedCamera, trust: CameraTrust) -> None:
        super().__init__(camera, lambda: trust, on_end=_ignore, on_fault=_ignore)
        self._run = run

    def serve(self, stream: ByteStream) -> None:  # type: ignore[override]  # nobody asks how it ended
        try:
            self._run(stream)
        except LinkError as error:
            _logger.info("a session ended: %s", error)
        finally:
            stream.close()


def _ignore(*_: object) -> None:
    """Nobody is told."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("conduct", choices=CONDUCTS)
    for name in ("--device", "--clips", "--keys", "--root"):
        parser.add_argument(name, required=True)
    chosen = parser.parse_args()
    keys = Path(chosen.keys)
    trust = CameraTrust(keys / "link.pem", keys / "link.key", load_roots(Path(chosen.root)), 0)
    camera = _Rogue(chosen.conduct, chosen.device, Path(chosen.clips))
    wild: dict[str, Callable[[ByteStream], None]] = {
        "flood": lambda stream: _flood(stream, trust),
        "bad-tls": _garble,
    }
    server = LinkServer(camera, lambda: trust, on_end=_ignore, on_fault=_ignore)
    if chosen.conduct in wild:
        server = _Wild(wild[chosen.conduct], camera, trust)
    port = TcpPort("127.0.0.1", 0)
    threading.Thread(target=port.run, args=(server,), daemon=True).start()
    sys.stdout.write(msgspec.json.encode(Listening(port=port.port)).decode() + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
