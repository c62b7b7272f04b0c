"""A dock's station on a file-system store, and scripted cameras that it can reach."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docklink.client import DockClient, RequestLimit, open_session
from docklink.server import LinkServer
from docklink.streams import ByteStream, connect_tcp
from docklink.tls import DockTrust
from host.custody import CustodyLog
from host.offload import Docking, SessionReport, Settings, Station, Step, Watch, run_session
from host.store import FileStore, format_store
from tests.host.offload.fakecamera import QUICK, CameraServer, FakeCamera
from tests.host.store.conftest import ClipFactory, MadeClip, Pki, clips, pki

__all__ = ["LinkServer", "clips", "pki"]


@dataclasses.dataclass
class OffloadBench:
    """One dock and one camera; `restart` is what a killed agent's successor finds."""

    root: Path
    pki: Pki
    clips: ClipFactory
    reserve_bytes: int = 0

    def __post_init__(self) -> None:
        self.servers: list[CameraServer] = []
        self.open()

    def open(self) -> None:
        self.store = FileStore(self.root, reserve_bytes=self.reserve_bytes)
        self.custody = CustodyLog(self.root / "custody.jsonl", self.store.store_id)
        self.station = Station(
            self.store,
            self.custody,
            self.pki.dock,
            self.pki.trust,
            dock_id="dock7",
            part_bytes=1 << 20,
        )
        self.docking = Docking("cam0042")

    def restart(self) -> None:
        self.custody.close()
        self.store.close()
        self.open()

    @property
    def trust(self) -> DockTrust:
        keys = self.pki.directory / "dock7"
        return DockTrust(keys / "dock-link.pem", keys / "dock-link.key", self.pki.trust.roots, time.time_ns())

    def serve(
        self, camera: FakeCamera, **options: Callable[[ByteStream], ByteStream]
    ) -> tuple[CameraServer, int]:
        server = CameraServer(camera, **options)
        self.servers.append(server)
        return server, server.listen()

    def connect(self, port: int) -> DockClient:
        return open_session(connect_tcp("127.0.0.1", port, 5), self.trust, timeouts=QUICK)

    def on_line(self, stream: ByteStream, limit: RequestLimit) -> DockClient:
        return open_session(stream, self.trust, timeouts=QUICK, limit=limit, line_timeout_s=20)

    def session(
        self, port: int, *, step: Callable[[Step, str], object] = lambda _step, _clip: None, **settings: object
    ) -> SessionReport:
        with self.connect(port) as client:
            return run_session(
                client,
                self.station,
                self.docking,
                Settings(**settings),  # type: ignore[arg-type]  # fields by name
                Watch(step=step),
            )

    def place(self, clip: MadeClip) -> Path:
        return self.root / "clips" / clip.key.device / clip.key.clip

    def kinds(self, clip: MadeClip) -> list[str]:
        """What the custody log says was done with a clip."""
        found = self.custody.entries(containing=clip.key.manifest_sha256)
        return [read.entry.kind for read in found]

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.custody.close()
        self.store.close()


@pytest.fixture
def bench(tmp_path: Path, pki: Pki, clips: ClipFactory) -> Iterator[OffloadBench]:
    format_store(tmp_path / "store", "dock7-a")
    made = OffloadBench(tmp_path / "store", pki, clips)
    yield made
    made.close()
