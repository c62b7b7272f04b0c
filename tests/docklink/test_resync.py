"""Resynchronisation: whatever lies in the line, it ends in step or asks again, in bounded memory."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docklink.resync import (
    ANSWER_MAGIC,
    ASK_MAGIC,
    FRAME_BYTES,
    TRANSITIONS,
    Answer,
    CameraLine,
    DockLine,
    LineLost,
    LineState,
    Payload,
    SessionStart,
    frame,
)

NONCE = bytes(range(16))
ASK = frame(ASK_MAGIC, NONCE)
RECORD = b"\x17\x03\x03\x00\x05hello"
NOISE = st.one_of(
    st.binary(max_size=120),
    st.sampled_from(
        [ASK[:20], ASK_MAGIC, RECORD, RECORD[:3], frame(ANSWER_MAGIC, NONCE), b"\x17\x03\x03\x40\x00"]
    ),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def payload_of(actions: Sequence[object]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, Payload))


def test_the_known_frame() -> None:
    assert ASK.hex() == "f5a7d06c3ee9428fb11c7a94c25d08e3000102030405060708090a0b0c0d0e0f" + ASK[-4:].hex()
    assert len(ASK) == FRAME_BYTES == 36


def test_every_state_has_a_way_out_by_time() -> None:
    for state in LineState:
        line = CameraLine()
        if state is not LineState.HUNTING:
            line.feed(ASK)
        if state is LineState.RECORD:
            line.feed(RECORD[:7])
        assert line.state is state
        lost = line.expire("time is up")
        assert line.state is LineState.HUNTING
        assert bool(lost) is (state is not LineState.HUNTING)
        assert isinstance(line.feed(ASK)[0], Answer)
    assert len(TRANSITIONS) == 12


@given(st.binary(max_size=300), st.lists(st.integers(0, 1000), max_size=12))
def test_an_ask_after_any_garbage_is_answered(garbage: bytes, places: list[int]) -> None:
    line = CameraLine()
    actions = [action for part in cut(garbage + ASK, places) for action in line.feed(part)]
    assert actions == [Answer(frame(ANSWER_MAGIC, NONCE)), SessionStart()]
    assert line.discarded_bytes == len(garbage)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.lists(st.integers(0, 3000), max_size=12))
def test_records_pass_unaltered_however_they_are_cut(bodies: list[bytes], places: list[int]) -> None:
    line = CameraLine()
    line.feed(ASK)
    records = b"".join(b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body for body in bodies)
    actions = [action for part in cut(records, places) for action in line.feed(part)]
    assert payload_of(actions) == records
    assert not any(isinstance(action, LineLost) for action in actions)
    assert not line.unfinished


def test_an_ask_between_records_ends_the_session() -> None:
    line = CameraLine()
    line.feed(ASK)
    again = frame(ASK_MAGIC, bytes(16))
    actions = line.feed(RECORD + again + RECORD)
    assert payload_of(actions[:2]) == RECORD
    assert actions[2:4] == [Answer(frame(ANSWER_MAGIC, bytes(16))), SessionStart()]
    assert payload_of(actions[4:]) == RECORD


def test_garbage_between_records_loses_the_session_and_an_ask_finds_a_new_one() -> None:
    line = CameraLine()
    line.feed(ASK)
    actions = line.feed(RECORD + b"ring ring" + ASK)
    assert [type(action) for action in actions[2:]] == [LineLost, Answer, SessionStart]


@pytest.mark.parametrize("header", [b"\x17\x02\x03\x00\x05", b"\x17\x03\x03\x00\x00", b"\x17\x03\x03\xff\xff"])
def test_a_header_that_cannot_be_is_no_record(header: bytes) -> None:
    line = CameraLine()
    line.feed(ASK)
    assert isinstance(line.feed(header)[0], LineLost)


@given(st.integers(0, FRAME_BYTES * 8 - 1))
def test_a_flipped_bit_is_no_ask(bit: int) -> None:
    spoiled = bytearray(ASK)
    spoiled[bit // 8] ^= 1 << bit % 8
    line = CameraLine()
    assert line.feed(bytes(spoiled)) == []
    assert isinstance(line.feed(ASK)[0], Answer)


@given(st.binary(max_size=2000), st.integers(1, 100))
def test_memory_is_bounded(garbage: bytes, step: int) -> None:
    camera, dock = CameraLine(), DockLine()
    dock.ask()
    for start in range(0, len(garbage), step):
        camera.feed(garbage[start : start + step])
        dock.feed(garbage[start : start + step])
        assert len(camera._held) < FRAME_BYTES
        assert len(dock._held) < FRAME_BYTES


def test_only_the_answer_to_the_last_ask_counts() -> None:
    dock = DockLine()
    first = dock.ask(bytes(16))
    dock.ask(NONCE)
    assert dock.feed(frame(ANSWER_MAGIC, first[16:32])) is None
    assert dock.feed(b"old" + frame(ANSWER_MAGIC, NONCE) + b"new") == b"new"


@given(
    st.lists(st.tuples(NOISE, st.integers(0, 80), NOISE, st.integers(0, 80)), max_size=8),
    st.lists(st.integers(0, 400), max_size=5),
)
def test_a_line_that_has_become_good_is_in_step_after_two_asks(
    faults: list[tuple[bytes, int, bytes, int]], places: list[int]
) -> None:
    """Garbage before, and bytes lost from, each ask and answer; then a clean line with what was left in it."""
    camera, dock = CameraLine(), DockLine()
    for before_ask, lost, before_answer, lost_back in faults:
        actions = camera.feed(before_ask + dock.ask()[lost:])
        answers = b"".join(action.data for action in actions if isinstance(action, Answer))
        dock.feed(before_answer + answers[lost_back:])
    in_step = None
    for _ in range(2):
        ask = dock.ask()
        actions = [action for part in cut(ask, places) for action in camera.feed(part)]
        answers = b"".join(action.data for action in actions if isinstance(action, Answer))
        in_step = dock.feed(answers)
        if in_step is not None:
            break
        camera.expire("a TLS record did not end in time")
    assert in_step == b""
    assert payload_of(camera.feed(RECORD)) == RECORD
