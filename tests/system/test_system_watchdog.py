"""What stands still is restarted or shown as a fault, and no frame reaches a file by the way a process ends."""

import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device.capture.source import CaptureError, FrameSink, StateListener
from device.capture.synthetic import SyntheticSource
from device.controls.patterns import IndicatorState
from device.recording.machine import State
from device.service import ServiceParts
from evidence.frames import EncodedFrame, Span
from evidence.storage import AppendFile, PosixAppendFile
from preroll.watchdog import stopped_parts
from tests.campaign.leaks import find_canary, new_files

if TYPE_CHECKING:
    from tests.system.conftest import Camera, MakeCamera, Opened

    SoundClip = Callable[..., Opened]

NS_PER_S = 1_000_000_000
ROOT = Path(__file__).parents[2]
QUICK = "\n[health]\nstorage_silent_s = 0.5\ncamera_silent_s = 0.5\n"


class HangingSink:
    """Passes frames on until told to hang, as a driver in the kernel does, or to break."""

    def __init__(self, sink: FrameSink) -> None:
        self.flows = threading.Event()
        self.flows.set()
        self.broken = False
        self._sink = sink

    def frame(self, frame: EncodedFrame) -> None:
        self.flows.wait()
        if self.broken:
            raise CaptureError("the camera is gone", found="nothing on its bus")
        self._sink.frame(frame)

    def gap(self, gap: Span) -> None:
        self._sink.gap(gap)


class FailingSource(SyntheticSource):
    """A synthetic camera behind a sink that can be made to fail."""

    sink: HangingSink

    def start(self, sink: FrameSink, on_state: StateListener) -> None:
        self.sink = HangingSink(sink)
        super().start(self.sink, on_state)


@pytest.fixture
def failing(held_back_source: Callable[[], SyntheticSource]) -> FailingSource:
    return FailingSource(held_back_source()._options)


def shown(camera: "Camera") -> IndicatorState | None:
    return camera.service.panel.core.indicators.showing


def late(camera: "Camera", limit_s: float = 5.0) -> tuple[str, ...]:
    """Which parts a watchdog with this limit would call stopped."""
    return stopped_parts(camera.service.progress(), time.monotonic_ns(), int(limit_s * NS_PER_S))


def test_a_frozen_camera_is_a_fault_and_comes_back_when_it_thaws(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", failing: FailingSource
) -> None:
    camera = make_camera(0.5, policy=QUICK, parts=ServiceParts(source=failing))
    camera.wait_filled(0.8)
    camera.start()
    camera.run_for(0.3)
    hanging = failing.sink
    hanging.flows.clear()
    camera.wait_state(State.FAULT)
    camera.wait(lambda: shown(camera) is IndicatorState.FAULT, "the fault light")
    camera.wait_ended(1)
    assert late(camera) == ()  # a dead camera is no reason to end the process
    hanging.flows.set()
    camera.wait_state(State.READY)
    camera.shut_down()
    (clip,) = camera.clips()
    assert str(clip.manifest.ended) == "fault"
    assert_sound_clip(clip)
    states = [str(event.detail["state"]) for event in camera.log_events("camera")]
    assert "failed" in states
    assert states[-1] == "running"


def test_a_camera_unplugged_for_good_leaves_the_process_alive_with_its_fault_shown(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip", failing: FailingSource
) -> None:
    camera = make_camera(0.5, policy=QUICK, parts=ServiceParts(source=failing))
    camera.wait_filled(0.8)
    camera.start()
    camera.run_for(0.3)
    failing.sink.broken = True
    camera.wait_state(State.FAULT)
    camera.wait(lambda: shown(camera) is IndicatorState.FAULT, "the fault light")
    camera.wait_ended(1)
    assert late(camera) == ()
    camera.shut_down()
    (clip,) = camera.clips()
    assert_sound_clip(clip)
    assert [event.detail["state"] for event in camera.log_events("camera")] == ["running", "failed"]


class FreezingFile:
    """A file on a card that may freeze: nothing returns until it thaws."""

    def __init__(self, inner: AppendFile, flows: threading.Event) -> None:
        self._inner = inner
        self._flows = flows

    @property
    def size_bytes(self) -> int:
        return self._inner.size_bytes

    def append(self, data: bytes | memoryview) -> None:
        self._flows.wait()
        self._inner.append(data)

    def sync(self) -> None:
        self._flows.wait()
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


def test_a_frozen_card_is_a_fault_and_what_it_did_not_take_is_written_when_it_thaws(
    make_camera: "MakeCamera", assert_sound_clip: "SoundClip"
) -> None:
    flows = threading.Event()
    flows.set()
    parts = ServiceParts(open_file=lambda path: FreezingFile(PosixAppendFile(path), flows))
    camera = make_camera(0.5, policy=QUICK, parts=parts)
    camera.wait_filled(0.8)
    camera.start()
    camera.wait(lambda: camera.service.recorder.status.caught_up, "a clip that is live")
    flows.clear()
    try:
        camera.wait(lambda: shown(camera) is IndicatorState.FAULT, "no light that says recording")
        assert camera.state is State.RECORDING
        camera.wait(lambda: camera.service.health.storage_frozen, "the frozen card noticed")
        assert late(camera, 2.5) == ()  # the writer hangs with the card: a restart would only lose the ring
    finally:
        flows.set()
    camera.wait(lambda: not camera.service.health.storage_frozen, "the card that answers again")
    camera.wait(lambda: shown(camera) is IndicatorState.RECORDING, "the light that says recording")
    camera.stop()
    camera.shut_down()
    (clip,) = camera.clips()
    assert_sound_clip(clip)
    blocked = [event.detail for event in camera.log_events("storage") if event.detail["state"] == "blocked"]
    assert "has not answered" in str(blocked[0]["reason"])


def test_a_writer_that_hangs_while_storage_answers_stops_the_feeding(make_camera: "MakeCamera") -> None:
    camera = make_camera(0.5, policy=QUICK)
    camera.wait_filled(0.8)
    camera.start()
    (writer,) = camera.service._writers
    released = threading.Event()
    writer._take_orders = lambda _clip: released.wait()  # type: ignore[assignment,method-assign]
    camera.wait(lambda: "writer" in late(camera, 2.0), "the writer that does not turn")
    released.set()
    del writer._take_orders
    camera.wait(lambda: "writer" not in late(camera, 2.0), "all that gets on again")
    camera.stop()
    camera.shut_down()
    assert camera.clips()[0].sealed


class Manager:
    """As much of systemd as a watchdog needs: hears notifications, and ends what is silent for too long."""

    def __init__(self, directory: Path, watchdog_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._watchdog_s = watchdog_s
        self.environment = {
            "NOTIFY_SOCKET": str(directory / "notify"),
            "WATCHDOG_USEC": str(int(watchdog_s * 1e6)),
        }

    def hear(self, timeout_s: float) -> list[str] | None:
        readable, _, _ = select.select([self._socket], [], [], timeout_s)
        return self._socket.recv(4096).decode().splitlines() if readable else None

    def supervise(self, process: "subprocess.Popen[str]") -> int:
        """Wait for the end, or bring it about as `WatchdogSec=` does."""
        while process.poll() is None:
            if self.hear(self._watchdog_s) is None:
                process.send_signal(signal.SIGABRT)
                process.wait(60)
        return process.returncode

    def close(self) -> None:
        self._socket.close()


_KEPT_BY_THE_SYSTEM = ("/var/log/journal", "/run/log/journal", "/var/lib/systemd/coredump", "/var/crash")


def kept_by_the_system(since_ns: int) -> Iterator[Path]:
    """Give what the machine's journal, and whatever takes its core dumps, have written since then."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    of_cores = [str(Path(pattern.strip()).parent)] if pattern.startswith("/") else []
    for place in map(Path, (*_KEPT_BY_THE_SYSTEM, *of_cores)):
        if place.is_dir():
            yield from new_files(place, since_ns)


class Service:
    """A guarded camera process, its canary, and everything that it could leave behind."""

    def __init__(self, place: Path, config: str) -> None:
        self.place = place
        self._began_ns = time.time_ns()
        (place / "device.toml").write_text(config)
        self.canary = bytes(random.SystemRandom().choices(range(1, 256), k=24))
        self.manager = Manager(place, 3.0)
        (place / "temporary").mkdir()
        # The kernel would be allowed to dump: what prevents it is the process itself.
        command = [
            "prlimit",
            "--core=unlimited:",
            sys.executable,
            "-m",
            "tests.system.service_process",
            str(place / "device.toml"),
        ]
        with (place / "stderr").open("w") as errors:
            self.process = subprocess.Popen(
                [*command, self.canary.hex()],
                cwd=ROOT,
                env=os.environ | self.manager.environment | {"TMPDIR": str(place / "temporary")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.wait_for("guarded")

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == word, (self.place / "stderr").read_text()

    def order(self, word: str) -> int:
        self.wait_for("filled")
        self.wait_for("recording")
        assert self.memory_kib("VmSwap") == 0
        assert self.memory_kib("VmLck") > 0  # so it stays 0, also on a machine that has swap
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.manager.supervise(self.process)

    def memory_kib(self, key: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{key}:")))

    def leaks(self) -> list[Path]:
        """Files that hold the canary: the camera's, temporary ones, cores, the journal."""
        places = {*self.place.rglob("*"), *ROOT.glob("core*"), *kept_by_the_system(self._began_ns)}
        return find_canary((path for path in places if path.is_file()), self.canary)


@pytest.fixture
def service(camera_place: Path, toml: Callable[..., str]) -> Iterator[Service]:
    running = Service(camera_place, toml(0.5, microphone="none"))
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.communicate()
    running.manager.close()


def test_an_orderly_end_leaves_a_sealed_clip_and_no_frame_in_any_file(
    service: Service, make_camera: "MakeCamera"
) -> None:
    assert service.order("stop") == 0
    assert service.leaks() == []
    (directory,) = (service.place / "vault" / "clips").iterdir()
    assert (directory / "manifest.json").is_file()


@pytest.mark.parametrize(("order", "status"), [("crash", -signal.SIGSEGV), ("hang", -signal.SIGABRT)])
def test_a_crash_and_a_watchdogs_kill_leave_a_clip_to_recover_and_no_frame_in_any_file(
    order: str, status: int, service: Service, make_camera: "MakeCamera"
) -> None:
    assert service.order(order) == status
    assert service.leaks() == []
    camera = make_camera(0.5, microphone="none")
    camera.wait_state(State.READY)
    camera.wait(lambda: camera.service.recovery.join(0), "the recovery of what was left open")
    camera.shut_down()
    (clip,) = camera.clips()
    assert clip.sealed
    assert clip.manifest.frames > 0


def test_the_search_finds_a_canary_in_a_core(service: Service) -> None:
    (service.place / "core.1").write_bytes(bytes(5000) + service.canary + bytes(100))
    assert service.order("stop") == 0
    assert service.leaks() == [service.place / "core.1"]


_HARDENED = """\
import ctypes, sys
PR_SET_MDWE = 65
ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0)  # what MemoryDenyWriteExecute= does, where the kernel knows it
from preroll.cli import main
sys.argv = ["preroll", *sys.argv[1:]]
main()
"""


def test_the_service_tells_systemd_of_itself_and_ends_well_on_sigterm(
    camera_place: Path, toml: Callable[..., str]
) -> None:
    """The command of the unit, without memory that can be written and executed."""
    file = camera_place / "device.toml"
    file.write_text(toml(0.5))
    manager = Manager(camera_place, 2.0)
    environment = os.environ | manager.environment | {"GPIOZERO_PIN_FACTORY": "mock"}
    command = [sys.executable, "-c", _HARDENED, "device", "run", "--config", str(file)]
    with (camera_place / "stderr").open("w") as errors:
        process = subprocess.Popen(command, cwd=camera_place, env=environment, stderr=errors)
    try:
        assert manager.hear(60) == ["READY=1", "STATUS=camera cam0042"], (camera_place / "stderr").read_text()
        assert [manager.hear(60) for _ in range(3)] == [["WATCHDOG=1"]] * 3
        process.send_signal(signal.SIGTERM)
        told = []
        while (heard := manager.hear(60)) != ["STOPPING=1"]:
            told.append(heard)
        assert all(each == ["WATCHDOG=1"] for each in told)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        manager.close()
