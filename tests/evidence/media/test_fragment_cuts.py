"""Fragments closed before their time: the same file but for where its fragments end."""

import io
import itertools
import struct
from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Any

import av
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.clock import ClockSource, UtcMapping
from evidence.errors import EvidenceError
from evidence.frames import EncodedFrame
from tests.evidence.media.conftest import encoded_video
from tests.evidence.media.test_fragmented_mp4 import (
    KINDS,
    MS,
    SECOND,
    UTC_NS,
    Clip,
    Video,
    boxes,
    packets,
    stamps,
)

FRAME_NS = SECOND // 30


def write(frames: tuple[EncodedFrame, ...], rate: int, cuts: Collection[int], *, lag_ns: int = 0) -> Clip:
    """Write a clip and cut it behind some frames."""
    utc = UtcMapping(frames[0].dts_ns, UTC_NS, ClockSource.NTP)
    clip = Clip(frames[0], Fraction(rate), utc=utc)
    for number, frame in enumerate(frames):
        clip.video(frame)
        clip.silence_until(frame.dts_ns - lag_ns)
        if number in cuts:
            clip.writer.cut()
    clip.writer.close()
    return clip


def samples(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the bytes of each picture and of each frame of sound."""
    tracks: tuple[list[bytes], list[bytes]] = ([], [])
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux():
            if packet.size:
                tracks[packet.stream_index].append(bytes(packet))
    return tracks


def moofs(data: bytes) -> list[tuple[int, list[tuple[int, int]]]]:
    """Read every moof: its number, and of each track in it number and decode time."""
    found = []
    for kind, _, content in boxes(data):
        if kind != "moof":
            continue
        inside = boxes(content)
        tracks = []
        for traf in (boxes(each) for name, _, each in inside if name == "traf"):
            by_name = {name: each for name, _, each in traf}
            version_1 = by_name["tfdt"][0] == 1
            at = struct.unpack_from(">Q" if version_1 else ">I", by_name["tfdt"], 4)[0]
            tracks.append((struct.unpack_from(">I", by_name["tfhd"], 4)[0], at))
        found.append((struct.unpack(">II", inside[0][2])[1], tracks))
    return found


@pytest.mark.parametrize(("rate", "b_frames", "jitter_ns"), KINDS)
@pytest.mark.parametrize("lag_ns", [-30 * MS, 60 * MS, 300 * MS, 100 * SECOND])
def test_all_comes_out_as_without_a_cut(
    video: Video, rate: int, b_frames: bool, jitter_ns: int, lag_ns: int
) -> None:
    frames = video(rate, 4 * rate, b_frames=b_frames, jitter_ns=jitter_ns)
    whole = write(frames, rate, (), lag_ns=lag_ns)
    clip = write(frames, rate, (0, 1, 2, rate, rate + 9, 2 * rate, 2 * rate + 1, 3 * rate + 5), lag_ns=lag_ns)
    assert len(clip.fragments) > len(whole.fragments)
    assert samples(bytes(clip.data)) == samples(bytes(whole.data))
    picture, sound = packets(bytes(clip.data))
    base = frames[0].dts_ns
    assert [pts for pts, _ in picture] == pytest.approx([frame.pts_ns - base for frame in frames], abs=20_000)
    assert all(before[1] < after[1] for before, after in itertools.pairwise(picture))
    assert sound == packets(bytes(whole.data))[1]


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.sets(st.integers(0, 119), max_size=12), b_frames=st.booleans(), lag_ms=st.sampled_from([-30, 300])
)
def test_fragments_are_numbered_and_timed_as_those_of_one_muxer(
    cuts: set[int], b_frames: bool, lag_ms: int
) -> None:
    frames = encoded_video(30, 120, b_frames=b_frames)
    clip = write(frames, 30, cuts, lag_ns=lag_ms * MS)
    data = bytes(clip.data)
    names = [kind for kind, _, _ in boxes(data)]
    assert (names.count("ftyp"), names.count("moov")) == (1, 1)
    found = moofs(data)
    assert [number for number, _ in found] == list(range(1, len(clip.fragments) + 1))
    picture = dict.fromkeys(dts for _, dts in packets(data)[0])
    starts = [round(at * SECOND / 90_000) for _, tracks in found for track, at in tracks if track == 1]
    assert starts == sorted(starts)
    assert set(starts) <= set(picture)
    expected = [
        (fragment.first_dts_ns - frames[0].dts_ns)
        for fragment, _ in clip.fragments
        if fragment.first_dts_ns is not None
    ]
    assert [ticks * SECOND // 90_000 for _, ticks in stamps(data)] == pytest.approx(expected, abs=20_000)
    assert all(fragment.duration_ns <= SECOND // 2 for fragment, _ in clip.fragments)


@pytest.mark.parametrize("b_frames", [False, True])
def test_ffprobe_decodes_a_file_with_cuts(
    video: Video, ffprobe: Callable[[bytes], dict[str, Any]], b_frames: bool
) -> None:
    frames = video(30, 120, b_frames=b_frames)
    found = ffprobe(bytes(write(frames, 30, (7, 40, 41, 42, 90)).data))
    assert found["errors"] == ""
    assert int(found["streams"][0]["nb_read_frames"]) == len(frames)


@pytest.mark.parametrize("number", [3, 13, 20, 33])
def test_a_cut_leaves_the_newest_frame_alone(video: Video, number: int) -> None:
    frames = video(30, 60, b_frames=False)
    clip = Clip(frames[0], Fraction(30))
    for frame in frames[: number + 1]:
        clip.video(frame)
        clip.silence_until(frame.dts_ns)
    before = len(clip.data)
    clip.writer.cut()
    assert len(clip.data) > before
    assert sum(fragment.frames for fragment, _ in clip.fragments) == number
    assert clip.writer.waiting_frames == 1
    cut = bytes(clip.data)
    clip.writer.cut()  # there is nothing to cut
    assert bytes(clip.data) == cut


def test_a_muxer_that_goes_on_without_parameter_sets_is_noticed(video: Video) -> None:
    frames = video(30, 60, b_frames=False)
    clip = Clip(frames[0], Fraction(30))
    for frame in frames[:20]:
        clip.video(frame)
    clip.writer._parameter_sets, told = b"", clip.writer._parameter_sets
    clip.writer.cut()
    clip.writer._parameter_sets = told
    with pytest.raises(EvidenceError, match="parameter sets"):
        _write(clip, frames[20:])


def test_zeros_behind_the_parameter_sets_change_nothing(video: Video) -> None:
    frames = video(30, 60, b_frames=False)
    padded = tuple(
        msgspec.structs.replace(frame, data=frame.data.replace(b"\0\0\1\x65", b"\0\0\0\0\1\x65", 1))
        for frame in frames
    )
    assert padded[0] != frames[0]
    assert samples(bytes(write(padded, 30, (20,)).data)) == samples(bytes(write(padded, 30, ()).data))


def _write(clip: Clip, frames: tuple[EncodedFrame, ...]) -> None:
    for frame in frames:
        clip.video(frame)
