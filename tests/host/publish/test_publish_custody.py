"""Events made from the custody log: whatever is killed or lost, each entry has its event, in order."""

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.documents import CustodyHead
from host.custody import CustodyLog
from host.publish import Outbox, OutboxError
from host.publish.drafts import FOLLOWED
from host.publish.follower import Follower, follow_pages
from host.publish.opening import open_outbox
from host.publish.standing import keep_standing, read_standing

CLIP = "20261122T090000Z-cam0042-000001"
UTC_NS = 1_795_000_000_000_000_000


class Killed(Exception):  # noqa: N818 - it is no error, it is the end of the process
    """The process ends here."""


class Dock:
    """A custody log and an outbox, opened anew again and again; `restart` does as an agent's start does."""

    def __init__(self, directory: Path, *, entries: int = 0) -> None:
        self.path = directory / "outbox.db"
        self.log = CustodyLog(directory / "custody.jsonl", "dock7-a")
        self.troubles: list[str] = []
        self.outbox: Outbox | None = None
        self.stored(entries)
        self.begin: CustodyHead | None = None

    def stored(self, count: int = 1, kind: str = "clip_stored") -> None:
        for _ in range(count):
            self.log.append(
                kind, utc_ns=UTC_NS, device="cam0042", clip=CLIP, manifest_sha256="cd" * 32, detail={}
            )

    def restart(self) -> "Dock":
        self.stop()
        self.outbox, trouble = open_outbox(self.path)
        self.troubles += [trouble] if trouble else []
        log = self.log
        self.follower = Follower(self.outbox, "dock7", lambda: log, log.head, self.troubles.append)
        return self

    def follow(self) -> None:
        while follow_pages(self.follower, self.troubles.append):
            continue

    def stop(self) -> None:
        if self.outbox is not None:
            self.outbox.close()

    def end(self) -> None:
        self.stop()
        self.log.close()

    @property
    def box(self) -> Outbox:
        assert self.outbox is not None
        return self.outbox

    def events(self) -> list[dict[str, object]]:
        return [json.loads(each.payload) for each in self.box.waiting(0, 10_000)]

    def told(self) -> list[object]:
        return [
            each["data"]["custody_entries"]  # type: ignore[index]  # an object in every event
            for each in self.events()
            if each["kind"] in FOLLOWED
        ]


def test_a_log_from_before_there_was_a_broker_is_begun_at_its_end(tmp_path: Path) -> None:
    dock = Dock(tmp_path, entries=1000).restart()
    with mock.patch.object(CustodyLog, "after", side_effect=AssertionError("it is read")):
        dock.follow()
    assert dock.events() == []
    held = dock.box.held("dock7-a")
    assert (held.custody_after, held.custody_told) == (1000, 1000)
    dock.stored()
    dock.follow()
    assert dock.told() == [1001]
    dock.end()


def test_an_event_is_that_of_its_entry(tmp_path: Path) -> None:
    dock = Dock(tmp_path).restart()
    for kind in ("docked", "clip_quarantined", "receipt_accepted", "fork", "undocked"):
        dock.stored(kind=kind)
    dock.log.append(
        "quarantine_released",
        utc_ns=UTC_NS,
        device="cam0042",
        clip=CLIP,
        detail={"operator": "j.doe", "reason": "about j.roe"},
    )
    head = dock.log.head
    assert head is not None
    dock.follow()
    events = dock.events()
    assert [each["kind"] for each in events] == ["clip_quarantined", "fork", "quarantine_released"]
    assert events[-1] | {"series": ""} == {
        "schema": 1,
        "dock": "dock7",
        "series": "",
        "number": 3,
        "utc": "2026-11-18T11:06:40.000000Z",
        "kind": "quarantine_released",
        "device": "cam0042",
        "clip": CLIP,
        "detail": "released by an operator",
        "data": {"custody_entries": 6, "custody_head": head.head},
        "shortened": False,
    }
    dock.end()


def test_what_was_entered_before_the_start_is_marked(tmp_path: Path) -> None:
    dock = Dock(tmp_path).restart()
    dock.stored(2)
    dock.restart().stored()
    dock.follow()
    assert [each["data"].get("made_at_start") for each in dock.events()] == [True, True, None]  # type: ignore[attr-defined]  # an object
    dock.end()


def test_many_entries_are_caught_up_in_pages(tmp_path: Path) -> None:
    dock = Dock(tmp_path).restart()
    dock.stored(600)
    assert [follow_pages(dock.follower, dock.troubles.append) for _ in range(4)] == [1, 1, 1, 0]
    assert dock.told() == list(range(1, 601))
    dock.end()


def test_a_log_that_was_cut_is_said_and_followed_from_its_end(tmp_path: Path) -> None:
    dock = Dock(tmp_path, entries=3).restart()
    dock.stored(5)
    dock.follow()
    dock.log.close()
    path = tmp_path / "custody.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    dock.log = CustodyLog(path, "dock7-a")
    dock.restart()
    assert "ends at entry 4, and events were made up to 8" in dock.troubles[0]
    dock.stored()
    dock.follow()
    assert dock.told() == [4, 5, 6, 7, 8, 5]
    dock.end()


def test_an_outbox_that_takes_nothing_is_told_and_tried_again(tmp_path: Path) -> None:
    dock = Dock(tmp_path).restart()
    dock.stored()
    with mock.patch.object(Outbox, "follow", side_effect=OutboxError("no space")):
        assert follow_pages(dock.follower, dock.troubles.append) == 0
    assert dock.troubles == ["no space"]
    dock.follow()
    assert dock.told() == [1]
    dock.end()


def broken(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"no database any more, long enough to be looked at")


def missing(path: Path) -> None:
    path.unlink()


def torn(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=DELETE")
    database.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def bare(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM facts WHERE name = 'last'")
    database.close()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [broken, missing, torn, bare, emptied], ids=lambda harm: str(harm.__name__))
def test_a_lost_outbox_is_followed_by_another_that_knows_what_counts(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    dock = Dock(tmp_path, entries=5).restart()
    dock.box.open_session()
    dock.stored(4)
    dock.follow()
    dock.box.remember("preroll/north/dock7/camera/cam1", b"{}")
    dock.box.acknowledge([1, 2], 0)
    series = dock.box.series
    keep_standing(dock.path, dock.box.standing())
    dock.stop()
    dock.outbox = None
    harm(dock.path)
    dock.stored()
    dock.restart()
    assert "another series begins" in dock.troubles[0]
    assert dock.path.with_name("outbox.db.broken").exists() is (harm in (broken, torn, bare))
    dock.follow()
    assert dock.told() == [8, 9, 10]  # what the broker had not acknowledged, and what came since
    held = dock.box.held("dock7-a")
    assert (held.series != series, held.generation, held.custody_after) == (True, 2, 7)
    assert dock.box.follows == series
    assert dock.box.open_session().number == 2
    assert dock.box.retained() == {"preroll/north/dock7/camera/cam1": None}
    dock.restart()
    assert len(dock.troubles) == 1
    dock.end()


def test_an_outbox_from_a_backup_is_not_gone_on_with(tmp_path: Path) -> None:
    dock = Dock(tmp_path).restart()
    dock.stored()
    dock.follow()
    dock.stop()
    backup = dock.path.read_bytes()
    dock.restart().stored(3)
    dock.follow()
    dock.box.acknowledge([1], 0)
    keep_standing(dock.path, dock.box.standing())
    dock.stop()
    dock.outbox = None
    dock.path.write_bytes(backup)
    dock.restart()
    assert "older than what was published" in dock.troubles[0]
    dock.follow()
    assert dock.told() == [2, 3, 4]
    assert dock.box.generation == 2
    dock.end()


def test_a_standing_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    assert read_standing(path) is None
    (tmp_path / "outbox.standing.json").write_bytes(b"\xff{")
    assert read_standing(path) is None
    with_none, trouble = open_outbox(path)
    assert (with_none.generation, trouble) == (1, "")
    with_none.close()


class Killing:
    """Kills between and within writes, and outboxes lost; entries wanted, and those of events."""

    def __init__(self, directory: Path) -> None:
        self.dock = Dock(directory).restart()
        self.wanted: list[int] = []
        self.told: list[object] = []

    def entry(self) -> None:
        self.dock.stored()
        assert self.dock.log.head is not None
        self.wanted.append(self.dock.log.head.entries)

    def other_entry(self) -> None:
        self.dock.stored(kind="docked")

    def follow(self) -> None:
        self.dock.follow()

    def fault(self) -> None:
        self.dock.box.append("fault", 0, lambda number: b'{"kind": "fault", "number": %d}' % number)

    def kill(self) -> None:
        self.dock.restart()

    def kill_before_the_event(self) -> None:
        self._kill_in("_add")

    def kill_behind_the_event(self) -> None:
        self._kill_in("_set_fact")

    def lose(self) -> None:
        """Lose the outbox just after its standing was written, as the agent does all the time."""
        self.collect()
        keep_standing(self.dock.path, self.dock.box.standing())
        self.dock.stop()
        self.dock.outbox = None
        broken(self.dock.path)
        self.dock.restart()

    def collect(self) -> None:
        """Take all events as a subscriber does, and look at their numbers."""
        self.told.extend(self.dock.told())
        numbers = [each["number"] for each in self.dock.events()]
        assert numbers == list(range(1, len(numbers) + 1))

    def _kill_in(self, method: str) -> None:
        with mock.patch.object(Outbox, method, side_effect=Killed), contextlib.suppress(Killed):
            self.dock.follow()
        self.dock.restart()


_STEPS = ("entry", "other_entry", "follow", "fault", "kill", "kill_before_the_event", "kill_behind_the_event")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from((*_STEPS, "lose")), max_size=25))
def test_whenever_it_is_killed_each_entry_has_its_event(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    killing = Killing(tmp_path_factory.mktemp("dock"))
    for each in steps:
        getattr(killing, each)()
    killing.follow()
    killing.collect()
    last = killing.dock.told()
    assert last == sorted(set(last))  # type: ignore[type-var]  # numbers of entries
    assert sorted(set(killing.told)) == killing.wanted  # type: ignore[type-var]  # numbers of entries
    if "lose" not in steps:
        assert killing.told == killing.wanted  # each once
    killing.dock.end()
