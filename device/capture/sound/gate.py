"""Keeps sound out of the ring unless policy lets it in.

By default the seconds before the press are without sound, and what must not be recorded should not lie in
memory either. Yet a press is worked on some milliseconds after its edge, and sound from the edge on is wanted:
so a closed gate holds the last two seconds, and nothing older.
"""

import threading
from collections import deque

from device.capture.source import FrameSink
from evidence.frames import EncodedFrame, Span

__all__ = ["SoundGate"]


class SoundGate:
    """A frame sink in front of another one. Thread-safe; frames pass in the order in which they came.

    `before_press=True` is the policy of sound in the pre-event seconds: everything passes, always.
    """

    def __init__(self, sink: FrameSink, *, before_press: bool = False, held_ns: int = 2_000_000_000) -> None:
        self._sink = sink
        self._always = before_press
        self._held_ns = held_ns
        self._held: deque[EncodedFrame] = deque()
        self._from_ns: int | None = None  # open from here on; None while closed
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether frames pass."""
        return self._always or self._from_ns is not None

    def set_before_press(self, allowed: bool) -> None:
        """Change the policy of sound in the pre-event seconds; what is held from before stays back."""
        with self._lock:
            self._always = allowed
            self._held.clear()

    def open(self, from_ns: int) -> None:
        """Let pass what is held and all that follows, as far as it starts at `from_ns` or later.

        Of a gate that is open already it only moves the start back: a second recording takes nothing from
        the first.
        """
        with self._lock:
            self._from_ns = from_ns if self._from_ns is None else min(from_ns, self._from_ns)
            while self._held:
                self._pass(self._held.popleft())

    def close(self) -> None:
        """Let nothing pass any more; what comes is held for two seconds."""
        with self._lock:
            self._from_ns = None

    def expire(self, now_ns: int) -> None:
        """Forget what is older than the gate may hold; for when no new frame comes that would push it out."""
        with self._lock:
            while self._held and self._held[0].pts_ns + self._held[0].duration_ns < now_ns - self._held_ns:
                self._held.popleft()

    def frame(self, frame: EncodedFrame) -> None:
        """Take a frame: on to the sink, or held."""
        if self._always:
            self._sink.frame(frame)
            return
        with self._lock:
            if self._from_ns is None:
                self._held.append(frame)
            else:
                self._pass(frame)
        self.expire(frame.pts_ns + frame.duration_ns)

    def gap(self, gap: Span) -> None:
        """Pass on that something is missing; that is no secret."""
        self._sink.gap(gap)

    def _pass(self, frame: EncodedFrame) -> None:
        assert self._from_ns is not None
        if frame.pts_ns >= self._from_ns:
            self._sink.frame(frame)
