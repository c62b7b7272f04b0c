"""A stream of frames without a camera: what the ring's tests append."""

from collections.abc import Callable
from typing import Protocol

import pytest

from evidence.frames import EncodedFrame, Track

PICTURE_NS = 100_000_000


class MakeFrame(Protocol):
    def __call__(
        self, number: int, *, key: bool = False, size: int = 10, track: Track = Track.VIDEO
    ) -> EncodedFrame:
        """Frame `number` of ten a second."""


@pytest.fixture
def make_frame() -> MakeFrame:
    def make(number: int, *, key: bool = False, size: int = 10, track: Track = Track.VIDEO) -> EncodedFrame:
        pts_ns = number * PICTURE_NS
        return EncodedFrame(track, bytes(size), pts_ns, pts_ns, PICTURE_NS, key or track == Track.AUDIO)

    return make


@pytest.fixture
def make_gops(make_frame: MakeFrame) -> Callable[..., list[EncodedFrame]]:
    """Frames `start` to `end` (excluded), ten a second, a keyframe every ten: GOPs of one second."""

    def make(start: int, end: int, size: int = 10) -> list[EncodedFrame]:
        return [make_frame(number, key=number % 10 == 0, size=size) for number in range(start, end)]

    return make
