"""Frame number and time as a strip of black and white blocks, readable again from the decoded picture.

The strip is four rows of 28 blocks across the top of the picture: 32 bits of frame number, 64 bits of
CLOCK_MONOTONIC in nanoseconds, 16 bits of CRC-16/XMODEM over both, all big-endian, most significant bit first,
row by row from the left; white is 1. Pure: works on the bytes of a luma plane.
"""

import binascii
import struct
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["BLACK", "WHITE", "FrameStamp", "read_frame_number", "read_stamp", "strip_height", "strip_rows"]

BLACK, WHITE = 16, 235
"""Limited range (ITU-R BT.601)."""

_COLUMNS, _ROWS = 28, 4
_BODY = struct.Struct(">IQ")
_CRC = struct.Struct(">H")
_MIDDLE = (BLACK + WHITE) // 2
_SMALLEST_BLOCK = 4  # pixels across; below that compression blurs neighbours into each other


class FrameStamp(msgspec.Struct, frozen=True):
    """What is drawn into a synthetic frame: its number (counted from 0, modulo 2**32) and its sensor time."""

    number: int
    monotonic_ns: int


def _block_size(width: int, height: int) -> tuple[int, int]:
    return width // _COLUMNS, max(height // 30, _SMALLEST_BLOCK)


def strip_height(width: int, height: int) -> int:
    """Return how many lines of a picture of this size the strip takes."""
    return _ROWS * _block_size(width, height)[1]


def strip_rows(stamp: FrameStamp, width: int, height: int, stride: int) -> bytes:
    """Draw the strip: `strip_height` lines of `stride` bytes, to lie at the top of the luma plane."""
    block_width, block_height = _block_size(width, height)
    body = _BODY.pack(stamp.number & 0xFFFFFFFF, stamp.monotonic_ns)
    bits = int.from_bytes(body + _CRC.pack(binascii.crc_hqx(body, 0)), "big")
    blocks = (bytes([BLACK]) * block_width, bytes([WHITE]) * block_width)
    lines = []
    for row in range(_ROWS):
        shift = (_ROWS - 1 - row) * _COLUMNS
        line = b"".join(blocks[bits >> (shift + _COLUMNS - 1 - column) & 1] for column in range(_COLUMNS))
        lines.append(line.ljust(stride, blocks[0][:1]) * block_height)
    return b"".join(lines)


def read_frame_number(luma: bytes | memoryview, width: int, height: int, stride: int) -> FrameStamp | None:
    """Read the strip from a luma plane of `height` lines of `stride` bytes; `None` if the CRC disagrees."""
    block_width, block_height = _block_size(width, height)
    if block_width < _SMALLEST_BLOCK or len(luma) < strip_height(width, height) * stride:
        return None
    bits = 0
    for row in range(_ROWS):
        middle = (row * block_height + block_height // 2) * stride
        for column in range(_COLUMNS):
            left = middle + column * block_width + block_width // 4
            sample = luma[left : left + max(block_width // 2, 1)]
            bits = bits << 1 | (sum(sample) > _MIDDLE * len(sample))
    raw = bits.to_bytes(_BODY.size + _CRC.size, "big")
    body = raw[: _BODY.size]
    if binascii.crc_hqx(body, 0) != _CRC.unpack(raw[_BODY.size :])[0]:
        return None
    return FrameStamp(*_BODY.unpack(body))


def read_stamp(picture: "VideoFrame") -> FrameStamp | None:
    """Read the strip of a decoded picture (yuv420p, or any format whose first plane is 8-bit luma)."""
    plane = picture.planes[0]
    return read_frame_number(memoryview(plane), picture.width, picture.height, plane.line_size)
