"""What stands around the agent's bays: badge readers, hot plug, listeners, progress, checkpoints at the end."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docklink.serialport import PtyPair
from docklink.streams import ByteStream
from evidence.clock import format_utc
from host.agent import Change, DockAgent
from host.badges import FakeReader
from host.bays import BayState, BayStatus, FakeMonitor, PortEvent
from host.config import ConfigError, DockConfig, load_config, parse_config
from host.custody import read_checkpoints, verify_custody
from host.offload import Notice
from tests.host.bays.test_dock_agent import until, write_config
from tests.host.offload.fakecamera import CameraServer, FakeCamera

if TYPE_CHECKING:
    from tests.host.store.conftest import ClipFactory, Pki


class Running:
    """An agent in a thread, and all that its listener heard."""

    def __init__(self, config: DockConfig, **options: object) -> None:
        self.agent = DockAgent(config, **options)  # type: ignore[arg-type]  # by name
        self.heard: list[Change] = []
        self._changed = threading.Condition()
        self.agent.listen(self._hear)
        self._thread = threading.Thread(target=self.agent.run)
        self._thread.start()

    def _hear(self, change: Change) -> None:
        with self._changed:
            self.heard.append(change)
            self._changed.notify_all()

    def events(self, kind: str) -> list[Notice]:
        return [each for each in self.heard if isinstance(each, Notice) and each.kind == kind]

    def wait(self, condition: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 60), self.heard

    def close(self) -> None:
        self.agent.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()


class CutOnce:
    """Cuts the first connection after a megabyte."""

    def __init__(self) -> None:
        self.left_bytes = 1 << 20

    def around(self, stream: ByteStream) -> ByteStream:
        plain = stream.write

        def write(data: bytes | bytearray | memoryview, timeout_s: float) -> None:
            if 0 < self.left_bytes <= len(data):
                stream.close()
            self.left_bytes -= len(data)
            plain(data, timeout_s)

        stream.write = write  # type: ignore[method-assign]  # of this one
        return stream


def test_who_listens_hears_of_bays_and_of_clips_with_their_custody(
    tmp_path: Path, pki: "Pki", clips: "ClipFactory"
) -> None:
    clip = clips.make(1, points=30, chunks=2)
    camera = FakeCamera(pki, [clip])
    server = CameraServer(camera, wrap=CutOnce().around)
    running = Running(load_config(write_config(tmp_path, pki, [server.listen()])))
    running.wait(lambda: running.events("clip_stored"))
    until(running.agent, BayState.READY)
    running.close()
    server.close()
    (stored,) = running.events("clip_stored")
    assert (stored.device, stored.clip) == ("cam0042", clip.key.clip)
    assert stored.custody == camera.receipts[clip.key.clip].custody
    assert [each.clip for each in running.events("clip_interrupted")] == [clip.key.clip]
    shown = [each for each in running.heard if isinstance(each, BayStatus)]
    assert any((each.queued, each.queued_bytes) == (1, clip.size) for each in shown)
    assert any(each.done_bytes for each in shown)
    store = tmp_path / "store"
    (kept,) = read_checkpoints(store / "checkpoints", pki.trust.roots, "dock7-a")
    assert verify_custody(store / "custody.jsonl", "dock7-a", [kept]).checkpoints == 1
    assert kept.entries == len((store / "custody.jsonl").read_bytes().splitlines())


@pytest.mark.parametrize("aim", ['next = "docked"', 'bay = "1"'])
def test_a_badge_assigns_a_camera_for_a_shift(tmp_path: Path, pki: "Pki", aim: str) -> None:
    camera, reader = FakeCamera(pki, []), FakeReader()
    server = CameraServer(camera)
    path = write_config(tmp_path, pki, [server.listen()])
    with path.open("a") as file:
        file.write(f'[[badge]]\nname = "door"\nserial = "/dev/absent"\nfile = "b.toml"\nhours = 3\n{aim}\n')
    (tmp_path / "b.toml").write_text('[badges]\n"4711" = "w-7f3a"\n')
    reader.hold("4711")
    running = Running(load_config(path), readers={"door": reader})
    running.wait(lambda: running.events("wearer_assigned"))
    give_up = time.monotonic() + 30
    while not camera.wearers:
        assert time.monotonic() < give_up, running.agent.status()
        threading.Event().wait(0.02)
    (assignment,) = camera.wearers
    assert assignment.wearer == "w-7f3a"
    later = format_utc(time.time_ns() + 3 * 3600 * 10**9)
    assert assignment.start_utc < assignment.end_utc <= later
    (status,) = running.agent.status().badges
    assert (status.reader, status.waiting, status.error) == ("door", 0, "")
    running.close()
    server.close()
    assert b"4711" not in (tmp_path / "store" / "custody.jsonl").read_bytes()
    assert "4711" not in str(running.heard)


def test_a_camera_that_is_taken_out_is_in_the_custody_log(tmp_path: Path, pki: "Pki") -> None:
    camera, reader = FakeCamera(pki, []), FakeReader()
    server = CameraServer(camera)
    path = write_config(tmp_path, pki, [server.listen()])
    with path.open("a") as file:
        file.write('[[badge]]\nname = "door"\nserial = "/dev/x"\nfile = "b.toml"\nnext = "undocked"\n')
    (tmp_path / "b.toml").write_text('[badges]\n"4711" = "w-7f3a"\n')
    running = Running(load_config(path), readers={"door": reader})
    until(running.agent, BayState.READY)
    reader.hold("4711")
    while not running.agent.status().badges[0].waiting:
        threading.Event().wait(0.02)
    server.close()
    running.wait(lambda: running.events("wearer_assigned"))
    running.close()
    log = (tmp_path / "store" / "custody.jsonl").read_text()
    assert '"kind":"camera_taken"' in log
    assert "w-7f3a" in log


def test_what_is_plugged_in_is_looked_at_at_once(
    tmp_path: Path, pki: "Pki", clips: "ClipFactory", monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = FakeCamera(pki, [clips.make(1)])
    pair, server, by_id = PtyPair(), CameraServer(camera), tmp_path / "by-id"
    by_id.mkdir()
    monkeypatch.setattr("host.bays.ways.UsbWay.__init__.__defaults__", (by_id,))
    server.serve_line(pair.far())
    path = write_config(tmp_path, pki, [])
    path.write_text(
        path.read_text().replace("look_s = 0.1", "look_s = 3600.0") + '[[bay]]\nname="1"\nusb="C7"\n'
    )
    monitor = FakeMonitor()
    running = Running(load_config(path), monitor=monitor)
    running.wait(lambda: any(isinstance(each, BayStatus) for each in running.heard))
    assert running.agent.status().hotplug == "udev"
    (by_id / "usb-Preroll_Camera_C7-if00").symlink_to(pair.path)
    monitor.say(PortEvent(("/dev/ttyACM0",), "C7"))
    until(running.agent, BayState.READY)
    running.close()
    server.close()
    pair.close()


def test_progress_goes_on_without_a_camera(tmp_path: Path, pki: "Pki") -> None:
    running = Running(load_config(write_config(tmp_path, pki, [])), monitor=FakeMonitor("not here"))
    first_ns = running.agent.progress_ns
    give_up = time.monotonic() + 30
    while running.agent.progress_ns == first_ns:
        assert time.monotonic() < give_up
        threading.Event().wait(0.05)
    assert running.agent.status().hotplug == "not here"
    running.close()


_START = '[dock]\nid = "d"\n[store]\npath = "s"\nid = "s"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[badge]]\nname = "a"\nfile = "b"\n', "0 of them"),
        ('[[badge]]\nname = "a"\nfile = "b"\nserial = "/x"\nkeyboard = "/y"\n', "2 of them"),
        ('[[badge]]\nname = "a"\nfile = "b"\nserial = "/x"\nbay = "7"\n', "name of a bay"),
        ('[[badge]]\nname = "a"\nfile = "b"\nserial = "/x"\nnext = "left"\n', "next"),
        (2 * '[[badge]]\nname = "a"\nfile = "b"\nserial = "/x"\n', "twice"),
        ("[custody]\ncheckpoint_entries = 0\n", "checkpoint_entries"),
    ],
)
def test_what_is_wrong_with_badges_and_custody_is_said(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        parse_config(_START + text, "dock.toml")


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    path = tmp_path / "dock.toml"
    badge = '[[badge]]\nname = "a"\nfile = "b"\nserial = "/x"\n'
    path.write_text(f'{_START}[custody]\ncopies = ["stick", "/mnt/x"]\n{badge}')
    config = load_config(path)
    assert config.custody.copies == (str(tmp_path / "stick"), "/mnt/x")
    assert config.badge[0].file == str(tmp_path / "b")
