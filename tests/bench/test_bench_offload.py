"""The bench of the offload measures what it says, at both ends; speed is not judged."""

import shutil

import pytest

from bench.__main__ import BENCHES
from bench.offload import offload_bench
from bench.offload_peers import find_sshd
from bench.report import text


def test_a_small_run_fills_its_tables() -> None:
    section = offload_bench(seconds=0, mebibytes=2)
    assert section.name in BENCHES
    over_tcp, over_line = section.tables
    assert [row[0] for row in over_line.rows][-1] == "raw pyserial"
    assert len(over_line.rows) == 3
    for table in section.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    names = [row[0] for row in over_tcp.rows]
    if find_sshd() is None:
        assert len(names) == 1
        assert "not installed" in " ".join(section.notes)
    else:
        assert "scp alone" in names
        assert len(section.goals) == 3
    assert section.title in text(section)


def test_without_sshd_there_is_no_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_words: None)
    assert find_sshd() is None
