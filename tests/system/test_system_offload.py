"""Camera and dock together: a press, a clip, a bay, a receipt, a verified copy, a tombstone."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from docklink.errors import LinkTimeoutError, StreamError
from docklink.serialport import PtyPair
from docklink.streams import FdStream
from evidence.agency import SubjectKind, issue_new
from evidence.check import Finding, check_sealed_clip
from evidence.paths import load_roots
from host.agent import DockAgent
from host.bays import BayState
from host.config import load_config

if TYPE_CHECKING:
    from tests.system.conftest import Camera, Clip, MakeCamera


def dock_config(place: Path, bay: str) -> Path:
    """Issue a dock's keys and write its configuration, with one bay."""
    issue_new(SubjectKind.DOCK, "dock7", place / "keys" / "agency", place / "keys" / "dock")
    path = place / "dock.toml"
    path.write_text(
        '[dock]\nid = "dock7"\nkeys = "keys/dock"\nroot = "keys/agency/root/root.pem"\nstate = "state"\n'
        '[store]\npath = "store"\nid = "dock7-a"\nreserve_mib = 0\n'
        f'[timeouts]\nlook_s = 0.2\n[[bay]]\nname = "1"\n{bay}\n'
    )
    return path


@contextmanager
def running(path: Path) -> Iterator[DockAgent]:
    agent = DockAgent(load_config(path))
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield agent
    finally:
        agent.stop()
        thread.join()


def wait(condition: Callable[[], object], what: Callable[[], object]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up, what()
        threading.Event().wait(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port


def recorded(make_camera: "MakeCamera", ports: str) -> "tuple[Camera, Clip]":
    """Record one clip with a camera that keeps nothing once a dock has it."""
    lines = f'keep_released_hours = 0\n\n[dockport]\n{ports}\nanchors = "keys/agency/root/root.pem"\n'
    camera = make_camera(1.0, policy=lines)
    camera.wait_filled(1.5)
    camera.start()
    camera.run_for(0.5)
    camera.stop()
    (clip,) = camera.clips()
    return camera, clip


def check_stored(place: Path, clip: "Clip") -> None:
    stored = place / "store" / "clips" / "cam0042" / clip.directory.name
    report = check_sealed_clip(stored, load_roots(place / "keys" / "agency" / "root" / "root.pem"))
    assert report.finding is Finding.AUTHENTIC


def test_a_clip_goes_from_the_press_to_the_store_and_leaves_a_tombstone(make_camera: "MakeCamera") -> None:
    port = free_port()
    camera, clip = recorded(make_camera, f'listen = "127.0.0.1:{port}"')
    name = clip.directory.name
    with running(dock_config(camera.place, f'tcp = "127.0.0.1:{port}"')) as agent:
        wait((camera.vault / "tombstones" / name).is_dir, agent.status)
        wait((camera.place / "store" / "tombstones" / "cam0042" / name).is_dir, agent.status)
        wait(lambda: agent.bays[0].status.state in (BayState.READY, BayState.CHARGING), agent.status)
        status = agent.status()
    camera.shut_down()
    assert not clip.directory.exists()
    check_stored(camera.place, clip)
    shown = status.bays[0].camera
    assert shown is not None
    assert shown.completeness is not None
    assert (shown.completeness.last, shown.completeness.held, shown.completeness.missing) == (1, 1, ())
    assert status.notices == ()
    (log,) = (camera.place / "state" / "logs").iterdir()
    assert b'"kind":"press"' in log.read_bytes()


def test_the_same_over_a_serial_line(make_camera: "MakeCamera") -> None:
    camera_end, dock_end = PtyPair(), PtyPair()
    cable = Cable(camera_end.far(), dock_end.far())
    camera, clip = recorded(make_camera, f'serial = ["{camera_end.path}"]')
    with running(dock_config(camera.place, f'serial = "{dock_end.path}"')) as agent:
        wait((camera.vault / "tombstones" / clip.directory.name).is_dir, agent.status)
    camera.shut_down()
    check_stored(camera.place, clip)
    cable.close()
    camera_end.close()
    dock_end.close()


class Cable:
    """Carries bytes both ways between two ends."""

    def __init__(self, one: FdStream, other: FdStream) -> None:
        self._ends = (one, other)
        self._threads = [
            threading.Thread(target=self._carry, args=pair) for pair in ((one, other), (other, one))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for end in self._ends:
            end.close()
        for thread in self._threads:
            thread.join()

    @staticmethod
    def _carry(source: FdStream, target: FdStream) -> None:
        while True:
            try:
                target.write(source.read(65_536, 1.0), 5.0)
            except LinkTimeoutError:
                continue
            except StreamError:
                return
