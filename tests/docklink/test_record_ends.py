"""Where records end, however a stream is cut; what is no record is never waited for."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from docklink.records import RecordEnds

RECORD = st.binary(min_size=1, max_size=300).map(
    lambda body: b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body
)


@given(st.lists(RECORD, min_size=1, max_size=6), st.lists(st.integers(0, 2000), max_size=20))
def test_a_piece_ends_a_record_or_does_not(records: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(records)
    ends = set(itertools.accumulate(len(each) for each in records))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    found = RecordEnds()
    for start, stop in itertools.pairwise(places):
        expected = any(start < end <= stop for end in ends)
        assert found.feed(stream[start:stop]) == expected


@given(st.binary(min_size=5, max_size=5).filter(lambda each: each[0] not in range(20, 25)), st.binary())
def test_what_is_no_record_ends_at_once_and_for_good(head: bytes, more: bytes) -> None:
    found = RecordEnds()
    assert not found.feed(head[:4])
    assert found.feed(head[4:])
    assert found.feed(more)


def test_a_record_that_is_too_long_or_empty_is_none() -> None:
    for size in (0, 16_384 + 257):
        assert RecordEnds().feed(b"\x17\x03\x03" + size.to_bytes(2, "big"))
    assert not RecordEnds().feed(b"\x17\x03\x03" + (16_384 + 256).to_bytes(2, "big"))
