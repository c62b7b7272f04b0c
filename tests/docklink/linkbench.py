"""An agency with a camera and a dock, and both ends of a link joined in one process."""

import dataclasses
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509

from docklink.client import DockClient, RequestLimit, open_session
from docklink.errors import LinkError
from docklink.limits import Timeouts
from docklink.server import LinkServer, SessionEnd, TcpPort, serve_line
from docklink.simulated import SimulatedCamera
from docklink.streams import ByteStream, connect_tcp, stream_pair
from docklink.tls import CameraEnrolment, CameraTrust, DockEnrolment, DockTrust
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.paths import load_roots

CLIP = "20261122T035453Z-cam0042-000317"
OTHER_CLIP = "notime-cam0042-000318"
QUICK = Timeouts(handshake_s=5.0, head_s=2.0, body_s=2.0, progress_s=2.0, answer_s=5.0, idle_s=5.0)


@dataclasses.dataclass(frozen=True)
class Agency:
    """An agency on disk, a camera cam0042 and a dock dock7 of it."""

    directory: Path

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        return load_roots(self.directory / "agency" / "root" / "root.pem")

    def camera_trust(self, **changes: object) -> CameraTrust:
        camera = self.directory / "camera"
        trust = CameraTrust(camera / "link.pem", camera / "link.key", self.roots, 0)
        return msgspec.structs.replace(trust, **changes)

    def dock_trust(self, **changes: object) -> DockTrust:
        dock = self.directory / "dock"
        trust = DockTrust(dock / "dock-link.pem", dock / "dock-link.key", self.roots, time.time_ns())
        return msgspec.structs.replace(trust, **changes)


def make_agency(directory: Path, name: str = "Test Trust") -> Agency:
    create_agency(name, directory / "agency", now=datetime.now(UTC))
    for kind, subject in (("camera", "cam0042"), ("dock", "dock7"), ("config", "policy")):
        issue_new(SubjectKind(kind), subject, directory / "agency", directory / kind)
    return Agency(directory)


class Bench:
    """Both ends of a link in this process; sessions of the camera run in threads that end with the test."""

    def __init__(self, agency: Agency, camera: SimulatedCamera) -> None:
        self.agency = agency
        self.camera = camera
        self.ends: list[SessionEnd] = []
        self.faults: list[tuple[str, Exception]] = []
        self.trust: CameraTrust | CameraEnrolment = agency.camera_trust()
        self.timeouts = QUICK
        self._undo: list[Callable[[], None]] = []
        self._ended = threading.Condition()

    @property
    def server(self) -> LinkServer:
        return LinkServer(
            self.camera,
            lambda: self.trust,
            on_end=self._note,
            on_fault=lambda name, error: self.faults.append((name, error)),
            timeouts=self.timeouts,
        )

    def serve(self, stream: ByteStream) -> None:
        """Serve one session on a stream."""
        server = self.server
        self._start(lambda: server.serve(stream), stream.close)

    def serve_line(self, stream: ByteStream) -> None:
        """Serve a serial line."""
        server, stop = self.server, threading.Event()

        def run() -> None:
            try:
                serve_line(server, stream, stop)
            except LinkError as error:
                self.faults.append(("line", error))

        def end() -> None:
            stop.set()
            stream.close()

        self._start(run, end)

    def listen(self) -> int:
        """Serve a TCP port; returns its number."""
        port, server = TcpPort("127.0.0.1", 0), self.server
        self._start(lambda: port.run(server), port.close)
        return port.port

    def near_stream(self) -> ByteStream:
        """Return the dock's end of a pair whose other end is served."""
        near, far = stream_pair()
        self.serve(far)
        self._undo.append(near.close)
        return near

    def open(
        self,
        stream: ByteStream | None = None,
        trust: DockTrust | DockEnrolment | None = None,
        limit: RequestLimit | None = None,
        line_timeout_s: float = 30.0,
    ) -> DockClient:
        """Open a session from the dock's end."""
        client = open_session(
            stream or self.near_stream(),
            trust or self.agency.dock_trust(),
            timeouts=self.timeouts,
            limit=limit,
            line_timeout_s=line_timeout_s,
        )
        self._undo.append(client.close)
        return client

    def connect(self, port: int) -> ByteStream:
        stream = connect_tcp("127.0.0.1", port, 5)
        self._undo.append(stream.close)
        return stream

    def last_end(self, count: int = 1) -> SessionEnd:
        """Wait until that many sessions have ended."""
        with self._ended:
            assert self._ended.wait_for(lambda: len(self.ends) >= count, 20)
            return self.ends[-1]

    def close(self) -> None:
        for undo in reversed(self._undo):
            undo()

    def _note(self, end: SessionEnd) -> None:
        with self._ended:
            self.ends.append(end)
            self._ended.notify_all()

    def _start(self, run: Callable[[], object], end: Callable[[], None]) -> None:
        thread = threading.Thread(target=run)
        thread.start()

        def finish() -> None:
            end()
            thread.join(20)
            assert not thread.is_alive()

        self._undo.append(finish)
