"""The event log as read: what holds, what is named as missing, altered or forked, what connects two heads."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.documents import LogEvent, LogHead
from evidence.errors import EvidenceError
from evidence.eventlog import LOG_CUT, LogReader, first_entry, lines_between, log_segments


@pytest.fixture
def whole(log: Any) -> Any:
    """Three files of three lines."""
    for number in range(9):
        log.line(number // 3 + 1)
    return log


def kinds(reader: LogReader) -> list[str]:
    return [defect.kind for defect in reader.defects]


def indexes(reader: LogReader) -> list[int]:
    return [entry.line.index for entry in reader]


def test_a_whole_log_holds(whole: Any) -> None:
    reader = whole.read()
    assert indexes(reader) == list(range(1, 10))
    assert (reader.defects, reader.torn) == ([], {})
    assert (reader.first.index, reader.head.index) == (1, 9)


def test_a_file_may_end_torn_wherever_a_start_ended(whole: Any) -> None:
    for number in (1, 3):
        with whole.segment(number).open("ab") as file:
            file.write(b'{"l":{"type":"prer')
    reader = whole.read()
    assert len(indexes(reader)) == 9
    assert (reader.defects, reader.torn) == ([], {1: 18, 3: 18})


def test_torn_within_a_file_is_tampered(whole: Any) -> None:
    data = whole.segment(2).read_bytes()
    whole.segment(2).write_bytes(data[:20] + b"\n" + data[20:])
    reader = whole.read()
    assert indexes(reader) == [1, 2, 3, 7, 8, 9]
    assert kinds(reader) == ["tampered", "gap"]


@pytest.mark.parametrize("gone", [2, 3])
def test_a_removed_file_or_line_is_a_gap(whole: Any, gone: int) -> None:
    if gone == 2:
        whole.segment(2).unlink()
    else:
        lines = whole.segment(2).read_bytes().splitlines(keepends=True)
        whole.segment(2).write_bytes(lines[0] + lines[2])
    reader = whole.read()
    list(reader)
    assert kinds(reader) == ["gap"]


def test_a_doubled_or_swapped_file_is_a_fork(whole: Any) -> None:
    whole.segment(4).write_bytes(whole.segment(2).read_bytes())
    reader = whole.read()
    list(reader)
    assert kinds(reader) == ["fork"]


def test_a_second_line_with_one_number_is_a_fork(whole: Any) -> None:
    whole.line(4, index=9, previous="a" * 64)
    reader = whole.read()
    list(reader)
    assert kinds(reader) == ["fork"]


def test_a_log_without_its_oldest_files_says_so_or_has_a_gap(whole: Any) -> None:
    last_cut = list(whole.read())[2].head
    whole.segment(1).unlink()
    reader = whole.read()
    list(reader)
    assert kinds(reader) == ["gap"]
    detail = {"index": last_cut.index, "sha256": last_cut.sha256}
    whole.line(4, LogEvent(kind=LOG_CUT, monotonic_ns=0, detail=detail))
    reader = whole.read()
    assert indexes(reader) == list(range(4, 11))
    assert reader.defects == []


def test_a_cut_does_not_excuse_more_than_it_names(whole: Any) -> None:
    last_cut = list(whole.read())[2].head
    detail = {"index": last_cut.index, "sha256": last_cut.sha256}
    whole.line(4, LogEvent(kind=LOG_CUT, monotonic_ns=0, detail=detail))
    whole.segment(1).unlink()
    whole.segment(2).unlink()
    reader = whole.read()
    list(reader)
    assert kinds(reader) == ["gap"]


def test_two_heads_are_connected_by_all_lines_between(whole: Any) -> None:
    heads = [entry.head for entry in whole.read()]
    assert [entry.head for entry in lines_between(whole.read(), heads[1], heads[6])] == heads[2:7]
    assert [entry.head for entry in lines_between(whole.read(), None, heads[8])] == heads
    assert list(lines_between(whole.read(), heads[8], heads[8])) == []


def test_heads_that_the_log_does_not_connect(whole: Any) -> None:
    heads = [entry.head for entry in whole.read()]
    forged = LogHead(index=5, sha256="0" * 64)
    for after, upto in ((forged, heads[8]), (heads[0], forged), (heads[0], LogHead(index=99, sha256="0" * 64))):
        with pytest.raises(EvidenceError):
            list(lines_between(whole.read(), after, upto))
    whole.segment(2).unlink()
    with pytest.raises(EvidenceError, match="does not connect"):
        list(lines_between(whole.read(), heads[0], heads[8]))


def test_the_first_line_of_a_file_can_be_had_alone(whole: Any) -> None:
    segments = log_segments(whole.directory)
    firsts = [first_entry(segment, whole.signer.public_key) for segment in segments]
    assert [first.line.index for first in firsts if first] == [1, 4, 7]
    whole.segment(1).write_bytes(b"")
    whole.segment(2).write_bytes(b"{}\n")
    assert [first_entry(segment, whole.signer.public_key) for segment in segments[:2]] == [None, None]


def test_lines_of_another_key_are_tampered(whole: Any, tmp_path: Path) -> None:
    from tests.evidence.recovery.conftest import BareSigner

    reader = LogReader(log_segments(whole.directory), BareSigner().public_key)
    assert indexes(reader) == []
    assert kinds(reader) == ["tampered"] * 3


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_whatever_happens_to_a_log_no_line_is_yielded_that_was_not_signed(
    whole: Any, data: st.DataObject
) -> None:
    """Any byte altered, cut out or put in: the reader neither fails nor believes it, and names a defect."""
    path = whole.segment(2)
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    count = data.draw(st.integers(0, 40))
    other = data.draw(st.binary(max_size=40))
    altered = good[:at] + other + good[at + count :]
    path.write_bytes(altered)
    try:
        reader = whole.read()
        entries = list(reader)
        if altered != good:
            assert reader.defects or reader.torn
        signed = [hashlib.sha256(line).hexdigest() for line in whole.lines]
        assert {entry.sha256 for entry in entries} <= set(signed)
    finally:
        path.write_bytes(good)
