"""The strip of blocks: read back whatever was drawn, nothing made up."""

from hypothesis import given
from hypothesis import strategies as st

from device.capture.stamp import FrameStamp, read_frame_number, strip_height, strip_rows

_SIZES = st.tuples(st.integers(112, 2000), st.integers(90, 1100), st.integers(0, 64))
_STAMPS = st.builds(FrameStamp, st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1))


@given(_STAMPS, _SIZES)
def test_what_is_drawn_is_read(stamp: FrameStamp, size: tuple[int, int, int]) -> None:
    width, height, padding = size
    stride = width + padding
    rows = strip_rows(stamp, width, height, stride)
    assert len(rows) == strip_height(width, height) * stride
    assert read_frame_number(rows, width, height, stride) == stamp


@given(_STAMPS, st.integers(0, 111))
def test_one_wrong_block_is_noticed(stamp: FrameStamp, block: int) -> None:
    width, height = 280, 120
    rows = bytearray(strip_rows(stamp, width, height, width))
    row, column = divmod(block, 28)
    for y in range(row * 4, row * 4 + 4):
        at = y * width + column * 10
        rows[at : at + 10] = bytes(251 - level for level in rows[at : at + 10])
    assert read_frame_number(bytes(rows), width, height, width) is None


@given(st.integers(0, 255))
def test_a_flat_picture_has_no_stamp_but_zeros(level: int) -> None:
    stamp = read_frame_number(bytes([level]) * (640 * 48), 640, 360, 640)
    assert stamp is None or stamp == FrameStamp(0, 0)


def test_a_picture_too_small_or_cut_short_has_none() -> None:
    rows = strip_rows(FrameStamp(1, 2), 280, 120, 280)
    assert read_frame_number(rows[:-1], 280, 120, 280) is None
    assert read_frame_number(rows, 100, 120, 280) is None
