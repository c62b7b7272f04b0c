"""The synthetic camera: stamps that survive encoding, canary, bit rate."""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import pytest

from device.capture.pacing import ManualClock
from device.capture.source import CaptureError, FrameSource, SourceOptions
from device.capture.stamp import FrameStamp
from device.capture.synthetic import SyntheticSource
from evidence.frames import EncodedFrame

if TYPE_CHECKING:
    from tests.device.capture.conftest import Driven

S = 1_000_000_000
Drive = Callable[[Callable[[ManualClock], FrameSource]], "Driven"]
Decode = Callable[[list[EncodedFrame]], list[FrameStamp | None]]


@pytest.mark.parametrize(
    ("size", "bitrate_bps", "noise"),
    [
        ((640, 360), 1_000_000, 0),
        ((640, 360), 150_000, 0),
        ((176, 144), 200_000, 0),
        ((640, 360), 2_000_000, 120),
    ],
)
def test_every_decoded_picture_tells_its_number_and_time(
    drive: Drive, decode: Decode, size: tuple[int, int], bitrate_bps: int, noise: int
) -> None:
    options = SourceOptions(
        width=size[0], height=size[1], rate=Fraction(30000, 1001), bitrate_bps=bitrate_bps, noise=noise
    )
    driven = drive(lambda clock: SyntheticSource(options, clock=clock))
    driven.start()
    driven.run(2 * S)
    driven.source.stop()
    frames = driven.sink.frames
    assert decode(frames) == [FrameStamp(number, frame.pts_ns) for number, frame in enumerate(frames)]
    assert len(frames) == 60


def test_times_are_exact_however_long_it_runs(drive: Drive, small: SourceOptions) -> None:
    options = msgspec.structs.replace(small, width=176, height=144, rate=Fraction(30000, 1001))
    driven = drive(lambda clock: SyntheticSource(options, clock=clock))
    began = driven.clock.now_ns()
    driven.start()
    driven.run(60 * S)
    driven.source.stop()
    assert [frame.pts_ns for frame in driven.sink.frames] == [
        began + n * 1001 * S // 30000 for n in range(1799)
    ]


def test_numbers_go_on_over_a_restart(drive: Drive, decode: Decode, small: SourceOptions) -> None:
    driven = drive(lambda clock: SyntheticSource(small, clock=clock))
    for _ in range(2):
        driven.start()
        driven.run(S)
        driven.source.stop()
    stamps = decode(driven.sink.frames)
    assert [stamp.number for stamp in stamps if stamp is not None] == list(range(52))


def test_the_canary_is_in_every_access_unit_and_harms_no_picture(
    drive: Drive, decode: Decode, small: SourceOptions
) -> None:
    canary = bytes(range(1, 33))
    options = msgspec.structs.replace(small, canary=canary)
    driven = drive(lambda clock: SyntheticSource(options, clock=clock))
    driven.start()
    driven.run(2 * S)
    driven.source.stop()
    assert [frame.data.count(canary) for frame in driven.sink.frames] == [1] * 51
    assert None not in decode(driven.sink.frames)


def test_noise_reaches_the_bit_rate_asked_for(drive: Drive) -> None:
    options = SourceOptions(width=640, height=360, bitrate_bps=5_000_000, noise=150)
    driven = drive(lambda clock: SyntheticSource(options, clock=clock))
    driven.start()
    driven.run(4 * S - 1)
    driven.source.stop()
    bits = 8 * sum(len(frame.data) for frame in driven.sink.frames)
    assert 4 * 4_500_000 < bits < 4 * 6_500_000


def test_a_keyframe_comes_when_asked_for(drive: Drive, small: SourceOptions) -> None:
    driven = drive(lambda clock: SyntheticSource(small, clock=clock))
    driven.source.force_keyframe()  # not running yet: nothing to force
    driven.start()
    driven.run(10 * S // 25)
    driven.source.force_keyframe()
    driven.run(2 * S)
    driven.source.stop()
    assert [n for n, frame in enumerate(driven.sink.frames) if frame.keyframe] == [0, 11, 36]


def test_an_odd_size_is_refused(small: SourceOptions) -> None:
    source = SyntheticSource(msgspec.structs.replace(small, width=321))
    with pytest.raises(CaptureError, match="even width and height, found 321x180"):
        source.start(None, None)  # type: ignore[arg-type]  # refused before either is used
