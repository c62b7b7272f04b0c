"""Encoded frames to fragmented MP4, through FFmpeg's mov muxer (PyAV).

The muxer builds `ftyp`, `moov`, `moof` and `mdat`; this module hands it frames in a way that never makes it
wait and never makes it guess, puts our `prft` before each `moof`, and says which frame ends at which byte.
Three traits of libavformat (movenc.c and mux.c, FFmpeg 7 and 8) shape it:

- `av_interleaved_write_frame` holds the last packet of a track until another one comes. An empty packet
  behind each video packet lets go of it; the muxer itself drops empty packets.
- A fragment is closed by the first packet, of either track, that starts `frag_duration` after the track's
  first packet in it. In the closing track the last sample lasts until that packet; in the other one until the
  packet that waits in the queue (our empty one), or else as long as the packet said. So a frame goes to the
  muxer when its successor is known; only the frame that closes a fragment goes at once.
- The first packet of a fragment is moved to where the track's last sample ended, and keeps its distance from
  decode to presentation time. That end is read back from the `moof`, so that the presentation time comes out
  as it was.
"""

import math
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import av
import msgspec

from evidence.clock import UtcMapping
from evidence.errors import EvidenceError
from evidence.frames import AudioFormat, EncodedFrame, VideoFormat
from evidence.media.boxes import box_at, prft_box, track_run
from evidence.media.h264 import ANNEX_B_START_CODE, parameter_sets
from evidence.media.muxer import AUDIO_TIME_SCALE, VIDEO_TIME_SCALE, Muxer

__all__ = [
    "AUDIO_TIME_SCALE",
    "VIDEO_TIME_SCALE",
    "Fragment",
    "FragmentedMp4Writer",
    "Sink",
    "fragment_limit_us",
]

Sink = Callable[[bytes | memoryview], object]

_VIDEO_TRACK_ID = 1
_NS_PER_S = 1_000_000_000
_HALF_NS = _NS_PER_S // 2
_US_PER_S = 1_000_000
_LONGEST_FRAGMENT_S = Fraction(1, 2)
_REORDER_DEPTH = 32  # H.264 reorders 16 pictures at most


class Fragment(msgspec.Struct, frozen=True):
    """One fragment that has gone to the sink, from its `prft` (or `moof`) to the end of its `mdat`.

    Offsets count plaintext bytes from the start of the file. `pts_ns` and `frame_ends_bytes` go through its
    video frames in decode order: the presentation time of each and the offset at which its data ends. Both
    are empty for a fragment of sound alone. `duration_ns` is the sum of the durations of the video samples.
    """

    offset_bytes: int
    end_offset_bytes: int
    duration_ns: int
    first_dts_ns: int | None
    pts_ns: tuple[int, ...]
    frame_ends_bytes: tuple[int, ...]

    @property
    def frames(self) -> int:
        """How many video frames are in it."""
        return len(self.pts_ns)

    @property
    def first_pts_ns(self) -> int | None:
        """Presentation time of the first video frame in decode order."""
        return self.pts_ns[0] if self.pts_ns else None

    @property
    def last_pts_ns(self) -> int | None:
        """Greatest presentation time among the video frames."""
        return max(self.pts_ns, default=None)


class FragmentedMp4Writer:
    """Writes one H.264 and one AAC track as fragmented MP4, each fragment as soon as its last frame is known.

    Video comes in decode order, the first frame a keyframe with SPS and PPS, which become the `avcC`. Sound
    comes without holes, the first frame at `base_dts_ns`. Neither track waits for the other. Media time 0 is
    `base_dts_ns`, the decode time of the first video frame. No offset is absolute; there is no edit list and
    no index at the end.

    While UTC is known, a `prft` stands before each fragment that holds video: UTC and media time of the
    *decode time* of its first video frame. Without B-frames that is the frame's presentation time; with them,
    a picture's own UTC is the stamp plus its presentation time minus the stamp's media time. So stamps differ
    by exactly what fragments last.

    Bytes go to `sink` in whole boxes, in order, from within the calls to this object; an error that the sink
    raises comes out of that call, and the writer is of no use afterwards. After the last byte of a fragment
    `on_fragment` is called.
    """

    def __init__(
        self,
        video: VideoFormat,
        audio: AudioFormat,
        audio_config: bytes,
        *,
        base_dts_ns: int,
        utc: UtcMapping | None,
        sink: Sink,
        on_fragment: Callable[[Fragment], object],
    ) -> None:
        self._base_ns = base_dts_ns
        self._utc = utc
        self._sink = sink
        self._on_fragment = on_fragment
        self._offset = 0
        limit_us = fragment_limit_us(video.rate)
        self._limit_ticks = -(-limit_us * VIDEO_TIME_SCALE // _US_PER_S)
        self._make_muxer = partial(Muxer, video, audio, audio_config, limit_us=limit_us)
        self._muxer = self._make_muxer()
        self._fragments = 0
        self._parameter_sets = b""
        self._empty = av.Packet()
        self._held: EncodedFrame | None = None
        self._inside: deque[_Stamp] = deque()  # frames that the muxer has and the sink has not
        self._recent_pts: deque[int] = deque(maxlen=_REORDER_DEPTH)
        self._greatest_pts = -1
        self._last_dts_ns = base_dts_ns - 1
        self._last_dts = -1  # ticks, of the last packet of the video track
        self._video_end = 0  # ticks at which the video samples of the last fragment end
        self._fragment_start = 0
        self._audio_end = 0
        self._closed = False

    @property
    def offset_bytes(self) -> int:
        """Plaintext bytes that the sink has got."""
        return self._offset

    @property
    def waiting_frames(self) -> int:
        """Video frames that have been put in and are not in a finished fragment yet."""
        return len(self._inside) + (self._held is not None)

    @property
    def fragment_due_ns(self) -> int | None:
        """Earliest decode time of a frame that closes the running fragment; `None` while there is none."""
        if not self._inside:
            return None
        return self._base_ns + (self._fragment_start + self._limit_ticks) * _NS_PER_S // VIDEO_TIME_SCALE

    def write_video(self, frame: EncodedFrame) -> None:
        """Take the next video frame in decode order.

        Raises:
            EvidenceError: the first frame is no keyframe or has no parameter sets, decode times don't
                increase, or a presentation time lies before its decode time.
        """
        self._check_video(frame)
        self._last_dts_ns = frame.dts_ns
        held, self._held = self._held, frame
        begins = self._video_ticks(frame.dts_ns)
        if held is not None:
            self._send_video(held, begins)
        if begins - self._fragment_start >= self._limit_ticks or not self._recent_pts:
            # It closes a fragment (or brings forth the header), so it goes at once: the muxer will take its
            # duration from the next frame of its own fragment.
            self._held = None
            self._send_video(frame, None)

    def release_video(self) -> None:
        """Hand the frame that waits for its successor to the muxer, because none is coming for a while."""
        held, self._held = self._held, None
        if held is not None:
            self._send_video(held, None)

    def cut(self) -> None:
        """Close the running fragment before its time, behind the last frame whose successor is known.

        Costs a muxer: PyAV has no way to have one close a fragment, so this one is closed and another goes on.
        """
        if self._held is None or len(self._inside) < 2:  # noqa: PLR2004 - the first has its end from the second
            return
        self._muxer.close()
        self._drain()
        self._muxer = self._make_muxer(fragments=self._fragments, parameter_sets=self._parameter_sets)
        self._last_dts = self._video_end - 1

    def write_audio(self, frame: EncodedFrame) -> None:
        """Take the next AAC frame; its duration tells where the one after it starts.

        Raises:
            EvidenceError: it doesn't start where the one before it ended.
        """
        start_ns = frame.pts_ns - self._base_ns
        start = (start_ns * AUDIO_TIME_SCALE + _HALF_NS) // _NS_PER_S  # `_to_ticks`, without its call
        end = ((start_ns + frame.duration_ns) * AUDIO_TIME_SCALE + _HALF_NS) // _NS_PER_S
        if start != self._audio_end or end <= start:
            raise EvidenceError(
                "a hole in the sound track",
                expected=f"a frame that starts at sample {self._audio_end} and ends after it",
                found=f"one from {start} to {end}",
                remedy="let Soundtrack fill what is missing with silence",
            )
        self._audio_end = end
        packet = av.Packet(frame.data)
        packet.is_keyframe = True
        self._mux(packet, self._muxer.audio, start, start, end - start)

    def write_free(self, box: bytes) -> None:
        """Put a `free` box between two fragments."""
        self._emit(box)

    def close(self) -> None:
        """Write what is left as the last fragment. Idempotent."""
        if self._closed:
            return
        held, self._held = self._held, None
        if held is not None:
            self._send_video(held, self._video_ticks(held.dts_ns + held.duration_ns))
        self._closed = True
        self._muxer.close()
        self._drain()
        self._on_fragment = lambda _: None  # what listens holds this object, and with it a muxer's buffers

    def _check_video(self, frame: EncodedFrame) -> None:
        if not self._recent_pts and self._held is None:
            if not frame.keyframe:
                raise EvidenceError("the first frame of a clip can't be decoded", expected="a keyframe")
            self._parameter_sets = parameter_sets(frame.data)
        if frame.dts_ns <= self._last_dts_ns or frame.pts_ns < frame.dts_ns:
            raise EvidenceError(
                "video frames out of order",
                expected=f"a decode time after {self._last_dts_ns}, and not after its presentation time",
                found=f"decode time {frame.dts_ns}, presentation time {frame.pts_ns}",
            )

    def _video_ticks(self, time_ns: int) -> int:
        return _to_ticks(time_ns - self._base_ns, VIDEO_TIME_SCALE)

    def _send_video(self, frame: EncodedFrame, end: int | None) -> None:
        """Mux one frame whose sample lasts until `end`, in ticks, or nobody knows how long."""
        shift = 0
        dts = max(self._video_ticks(frame.dts_ns), self._last_dts + 1)
        closing = bool(self._inside)
        if not self._inside:  # the muxer will move it to where the last fragment ended
            dts = self._fragment_start = self._video_end
            shift = max(0, self._last_dts + 1 - dts)
        pts = max(self._video_ticks(frame.pts_ns), dts)
        if pts <= self._greatest_pts:
            while pts in self._recent_pts:  # two times closer than one tick
                pts += 1
        self._greatest_pts = max(pts, self._greatest_pts)
        self._recent_pts.append(pts)
        self._inside.append(_Stamp(frame.pts_ns, frame.dts_ns, dts))
        packet = av.Packet(frame.data)
        packet.is_keyframe = frame.keyframe
        duration = _to_ticks(frame.duration_ns, VIDEO_TIME_SCALE) if end is None else max(1, end - dts)
        self._mux(packet, self._muxer.video, pts + shift, dts + shift, duration)
        # It must come before the next frame, and if sound closes the fragment now it ends this sample.
        self._last_dts = max(dts + shift + 1, 0 if end is None else end - 1)
        self._mux(self._empty, self._muxer.video, self._last_dts, self._last_dts, 0)
        if closing and len(self._inside) == 1:  # it has closed a fragment and begins the next
            self._fragment_start = dts

    def _mux(self, packet: Any, stream: Any, pts: int, dts: int, duration: int) -> None:
        packet.stream = stream  # and, no other being set, in its time base
        packet.pts = pts
        packet.dts = dts
        packet.duration = duration
        self._muxer.mux(packet)
        if self._muxer.pieces:
            self._drain()

    def _drain(self) -> None:
        """Pass on every whole box that the muxer has written; a fragment goes in one piece."""
        data = memoryview(b"".join(self._muxer.pieces))
        self._muxer.pieces.clear()
        start = 0
        while box := box_at(data, start):
            kind, _, end = box
            if kind == b"moof":
                mdat = box_at(data, end)
                if mdat is None:
                    break
                self._emit_fragment(data[start : mdat[2]], end - start)
                end = mdat[2]
            else:
                self._emit_header(kind, bytes(data[start:end]))
            start = end
        if start < len(data):
            self._muxer.pieces.append(bytes(data[start:]))

    def _emit_header(self, kind: bytes, box: bytes) -> None:
        """Emit a box of the header; a muxer that goes on writes it once more, with nothing new in it."""
        if kind == b"moov":
            self._check_parameter_sets(box)
        if not self._fragments:
            self._emit(box)

    def _check_parameter_sets(self, moov: bytes) -> None:
        """Make sure that PyAV took SPS and PPS: without them nothing plays the file, or what a muxer writes."""
        for unit in self._parameter_sets.split(ANNEX_B_START_CODE)[1:]:
            if unit not in moov:
                raise EvidenceError(
                    "the muxer left the parameter sets out",
                    expected="SPS and PPS in avcC",
                    remedy="use PyAV 18",
                )

    def _emit_fragment(self, fragment: memoryview, moof_bytes: int) -> None:
        run = track_run(fragment[:moof_bytes], _VIDEO_TRACK_ID)
        stamps = [self._inside.popleft() for _ in run.sizes_bytes]
        if stamps:
            self._video_end = stamps[0].dts + run.duration_ticks
        begins = self._offset
        self._fragments += 1
        if stamps and self._utc is not None:
            utc_ns = self._utc.utc_at(stamps[0].dts_ns)
            if utc_ns is not None:
                self._emit(prft_box(_VIDEO_TRACK_ID, utc_ns, self._video_ticks(stamps[0].dts_ns)))
        ends: list[int] = []
        position = self._offset + run.data_offset_bytes
        for size in run.sizes_bytes:
            position += size
            ends.append(position)
        self._emit(fragment)
        self._on_fragment(
            Fragment(
                offset_bytes=begins,
                end_offset_bytes=self._offset,
                duration_ns=run.duration_ticks * _NS_PER_S // VIDEO_TIME_SCALE,
                first_dts_ns=stamps[0].dts_ns if stamps else None,
                pts_ns=tuple([stamp.pts_ns for stamp in stamps]),
                frame_ends_bytes=tuple(ends),
            )
        )

    def _emit(self, data: bytes | memoryview) -> None:
        self._sink(data)
        self._offset += len(data)


class _Stamp(msgspec.Struct, frozen=True, gc=False):
    """The times of a frame that is inside the muxer; `dts` in ticks, as it will be in the file."""

    pts_ns: int
    dts_ns: int
    dts: int


def fragment_limit_us(rate: Fraction) -> int:
    """Return how long after its first frame a fragment is closed, to last at most 500 ms at that frame rate.

    Half a frame less than a whole number of frames, so that jitter of the sensor doesn't change their number.

    Raises:
        EvidenceError: the rate is not positive.
    """
    if rate <= 0:
        raise EvidenceError("no frame rate", expected="more than 0 frames a second", found=f"{rate}")
    frames = max(1, math.ceil(_LONGEST_FRAGMENT_S * rate) - 1)
    return int((frames - Fraction(1, 2)) / rate * _US_PER_S)


def _to_ticks(duration_ns: int, scale: int) -> int:
    """Round to the nearest tick."""
    return (duration_ns * scale + _HALF_NS) // _NS_PER_S
