"""Where a clip ends: which frames of the sequence still belong to it once its stop is known. No clock, no I/O.

Frames come in decode order. All pictures up to the stop belong to the clip, and so that no hole is left in
presentation order, so do the few after it that were decoded earlier than one of them (B-frames). Sound follows
to the end of the last picture.
"""

import enum

from evidence.frames import EncodedFrame, Span, Track

__all__ = ["Cut", "Verdict"]

_PICTURE_WAIT_NS = 2_000_000_000
"""How long after a stop the next picture may come while sound goes on; a camera that died gives none."""


class Verdict(enum.Enum):
    """What to do with an item of the ring's sequence."""

    WRITE = enum.auto()
    SKIP = enum.auto()
    END = enum.auto()
    """It does not belong to the clip, and nothing that does can follow."""


class Cut:
    """Judges items one by one; `stop` may be told at any time.

    `sound_lag_ns` is how far sound may come behind the picture: so long the end waits for it.
    """

    def __init__(self, sound_lag_ns: int) -> None:
        self._sound_lag_ns = sound_lag_ns
        self._stop_ns: int | None = None
        self._end_ns: int | None = None  # end of the last picture, once it is known
        self._limit_ns: int | None = None  # greatest presentation time that belongs to the clip
        self._greatest_ns: int | None = None
        self.frames = 0

    @property
    def stop_ns(self) -> int | None:
        """The stop, `None` while the clip goes on."""
        return self._stop_ns

    def stop(self, at_ns: int) -> None:
        """Let the clip end at a time; the earliest that is told counts."""
        self._stop_ns = at_ns if self._stop_ns is None else min(at_ns, self._stop_ns)

    def judge(self, item: EncodedFrame | Span) -> Verdict:
        """Say what to do with the next item of the sequence."""
        if isinstance(item, Span):
            return self._judge_gap(item)
        if item.track is Track.AUDIO:
            return self._judge_sound(item)
        return self._judge_picture(item)

    def _judge_gap(self, gap: Span) -> Verdict:
        if self._stop_ns is not None and gap.start_ns >= self._stop_ns:
            return Verdict.SKIP
        return Verdict.WRITE

    def _judge_picture(self, frame: EncodedFrame) -> Verdict:
        if self._stop_ns is not None and self._limit_ns is None and frame.dts_ns > self._stop_ns:
            # Whatever was written before this frame stays; nothing later than it may leave a hole before it.
            self._limit_ns = self._stop_ns if self._greatest_ns is None else self._greatest_ns
        if self._limit_ns is not None and frame.pts_ns > self._limit_ns:
            if self._end_ns is None and frame.dts_ns > self._limit_ns:
                self._end_ns = self._limit_ns + frame.duration_ns
            return self._waiting(frame.dts_ns)
        if self._greatest_ns is None or frame.pts_ns > self._greatest_ns:
            self._greatest_ns = frame.pts_ns
        self.frames += 1
        return Verdict.WRITE

    def _judge_sound(self, frame: EncodedFrame) -> Verdict:
        if self._end_ns is not None and frame.pts_ns >= self._end_ns:
            return Verdict.END
        if (
            self._stop_ns is None
            or self._end_ns is not None
            or frame.pts_ns <= self._stop_ns + self._sound_lag_ns
        ):
            return Verdict.WRITE
        # Sound goes on and no picture says where the clip ends: after a while none is going to.
        return Verdict.END if frame.pts_ns > self._stop_ns + _PICTURE_WAIT_NS else Verdict.SKIP

    def _waiting(self, dts_ns: int) -> Verdict:
        """All pictures are in; go on while sound for them, the first of the clip perhaps, may still come."""
        if self._end_ns is None:
            return Verdict.SKIP
        return Verdict.END if dts_ns > self._end_ns + self._sound_lag_ns else Verdict.SKIP
