"""Notification socket, watchdog, journal: what they send, and that nothing fails without them."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preroll.logs import JournalHandler, journal_entry
from preroll.notify import ServiceManager
from preroll.watchdog import Watchdog, stopped_parts

NS_PER_S = 1_000_000_000


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(30)
        yield receiver


def test_it_tells_the_manager_that_started_it(inbox: socket.socket, tmp_path: Path) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "socket"), "WATCHDOG_USEC": "5000000"})
    assert manager.watchdog_ns == 5 * NS_PER_S
    assert manager.tell("READY=1", "STATUS=camera cam0042")
    assert inbox.recv(4096) == b"READY=1\nSTATUS=camera cam0042"


def test_an_abstract_socket_is_one_too() -> None:
    name = f"preroll-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        assert ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).tell("READY=1")
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}],
)
def test_without_a_manager_nothing_is_told_and_nothing_fails(
    environment: dict[str, str], tmp_path: Path
) -> None:
    manager = ServiceManager(environment)
    assert manager.watchdog_ns is None
    assert not manager.tell("READY=1")
    assert not ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).tell("READY=1")
    Watchdog(manager, dict).close()


@given(
    st.dictionaries(st.text(max_size=5), st.integers(0, 10**12)), st.integers(0, 10**12), st.integers(1, 10**12)
)
def test_the_parts_that_stopped_are_those_beyond_the_limit(parts: dict[str, int], now: int, limit: int) -> None:
    stopped = stopped_parts(parts, now, limit)
    assert all(now - parts[part] > limit for part in stopped)
    assert all(now - at <= limit for part, at in parts.items() if part not in stopped)


def test_a_part_that_stands_still_ends_the_feeding_and_is_named_once(
    inbox: socket.socket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    progress = {"main loop": 0, "frames": 0}
    now = [0]
    environment = {"NOTIFY_SOCKET": str(tmp_path / "socket"), "WATCHDOG_USEC": "30000000"}
    watchdog = Watchdog(ServiceManager(environment), lambda: progress, now_ns=lambda: now[0])
    assert watchdog.look() == ()
    assert inbox.recv(100) == b"WATCHDOG=1"
    now[0] = 16 * NS_PER_S
    progress["frames"] = now[0]
    assert watchdog.look() == watchdog.look() == ("main loop",)
    inbox.setblocking(False)
    with pytest.raises(BlockingIOError):
        inbox.recv(100)
    assert [record.message for record in caplog.records] == [
        "no progress of main loop: the watchdog is not fed"
    ]
    progress["main loop"] = now[0]
    assert watchdog.look() == ()
    assert inbox.recv(100) == b"WATCHDOG=1"


def test_the_thread_feeds_as_long_as_work_gets_done(inbox: socket.socket, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "socket"), "WATCHDOG_USEC": "60000"}
    watchdog = Watchdog(ServiceManager(environment), lambda: {"main loop": 0}, now_ns=lambda: 0)
    watchdog.start()
    assert [inbox.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    watchdog.close()


def record(message: str, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("device.health", logging.WARNING, "x.py", 1, message, (), None)
    made.__dict__.update(more)
    return made


def test_an_entry_has_one_line_of_message_and_its_fields() -> None:
    entry = journal_entry(record("card\nfrozen", fields={"part": "card", "text": "a\nb"}))
    assert b"MESSAGE=card frozen\n" in entry
    assert b"PRIORITY=4\n" in entry
    assert b"PREROLL_LOGGER=device.health\n" in entry
    assert b"PREROLL_PART=card\n" in entry
    assert b"PREROLL_TEXT\n" + (3).to_bytes(8, "little") + b"a\nb\n" in entry


@given(st.text(max_size=200))
def test_no_message_can_add_a_field(text: str) -> None:
    lines = journal_entry(record(text)).split(b"\n")
    assert len(lines) == 6
    assert lines[0].startswith(b"MESSAGE=")


def test_the_journal_gets_entries_and_its_absence_is_counted(inbox: socket.socket, tmp_path: Path) -> None:
    handler = JournalHandler(tmp_path / "socket")
    handler.emit(record("one"))
    assert b"MESSAGE=one\n" in inbox.recv(4096)
    handler.close()
    gone = JournalHandler(tmp_path / "gone")
    gone.emit(record("two"))
    assert gone.lost == 1
    gone.close()


_CODE = """\
import logging, os, signal, threading
from preroll.logs import set_up_logging
set_up_logging(verbose=False)
log = logging.getLogger("device")
log.info("not told"); os.kill(os.getpid(), signal.SIGUSR1); log.info("told")
os.kill(os.getpid(), signal.SIGUSR2); log.info("not told")
thread = threading.Thread(target=lambda: 1 // 0, name="writer"); thread.start(); thread.join()
raise SystemExit(1 // 0)
"""


def test_a_running_service_tells_more_on_a_signal_and_every_event_is_a_line() -> None:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert [line.partition(" | ")[0] for line in lines] == [
        "WARNING preroll.logs: log level is now DEBUG",
        "INFO device: told",
        "WARNING preroll.logs: log level is now WARNING",
        "CRITICAL preroll.logs: thread writer ended by an error of the program: ZeroDivisionError",
        "CRITICAL preroll.logs: ended by an error of the program: ZeroDivisionError",
    ]
    assert done.returncode == 1


def test_lights_can_be_set_without_the_firmware(tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    file.write_text('[device]\nid = "cam1"\n[policy]\nrecipients_file = "r.txt"\n')
    code = "import sys; from preroll.cli import main; sys.argv = ['preroll', *sys.argv[1:]]; main()"
    command = [sys.executable, "-c", code, "device", "lights", "fault", "--config", str(file)]
    done = subprocess.run(
        command, env=os.environ | {"GPIOZERO_PIN_FACTORY": "mock"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
