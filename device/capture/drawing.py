"""The synthetic picture: moving bands or noise, the frame number and time in digits, and the machine's strip.

Drawn with slices of bytes alone: copying is all that happens per frame, so a Pi does it beside encoding, and a
camera without numpy can do it too.
"""

import random
from typing import TYPE_CHECKING

from device.capture.stamp import BLACK, WHITE, FrameStamp, strip_rows

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["SyntheticPicture"]

_NS_PER_MS = 1_000_000
_GLYPHS = {
    "0": ("###", "# #", "# #", "# #", "###"),
    "1": (" # ", "## ", " # ", " # ", "###"),
    "2": ("###", "  #", "###", "#  ", "###"),
    "3": ("###", "  #", "###", "  #", "###"),
    "4": ("# #", "# #", "###", "  #", "  #"),
    "5": ("###", "#  ", "###", "  #", "###"),
    "6": ("###", "#  ", "###", "# #", "###"),
    "7": ("###", "  #", "  #", "  #", "  #"),
    "8": ("###", "# #", "###", "# #", "###"),
    "9": ("###", "# #", "###", "  #", "###"),
    ".": ("   ", "   ", "   ", "   ", " # "),
}
_GLYPH_LINES = 5
_GLYPH_WIDTH = 4  # three dots and one of space
_BAND_SLANT = 3  # each line's bands start this much further left
_PIXELS_PER_FRAME = 2
_DARK, _BRIGHT = 64, 192
_HASH = 2_654_435_761  # Knuth's multiplicative hash: noise of two frames in a row has nothing in common


class SyntheticPicture:
    """Draws frames into one picture that is used again and again.

    `noise` is the range of grey levels (0 to 255): with 0 the background is moving bands, which compress well;
    else it is noise that cannot be predicted from the frame before, so that any bit rate is reached.
    """

    def __init__(self, width: int, height: int, noise: int = 0) -> None:
        import av  # noqa: PLC0415  # codec only where it is used

        self._picture = av.VideoFrame(width, height, "yuv420p")
        self._width, self._height = width, height
        self._stride = self._picture.planes[0].line_size
        for plane, level in zip(self._picture.planes[1:], (112, 144), strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        self._noisy = noise > 0
        self._period = self._stride + _BAND_SLANT
        size = self._stride * height
        self._pool = _noise(2 * size, noise) if noise else _bands(self._period) * (size // self._period + 2)

    def draw(self, stamp: FrameStamp) -> "VideoFrame":
        """Draw one frame; the picture is valid until the next call."""
        size = self._stride * self._height
        offset = stamp.number * _HASH % size if self._noisy else stamp.number * _PIXELS_PER_FRAME % self._period
        luma = bytearray(self._pool[offset : offset + size])
        strip = strip_rows(stamp, self._width, self._height, self._stride)
        luma[: len(strip)] = strip
        top = self._height // 3
        large, small = max(self._width // 40, 1), max(self._width // 80, 1)
        self._write(luma, f"{stamp.number:06d}", top, large)
        seconds, milliseconds = divmod(stamp.monotonic_ns // _NS_PER_MS, 1000)
        self._write(luma, f"{seconds}.{milliseconds:03d}", top + (_GLYPH_LINES + 1) * large, small)
        self._picture.planes[0].update(bytes(luma))
        return self._picture

    def _write(self, luma: bytearray, text: str, top: int, dot: int) -> None:
        text = text[: self._width // (_GLYPH_WIDTH * dot)]
        left = (self._width - len(text) * _GLYPH_WIDTH * dot) // 2
        dots = {"#": bytes([WHITE]) * dot, " ": bytes([BLACK]) * dot}
        for line in range(_GLYPH_LINES):
            pattern = " ".join(_GLYPHS[character][line] for character in text)
            row = b"".join(dots[mark] for mark in pattern)
            for y in range(top + line * dot, min(top + (line + 1) * dot, self._height)):
                at = y * self._stride + left
                luma[at : at + len(row)] = row


def _bands(period: int) -> bytes:
    """Return one line of two smooth bands, `period` pixels long."""
    half, depth = period / 4, _BRIGHT - _DARK
    return bytes(_DARK + round(depth * abs(x % (2 * half) - half) / half) for x in range(period))


def _noise(size: int, levels: int) -> bytes:
    """Return pixels evenly spread over `levels` grey levels around the middle; the same each time."""
    low = (_DARK + _BRIGHT - levels) // 2
    table = bytes(min(max(low + value * levels // 255, BLACK), WHITE) for value in range(256))
    return random.Random(0).randbytes(size).translate(table)  # noqa: S311  # a test picture, not a secret
