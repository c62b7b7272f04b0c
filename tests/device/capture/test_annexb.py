"""NAL units found, read and added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture.annexb import (
    SEI_UUID,
    first_slice,
    insert_before_slice,
    is_idr,
    nal_units,
    parameter_sets,
    user_data,
    with_parameter_sets,
)

LONG, SHORT = b"\x00\x00\x00\x01", b"\x00\x00\x01"
SPS, PPS, SEI, IDR, SLICE, AUD = (bytes([0x60 | kind]) + b"\x55\xaa" for kind in (7, 8, 6, 5, 1, 9))

_PAYLOADS = st.binary(min_size=1, max_size=20).map(lambda data: data.replace(b"\x00", b"\x07"))
_UNITS = st.lists(
    st.tuples(st.sampled_from([1, 5, 6, 7, 8, 9]), _PAYLOADS, st.sampled_from([LONG, SHORT])), max_size=8
)


@given(_UNITS)
def test_units_are_found_whatever_their_start_codes(units: list[tuple[int, bytes, bytes]]) -> None:
    data = b"".join(start + bytes([kind]) + payload for kind, payload, start in units)
    found = [(kind, data[begin:end]) for kind, begin, end in nal_units(data)]
    assert found == [(kind, bytes([kind]) + payload) for kind, payload, _ in units]
    slices = [kind for kind, _, _ in units if kind in {1, 5}]
    head = first_slice(data)
    assert (None if head is None else head[0]) == (slices[0] if slices else None)
    assert is_idr(data) == (slices[:1] == [5])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_error(data: bytes) -> None:
    for kind, begin, end in nal_units(data):
        assert 0 <= kind < 32
        assert begin < end <= len(data)
    is_idr(data)
    parameter_sets(data)


def test_parameter_sets_are_those_before_the_slice() -> None:
    unit = LONG + AUD + LONG + SPS + SHORT + PPS + SHORT + SEI + SHORT + IDR
    assert parameter_sets(unit) == LONG + SPS + LONG + PPS
    assert parameter_sets(LONG + IDR + LONG + SPS) == b""


def test_parameter_sets_go_behind_the_delimiter() -> None:
    sets = LONG + SPS + LONG + PPS
    assert with_parameter_sets(LONG + IDR, sets) == sets + LONG + IDR
    assert with_parameter_sets(LONG + AUD + LONG + IDR, sets) == LONG + AUD + sets + LONG + IDR


def test_units_go_in_front_of_the_first_slice() -> None:
    added = LONG + SEI
    assert insert_before_slice(LONG + SPS + LONG + IDR + SHORT + IDR, added) == (
        LONG + SPS + added + LONG + IDR + SHORT + IDR
    )
    assert insert_before_slice(SHORT + SLICE, added) == added + SHORT + SLICE


@pytest.mark.parametrize("size", [1, 16, 238, 239, 240, 600])
def test_user_data_says_its_size_and_whose_it_is(size: int) -> None:
    payload = b"\x7e" * size
    message = user_data(payload)
    assert message.startswith(LONG + b"\x06\x05")
    at, total = 6, 0
    while message[at] == 255:
        total, at = total + 255, at + 1
    total, at = total + message[at], at + 1
    assert message[at:] == SEI_UUID + payload + b"\x80"
    assert total == 16 + size


def test_user_data_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="zero byte"):
        user_data(b"ab\x00c")
