"""The media of one clip as a stream of plaintext bytes: picture, sound track, fragments, chunk filling.

Sans storage: bytes go to a sink, and what those bytes hold can be asked at any time. The sink is the age
writer, which seals 64 KiB chunks; what matters to the rest of Preroll is which frames lie whole within the
chunks sealed so far.
"""

from collections import deque
from collections.abc import Callable

import msgspec

from evidence.clock import UtcMapping
from evidence.errors import EvidenceError
from evidence.frames import AudioFormat, EncodedFrame, Span, Track, VideoFormat
from evidence.media.aac import silence
from evidence.media.boxes import BOX_HEADER_BYTES, free_box
from evidence.media.fmp4 import Fragment, FragmentedMp4Writer, Sink
from evidence.media.soundtrack import DEFAULT_LAG_NS, Soundtrack

__all__ = ["AGE_CHUNK_BYTES", "FILL_LIMIT_NS", "STALL_NS", "Contained", "MediaWriter"]

AGE_CHUNK_BYTES = 64 * 1024
FILL_LIMIT_NS = 200_000_000
"""So much media may wait in an unfilled chunk at a sync point (docs/formats.md)."""
STALL_NS = 200_000_000
"""A picture that is this late makes `MediaWriter.advance` go on without it."""


class Contained(msgspec.Struct, frozen=True):
    """What the first bytes of a clip hold: whole video frames, and their greatest presentation time."""

    frames: int
    last_pts_ns: int | None


class _Frame(msgspec.Struct, frozen=True, gc=False):
    """A frame in the file: where its data ends, and what the file holds up to there."""

    end_bytes: int
    frames: int
    last_pts_ns: int


class MediaWriter:
    """Turns the frames of one clip into fragmented MP4.

    Frames of both tracks go in as they come, each track in its own order, video in decode order from a
    keyframe on (`first`, which is not written by the constructor). Bytes come out through `sink` from within
    the calls.

    `sound_from_ns` is as in `Soundtrack`: the press, the first frame's time where policy allows sound before
    the press, `None` where sound is off.

    Attributes:
        leading_frames: video frames left out at the start because they refer to frames before the first
        keyframe.
    """

    def __init__(
        self,
        first: EncodedFrame,
        video: VideoFormat,
        *,
        sound_from_ns: int | None,
        utc: UtcMapping | None,
        sink: Sink,
        on_fragment: Callable[[Fragment], object] | None = None,
        lag_ns: int = DEFAULT_LAG_NS,
    ) -> None:
        self.leading_frames = 0
        self._sink = sink
        self._tell = on_fragment
        self._first_pts_ns = first.pts_ns
        self._closed = False
        self._seen_dts_ns = first.dts_ns
        self._end_pts_ns = first.pts_ns
        self._contained = Contained(0, None)
        self._frames: deque[_Frame] = deque()
        self._asked_bytes = 0
        self._sound = Soundtrack(first.dts_ns, sound_from_ns=sound_from_ns, lag_ns=lag_ns)
        self._mp4 = FragmentedMp4Writer(
            video,
            AudioFormat(),
            silence().config,
            base_dts_ns=first.dts_ns,
            utc=utc,
            sink=sink,
            on_fragment=self._fragment_written,
        )

    @property
    def plaintext_bytes(self) -> int:
        """Bytes that the sink has got."""
        return self._mp4.offset_bytes

    @property
    def waiting_frames(self) -> int:
        """Video frames that were put in and are in no finished fragment yet."""
        return self._mp4.waiting_frames

    @property
    def fragment_due_ns(self) -> int | None:
        """Decode time before which no frame closes the running fragment; `None` while there is none."""
        return self._mp4.fragment_due_ns

    @property
    def late_sound_frames(self) -> int:
        """Frames of sound that came after their place had been filled with silence."""
        return self._sound.late_frames

    @property
    def written(self) -> Contained:
        """What the bytes that the sink has got hold."""
        last = self._frames[-1] if self._frames else None
        return self._contained if last is None else Contained(last.frames, last.last_pts_ns)

    def write(self, frame: EncodedFrame) -> None:
        """Take the next frame of either track.

        Raises:
            EvidenceError: the track's frames are out of order, or the first video frame can't be decoded.
        """
        if frame.track is Track.AUDIO:
            self._sound.add(frame)
            return
        if frame.pts_ns < self._first_pts_ns:
            # A leading picture of an open group: it refers to pictures before the first keyframe.
            self.leading_frames += 1
            return
        self._mp4.write_video(frame)
        self._seen_dts_ns = frame.dts_ns
        self._end_pts_ns = max(self._end_pts_ns, frame.pts_ns + frame.duration_ns)
        self._write_sound(self._sound.advance(frame.dts_ns))

    def advance(self, now_ns: int) -> None:
        """Let sound go on while no picture comes, so that what there is gets out; `now_ns` by the sensor.

        Does nothing before the picture is `STALL_NS` late. The last picture's fragment is closed by sound, at
        the latest one fragment's length and the sound's lag after it.
        """
        if now_ns - self._seen_dts_ns < STALL_NS:
            return
        self._mp4.release_video()
        self._write_sound(self._sound.advance(now_ns))

    def contained(self, plaintext_bytes: int) -> Contained:
        """Return what the first bytes hold. Numbers must grow: what has been answered is forgotten.

        Raises:
            EvidenceError: fewer bytes than in an earlier question, or more than were written.
        """
        if not self._asked_bytes <= plaintext_bytes <= self.plaintext_bytes:
            raise EvidenceError(
                "an offset outside the clip",
                expected=f"{self._asked_bytes} to {self.plaintext_bytes} bytes",
                found=f"{plaintext_bytes}",
            )
        self._asked_bytes = plaintext_bytes
        while self._frames and self._frames[0].end_bytes <= plaintext_bytes:
            frame = self._frames.popleft()
            self._contained = Contained(frame.frames, frame.last_pts_ns)
        return self._contained

    def unsealed_ns(self) -> int:
        """Return how much media ends in the 64 KiB chunk that is not full yet."""
        boundary = self.plaintext_bytes - self.plaintext_bytes % AGE_CHUNK_BYTES
        sealed = self._contained.last_pts_ns
        for frame in self._frames:
            if frame.end_bytes > boundary:
                break
            sealed = frame.last_pts_ns
        last = self.written.last_pts_ns
        if last is None or last == sealed:
            return 0
        return last - (self._first_pts_ns if sealed is None else sealed)

    def fill_chunk(self, limit_ns: int = FILL_LIMIT_NS) -> int:
        """Fill the running chunk with a `free` box if more media than that waits in it; return its size."""
        if self.unsealed_ns() <= limit_ns:
            return 0
        size = -self.plaintext_bytes % AGE_CHUNK_BYTES
        if size < BOX_HEADER_BYTES:
            size += AGE_CHUNK_BYTES
        self._mp4.write_free(free_box(size))
        return size

    def cut(self) -> None:
        """Close the running fragment early, with all pictures but the newest and the sound so far."""
        self._mp4.cut()

    def take_silences(self) -> list[Span]:
        """Return the stretches of silence since the last call; the next call continues one that goes on."""
        return self._sound.take_silences()

    def close(self) -> None:
        """Write the last fragment. Idempotent.

        Never leaves the plaintext at a chunk's boundary: the last chunk of an age file must not be empty.
        """
        if self._closed:
            return
        self._closed = True
        self._write_sound(self._sound.finish(self._end_pts_ns))
        self._mp4.close()
        if self.plaintext_bytes and self.plaintext_bytes % AGE_CHUNK_BYTES == 0:
            self._mp4.write_free(free_box(BOX_HEADER_BYTES))
        self._tell = None  # what listens holds this object: without a cycle both go at once

    def _write_sound(self, frames: list[EncodedFrame]) -> None:
        for frame in frames:
            self._mp4.write_audio(frame)

    def _fragment_written(self, fragment: Fragment) -> None:
        count, last_pts_ns = self.written.frames, self.written.last_pts_ns
        for end, pts_ns in zip(fragment.frame_ends_bytes, fragment.pts_ns, strict=True):
            count += 1
            last_pts_ns = pts_ns if last_pts_ns is None else max(last_pts_ns, pts_ns)
            self._frames.append(_Frame(end, count, last_pts_ns))
        if self._tell is not None:
            self._tell(fragment)
