"""A sound track without holes: real AAC frames where there are some, silence everywhere else, with the reason.

Media in, frames out, no clock: time is the picture's. The track follows the picture at a distance of at most
`lag_ns` (plus one frame); what the microphone has not delivered by then is silence. Real frames keep their
exact times. The frames of silence run on a grid of their own and give way: the last one before real sound
lasts just until that begins.
"""

from collections import deque
from collections.abc import Iterator

import msgspec

from evidence.frames import EncodedFrame, SilenceCause, Span, Track
from evidence.media.aac import FRAME_SAMPLES, SAMPLE_RATE, silence

__all__ = ["DEFAULT_LAG_NS", "Soundtrack"]

DEFAULT_LAG_NS = 300_000_000

_NS_PER_S = 1_000_000_000
_FRAME_NS = FRAME_SAMPLES * _NS_PER_S // SAMPLE_RATE
_STRETCH_NS = _FRAME_NS // 2  # a hole up to this long is jitter: the frame before it lasts longer
_LEAST_NS = 2 * _NS_PER_S // SAMPLE_RATE + 1  # a frame's shortest life in the file, two samples


class _Placed(msgspec.Struct, gc=False):
    """The last frame of the track, whose end is not known before its successor."""

    data: bytes
    start_ns: int
    end_ns: int
    sound: bool


class Soundtrack:
    """Makes the sound track of one clip, from `base_ns` on.

    `sound_from_ns` is the time from which real sound counts: the press, or `base_ns` where policy allows
    sound before it, or `None` where it allows none. A real frame that begins before it is left out whole.
    Stretches of silence are kept as spans with their cause; where no rule of policy applies it is
    `no_microphone` up to the first real frame, `microphone_lost` after it, and `late` where a frame came after
    its place had been filled.

    Attributes:
        late_frames: real frames that came after their place had been filled with silence.
        disordered_frames: real frames that are not later than the one before.
    """

    def __init__(self, base_ns: int, *, sound_from_ns: int | None, lag_ns: int = DEFAULT_LAG_NS) -> None:
        self.late_frames = 0
        self.disordered_frames = 0
        self._base_ns = base_ns
        self._sound_from_ns = None if sound_from_ns is None else max(sound_from_ns, base_ns)
        self._lag_ns = lag_ns
        self._silent_frame = silence().frame
        self._pending: deque[EncodedFrame] = deque()
        self._last: _Placed | None = None
        self._grid_ns = base_ns  # where the running stretch of silence began
        self._grid_frames = 0
        self._last_real_ns: int | None = None
        self._late_until_ns = base_ns
        self._heard_from_ns: int | None = None
        self._spans: list[Span] = []

    @property
    def end_ns(self) -> int:
        """Time up to which the track is filled."""
        return self._base_ns if self._last is None else self._last.end_ns

    def add(self, frame: EncodedFrame) -> None:
        """Take a real frame, in the order of their times."""
        if self._heard_from_ns is None:
            self._heard_from_ns = frame.pts_ns
        if self._last_real_ns is not None and frame.pts_ns <= self._last_real_ns:
            self.disordered_frames += 1
            return
        self._last_real_ns = frame.pts_ns
        if self._sound_from_ns is None or frame.pts_ns < self._sound_from_ns:
            return  # policy, or before the clip
        self._pending.append(frame)

    def advance(self, video_ns: int) -> list[EncodedFrame]:
        """Return the frames to mux now that the picture has come to `video_ns`. None lies beyond that time."""
        frames = self._follow_on(video_ns)
        if not self._is_level(video_ns):
            frames += self._fill(video_ns, video_ns - self._lag_ns)
        return frames

    def finish(self, end_ns: int) -> list[EncodedFrame]:
        """Return the last frames, so that the track ends with the picture; real sound is not cut for that."""
        if self._last is not None and self._last.sound and end_ns - self.end_ns <= self._lag_ns:
            # The microphone lives, its last frames are under way.
            self._late_until_ns = max(self._late_until_ns, end_ns)
        frames = list(self._fill(end_ns, end_ns))
        left_ns = end_ns - self.end_ns
        if left_ns > (_STRETCH_NS if self._last is not None else 0):
            frames += self._place(self._silent(self.end_ns))
        last = self._last
        if last is not None:
            least_ns = last.end_ns if last.sound else last.start_ns + _LEAST_NS
            frames.append(self._finished(last, max(end_ns, least_ns)))
            self._last = msgspec.structs.replace(last, end_ns=max(end_ns, least_ns))
        return frames

    def take_silences(self) -> list[Span]:
        """Return the silences since the last call, joined; the next call continues one that goes on."""
        spans, self._spans = self._spans, []
        return spans

    def _follow_on(self, until_ns: int) -> list[EncodedFrame]:
        """Place sound that follows sound, nearly all of a clip: what `_fill` does, without its questions."""
        frames: list[EncodedFrame] = []
        pending, last = self._pending, self._last
        while pending and last is not None and last.sound:
            start_ns, begun_ns = pending[0].pts_ns, last.start_ns
            if start_ns > until_ns or not begun_ns + _LEAST_NS <= start_ns <= last.end_ns + _STRETCH_NS:
                break
            frame = pending.popleft()
            frames.append(EncodedFrame(Track.AUDIO, last.data, begun_ns, begun_ns, start_ns - begun_ns, True))
            last = self._last = _Placed(frame.data, start_ns, start_ns + frame.duration_ns, True)
        return frames

    def _is_level(self, video_ns: int) -> bool:
        """Whether sound has come as far as the picture, so that there is nothing to `_fill`."""
        last = self._last
        if last is None or not last.sound or last.end_ns + _FRAME_NS <= video_ns:
            return False
        if self._pending:
            return self._pending[0].pts_ns > max(video_ns, last.start_ns + _LEAST_NS)
        return not self._by_policy(last.end_ns)

    def _fill(self, sound_until_ns: int, silence_until_ns: int) -> Iterator[EncodedFrame]:
        """Place real frames that begin by the one time, and silence in want of them up to the other."""
        while True:
            self._drop_late()
            end = self.end_ns
            frame = self._pending[0] if self._pending else None
            if frame is not None and frame.pts_ns <= sound_until_ns and self._follows(frame):
                self._pending.popleft()
                placed = _Placed(frame.data, frame.pts_ns, frame.pts_ns + frame.duration_ns, sound=True)
            else:
                # The reason may be known without waiting: policy, or a later frame that is already here.
                known = frame is not None or self._by_policy(end)
                silent_until_ns = self._next_silence_ns()
                if frame is not None:
                    silent_until_ns = min(silent_until_ns, frame.pts_ns)
                if silent_until_ns > (sound_until_ns if known else silence_until_ns):
                    return
                placed = self._silent(end)
            yield from self._place(placed)

    def _drop_late(self) -> None:
        """Drop waiting frames whose place is taken."""
        while self._pending and self._last is not None:
            frame = self._pending[0]
            if frame.pts_ns >= self._last.start_ns + _LEAST_NS:
                return
            self._pending.popleft()
            self.late_frames += 1
            adjoins = 0 <= frame.pts_ns - self._late_until_ns <= _STRETCH_NS
            start_ns = self._late_until_ns if adjoins else frame.pts_ns
            self._late_until_ns = max(self._late_until_ns, frame.pts_ns + frame.duration_ns)
            self._spans = _relabelled(self._spans, start_ns, self._late_until_ns)

    def _follows(self, frame: EncodedFrame) -> bool:
        """Tell whether a frame can be the next one, without silence between."""
        if self._last is None:
            return frame.pts_ns == self._base_ns
        return frame.pts_ns - self._last.end_ns <= _STRETCH_NS

    def _by_policy(self, time_ns: int) -> bool:
        return self._sound_from_ns is None or time_ns < self._sound_from_ns

    def _next_silence_ns(self) -> int:
        """Return where a frame of silence that follows now would end."""
        if self._last is None or self._last.sound:
            return self.end_ns + _FRAME_NS
        return self._grid_ns + _samples_ns((self._grid_frames + 1) * FRAME_SAMPLES)

    def _silent(self, start_ns: int) -> _Placed:
        if self._last is None or self._last.sound:
            self._grid_ns, self._grid_frames = start_ns, 0
        self._grid_frames += 1
        end_ns = self._grid_ns + _samples_ns(self._grid_frames * FRAME_SAMPLES)
        return _Placed(self._silent_frame, start_ns, end_ns, sound=False)

    def _place(self, placed: _Placed) -> Iterator[EncodedFrame]:
        last, self._last = self._last, placed
        if last is not None:
            yield self._finished(last, placed.start_ns, sound_ns=placed.start_ns if placed.sound else None)

    def _finished(self, placed: _Placed, end_ns: int, *, sound_ns: int | None = None) -> EncodedFrame:
        """Close a frame at `end_ns`; `sound_ns` is where the next real sound begins, if it has been taken."""
        start_ns = placed.start_ns
        if not placed.sound:
            if sound_ns is None and self._pending:
                sound_ns = self._pending[0].pts_ns
            for span in self._reasons(start_ns, end_ns, sound_ns):
                _append(self._spans, span)
        return EncodedFrame(Track.AUDIO, placed.data, start_ns, start_ns, end_ns - start_ns, keyframe=True)

    def _reasons(self, start_ns: int, end_ns: int, sound_ns: int | None) -> Iterator[Span]:
        """Say why a stretch is silent; some of the spans may be empty."""
        if self._sound_from_ns is None:
            yield Span(start_ns, end_ns, SilenceCause.POLICY_OFF)
            return
        policy_end = min(max(start_ns, self._sound_from_ns), end_ns)
        if sound_ns is not None and end_ns <= sound_ns and sound_ns - self._sound_from_ns < _FRAME_NS:
            # Less than a frame up to the first sound: that frame began before the press (or before the clip).
            if self._sound_from_ns > self._base_ns:
                policy_end = end_ns
            else:
                self._late_until_ns = max(self._late_until_ns, end_ns)
        late_end = min(max(policy_end, self._late_until_ns), end_ns)
        heard_from = end_ns if self._heard_from_ns is None else min(max(late_end, self._heard_from_ns), end_ns)
        yield Span(start_ns, policy_end, SilenceCause.POLICY_BEFORE_PRESS)
        yield Span(policy_end, late_end, SilenceCause.LATE)
        yield Span(late_end, heard_from, SilenceCause.NO_MICROPHONE)
        yield Span(heard_from, end_ns, SilenceCause.MICROPHONE_LOST)


def _samples_ns(samples: int) -> int:
    return samples * _NS_PER_S // SAMPLE_RATE


def _relabelled(spans: list[Span], start_ns: int, end_ns: int) -> list[Span]:
    """Give the part of the spans between two times the cause `late`, where the microphone was to blame."""
    result: list[Span] = []
    for span in spans:
        begin, end = max(span.start_ns, start_ns), min(span.end_ns, end_ns)
        if begin >= end or span.cause == SilenceCause.POLICY_BEFORE_PRESS:
            _append(result, span)
            continue
        _append(result, Span(span.start_ns, begin, span.cause))
        _append(result, Span(begin, end, SilenceCause.LATE))
        _append(result, Span(end, span.end_ns, span.cause))
    return result


def _append(spans: list[Span], span: Span) -> None:
    """Add a span at the end, unless it is empty; joined with an adjoining one of the same cause."""
    if span.start_ns == span.end_ns:
        return
    if spans and spans[-1].end_ns == span.start_ns and spans[-1].cause == span.cause:
        span = Span(spans.pop().start_ns, span.end_ns, span.cause)
    spans.append(span)
