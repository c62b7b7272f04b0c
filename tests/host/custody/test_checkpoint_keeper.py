"""Checkpoints that the agent makes: when, where to, and what they show later."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.steps import set_step_hook
from host.custody import (
    CheckpointKeeper,
    CustodyError,
    CustodyLog,
    CustodyTamperedError,
    read_checkpoints,
    verify_custody,
)

if TYPE_CHECKING:
    from tests.host.store.conftest import Pki

MINUTE = 60 * 1_000_000_000
UTC_NS = 1_795_000_000_000_000_000


class Bench:
    """A log, its keeper, and a place for copies."""

    def __init__(self, place: Path, pki: "Pki") -> None:
        self.path = place / "custody.jsonl"
        self.own = place / "checkpoints"
        self.copy = place / "stick"
        self.own.mkdir()
        self.pki = pki
        self.log = CustodyLog(self.path, "dock7-a")
        self.keeper = self.made()

    def made(self) -> CheckpointKeeper:
        return CheckpointKeeper(
            self.log, "dock7-a", self.pki.dock, self.own, copies=[self.copy], every_entries=3, every_ns=MINUTE
        )

    def append(self, count: int) -> None:
        for _ in range(count):
            self.log.append("docked", utc_ns=UTC_NS, device="cam0042")

    def kept(self, place: Path) -> list[int]:
        return [each.entries for each in read_checkpoints(place, self.pki.trust.roots, "dock7-a")]

    def check(self, place: Path) -> int:
        kept = read_checkpoints(place, self.pki.trust.roots, "dock7-a")
        return verify_custody(self.path, "dock7-a", kept).checkpoints


@pytest.fixture
def bench(tmp_path: Path, pki: "Pki") -> Bench:
    return Bench(tmp_path, pki)


def test_one_is_made_after_so_many_entries_or_so_much_time_and_at_the_end(bench: Bench) -> None:
    bench.copy.mkdir()
    keeper = bench.keeper
    assert keeper.begin(0) == ()
    keeper.look(5 * MINUTE, UTC_NS)
    assert bench.kept(bench.own) == []  # an empty log needs none
    bench.append(2)
    keeper.look(MINUTE - 1, UTC_NS)
    assert bench.kept(bench.own) == []
    keeper.look(MINUTE, UTC_NS)
    bench.append(3)
    keeper.look(MINUTE + 1, UTC_NS)
    keeper.look(9 * MINUTE, UTC_NS)  # nothing came since
    bench.append(1)
    assert keeper.status.since == 1
    keeper.finish(9 * MINUTE, UTC_NS)
    keeper.finish(9 * MINUTE, UTC_NS)
    assert bench.kept(bench.own) == bench.kept(bench.copy) == [2, 5, 6]
    assert (keeper.status.entries, keeper.status.since, keeper.status.copies[0].entries) == (6, 0, 6)
    assert bench.check(bench.copy) == 3


def test_a_stick_that_was_away_gets_all_that_it_lacks(bench: Bench) -> None:
    bench.keeper.begin(0)
    for minute in (1, 2):
        bench.append(1)
        bench.keeper.look(minute * MINUTE, UTC_NS)
    assert not bench.copy.exists()  # it would lie on the wrong disk
    assert "cannot list" in bench.keeper.status.copies[0].error
    bench.copy.mkdir()
    bench.keeper.look(3 * MINUTE, UTC_NS)
    assert bench.kept(bench.copy) == [1, 2]
    assert bench.keeper.status.copies[0].error == ""


def test_a_crash_between_the_files_of_a_copy_leaves_none_without_its_signature(bench: Bench) -> None:
    bench.copy.mkdir()
    bench.keeper.begin(0)
    bench.append(3)
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == left:
            raise KeyboardInterrupt

    left = 0
    while True:
        left += 1
        steps = 0
        set_step_hook(count)
        try:
            bench.keeper.finish(0, UTC_NS)
        except KeyboardInterrupt:
            continue
        finally:
            set_step_hook(None)
            for place in (bench.own, bench.copy):
                for path in place.glob("[0-9]*.json"):
                    assert path.with_suffix(".p7s").exists()
        break
    assert left > 10
    assert bench.kept(bench.copy) == [3]


def test_a_rewritten_log_is_told_at_the_next_start_and_by_who_keeps_a_copy(
    bench: Bench, tmp_path: Path
) -> None:
    bench.copy.mkdir()
    bench.append(4)
    bench.keeper.begin(0)
    bench.keeper.finish(0, UTC_NS)
    bench.log.close()
    shutil.rmtree(bench.own)  # who rewrites the log removes what contradicts it
    bench.own.mkdir()
    bench.path.unlink()
    bench.log = CustodyLog(bench.path, "dock7-a")
    for _ in range(6):
        bench.log.append("undocked", utc_ns=UTC_NS, device="cam0042")
    (trouble,) = bench.made().begin(0)
    assert "is not the log of the checkpoint 4" in trouble
    with pytest.raises(CustodyError, match="not the one of the checkpoint at entry 4"):
        bench.check(bench.copy)


def test_a_truncated_log_is_told_too(bench: Bench) -> None:
    bench.copy.mkdir()
    bench.append(4)
    bench.keeper.finish(0, UTC_NS)
    bench.log.close()
    lines = bench.path.read_bytes().splitlines(keepends=True)
    bench.path.write_bytes(b"".join(lines[:3]))
    bench.log = CustodyLog(bench.path, "dock7-a")
    assert all("ends before the checkpoint 4" in each for each in bench.made().begin(0))
    with pytest.raises(CustodyError, match="ends before a checkpoint"):
        bench.check(bench.copy)


def test_an_altered_entry_needs_no_checkpoint(bench: Bench) -> None:
    bench.append(3)
    bench.log.close()
    bench.path.write_bytes(bench.path.read_bytes().replace(b'"docked"', b'"dacked"', 1))
    with pytest.raises(CustodyTamperedError):
        verify_custody(bench.path, "dock7-a")
