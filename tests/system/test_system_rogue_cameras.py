"""Cameras from which the real agent must take nothing: no session, or quarantine and no receipt."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docklink.enrolment import make_enrolment
from docklink.tls import CameraEnrolment, CameraTrust
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.revoke import revoke
from host.agent import DockAgent
from host.bays import BayState
from host.config import load_config
from tests.host.bays.test_dock_agent import running, write_config
from tests.host.offload.fakecamera import CameraServer, FakeCamera
from tests.host.store.conftest import ClipFactory, Pki, clips, pki

__all__ = ["clips", "pki"]

Condition = Callable[[DockAgent], object]


class Docked:
    """A rogue in the only bay of an agent."""

    def __init__(self, place: Path, pki: Pki, camera: FakeCamera, port: int) -> None:
        self.place = place
        self.pki = pki
        self.camera = camera
        self.config = write_config(place, pki, [port])

    @contextmanager
    def until(self, condition: Condition) -> Iterator[DockAgent]:
        """Run the agent until something has come true; look at what is left inside."""
        with running(load_config(self.config)) as agent:
            give_up, pause = time.monotonic() + 60, threading.Event()
            while not condition(agent):
                assert time.monotonic() < give_up, agent.status()
                pause.wait(0.02)
            yield agent

    def assert_nothing_stored(self) -> None:
        """No clip in its place, no receipt on the camera, none in the store."""
        store = self.place / "store"
        assert [path for path in (store / "clips").rglob("*") if path.is_file()] == []
        assert list(store.rglob("receipt.json")) == []
        assert self.camera.receipts == {}

    def quarantined(self) -> list[Path]:
        return list((self.place / "store" / "quarantine").rglob("manifest.json"))


@pytest.fixture
def dock(tmp_path: Path, pki: Pki) -> Iterator[Callable[..., Docked]]:
    servers: list[CameraServer] = []

    def make(camera: FakeCamera, trust: CameraTrust | CameraEnrolment | None = None) -> Docked:
        server = CameraServer(camera)
        if trust is not None:
            server.trust = trust  # type: ignore[assignment]  # a rogue may show an enrolment's certificate
        servers.append(server)
        return Docked(tmp_path, pki, camera, server.listen())

    yield make
    for server in servers:
        server.close()


def trust_of(pki: Pki, chain: Path, key: Path) -> CameraTrust:
    return CameraTrust(chain, key, pki.trust.roots, 0)


def in_fault(agent: DockAgent) -> bool:
    return agent.bays[0].status.state is BayState.FAULT


def no_session(docked: Docked, word: str) -> None:
    """The bay says why; the camera was asked for nothing."""
    with docked.until(in_fault) as agent:
        assert word in agent.bays[0].status.detail
    docked.assert_nothing_stored()
    assert docked.quarantined() == []
    assert docked.camera.requests == []


def set_apart(docked: Docked, clip: str) -> None:
    """The clip lies in quarantine, and the camera has no receipt."""
    with docked.until(lambda agent: agent.status().quarantine) as agent:
        assert [each.clip for each in agent.status().quarantine] == [clip]
        assert not agent.status().quarantine[0].released
    docked.assert_nothing_stored()
    assert len(docked.quarantined()) == 1


def test_a_camera_of_another_agency(
    dock: Callable[..., Docked], pki: Pki, clips: ClipFactory, tmp_path: Path
) -> None:
    create_agency("Other agency", tmp_path / "agency")
    issue_new(SubjectKind.CAMERA, "cam0042", tmp_path / "agency", tmp_path / "camera")
    theirs = trust_of(pki, tmp_path / "camera" / "link.pem", tmp_path / "camera" / "link.key")
    no_session(dock(FakeCamera(pki, [clips.make(1)]), theirs), "certificate")


def test_a_camera_without_a_certificate_of_anyone(
    dock: Callable[..., Docked], pki: Pki, clips: ClipFactory, tmp_path: Path
) -> None:
    """A server of TLS has one in any case: the nearest to none is one that it made itself."""
    (tmp_path / "own").mkdir()
    own, _ = make_enrolment(tmp_path / "own")
    no_session(dock(FakeCamera(pki, [clips.make(1)]), own), "certificate")


def test_a_camera_that_speaks_no_tls_at_all(pki: Pki, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        docked = Docked(tmp_path, pki, FakeCamera(pki, []), listening.getsockname()[1])
        stopping = threading.Event()

        def serve() -> None:
            while not stopping.is_set():
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        no_session(docked, "TLS")
        stopping.set()
        socket.create_connection(listening.getsockname()).close()
        thread.join(20)


def test_a_dock_certificate(dock: Callable[..., Docked], pki: Pki, clips: ClipFactory) -> None:
    keys = pki.directory / "dock7"
    shown = trust_of(pki, keys / "dock-link.pem", keys / "dock-link.key")
    no_session(dock(FakeCamera(pki, [clips.make(1)]), shown), "unsuitable certificate purpose")


def test_a_revoked_camera(dock: Callable[..., Docked], pki: Pki, clips: ClipFactory, tmp_path: Path) -> None:
    docked = dock(FakeCamera(pki, [clips.make(1)]))
    crl = revoke(pki.directory / "cam0042" / "link.pem", pki.directory / "agency", "keyCompromise").crl
    text = docked.config.read_text()
    docked.config.write_text(text.replace("[dock]\n", f'[dock]\ncrls = ["{crl}"]\n'))
    no_session(docked, "revoked")


def test_a_camera_that_says_it_is_another(dock: Callable[..., Docked], pki: Pki, clips: ClipFactory) -> None:
    camera = FakeCamera(pki, [clips.make(1)])
    camera.says_it_is = "cam0043"
    docked = dock(camera)
    with docked.until(in_fault) as agent:
        assert "another" in agent.bays[0].status.detail
        assert "integrity_alarm" in [each.kind for each in agent.status().notices]
    docked.assert_nothing_stored()
    assert docked.quarantined() == []
    assert set(camera.requests) == {"device"}


def test_a_clip_that_is_named_after_another_device(
    dock: Callable[..., Docked], pki: Pki, clips: ClipFactory
) -> None:
    camera = FakeCamera(pki, [clips.make(1, device="cam0043")])
    docked = dock(camera)
    with docked.until(
        lambda agent: "integrity_alarm" in [each.kind for each in agent.status().notices]
    ) as agent:
        assert any("clip of another" in each.detail for each in agent.status().notices)
    docked.assert_nothing_stored()
    assert docked.quarantined() == []
    assert not any(name.startswith("file") for name in camera.requests)


def test_a_clip_that_another_camera_signed(dock: Callable[..., Docked], pki: Pki, clips: ClipFactory) -> None:
    clip = clips.make(1, signer=pki.camera("cam0043"))
    set_apart(dock(FakeCamera(pki, [clip])), clip.key.clip)


@pytest.mark.parametrize("name", ["clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s"])
def test_a_tampered_clip(dock: Callable[..., Docked], pki: Pki, clips: ClipFactory, name: str) -> None:
    clip = clips.make(1)
    camera = FakeCamera(pki, [clip])
    data = bytearray(camera.files[clip.key.clip, name])
    data[len(data) // 2] ^= 1
    camera.files[clip.key.clip, name] = bytes(data)
    docked = dock(camera)
    if name == "manifest.json":  # it is not the one that was listed: the session goes no further with it
        with docked.until(lambda agent: agent.bays[0].status.detail):
            pass
        docked.assert_nothing_stored()
    else:
        set_apart(docked, clip.key.clip)


def test_the_same_camera_is_taken_without_its_fault(
    dock: Callable[..., Docked], pki: Pki, clips: ClipFactory
) -> None:
    clip = clips.make(1)
    camera = FakeCamera(pki, [clip])
    with dock(camera).until(lambda _: clip.key.clip in camera.receipts) as agent:
        assert agent.status().quarantine == ()
