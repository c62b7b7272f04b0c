"""The outbox: numbers without gaps, bounded, kept for replay, alive after anything."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from host.publish import Outbox, OutboxError
from host.publish.outbox import KEEP_NS


def payload(number: int) -> bytes:
    return b"%d" % number


def numbers(outbox: Outbox) -> list[int]:
    return [each.number for each in outbox.waiting(0, 1000)]


def test_numbers_have_no_gaps_over_restarts(tmp_path: Path) -> None:
    series = set()
    for count in range(3):
        outbox = Outbox(tmp_path / "outbox.db")
        series.add(outbox.series)
        assert [outbox.append("fault", 0, payload) for _ in range(2)] == [2 * count + 1, 2 * count + 2]
        outbox.close()
    outbox = Outbox(tmp_path / "outbox.db")
    assert numbers(outbox) == [1, 2, 3, 4, 5, 6]
    assert [each.payload for each in outbox.waiting(4, 1)] == [b"5"]
    outbox.acknowledge([1, 2, 4], 0)
    assert numbers(outbox) == [3, 5, 6]
    assert [each.number for each in outbox.acknowledged(2, 6, 10)] == [2, 4]
    assert len(series) == 1
    outbox.close()


def test_a_payload_that_cannot_be_written_uses_up_no_number(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", limit=1)

    def fail(number: int) -> bytes:
        raise OutboxError(f"no payload for {number}")

    outbox.append("fault", 0, payload)
    with pytest.raises(OutboxError):
        outbox.append("fault", 0, fail)
    assert outbox.append("fault", 0, payload) == 2
    assert outbox.dropped == 1  # not twice: the first attempt was taken back whole
    outbox.close()


def test_an_acknowledged_event_is_kept_for_seven_days_and_another_for_ever(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    for _ in range(3):
        outbox.append("fault", 0, payload)
    outbox.acknowledge([1], 1_000)
    outbox.acknowledge([1, 2], 2_000)
    assert outbox.expire(KEEP_NS + 1_000) == 0
    assert outbox.expire(KEEP_NS + 1_001) == 1
    assert outbox.expire(KEEP_NS * 2) == 1
    assert numbers(outbox) == [3]
    assert outbox.append("fault", 0, payload) == 4
    assert (outbox.held().first, outbox.held().last) == (3, 4)
    outbox.close()
    empty = Outbox(tmp_path / "other.db")
    assert (empty.held().first, empty.held().last) == (0, 0)
    empty.close()


def test_at_the_bound_what_the_broker_has_goes_first_and_the_rest_is_counted(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", limit=3)
    for _ in range(3):
        outbox.append("fault", 0, payload)
    outbox.acknowledge([2], 0)
    outbox.append("fault", 0, payload)
    assert (numbers(outbox), outbox.held().dropped) == ([1, 3, 4], 0)
    outbox.append("fault", 0, payload)
    assert (numbers(outbox), outbox.held().dropped) == ([3, 4, 5], 1)
    assert (outbox.take_dropped(), outbox.take_dropped()) == (1, 0)
    outbox.close()
    again = Outbox(tmp_path / "outbox.db", limit=3)
    assert (again.dropped, again.announced) == (1, 1)
    again.close()


def test_sessions_only_grow(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    first, second = outbox.open_session(), outbox.open_session()
    assert (first.number, second.number) == (1, 2)
    assert first.nonce != second.nonce
    outbox.note_session(7)
    outbox.note_session(3)
    assert outbox.open_session().number == 8
    assert outbox.open_session(above=20).number == 21
    outbox.close()


def test_retained_topics_outlive_the_process(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.remember("a/b", b"1")
    outbox.remember("a/c")
    outbox.remember("a/b", b"2")
    outbox.remember("a/d")
    outbox.forget("a/d")
    outbox.close()
    again = Outbox(tmp_path / "outbox.db")
    assert again.retained() == {"a/b": b"2", "a/c": None}
    again.close()


def test_a_file_that_is_no_outbox_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at\n" * 20)
    with pytest.raises(OutboxError, match=r"cannot use the outbox text\.db"):
        Outbox(tmp_path / "text.db")
    with pytest.raises(OutboxError, match="cannot use the outbox"):
        Outbox(tmp_path / "no such directory" / "x.db")
    later = tmp_path / "later.db"
    database = sqlite3.connect(later)
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(OutboxError, match="later version"):
        Outbox(later)


_KILLED = """
import os, sys
from pathlib import Path
from host.publish.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
for _ in range(5):
    number = outbox.append("fault", 0, lambda number: b"%d" % number)
    os.write(1, b"%d\\n" % number)
os.kill(os.getpid(), 9)
"""


def test_what_append_returned_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    for count in range(2):
        told = subprocess.run([sys.executable, "-c", _KILLED, path], capture_output=True, check=False).stdout
        assert told.split() == [b"%d" % (5 * count + number) for number in range(1, 6)]
    outbox = Outbox(path)
    assert numbers(outbox) == list(range(1, 11))
    outbox.close()


def test_durability_is_what_it_says(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    assert outbox._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert outbox._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    outbox.close()
