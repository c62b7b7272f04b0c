"""Parameter sets, IDR pictures and picture sizes of real access units."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.errors import EvidenceError
from evidence.frames import EncodedFrame
from evidence.media.h264 import is_idr, leading_nal_units, parameter_sets, picture_size

Video = Callable[..., tuple[EncodedFrame, ...]]
SPS, PPS, SEI, IDR, SLICE = b"\x67sps", b"\x68pps", b"\x06sei", b"\x65idr", b"\x41slice"


def unit(*nal_units: bytes, start_code: bytes = b"\0\0\0\1") -> bytes:
    return b"".join(start_code + nal_unit for nal_unit in nal_units)


def test_keyframes_of_an_encoder_are_idr_pictures_with_parameter_sets(video: Video) -> None:
    for frame in video(30, 61, b_frames=True):
        assert is_idr(frame.data) == frame.keyframe
        if frame.keyframe:
            found = parameter_sets(frame.data)
            assert found.startswith(b"\0\0\0\1\x67")
            assert [kind for kind, _ in leading_nal_units(found)] == [7, 8]


@pytest.mark.parametrize("start_code", [b"\0\0\1", b"\0\0\0\1"])
def test_both_start_codes_are_understood(start_code: bytes) -> None:
    keyframe = unit(b"\x09\xf0", SPS, PPS, SEI, IDR, start_code=start_code)
    assert list(leading_nal_units(keyframe)) == [(9, b"\x09\xf0"), (7, SPS), (8, PPS), (6, SEI), (5, b"")]
    assert parameter_sets(keyframe) == unit(SPS, PPS)


def test_several_pps_are_all_kept() -> None:
    assert parameter_sets(unit(SPS, PPS, b"\x68other", IDR)) == unit(SPS, PPS, b"\x68other")


@pytest.mark.parametrize(
    ("keyframe", "found"),
    [
        (unit(IDR), "neither"),
        (unit(SPS, IDR), "SPS"),
        (unit(PPS, IDR), "PPS"),
        (unit(IDR, SPS, PPS), "neither"),
    ],
)
def test_a_keyframe_without_its_parameter_sets_is_refused(keyframe: bytes, found: str) -> None:
    with pytest.raises(EvidenceError) as error:
        parameter_sets(keyframe)
    assert error.value.found == found


@given(st.binary(max_size=200))
def test_no_bytes_upset_the_splitter(data: bytes) -> None:
    found = list(leading_nal_units(data))
    assert all(kind < 32 for kind, _ in found)
    assert is_idr(data) == (bool(found) and found[-1][0] == 5)


@given(st.lists(st.sampled_from([SPS, PPS, SEI]), max_size=6), st.sampled_from([IDR, SLICE]))
def test_what_was_put_together_is_taken_apart(before: list[bytes], last: bytes) -> None:
    found = list(leading_nal_units(unit(*before, last)))
    assert [data for _, data in found] == [*before, b""]
    assert found[-1][0] == last[0] & 31


def test_the_size_of_the_picture_is_read_with_its_cropping() -> None:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

    encoder = VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 330, 182, "yuv420p"  # no whole number of macroblocks
    encoder.options = {"preset": "ultrafast"}
    packets = encoder.encode(VideoFrame(330, 182, "yuv420p")) + encoder.encode(None)
    assert picture_size(bytes(packets[0])) == (330, 182)


def test_no_size_without_an_sps() -> None:
    with pytest.raises(EvidenceError, match="no picture size"):
        picture_size(unit(IDR))
