"""What the ring says about itself: one frozen snapshot for lights, logs and status."""

import msgspec

__all__ = ["RingStats"]


class RingStats(msgspec.Struct, frozen=True):
    """A snapshot of the ring; counters run from the ring's construction.

    Bytes are payload bytes: the sum of `len(frame.data)`. They are what the byte limit bounds; the objects
    around them (some 150 bytes a frame) are not counted.
    """

    held_ns: int
    """From the oldest keyframe to the end of the newest picture; 0 while empty."""
    held_bytes: int
    pinned_bytes: int
    """Held for a cursor: from the first GOP that an open cursor has not finished to the newest frame."""
    gops: int
    cursors: int
    newest_pts_ns: int | None
    stalled: bool
    """Frames are being refused since the last one that was taken."""
    frames_taken: int
    frames_early: int
    """Came before the first keyframe and were not kept."""
    frames_refused: int
    bytes_refused: int
    gaps: int
    """Gaps put into the sequence, by capture and by the ring."""
    stalls: int
    """Stretches of refused picture; each becomes one of `gaps` when the next keyframe is taken."""
    gops_evicted: int
    gops_shortened: int
    """Of those evicted, how many went for the byte limit and not for their age."""
    opened_late: int
    """Cursors opened so long after their time that the ring had moved on."""
