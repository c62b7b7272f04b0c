"""The media of a clip put together: what its bytes hold at any time, and chunks that keep no media waiting."""

import gc
import io
import itertools
import resource
import struct
import weakref
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec
import pytest

from evidence.clock import ClockSource, UtcMapping
from evidence.errors import EvidenceError
from evidence.frames import EncodedFrame, SilenceCause, Span, VideoFormat
from evidence.media.clipstream import AGE_CHUNK_BYTES, Contained, MediaWriter
from evidence.media.fmp4 import Fragment

Video = Callable[..., tuple[EncodedFrame, ...]]
Sound = Callable[[int, int], list[EncodedFrame]]
MS = 1_000_000
SECOND = 1000 * MS
UTC = UtcMapping(0, 1_795_319_723_524_000_000, ClockSource.NTP)


class Clip:
    """A clip being written, its fragments with the newest frame at the time each came out."""

    def __init__(self, first: EncodedFrame, *, sound_from_ns: int | None, rate: int = 30) -> None:
        self.data = bytearray()
        self.fragments: list[tuple[Fragment, int]] = []
        self.newest_ns = first.dts_ns
        self.writer = MediaWriter(
            first,
            VideoFormat(96, 64, Fraction(rate)),
            sound_from_ns=sound_from_ns,
            utc=UTC,
            sink=self.data.extend,
            on_fragment=lambda fragment: self.fragments.append((fragment, self.newest_ns)),
        )

    def write(self, frame: EncodedFrame) -> None:
        if frame.track == 0:
            self.newest_ns = frame.dts_ns
        self.writer.write(frame)


def merged(
    picture: tuple[EncodedFrame, ...], sound: list[EncodedFrame], *, delay_ns: int = 60 * MS
) -> list[EncodedFrame]:
    """Order frames by arrival, sound some time behind the picture."""
    arrivals = [(frame.dts_ns, frame) for frame in picture] + [
        (frame.dts_ns + delay_ns, frame) for frame in sound
    ]
    return [frame for _, frame in sorted(arrivals, key=lambda arrival: arrival[0])]


def repeated(frames: tuple[EncodedFrame, ...], seconds: int) -> tuple[EncodedFrame, ...]:
    """One second of encoded picture, starting with a keyframe, over and over."""
    return tuple(
        msgspec.structs.replace(frame, pts_ns=frame.pts_ns + k * SECOND, dts_ns=frame.dts_ns + k * SECOND)
        for k in range(seconds)
        for frame in frames
    )


def times(data: bytes) -> tuple[list[int], list[int]]:
    """Presentation times of both tracks, in nanoseconds of media time."""
    tracks: tuple[list[int], list[int]] = ([], [])
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                tracks[packet.stream_index].append(round(packet.pts * packet.time_base * SECOND))
    return tracks


def free_boxes(data: bytes) -> list[tuple[int, int]]:
    found, offset = [], 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"free":
            found.append((offset, size))
        offset += size
    return found


SITUATIONS = ["sound", "no microphone", "late", "pulled at second 20", "silent before the press", "off"]


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("rate", [25, 30])
def test_every_fragment_leaves_in_time_whatever_the_sound_does(
    video: Video, sound: Sound, ffprobe: Callable[[bytes], dict[str, Any]], situation: str, rate: int
) -> None:
    seconds = 24 if situation == "pulled at second 20" else 5
    picture = repeated(video(rate, rate, b_frames=False), seconds)
    begin, end = picture[0].dts_ns, picture[-1].dts_ns + SECOND // rate
    real = {"no microphone": [], "pulled at second 20": sound(begin, begin + 20 * SECOND)}.get(
        situation, sound(begin + 3 * MS, end)
    )
    from_ns = {"off": None, "silent before the press": begin + 2 * SECOND}.get(situation, begin)
    clip = Clip(picture[0], sound_from_ns=from_ns, rate=rate)
    for frame in merged(picture, real, delay_ns=450 * MS if situation == "late" else 60 * MS):
        clip.write(frame)
    clip.writer.close()
    for fragment, newest_ns in clip.fragments[:-1]:
        assert fragment.last_pts_ns is not None
        assert newest_ns - fragment.last_pts_ns <= 100 * MS
        assert fragment.duration_ns <= 500 * MS
    found = ffprobe(bytes(clip.data))
    assert found["errors"] == ""
    assert int(found["streams"][0]["nb_read_frames"]) == len(picture)
    assert found["streams"][1]["codec_name"] == "aac"
    shown, heard = times(bytes(clip.data))
    assert shown == pytest.approx([frame.pts_ns - begin for frame in picture], abs=20_000)
    assert heard[0] == 0
    assert all(0 < after - before <= 32 * MS for before, after in itertools.pairwise(heard))
    assert abs(heard[-1] - shown[-1]) < 60 * MS


def test_real_sound_is_in_sync_to_the_sample(video: Video, sound: Sound) -> None:
    picture = repeated(video(30, 30, b_frames=False), 4)
    begin = picture[0].dts_ns
    press = begin + 2 * SECOND + 1_234_567
    real = sound(begin + 3 * MS, picture[-1].dts_ns)
    clip = Clip(picture[0], sound_from_ns=press)
    for frame in merged(picture, real):
        clip.write(frame)
    clip.writer.close()
    counted = [frame.pts_ns - begin for frame in real if frame.pts_ns >= press]
    _, heard = times(bytes(clip.data))
    position = next(index for index, time in enumerate(heard) if abs(time - counted[0]) < 20_000)
    found = heard[position:]
    assert len(found) >= len(counted) - 4  # the last frames were still under way
    assert found[: len(counted) - 4] == pytest.approx(counted[:-4], abs=20_833)
    silences = clip.writer.take_silences()
    assert silences[0] == Span(begin, begin + counted[0], SilenceCause.POLICY_BEFORE_PRESS)


def test_thirty_seconds_at_once_get_their_own_times_and_stamps(video: Video) -> None:
    picture = repeated(video(30, 30, b_frames=True), 30)
    clip = Clip(picture[0], sound_from_ns=picture[-1].dts_ns)
    for frame in picture:
        clip.write(frame)
    clip.writer.close()
    assert clip.writer.written.frames == 900
    stamps, offset = [], 0
    while offset < len(clip.data):
        size, kind = struct.unpack_from(">I4s", clip.data, offset)
        if kind == b"prft":
            stamps.append(Fraction(struct.unpack_from(">Q", clip.data, offset + 16)[0] * SECOND, 1 << 32))
        offset += size
    assert len(stamps) == len(clip.fragments)
    for (before, after), (fragment, _) in zip(itertools.pairwise(stamps), clip.fragments, strict=False):
        assert abs(after - before - fragment.duration_ns) < MS


def test_what_the_first_bytes_hold_is_known_to_the_frame(video: Video) -> None:
    picture = repeated(video(30, 30, b_frames=True), 3)
    clip = Clip(picture[0], sound_from_ns=None)
    for frame in picture:
        clip.write(frame)
    clip.writer.close()
    assert clip.writer.contained(0) == Contained(0, None)
    done = 0
    for fragment, _ in clip.fragments:
        for end in fragment.frame_ends_bytes:
            before = clip.writer.contained(end - 1)
            assert before.frames == done
            done += 1
            greatest = max(frame.pts_ns for frame in picture[:done])
            assert clip.writer.contained(end) == Contained(done, greatest)
    assert clip.writer.contained(len(clip.data)) == clip.writer.written == Contained(90, greatest)
    with pytest.raises(EvidenceError, match="outside"):
        clip.writer.contained(0)
    with pytest.raises(EvidenceError, match="outside"):
        clip.writer.contained(len(clip.data) + 1)


def test_the_frames_that_a_cut_file_yields_are_those_it_is_said_to_hold(video: Video) -> None:
    picture = repeated(video(30, 30, b_frames=False), 3)
    clip = Clip(picture[0], sound_from_ns=None)
    for frame in picture:
        clip.write(frame)
    clip.writer.close()
    for cut in range(10_000, len(clip.data), 7777):
        with av.open(io.BytesIO(bytes(clip.data[:cut])), "r") as container:
            whole = [packet for packet in container.demux(video=0) if packet.size and not packet.is_corrupt]
        assert len(whole) == clip.writer.contained(cut).frames


@pytest.mark.parametrize("padding", [0, 4_000, 40_000])
def test_chunks_are_filled_only_where_more_than_200_ms_would_wait(video: Video, padding: int) -> None:
    filler = b"\0\0\0\1\x0c" + b"\xff" * padding if padding else b""
    picture = tuple(
        msgspec.structs.replace(frame, data=frame.data + filler)
        for frame in repeated(video(30, 30, b_frames=False), 6)
    )
    clip = Clip(picture[0], sound_from_ns=None)
    filled = []
    for frame in picture:
        before = len(clip.fragments)
        clip.write(frame)
        if len(clip.fragments) == before:
            continue
        waiting = clip.writer.unsealed_ns()
        size = clip.writer.fill_chunk()
        assert bool(size) == (waiting > 200 * MS)
        filled.append(size)
        if size:
            assert len(clip.data) % AGE_CHUNK_BYTES == 0
            assert clip.writer.unsealed_ns() == 0
            assert clip.writer.fill_chunk() == 0
        sealed = len(clip.data) - len(clip.data) % AGE_CHUNK_BYTES
        last = clip.writer.contained(sealed).last_pts_ns
        assert last is not None
        assert (clip.writer.written.last_pts_ns or 0) - last <= 200 * MS
    clip.writer.close()
    assert any(filled) == (padding < 40_000)  # 10 Mbit/s fill their chunks by themselves
    assert sum(size for _, size in free_boxes(bytes(clip.data))) == sum(filled)
    assert times(bytes(clip.data))[0] == pytest.approx(
        [frame.pts_ns - picture[0].dts_ns for frame in picture], abs=20_000
    )


@pytest.mark.parametrize("left", range(9))
def test_less_than_a_box_is_left_in_the_chunk(video: Video, left: int) -> None:
    picture = repeated(video(30, 30, b_frames=False), 1)
    plain = Clip(picture[0], sound_from_ns=None)
    for frame in picture[:15]:
        plain.write(frame)
    padding = -(len(plain.data) + left) % AGE_CHUNK_BYTES
    first = picture[0].data + b"\0\0\0\1\x0c" + b"\xff" * (padding - 5)
    clip = Clip(picture[0], sound_from_ns=None)
    clip.write(msgspec.structs.replace(picture[0], data=first))
    for frame in picture[1:15]:
        clip.write(frame)
    assert -len(clip.data) % AGE_CHUNK_BYTES == left
    size = clip.writer.fill_chunk(limit_ns=0)
    assert size == (0 if left == 0 else 8 if left == 8 else AGE_CHUNK_BYTES + left)
    assert len(clip.data) % AGE_CHUNK_BYTES == 0


def test_a_clip_never_ends_at_the_boundary_of_a_chunk(video: Video) -> None:
    picture = repeated(video(30, 30, b_frames=False), 1)
    plain = Clip(picture[0], sound_from_ns=None)
    for frame in picture:
        plain.write(frame)
    plain.writer.close()
    assert free_boxes(bytes(plain.data)) == []
    padding = -len(plain.data) % AGE_CHUNK_BYTES
    first = picture[0].data + b"\0\0\0\1\x0c" + b"\xff" * (padding - 5)
    clip = Clip(picture[0], sound_from_ns=None)
    for frame in (msgspec.structs.replace(picture[0], data=first), *picture[1:]):
        clip.write(frame)
    clip.writer.close()
    assert free_boxes(bytes(clip.data)) == [(AGE_CHUNK_BYTES * (len(clip.data) // AGE_CHUNK_BYTES), 8)]
    size = len(clip.data)
    clip.writer.close()
    assert len(clip.data) == size


def test_leading_pictures_of_an_open_group_are_left_out(video: Video) -> None:
    picture = video(30, 90, b_frames=True)
    first = picture[0]
    leading = [
        msgspec.structs.replace(
            picture[2], pts_ns=first.pts_ns - k * 33 * MS, dts_ns=first.dts_ns + (3 - k) * MS, keyframe=False
        )
        for k in (2, 1)
    ]
    clip = Clip(first, sound_from_ns=None)
    for frame in (first, *leading, *picture[1:]):
        clip.write(frame)
    clip.writer.close()
    assert clip.writer.leading_frames == 2
    assert clip.writer.written.frames == 90
    with av.open(io.BytesIO(bytes(clip.data)), "r") as container:
        assert sum(1 for _ in container.decode(video=0)) == 90


def test_a_stalled_camera_does_not_keep_its_last_frames_from_storage(video: Video) -> None:
    picture = repeated(video(30, 30, b_frames=False), 5)
    clip = Clip(picture[0], sound_from_ns=None)
    for frame in picture[:20]:
        clip.write(frame)
    stalled = picture[19].dts_ns
    clip.writer.advance(stalled + 150 * MS)
    assert clip.writer.waiting_frames == 6
    clip.writer.advance(stalled + 500 * MS)
    assert clip.writer.waiting_frames == 0
    assert clip.writer.written == Contained(20, picture[19].pts_ns)
    for frame in picture[90:]:
        clip.write(frame)
    clip.writer.close()
    shown, heard = times(bytes(clip.data))
    kept = (*picture[:20], *picture[90:])
    assert shown == pytest.approx([frame.pts_ns - picture[0].dts_ns for frame in kept], abs=20_000)
    assert all(after - before < 22 * MS for before, after in itertools.pairwise(heard))


def test_a_clip_of_one_frame(video: Video, ffprobe: Callable[[bytes], dict[str, Any]]) -> None:
    first = video(30, 90, b_frames=False)[0]
    clip = Clip(first, sound_from_ns=None)
    clip.write(first)
    clip.writer.close()
    found = ffprobe(bytes(clip.data))
    assert [int(stream["nb_read_frames"]) for stream in found["streams"]] == [1, 2]
    assert clip.writer.take_silences() == [
        Span(first.pts_ns, first.pts_ns + first.duration_ns, SilenceCause.POLICY_OFF)
    ]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_memory_stays_flat_over_twenty_minutes(video: Video) -> None:
    second = tuple(
        frame if frame.keyframe else msgspec.structs.replace(frame, data=frame.data[:400])
        for frame in video(30, 30, b_frames=False)
    )
    out = bytearray()
    writer = MediaWriter(
        second[0], VideoFormat(96, 64, Fraction(30)), sound_from_ns=None, utc=UTC, sink=out.extend
    )
    put_in = written = settled = 0
    for k in range(20 * 60):
        for frame in second:
            at_k = msgspec.structs.replace(
                frame, pts_ns=frame.pts_ns + k * SECOND, dts_ns=frame.dts_ns + k * SECOND
            )
            writer.write(at_k)
            put_in += len(frame.data)
        written += len(out)
        out.clear()
        writer.contained(writer.plaintext_bytes - writer.plaintext_bytes % AGE_CHUNK_BYTES)
        writer.take_silences()
        assert writer.waiting_frames <= 15
        if k == 120:
            settled = resident_bytes()
    assert put_in > 12_000_000
    assert written > put_in - 20_000
    assert resident_bytes() - settled < 3_000_000


def test_writer_that_has_closed_goes_at_once_with_its_buffers(video: Video) -> None:
    frames = video(30, 40, b_frames=False)

    class Listener:
        def __init__(self) -> None:
            self.media = MediaWriter(
                frames[0],
                VideoFormat(320, 180, Fraction(30)),
                sound_from_ns=None,
                utc=None,
                sink=lambda _data: None,
                on_fragment=self.hear,
            )

        def hear(self, _fragment: Fragment) -> None:
            assert self.media is not None

    gc.collect()
    gc.disable()  # what lives on in a cycle would only go when the collector comes to it, minutes later
    try:
        listener = Listener()
        for frame in frames[:40]:
            listener.media.write(frame)
        listener.media.close()
        gone = weakref.ref(listener.media), weakref.ref(listener)
        del listener
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()
