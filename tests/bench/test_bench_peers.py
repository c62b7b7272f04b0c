"""The benches beside peers measure what they say; speed is not judged."""

import shutil
from pathlib import Path

import pytest

from bench.__main__ import BENCHES
from bench.age_peers import age_bench
from bench.decrypt_rate import OURS, decrypt_bench, decrypt_runs, make_age_file
from bench.report import Section, markdown, text
from bench.verify_rate import verify_bench


@pytest.mark.parametrize("bench", [age_bench, decrypt_bench, verify_bench])
def test_a_small_run_fills_its_table(bench: object) -> None:
    assert callable(bench)
    section = bench(seconds=0, mebibytes=2)
    assert isinstance(section, Section)
    assert section.name in BENCHES
    for table in section.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert len(table.rows) >= 3
    assert section.title in text(section)
    assert section.title in markdown([section], "make bench", "a machine")


def test_the_command_under_measurement_decrypts_all(tmp_path: Path) -> None:
    encrypted, key = make_age_file(tmp_path, 1)
    target = tmp_path / "plain"
    for run in decrypt_runs(encrypted, key, target).values():
        target.unlink(missing_ok=True)
        found = run()
        assert target.stat().st_size == 1 << 20
        assert found.wall_s > 0
        assert found.cpu_s > 0


def test_without_the_peer_there_is_a_table_and_no_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for bench in (age_bench, decrypt_bench, verify_bench):
        assert bench(seconds=0, mebibytes=1).goals == ()
    (table, _) = decrypt_bench(seconds=0, mebibytes=1).tables
    assert OURS in {row[0] for row in table.rows}
