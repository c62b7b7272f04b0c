"""Bays: states, hot plug, and that whatever one camera does disturbs no other."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docklink.messages import Battery, ClipState
from docklink.serialport import PtyPair
from docklink.tls import CameraTrust
from host.bays import BayState, SerialWay, TcpWay, UsbWay
from host.offload.slots import Turns
from tests.host.offload.fakecamera import CameraServer, FakeCamera

if TYPE_CHECKING:
    from tests.host.bays.conftest import BayBench


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port


@contextmanager
def raw_server(answer: bytes | None) -> Iterator[int]:
    """A port that takes connections and answers with rubbish for ever, or never."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()
    held: list[socket.socket] = []

    def run() -> None:
        while not stopping.is_set():
            connection, _ = listening.accept()
            if answer == b"":
                connection.close()
                continue
            held.append(connection)
            connection.settimeout(0.2)
            try:
                while answer is not None:
                    connection.sendall(answer)
            except OSError:
                continue

    thread = threading.Thread(target=run)
    thread.start()
    port: int = listening.getsockname()[1]
    yield port
    stopping.set()
    socket.create_connection(("127.0.0.1", port)).close()
    thread.join(10)
    for each in held:
        each.close()
    listening.close()


def test_from_empty_to_ready_and_back(bench: "BayBench") -> None:
    clip = bench.clips.make(1)
    camera = FakeCamera(bench.pki, [clip])
    server, port = CameraServer(camera), free_port()
    bay = bench.bay("1", TcpWay("127.0.0.1", port, 1.0))
    bench.wait(bay, lambda status: status.state is BayState.EMPTY and status.detail != "")
    server.listen(port)
    status = bench.wait(bay, lambda status: status.state is BayState.READY)
    assert (status.device, status.stored) == ("cam0042", 1)
    assert status.camera is not None
    assert status.camera.waiting == 0
    assert any(each.clip == clip.key.clip and each.step == "ciphertext" for each in bench.history)
    assert any(each.done_bytes == len(clip.files["clip.mp4.age"]) for each in bench.history)
    server.close()
    bench.wait(bay, lambda status: status.state is BayState.EMPTY)
    kinds = [read.entry.kind for read in bench.custody.entries()]
    assert kinds == ["docked", "clip_stored", "receipt_accepted", "undocked"]


def test_a_camera_that_charges_shows_it(bench: "BayBench") -> None:
    camera = FakeCamera(bench.pki, [])
    camera.battery = Battery(40, True)
    _, port = bench.serve(camera)
    bay = bench.bay("1", TcpWay("127.0.0.1", port, 1.0))
    bench.wait(bay, lambda status: status.state is BayState.CHARGING)
    camera.battery = Battery(99, True)
    bench.wait(bay, lambda status: status.state is BayState.READY)


def test_a_serial_bay(bench: "BayBench") -> None:
    clip = bench.clips.make(1, points=6, chunks=2)
    camera = FakeCamera(bench.pki, [clip])
    pair, server = PtyPair(), CameraServer(camera)
    server.serve_line(pair.far())
    bay = bench.bay("1", SerialWay(pair.path, 115_200))
    bench.wait(bay, lambda status: status.state is BayState.READY)
    assert camera.states[clip.key.clip] is ClipState.RELEASABLE
    bay.stop()
    assert bay.join(20)
    server.close()
    pair.close()


def test_a_usb_camera_comes_and_goes(bench: "BayBench", tmp_path: Path) -> None:
    camera = FakeCamera(bench.pki, [bench.clips.make(1)])
    pair, server, by_id = PtyPair(), CameraServer(camera), tmp_path / "by-id"
    server.serve_line(pair.far())
    bay = bench.bay("1", UsbWay("CAM0042", 115_200, by_id))
    by_id.mkdir()
    (by_id / "usb-Preroll_Camera_OTHER-if00").symlink_to("/dev/null")
    name = by_id / "usb-Preroll_Camera_CAM0042-if00"
    name.symlink_to(pair.path)
    bench.wait(bay, lambda status: status.state is BayState.READY)
    name.unlink()
    bench.wait(bay, lambda status: status.state is BayState.EMPTY)
    server.close()
    pair.close()


@pytest.mark.parametrize("trouble", ["hangs", "floods", "closes", "other agency", "no camera"])
def test_a_bad_bay_disturbs_no_other(bench: "BayBench", trouble: str) -> None:
    camera = FakeCamera(bench.pki, [bench.clips.make(number, points=6, chunks=4) for number in (1, 2, 3)])
    _, port = bench.serve(camera)
    if trouble in ("other agency", "no camera"):
        other = FakeCamera(bench.pki, [], device="cam0043")
        bad = CameraServer(other)
        bench.servers.append(bad)
        keys = bench.pki.directory / "dock7"
        if trouble == "other agency":
            from tests.docklink.linkbench import make_agency

            keys = make_agency(bench.root.parent / "other", "Other").directory / "camera"
            bad.trust = CameraTrust(keys / "link.pem", keys / "link.key", bench.pki.trust.roots, 0)
        else:
            bad.trust = CameraTrust(keys / "dock-link.pem", keys / "dock-link.key", bench.pki.trust.roots, 0)
        bad_port = bad.listen()
        bad_bay = bench.bay("bad", TcpWay("127.0.0.1", bad_port, 1.0))
        good = bench.bay("good", TcpWay("127.0.0.1", port, 1.0))
        assert bench.wait(good, lambda status: status.state is BayState.READY).stored == 3
        bench.wait(bad_bay, lambda status: status.state is BayState.FAULT)
        return
    answer = {"hangs": None, "floods": bytes(65_536), "closes": b""}[trouble]
    with raw_server(answer) as bad_port:
        bad_bay = bench.bay("bad", TcpWay("127.0.0.1", bad_port, 1.0))
        good = bench.bay("good", TcpWay("127.0.0.1", port, 1.0))
        assert bench.wait(good, lambda status: status.state is BayState.READY).stored == 3
        bench.wait(bad_bay, lambda status: status.detail != "")
        bad_bay.stop()
        assert bad_bay.join(20)
    assert bad_bay.status.stored == 0


def test_a_camera_that_hangs_in_a_clip_holds_up_no_other_bay(bench: "BayBench") -> None:
    bench.station.turns = Turns(1, patience_s=0.2, now_s=bench.station.turns.now_s)
    stuck = threading.Event()
    slow = FakeCamera(bench.pki, [bench.clips.make(1, device="cam0043")], device="cam0043")

    def wait_at_the_ciphertext(name: str) -> None:
        if name == "file clip.mp4.age":
            stuck.wait(10)

    slow.before = wait_at_the_ciphertext
    camera = FakeCamera(bench.pki, [bench.clips.make(number) for number in (1, 2)])
    _, slow_port = bench.serve(slow)
    _, port = bench.serve(camera)
    first = bench.bay("slow", TcpWay("127.0.0.1", slow_port, 1.0))
    bench.wait(first, lambda status: status.step == "ciphertext")
    good = bench.bay("good", TcpWay("127.0.0.1", port, 1.0))
    assert bench.wait(good, lambda status: status.state is BayState.READY).stored == 2
    stuck.set()
    bench.wait(first, lambda status: status.state is BayState.READY)


def test_many_bays_at_once(bench: "BayBench") -> None:
    """Forty bays, two of them with cameras."""
    cameras = [
        FakeCamera(bench.pki, [bench.clips.make(1, device=device)], device=device)
        for device in ("cam0042", "cam0043")
    ]
    ports = [bench.serve(camera)[1] for camera in cameras]
    empty = [bench.bay(f"e{index}", TcpWay("127.0.0.1", free_port(), 0.5)) for index in range(38)]
    full = [bench.bay(str(index), TcpWay("127.0.0.1", port, 1.0)) for index, port in enumerate(ports)]
    for bay in full:
        assert bench.wait(bay, lambda status: status.state is BayState.READY).stored == 1
    assert {bay.status.state for bay in empty} == {BayState.EMPTY}


def test_turns_are_served_in_order_and_a_slow_one_gives_way() -> None:
    now = [0.0]
    turns = Turns(1, patience_s=5.0, now_s=lambda: now[0])
    order: list[int] = []

    def take(number: int) -> None:
        with turns.turn():
            order.append(number)

    threads = []
    with turns.turn() as mine:
        for number in (1, 2, 3):
            thread = threading.Thread(target=take, args=(number,))
            thread.start()
            threads.append(thread)
            while len(turns._waiting) < number:
                pass
        mine.tick()
        assert order == []
        now[0] = 6.0
        mine.tick()
        for thread in threads:
            thread.join(10)
        assert order == [1, 2, 3]
