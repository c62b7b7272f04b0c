"""Fragmented MP4: what goes in comes out, at its own time, and no fragment waits."""

import io
import itertools
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import msgspec
import pytest

from evidence.clock import ClockSource, UtcMapping
from evidence.errors import EvidenceError
from evidence.frames import AudioFormat, EncodedFrame, Track, VideoFormat
from evidence.media.aac import silence
from evidence.media.fmp4 import Fragment, FragmentedMp4Writer, fragment_limit_us

Video = Callable[..., tuple[EncodedFrame, ...]]
MS = 1_000_000
SECOND = 1000 * MS
UTC_NS = 1_795_319_723_524_000_000


class Clip:
    """A file being written: its bytes, its fragments, and how many frames had gone in when each came out."""

    def __init__(self, first: EncodedFrame, rate: Fraction, *, utc: UtcMapping | None = None) -> None:
        self.data = bytearray()
        self.calls = 0
        self.fragments: list[tuple[Fragment, int]] = []
        self.put_in = 0
        self.silence_ns = first.dts_ns
        self.writer = FragmentedMp4Writer(
            VideoFormat(96, 64, rate),
            AudioFormat(),
            silence().config,
            base_dts_ns=first.dts_ns,
            utc=utc,
            sink=self.sink,
            on_fragment=lambda fragment: self.fragments.append((fragment, self.put_in)),
        )

    def sink(self, data: bytes | memoryview) -> None:
        self.calls += 1
        self.data += data

    def video(self, frame: EncodedFrame) -> None:
        self.put_in += 1
        self.writer.write_video(frame)

    def silence_until(self, time_ns: int) -> None:
        """Write whole frames of silence that begin before a time."""
        while self.silence_ns < time_ns:
            data = silence().frame
            self.writer.write_audio(
                EncodedFrame(Track.AUDIO, data, self.silence_ns, self.silence_ns, 21_333_333, keyframe=True)
            )
            self.silence_ns += 21_333_333


def write(
    frames: tuple[EncodedFrame, ...], rate: int, *, lag_ns: int = 0, utc: UtcMapping | None = None
) -> Clip:
    clip = Clip(frames[0], Fraction(rate), utc=utc)
    for frame in frames:
        clip.video(frame)
        clip.silence_until(frame.dts_ns - lag_ns)
    clip.writer.close()
    return clip


def boxes(data: bytes) -> list[tuple[str, int, bytes]]:
    """Read the boxes of one level: type, offset, content. Independent of the code under test."""
    found = []
    offset = 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        assert size >= 8
        found.append((kind.decode(), offset, data[offset + 8 : offset + size]))
        offset += size
    assert offset == len(data)
    return found


def packets(data: bytes) -> tuple[list[Any], list[Any]]:
    """Demux: (pts, dts) of video and audio in nanoseconds of media time."""
    tracks: tuple[list[Any], list[Any]] = ([], [])
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None and packet.dts is not None:
                scale = int(SECOND * packet.time_base)
                assert scale == int(SECOND * packet.time_base)
                tracks[packet.stream_index].append(
                    (
                        round(packet.pts * packet.time_base * SECOND),
                        round(packet.dts * packet.time_base * SECOND),
                    )
                )
    return tracks


def stamps(data: bytes) -> list[tuple[int, int]]:
    """Read every prft: NTP time in nanoseconds since 1900, media time in ticks."""
    found = []
    for kind, _, content in boxes(data):
        if kind == "prft":
            version, track, ntp, media = struct.unpack(">IIQQ", content)
            assert (version, track) == (0x01000000, 1)
            found.append((round(Fraction(ntp * SECOND, 1 << 32)), media))
    return found


KINDS = [(25, False, 0), (30, False, 0), (30, False, 2 * MS), (25, True, 0), (30, True, 0)]


@pytest.mark.parametrize(("rate", "b_frames", "jitter_ns"), KINDS)
@pytest.mark.parametrize("lag_ns", [-30 * MS, 0, 60 * MS, 300 * MS])
def test_every_frame_comes_out_at_its_own_time(
    video: Video, rate: int, b_frames: bool, jitter_ns: int, lag_ns: int
) -> None:
    frames = video(rate, 4 * rate, b_frames=b_frames, jitter_ns=jitter_ns)
    clip = write(frames, rate, lag_ns=lag_ns)
    picture, sound = packets(bytes(clip.data))
    base = frames[0].dts_ns
    assert [pts for pts, _ in picture] == pytest.approx([frame.pts_ns - base for frame in frames], abs=20_000)
    assert all(before[1] < after[1] for before, after in itertools.pairwise(picture))
    assert len({pts for pts, _ in picture}) == len(frames)
    assert [pts for pts, _ in sound] == pytest.approx(
        [index * 21_333_333 for index in range(len(sound))], abs=20_000
    )
    assert sound[0][0] == 0


@pytest.mark.parametrize(("rate", "b_frames", "jitter_ns"), KINDS)
def test_ffprobe_decodes_every_frame(
    video: Video, ffprobe: Callable[[bytes], dict[str, Any]], rate: int, b_frames: bool, jitter_ns: int
) -> None:
    frames = video(rate, 4 * rate, b_frames=b_frames, jitter_ns=jitter_ns)
    found = ffprobe(bytes(write(frames, rate).data))
    assert found["errors"] == ""
    picture, sound = found["streams"]
    assert (picture["codec_name"], picture["width"], picture["height"]) == ("h264", 96, 64)
    assert (picture["time_base"], sound["time_base"]) == ("1/90000", "1/48000")
    assert int(picture["nb_read_frames"]) == len(frames)
    assert sound["codec_name"] == "aac"
    times = [packet for packet in found["packets"] if packet["stream_index"] == 0]
    assert times[0]["flags"].startswith("K")
    shown = sorted(packet["pts"] for packet in times)
    step = 90_000 // rate
    assert all(abs(after - before - step) <= step // 4 for before, after in itertools.pairwise(shown))


@pytest.mark.parametrize(("rate", "b_frames", "jitter_ns"), KINDS)
@pytest.mark.parametrize("lag_ns", [-30 * MS, 60 * MS, 300 * MS, 100 * SECOND])
def test_a_fragment_is_short_and_leaves_one_frame_after_its_last(
    video: Video, rate: int, b_frames: bool, jitter_ns: int, lag_ns: int
) -> None:
    frames = video(rate, 4 * rate, b_frames=b_frames, jitter_ns=jitter_ns)
    clip = write(frames, rate, lag_ns=lag_ns)
    written = 0
    for fragment, put_in in clip.fragments[:-1]:
        written += fragment.frames
        newest, last = frames[put_in - 1], frames[written - 1]
        assert newest.dts_ns - last.dts_ns <= 100 * MS
        assert 200 * MS < fragment.duration_ns <= 500 * MS
    assert sum(fragment.frames for fragment, _ in clip.fragments) == len(frames)
    assert clip.fragments[-1][0].duration_ns <= 500 * MS


def test_boxes_come_in_order_with_no_offset_from_the_start_of_the_file(video: Video) -> None:
    clip = write(video(30, 90, b_frames=False), 30, utc=UtcMapping(0, UTC_NS, ClockSource.NTP))
    kinds = [kind for kind, _, _ in boxes(bytes(clip.data))]
    assert kinds == ["ftyp", "moov", *["prft", "moof", "mdat"] * len(clip.fragments)]
    for kind, _, content in boxes(bytes(clip.data)):
        if kind == "moov":
            assert "mvex" in [inside for inside, _, _ in boxes(content)]
        if kind != "moof":
            continue
        trafs = [boxes(traf) for inside, _, traf in boxes(content) if inside == "traf"]
        for traf in trafs:
            tfhd = next(content for inside, _, content in traf if inside == "tfhd")
            flags = struct.unpack_from(">I", tfhd)[0]
            assert flags & 0x020000  # default-base-is-moof
            assert not flags & 0x1  # no base-data-offset


def test_fragments_tell_where_they_and_their_frames_lie(video: Video) -> None:
    frames = video(30, 90, b_frames=True)
    clip = write(frames, 30, utc=UtcMapping(0, UTC_NS, ClockSource.NTP))
    found = boxes(bytes(clip.data))
    prfts = [offset for kind, offset, _ in found if kind == "prft"]
    mdats = [(offset + 8, offset + 8 + len(content)) for kind, offset, content in found if kind == "mdat"]
    order = iter(frames)
    for (fragment, _), prft, (start, end) in zip(clip.fragments, prfts, mdats, strict=True):
        assert (fragment.offset_bytes, fragment.end_offset_bytes) == (prft, end)
        inside = list(itertools.islice(order, fragment.frames))
        assert fragment.pts_ns == tuple(frame.pts_ns for frame in inside)
        assert fragment.first_pts_ns == inside[0].pts_ns
        assert fragment.last_pts_ns == max(frame.pts_ns for frame in inside)
        position = start
        for frame, frame_end in zip(inside, fragment.frame_ends_bytes, strict=True):
            sample = bytes(clip.data[position:frame_end])
            assert sample[-20:] == frame.data[-20:]
            position = frame_end
        assert position <= end


@pytest.mark.parametrize(("rate", "b_frames", "jitter_ns"), KINDS)
def test_prft_stamps_differ_by_what_the_fragments_last(
    video: Video, rate: int, b_frames: bool, jitter_ns: int
) -> None:
    frames = video(rate, 4 * rate, b_frames=b_frames, jitter_ns=jitter_ns)
    base = frames[0].dts_ns
    clip = write(frames, rate, lag_ns=60 * MS, utc=UtcMapping(base + 77 * SECOND, UTC_NS, ClockSource.DOCK))
    found = stamps(bytes(clip.data))
    assert len(found) == len(clip.fragments)
    for (before, _), (after, _), (fragment, _) in zip(found, found[1:], clip.fragments, strict=False):
        assert abs(after - before - fragment.duration_ns) <= MS
    since_1900 = UTC_NS - 77 * SECOND + 2_208_988_800 * SECOND
    for ntp_ns, media_ticks in found:
        assert abs(ntp_ns - since_1900 - media_ticks * SECOND // 90_000) < MS


@pytest.mark.parametrize("utc", [None, UtcMapping(5, None, ClockSource.NONE)])
def test_without_utc_there_is_no_prft(video: Video, utc: UtcMapping | None) -> None:
    clip = write(video(30, 60, b_frames=False), 30, utc=utc)
    assert stamps(bytes(clip.data)) == []
    assert len(clip.fragments) > 3


def test_a_file_cut_off_after_any_fragment_decodes_up_to_it(video: Video) -> None:
    frames = video(30, 90, b_frames=True)
    clip = write(frames, 30)
    whole = 0
    for fragment, _ in clip.fragments:
        whole += fragment.frames
        with av.open(io.BytesIO(bytes(clip.data[: fragment.end_offset_bytes])), "r") as container:
            assert sum(1 for _ in container.decode(video=0)) == whole


def test_the_frames_around_a_gap_keep_their_times(video: Video) -> None:
    frames = video(30, 120, b_frames=False)
    kept = (*frames[:20], *frames[75:])
    clip = write(kept, 30, lag_ns=60 * MS)
    picture, _ = packets(bytes(clip.data))
    assert [pts for pts, _ in picture] == pytest.approx([f.pts_ns - kept[0].dts_ns for f in kept], abs=20_000)


def test_a_frame_released_in_a_gap_leaves_with_sound_and_the_next_keeps_its_time(video: Video) -> None:
    frames = video(30, 120, b_frames=True)
    kept = (*frames[:20], *frames[75:])
    clip = Clip(frames[0], Fraction(30))
    for frame in kept[:20]:
        clip.video(frame)
        clip.silence_until(frame.dts_ns)
    clip.writer.release_video()
    assert sum(fragment.frames for fragment, _ in clip.fragments) == 14
    clip.silence_until(kept[19].dts_ns + 600 * MS)
    assert sum(fragment.frames for fragment, _ in clip.fragments) == 20
    assert clip.writer.waiting_frames == 0
    for frame in kept[20:]:
        clip.video(frame)
        clip.silence_until(frame.dts_ns)
    clip.writer.close()
    picture, sound = packets(bytes(clip.data))
    assert [pts for pts, _ in picture] == pytest.approx([f.pts_ns - kept[0].dts_ns for f in kept], abs=20_000)
    assert all(before[1] < after[1] for before, after in itertools.pairwise(picture))
    assert [pts for pts, _ in sound] == pytest.approx([21_333_333 * i for i in range(len(sound))], abs=20_000)


def test_times_closer_than_a_tick_stay_apart(video: Video) -> None:
    frames = list(video(30, 40, b_frames=False))
    for index in range(10, 13):
        time = frames[10].pts_ns + 1000 * (index - 10)
        frames[index] = msgspec.structs.replace(frames[index], pts_ns=time, dts_ns=time)
    picture, _ = packets(bytes(write(tuple(frames), 30).data))
    assert len({pts for pts, _ in picture}) == 40
    assert all(before[1] < after[1] for before, after in itertools.pairwise(picture))


def test_a_header_without_parameter_sets_is_noticed(video: Video) -> None:
    frames = video(30, 60, b_frames=False)
    clip = Clip(frames[0], Fraction(30))
    clip.writer._muxer._container.start_encoding()  # too early: the first packet is not there yet
    with pytest.raises(EvidenceError, match="parameter sets"):
        clip.video(frames[0])
    assert b"moov" not in clip.data


def test_few_calls_of_the_sink(video: Video) -> None:
    clip = write(video(30, 120, b_frames=False), 30, utc=UtcMapping(0, UTC_NS, ClockSource.NTP))
    assert clip.calls == 2 + 2 * len(clip.fragments)


def test_an_error_of_the_sink_comes_out_of_the_call(video: Video) -> None:
    frames = video(30, 60, b_frames=False)
    clip = Clip(frames[0], Fraction(30))

    def full(_data: bytes | memoryview) -> None:
        raise OSError(28, "No space left on device")

    for frame in frames[:14]:
        clip.video(frame)
    clip.writer._sink = full
    with pytest.raises(OSError, match="No space"):
        clip.video(frames[14])


def test_close_without_a_frame_writes_nothing(video: Video) -> None:
    clip = Clip(video(30, 60, b_frames=False)[0], Fraction(30))
    clip.writer.close()
    clip.writer.close()
    assert clip.data == b""


def test_what_cannot_be_muxed_is_refused(video: Video) -> None:
    frames = video(30, 60, b_frames=False)
    replace = msgspec.structs.replace
    with pytest.raises(EvidenceError, match="can't be decoded"):
        Clip(frames[1], Fraction(30)).video(frames[1])
    with pytest.raises(EvidenceError, match="parameter sets"):
        Clip(frames[0], Fraction(30)).video(replace(frames[1], keyframe=True))
    clip = Clip(frames[0], Fraction(30))
    clip.video(frames[0])
    with pytest.raises(EvidenceError, match="out of order"):
        clip.video(frames[0])
    with pytest.raises(EvidenceError, match="out of order"):
        clip.video(replace(frames[1], pts_ns=frames[1].dts_ns - 1))
    clip.silence_ns += 5 * MS
    with pytest.raises(EvidenceError, match="hole in the sound"):
        clip.silence_until(frames[9].dts_ns)


@pytest.mark.parametrize(
    ("rate", "frames"),
    [
        (Fraction(30), 14),
        (Fraction(25), 12),
        (Fraction(30_000, 1001), 14),
        (Fraction(60), 29),
        (Fraction(1), 1),
    ],
)
def test_the_limit_lies_half_a_frame_before_the_last_that_fits(rate: Fraction, frames: int) -> None:
    assert fragment_limit_us(rate) == int((frames - Fraction(1, 2)) / rate * 1_000_000)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(EvidenceError, match="frame rate"):
        fragment_limit_us(Fraction(0))


@pytest.mark.parametrize("jitter_ns", [0, 3 * MS, 11 * MS])
@pytest.mark.parametrize("b_frames", [False, True])
def test_no_frame_closes_a_fragment_before_it_is_due(video: Video, jitter_ns: int, b_frames: bool) -> None:
    tick_ns = 11_112
    frames = video(30, 90, b_frames=b_frames, jitter_ns=jitter_ns)
    clip = Clip(frames[0], Fraction(30))
    assert clip.writer.fragment_due_ns is None
    for frame in frames:
        due_ns, before = clip.writer.fragment_due_ns, len(clip.fragments)
        clip.silence_until(frame.dts_ns)
        clip.video(frame)
        if len(clip.fragments) > before:
            assert due_ns is not None
            assert frame.dts_ns - due_ns >= -tick_ns
            assert frame.dts_ns - due_ns < 100 * MS  # and a reader that slept until then sleeps no great part
    assert len(clip.fragments) >= 5
