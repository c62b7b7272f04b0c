"""Cutting an excerpt at the borders of groups of pictures, without encoding anything again.

The clip is read fragment by fragment, a few megabytes at a time; each such piece, behind the file's `moov`, is
an MP4 of its own for FFmpeg's demuxer. What comes out is fragmented too. So neither side keeps an index that
would grow with the length, and nothing of the plaintext is stored but the excerpt.
"""

import io
from collections.abc import Callable
from typing import Any

import msgspec

from evidence.errors import EvidenceError
from evidence.media.fmp4 import AUDIO_TIME_SCALE, VIDEO_TIME_SCALE
from evidence.media.fragments import Fragment, Plaintext, fragments, initialisation, pieces

__all__ = ["Cut", "ExcerptError", "cut_excerpt"]

_NS_PER_S = 1_000_000_000
_SOUND_PATIENCE = 10 * VIDEO_TIME_SCALE
"""Sound follows the picture at less than a second; after that there is none to wait for."""
_OPTIONS = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+skip_trailer+frag_discont",
    "avoid_negative_ts": "disabled",
    "use_editlist": "0",
    "video_track_timescale": str(VIDEO_TIME_SCALE),
}


class ExcerptError(EvidenceError):
    """The wanted times lie outside the clip, or no keyframe is there to begin with."""


class Cut(msgspec.Struct, frozen=True):
    """What an excerpt covers: times from the clip's first frame, and how many pictures."""

    start_ns: int
    end_ns: int
    frames: int


def cut_excerpt(plaintext: Plaintext, from_ns: int, to_ns: int, write: Callable[[bytes], object]) -> Cut:
    """Write the groups of pictures that touch a stretch of time as an MP4 of their own.

    Args:
        plaintext: the opened clip.
        from_ns: start, from the presentation of the clip's first frame; before it means at it.
        to_ns: end, excluded; beyond the clip's end means at it.
        write: takes the MP4, piece by piece.

    Raises:
        ExcerptError: nothing of the clip lies between the two.
        EvidenceError: the clip's media is malformed.
        AgeChunkError: a chunk of it fails authentication.
        av.FFmpegError: FFmpeg refuses it.
    """
    if to_ns <= from_ns:
        raise ExcerptError("an excerpt ends after it starts", found=f"{from_ns} to {to_ns} ns")
    head = initialisation(plaintext)
    place = _find_start(plaintext, len(head), _ticks(from_ns))
    cutter = _Cutter(place, place.zero_pts + _ticks(to_ns), write)
    for piece in pieces(plaintext, place.start_bytes):
        cutter.feed(head + piece)
        if cutter.done:
            break
    return cutter.finish()


class _Place(msgspec.Struct, frozen=True):
    """Where an excerpt begins: the keyframe's times, the byte to read from, and the clip's first time."""

    dts: int
    pts: int
    start_bytes: int
    zero_pts: int


def _find_start(plaintext: Plaintext, media_start: int, from_ticks: int) -> _Place:
    """Find the last keyframe at or before a time; sound may need the fragment before the one that holds it."""
    place: _Place | None = None
    before: Fragment | None = None
    zero: int | None = None
    end = 0
    for fragment in fragments(plaintext, media_start):
        for sample in fragment.samples:
            zero = sample.pts if zero is None else zero
            end = max(end, sample.pts + sample.duration - zero)
            if sample.keyframe and (place is None or sample.pts - zero <= from_ticks):
                place = _Place(sample.dts, sample.pts, (before or fragment).start_bytes, zero)
        if zero is not None and fragment.samples and fragment.samples[0].dts - zero > from_ticks:
            break
        before = fragment
    if place is None:
        raise ExcerptError("no keyframe in the clip", expected="one to begin with", found="none")
    if from_ticks >= end:
        raise ExcerptError(
            "the excerpt lies behind the end of the clip",
            expected=f"a start before {end / VIDEO_TIME_SCALE:.3f} s",
            found=f"{from_ticks / VIDEO_TIME_SCALE:.3f} s",
        )
    if zero is not None and place.pts - zero > max(from_ticks, 0):
        raise ExcerptError("no keyframe before the wanted start")
    return place


class _Cutter:
    """Takes pieces of the clip, and writes the packets that belong to the excerpt."""

    def __init__(self, place: _Place, to_pts: int, write: Callable[[bytes], object]) -> None:
        self._place = place
        self._to_pts = to_pts
        self._write = write
        self._pieces: list[bytes] = []
        self._output: Any = None
        self._video: Any = None
        self._audio: Any = None
        self._audio_base = _rescaled(place.dts)
        self._frames = 0
        self._end_pts = place.pts  # of what was written
        self._stop_pts: int | None = None  # the keyframe that no longer belongs to it
        self._sound_done = False

    @property
    def done(self) -> bool:
        """Whether picture and sound have come to the end of the excerpt."""
        return self._stop_pts is not None and self._sound_done

    def feed(self, piece: bytes) -> None:
        """Take a piece that is an MP4 of its own."""
        import av  # noqa: PLC0415 - 70 ms of CPU, which a whole export does not need

        with av.open(io.BytesIO(piece), "r", format="mp4") as source:
            if self._output is None:
                self._open(av, source)
            for packet in source.demux(video=0, audio=0):
                if packet.size and packet.dts is not None:
                    take = self._take_picture if packet.stream.type == "video" else self._take_sound
                    take(packet)
                    self._drain()

    def finish(self) -> Cut:
        """Write what FFmpeg holds back, and say what the excerpt covers."""
        if self._output is not None:
            self._output.close()
            self._drain()
        if not self._frames:
            raise ExcerptError("no picture of the clip lies in the excerpt")
        zero = self._place.zero_pts
        return Cut(_ns(self._place.pts - zero), _ns(self._end_pts - zero), self._frames)

    def _open(self, av: Any, source: Any) -> None:
        self._output = av.open(_Spout(self._pieces), "w", format="mp4", options=_OPTIONS)
        self._video = self._output.add_stream_from_template(source.streams.video[0])
        if source.streams.audio:
            self._audio = self._output.add_stream_from_template(source.streams.audio[0])
        self._sound_done = self._audio is None

    def _take_picture(self, packet: Any) -> None:
        place = self._place
        if self._stop_pts is not None:
            self._sound_done = self._sound_done or packet.dts > self._stop_pts + _SOUND_PATIENCE
            return
        if packet.dts < place.dts or packet.pts < place.pts:
            return  # before the excerpt, or a leading picture that refers to what is before it
        if packet.is_keyframe and self._frames and packet.pts >= self._to_pts:
            self._stop_pts = packet.pts
            return
        self._frames += 1
        self._end_pts = max(self._end_pts, packet.pts + packet.duration)
        self._mux(packet, self._video, place.dts)

    def _take_sound(self, packet: Any) -> None:
        if self._sound_done or packet.pts < self._audio_base:
            return
        if self._stop_pts is not None and packet.pts >= _rescaled(self._stop_pts):
            self._sound_done = True
            return
        self._mux(packet, self._audio, self._audio_base)

    def _mux(self, packet: Any, stream: Any, base: int) -> None:
        packet.pts -= base
        packet.dts -= base
        packet.stream = stream
        self._output.mux(packet)

    def _drain(self) -> None:
        for piece in self._pieces:
            self._write(piece)
        self._pieces.clear()


class _Spout:
    """What PyAV writes to; it only collects, so that no error of storage passes through libavformat."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def write(self, data: bytes) -> int:
        self._pieces.append(data)
        return len(data)


def _ticks(time_ns: int) -> int:
    return time_ns * VIDEO_TIME_SCALE // _NS_PER_S


def _ns(ticks: int) -> int:
    return ticks * _NS_PER_S // VIDEO_TIME_SCALE


def _rescaled(ticks: int) -> int:
    return (ticks * AUDIO_TIME_SCALE + VIDEO_TIME_SCALE // 2) // VIDEO_TIME_SCALE
