"""The event log's thread on storage that refuses, and the log itself on writes that stop half-way."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from io import BytesIO
from pathlib import Path

import pytest

from device.vault.eventlog import LOG_PREFIX, EventLog
from device.vault.layout import VaultLayout
from device.vault.logthread import LogThread
from evidence.clock import ClockSource, UtcMapping
from evidence.documents import LogEvent, LogLine, decode
from evidence.lines import LineReader
from evidence.signer import Signer
from evidence.storage import PosixAppendFile, StorageError, sync_directory

BOOT = "0f0e0d0c0b0a09080706050403020100"


def no_clock() -> UtcMapping:
    return UtcMapping(monotonic_ns=7, utc_ns=None, source=ClockSource.NONE)


class Card:
    """Takes so many bytes, then refuses; syncs only while it may."""

    def __init__(self) -> None:
        self.room = 1 << 30
        self.syncs = True
        self.creates = True

    def open(self, path: Path) -> "CardFile":
        if not self.creates:
            raise StorageError("cannot create", OSError(errno.EIO, os.strerror(errno.EIO)))
        return CardFile(path, self)


class CardFile(PosixAppendFile):
    def __init__(self, path: Path, card: Card) -> None:
        super().__init__(path)
        self._card = card

    def append(self, data: bytes | memoryview) -> None:
        fits = min(len(data), self._card.room)
        self._card.room -= fits
        super().append(memoryview(data)[:fits])
        if fits < len(data):
            raise StorageError("cannot write", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def sync(self) -> None:
        if not self._card.syncs:
            raise StorageError("cannot sync", OSError(errno.EIO, os.strerror(errno.EIO)))
        super().sync()


@pytest.fixture
def card() -> Card:
    return Card()


@pytest.fixture
def new_log(layout: VaultLayout, signer: Signer, card: Card) -> Callable[[], EventLog]:
    return lambda: EventLog(layout, signer, BOOT, no_clock, card.open)


@pytest.fixture
def lines(layout: VaultLayout, signer: Signer) -> Callable[[], list[LogLine]]:
    """Read all that lies there, verified and chained."""

    def read() -> list[LogLine]:
        found: list[LogLine] = []
        previous = None
        for path in sorted(layout.log.iterdir()):
            for line in LineReader(BytesIO(path.read_bytes()), LOG_PREFIX, signer.public_key):
                found.append(decode(line.value, LogLine))
                assert found[-1].previous == previous
                previous = line.sha256
        assert [line.index for line in found] == list(range(1, len(found) + 1))
        return found

    return read


def event(number: int) -> LogEvent:
    return LogEvent(kind="press", monotonic_ns=number, detail={})


def presses(lines: list[LogLine]) -> list[int]:
    return [found.monotonic_ns for line in lines for found in line.events if found.kind == "press"]


@pytest.mark.parametrize("fits", [0, 1, 100, 333])
def test_a_line_cut_short_by_a_full_storage_goes_on_from_its_byte(
    fits: int, card: Card, new_log: Callable[[], EventLog], lines: Callable[[], list[LogLine]]
) -> None:
    log = new_log()
    log.append([event(1)])
    card.room = fits
    with pytest.raises(StorageError):
        log.append([event(2)])
    assert log.owing
    card.room = 1 << 30
    log.flush()
    assert not log.owing
    log.append([event(3)])
    log.close()
    assert presses(lines()) == [1, 2, 3]


def test_a_line_that_could_not_be_synced_is_owed_until_it_is(
    card: Card, new_log: Callable[[], EventLog], lines: Callable[[], list[LogLine]]
) -> None:
    log = new_log()
    card.syncs = False
    with pytest.raises(StorageError):
        log.append([event(1)])
    assert log.owing
    with pytest.raises(StorageError):
        log.append([event(2)])  # not signed: the one before comes first
    card.syncs = True
    log.append([event(3)])
    log.close()
    assert presses(lines()) == [1, 3]


def test_the_name_of_a_log_file_is_synced_before_a_line_counts(
    card: Card,
    new_log: Callable[[], EventLog],
    monkeypatch: pytest.MonkeyPatch,
    lines: Callable[[], list[LogLine]],
) -> None:
    from device.vault import eventlog

    asked: list[str] = []

    def refuse(path: Path) -> None:
        asked.append(path.name)
        if len(asked) < 3:
            raise StorageError("cannot sync the directory", OSError(errno.EIO, os.strerror(errno.EIO)))
        sync_directory(path)

    monkeypatch.setattr(eventlog, "sync_directory", refuse)
    log = new_log()
    for _ in range(2):
        with pytest.raises(StorageError):
            log.append([event(1)])
        assert log.head is None
    log.append([event(1)])
    log.append([event(2)])
    log.close()
    assert asked == ["log"] * 3
    assert presses(lines()) == [1, 2]


class Listener:
    """What the thread says about storage."""

    def __init__(self) -> None:
        self.said: list[str | None] = []
        self.refused = threading.Event()
        self.well = threading.Event()

    def __call__(self, error: StorageError | None) -> None:
        self.said.append(None if error is None else str(error))
        (self.refused if error else self.well).set()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def thread(new_log: Callable[[], EventLog], listener: Listener) -> Iterator[LogThread]:
    running = LogThread(new_log(), listener, retry_ns=5_000_000)
    yield running
    running.close()


def test_an_urgent_event_is_on_storage_when_its_future_is_done(
    thread: LogThread, lines: Callable[[], list[LogLine]]
) -> None:
    thread.post("camera", 1)
    head = thread.post("press", 2, urgent=True).result(timeout=30)
    assert thread.head == head
    (line,) = lines()
    kinds = [found.kind for found in line.events]
    assert kinds[-2:] == ["camera", "press"]  # what waited goes along


def test_what_storage_refuses_is_kept_in_order_and_written_once(
    card: Card, thread: LogThread, listener: Listener, lines: Callable[[], list[LogLine]]
) -> None:
    card.creates = False
    first = thread.post("press", 1, urgent=True)
    assert listener.refused.wait(30)
    later = [thread.post("press", number, urgent=number % 2 == 0) for number in range(2, 30)]
    assert not first.done()
    card.creates = True
    first.result(timeout=30)
    thread.post("press", 30, urgent=True).result(timeout=30)
    assert all(future.done() for future in later)
    assert listener.well.wait(30)
    assert presses(lines()) == list(range(1, 31))


def test_an_event_signed_and_not_written_is_not_signed_again(
    card: Card, thread: LogThread, listener: Listener, lines: Callable[[], list[LogLine]]
) -> None:
    card.room = 50
    first = thread.post("press", 1, urgent=True)
    assert listener.refused.wait(30)
    assert not first.done()
    card.room = 1 << 30
    first.result(timeout=30)
    thread.post("press", 2, urgent=True).result(timeout=30)
    assert presses(lines()) == [1, 2]


def test_what_the_bound_drops_is_counted_in_the_next_line(
    card: Card, thread: LogThread, listener: Listener, lines: Callable[[], list[LogLine]]
) -> None:
    card.creates = False
    futures = [thread.post("press", number, urgent=number == 0) for number in range(1100)]
    assert listener.refused.wait(30)
    futures.append(thread.post("press", 1100, urgent=True))
    with pytest.raises(CancelledError):
        futures[100].result(timeout=30)  # the last one to go: all of them have been looked at
    card.creates = True
    futures[-1].result(timeout=30)
    found = lines()
    dropped = [one.detail["events"] for line in found for one in line.events if one.kind == "log_dropped"]
    assert len(presses(found)) == 1000
    assert dropped == [101]
    assert sum(future.cancelled() for future in futures) == 101


def test_closing_writes_what_waits(
    new_log: Callable[[], EventLog], listener: Listener, lines: Callable[[], list[LogLine]]
) -> None:
    thread = LogThread(new_log(), listener)
    waiting = thread.post("press", 5)
    thread.close()
    assert waiting.done()
    assert presses(lines()) == [5]


def test_closing_on_a_card_that_refuses_says_so(
    card: Card, new_log: Callable[[], EventLog], listener: Listener
) -> None:
    card.creates = False
    thread = LogThread(new_log(), listener)
    thread.post("press", 5)
    thread.close()
    assert listener.said
    assert listener.said[-1] is not None
