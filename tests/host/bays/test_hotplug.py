"""Hot plug: a bay looks as soon as the kernel says so; without it, in its turn."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docklink.serialport import PtyPair
from host.bays import BayState, FakeMonitor, PortEvent, PortMonitor, SerialWay, TcpWay, UdevMonitor, UsbWay
from tests.host.offload.fakecamera import CameraServer, FakeCamera

if TYPE_CHECKING:
    from tests.host.bays.conftest import BayBench

# What udev sends after its rules ran: the header of libudev's monitor (magic fe ed ca fe), then properties.
_CHILD = """
import socket, struct, sys, threading
from pathlib import Path
from host.bays import UdevMonitor
heard = threading.Event()
def hear(event):
    print(sorted(event.paths), event.serial, flush=True)
    heard.set()
monitor = UdevMonitor(control=Path("/"))
trouble = monitor.start(hear)
if trouble:
    sys.exit(trouble)
def send(action, subsystem):
    facts = {"ACTION": action, "DEVPATH": "/devices/x/tty/ttyACM0", "SUBSYSTEM": subsystem, "SEQNUM": "7",
             "DEVNAME": "/dev/ttyACM0", "DEVLINKS": "/dev/serial/by-id/usb-P_C_CAM0042-if00",
             "ID_SERIAL_SHORT": "CAM0042", "MAJOR": "166", "MINOR": "0"}
    body = b"".join(f"{key}={value}\\0".encode() for key, value in facts.items())
    head = b"libudev\\0" + struct.pack("!I", 0xfeedcafe) + struct.pack("=III", 40, 40, len(body)) + bytes(16)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) as line:
        line.sendto(head + body, (0, 2))
send("add", "block")
send("add", "tty")
if not heard.wait(30):
    sys.exit("nothing was heard")
monitor.close()
"""


def test_udev_says_what_came() -> None:
    """In a network namespace of its own, where this test may speak with udev's voice."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare (util-linux)")
    spaces = [[unshare, "-n"], [unshare, "-rn"]]
    own = next((each for each in spaces if subprocess.run([*each, "true"], check=False).returncode == 0), None)
    if own is None:
        pytest.skip("no network namespace may be made here")
    done = subprocess.run(
        [*own, sys.executable, "-c", _CHILD], capture_output=True, text=True, check=False, timeout=60
    )
    if "libudev" in done.stderr:
        pytest.skip("no libudev here")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['/dev/serial/by-id/usb-P_C_CAM0042-if00', '/dev/ttyACM0'] CAM0042\n"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda place: UdevMonitor(control=place / "absent"), id="udev-is-absent"),
        pytest.param(lambda _place: FakeMonitor("not here"), id="fake"),
    ],
)
def test_a_monitor_that_cannot_work_says_why_and_closes(
    make: Callable[[Path], PortMonitor], tmp_path: Path
) -> None:
    monitor = make(tmp_path)
    heard: list[PortEvent] = []
    assert monitor.start(heard.append) != ""
    monitor.close()
    assert heard == []


def test_a_monitor_that_is_closed_says_nothing_more() -> None:
    monitor, heard = FakeMonitor(), list[PortEvent]()
    assert monitor.start(heard.append) == ""
    monitor.say(PortEvent(serial="A"))
    monitor.close()
    monitor.say(PortEvent(serial="B"))
    assert heard == [PortEvent(serial="A")]


@pytest.mark.parametrize(
    ("event", "usb", "serial"),
    [
        (PortEvent(("/dev/ttyACM0", "/dev/serial/by-id/usb-Preroll_Camera_CAM0042-if00")), True, False),
        (PortEvent(serial="CAM0042"), True, False),
        (PortEvent(("/dev/ttyACM3",), "CAM0043"), False, True),
        (PortEvent(lost=True), True, True),
        (PortEvent(("/dev/ttyACM1", "/dev/serial/by-id/usb-P_C_XCAM0042-if00"), "XCAM0042"), False, False),
    ],
)
def test_an_event_concerns_the_bay_whose_camera_it_is(event: PortEvent, usb: bool, serial: bool) -> None:
    assert UsbWay("CAM0042", 9600).concerns(event) is usb
    assert SerialWay("/dev/ttyACM3", 9600).concerns(event) is serial
    assert not TcpWay("127.0.0.1", 1, 1.0).concerns(event)


def test_a_bay_looks_at_once_when_its_camera_is_plugged_in(bench: "BayBench", tmp_path: Path) -> None:
    camera = FakeCamera(bench.pki, [bench.clips.make(1)])
    pair, server, by_id = PtyPair(), CameraServer(camera), tmp_path / "by-id"
    by_id.mkdir()
    server.serve_line(pair.far())
    bay = bench.bay("1", UsbWay("CAM0042", 115_200, by_id), look_s=3600.0)
    monitor = FakeMonitor()
    monitor.start(bay.plugged)
    bench.wait(bay, lambda status: bay.progress_ns > 0 and status.state is BayState.EMPTY)
    name = by_id / "usb-Preroll_Camera_CAM0042-if00"
    name.symlink_to(pair.path)
    monitor.say(PortEvent(("/dev/ttyACM0",), "OTHER"))
    monitor.say(PortEvent((str(name),), "CAM0042"))
    bench.wait(bay, lambda status: status.state is BayState.READY)
    name.unlink()
    monitor.say(PortEvent((str(name),), "CAM0042"))
    bench.wait(bay, lambda status: status.state is BayState.EMPTY)
    server.close()
    pair.close()


class Dying(TcpWay):
    """A way with an error that nobody foresaw, so many times."""

    def __init__(self, port: int, deaths: int) -> None:
        super().__init__("127.0.0.1", port, 1.0)
        self.deaths = deaths

    def present(self) -> bool:
        if self.deaths:
            self.deaths -= 1
            raise ZeroDivisionError
        return True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bay_whose_worker_died_shows_it_and_works_again(bench: "BayBench") -> None:
    camera = FakeCamera(bench.pki, [bench.clips.make(1)])
    _, port = bench.serve(camera)
    bay = bench.bay("1", Dying(port, 1))
    bench.wait(bay, lambda status: "ZeroDivisionError" in status.detail)
    assert bay.join(20)
    assert (bay.died_of, bay.stopping) == ("ZeroDivisionError", False)
    before_ns = bay.progress_ns
    bay.restart()
    assert bench.wait(bay, lambda status: status.state is BayState.READY).stored == 1
    assert bay.progress_ns > before_ns
    assert not bay.stalled(bay.progress_ns + 10**9)
    assert bay.stalled(bay.progress_ns + 3600 * 10**9)
