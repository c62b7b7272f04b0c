"""Every kept input through every target, and some altered ones: parsers refuse, and never fall over."""

import tracemalloc
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from bench.fuzz import altered, corpus, run_blindly
from bench.fuzz_keys import CORPUS
from bench.fuzz_targets import TARGETS, run

MIB = 1 << 20


def test_every_target_has_a_corpus_and_nothing_else_lies_there() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {*TARGETS, "context"}
    assert all(path.stat().st_size <= 96 * 1024 for path in CORPUS.rglob("*"))


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_in_bounded_memory(name: str) -> None:
    for data in corpus(name):
        tracemalloc.start()
        try:
            run(name, data)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 64 * MIB


@pytest.mark.parametrize("name", TARGETS)
def test_altered_inputs(name: str) -> None:
    @hypothesis.settings(max_examples=30, deadline=None, derandomize=True, database=None)
    @hypothesis.given(data=altered(corpus(name)))
    def attempt(data: bytes) -> None:
        run(name, data)

    attempt()


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_of_other_targets(name: str) -> None:
    for other in TARGETS:
        run(name, corpus(other)[0])


def test_what_is_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def falls_over(data: bytes) -> None:
        if b"-1" in data:
            raise IndexError

    monkeypatch.setitem(TARGETS, "line", falls_over)
    outcome = run_blindly("line", 20, tmp_path)
    assert "IndexError" in outcome.finding
    (kept,) = tmp_path.iterdir()
    assert b"-1" in kept.read_bytes()
    assert outcome.executions > 0


@hypothesis.settings(max_examples=50, database=None)
@hypothesis.given(st.data())
def test_alterations_stay_small(data: st.DataObject) -> None:
    assert len(data.draw(altered([b"seed", bytes(90_000)]))) <= 96 * 1024
