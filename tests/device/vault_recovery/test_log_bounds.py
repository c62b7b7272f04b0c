"""The event log stays within its bounds, says what it let go of, and notes who sets the clock."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.vault.eventlog import EventLog, LogBounds
from device.vault.layout import VaultLayout, open_layout
from evidence.clock import ClockSource, UtcMapping, format_utc
from evidence.documents import LogEvent
from evidence.eventlog import LogEntry, LogReader, log_segments
from evidence.logdates import LogDates
from evidence.storage import StorageError
from tests.device.vault_recovery.rig import BOOT, DEVICE, Camera

BLOCK = 4096
UTC_NS = 1_800_000_000_000_000_000
S = 1_000_000_000
UNKNOWN = UtcMapping(monotonic_ns=0, utc_ns=None, source=ClockSource.NONE)


@pytest.fixture
def layout(camera: Camera) -> Iterator[VaultLayout]:
    opened = open_layout(camera.root, DEVICE)
    yield opened
    opened.close()


def press(at_ns: int = 0) -> LogEvent:
    return LogEvent(kind="press", monotonic_ns=at_ns, detail={})


def start(camera: Camera, layout: VaultLayout, bounds: LogBounds | None = None, docked: int = 0) -> EventLog:
    """One start of the firmware: a file of its own, of one block."""
    log = EventLog(layout, camera.signer, BOOT, lambda: UNKNOWN, bounds=bounds)
    log.docked_index = docked
    log.append([press()])
    log.close()
    return log


def read(camera: Camera, layout: VaultLayout) -> tuple[LogReader, list[LogEntry]]:
    reader = LogReader(log_segments(layout.log), camera.signer.public_key)
    return reader, list(reader)


def test_the_oldest_files_go_and_the_log_says_so(camera: Camera, layout: VaultLayout) -> None:
    bounds = LogBounds(docked_limit_bytes=2 * BLOCK, limit_bytes=5 * BLOCK)
    for _ in range(20):
        start(camera, layout, bounds)
        reader, entries = read(camera, layout)
        assert reader.defects == []
        assert len(log_segments(layout.log)) <= 6
    assert entries[0].line.index > 10
    assert entries[-1].line.index == 20


def test_what_a_dock_has_goes_earlier_and_nothing_else(camera: Camera, layout: VaultLayout) -> None:
    bounds = LogBounds(docked_limit_bytes=2 * BLOCK, limit_bytes=1000 * BLOCK)
    for _ in range(10):
        start(camera, layout, bounds)
    assert len(log_segments(layout.log)) == 10
    start(camera, layout, bounds, docked=6)
    reader, entries = read(camera, layout)
    assert reader.defects == []
    assert [entry.line.index for entry in entries] == [7, 8, 9, 10, 11]


def test_a_kill_between_the_line_and_the_removal_leaves_a_log_that_holds(
    camera: Camera, layout: VaultLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = LogBounds(docked_limit_bytes=0, limit_bytes=3 * BLOCK)
    removed: list[Path] = []

    def remove_one(path: Path) -> None:
        if removed:
            raise StorageError("cannot remove", OSError(5, "Input/output error"))
        removed.append(path)
        path.unlink()

    for _ in range(3):
        start(camera, layout)
    with monkeypatch.context() as patch:
        patch.setattr("device.vault.eventlog.remove_file", remove_one)
        log = start(camera, layout, LogBounds(docked_limit_bytes=0, limit_bytes=BLOCK))
    assert log.damaged
    reader, entries = read(camera, layout)
    assert (reader.defects, entries[0].line.index) == ([], 2)
    start(camera, layout, bounds)
    assert read(camera, layout)[0].defects == []


def test_a_file_without_a_good_line_goes_together_with_the_next(camera: Camera, layout: VaultLayout) -> None:
    for _ in range(3):
        start(camera, layout)
    second = log_segments(layout.log)[1].path
    second.write_bytes(b"\0" * 100)
    start(camera, layout, LogBounds(docked_limit_bytes=0, limit_bytes=2 * BLOCK))
    _, entries = read(camera, layout)
    assert entries[0].line.index >= 3


def test_who_sets_the_clock_is_noted_with_before_and_after(camera: Camera, layout: VaultLayout) -> None:
    mappings = [
        UNKNOWN,
        UtcMapping(monotonic_ns=10 * S, utc_ns=UTC_NS, source=ClockSource.SYSTEM),
        UtcMapping(monotonic_ns=20 * S, utc_ns=UTC_NS + 10 * S, source=ClockSource.SYSTEM),
        UtcMapping(monotonic_ns=30 * S, utc_ns=UTC_NS + 50 * S, source=ClockSource.DOCK, error_ns=1_000_000),
    ]
    log = EventLog(layout, camera.signer, BOOT, lambda: mappings.pop(0))
    for _ in range(4):
        log.append([press()])
    log.close()
    _, entries = read(camera, layout)
    noted = [[event.detail for event in entry.line.events if event.kind == "clock"] for entry in entries]
    assert [len(details) for details in noted] == [1, 1, 0, 1]
    assert noted[3][0] == {
        "source": "dock",
        "error_ns": 1_000_000,
        "before": format_utc(UTC_NS + 20 * S),
        "after": format_utc(UTC_NS + 50 * S),
    }
    dated = LogDates(entry.line for entry in entries).date_of(BOOT, 0)
    assert dated is not None
    assert dated.source is ClockSource.DOCK
    assert dated.earliest_utc_ns < UTC_NS + 20 * S < dated.latest_utc_ns
