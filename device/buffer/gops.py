"""The pre-event ring as a data structure: GOPs in, evicted or refused, and places from which readers read.

No lock, no thread, no clock: `ring.py` puts a lock around it. The present is the newest presentation time.

**What is kept.** Everything from the first keyframe on, in the order of arrival, grouped in GOPs: a video
keyframe begins one; all that comes until the next one (sound and gaps included) belongs to it. Only whole GOPs
go:

- *By age.* The oldest GOP goes when the rest still covers `window + margin`, counted back from the newest
  presentation time N. A reader that asks for time T wants the last keyframe at or before T - window. The
  encoder is a few frames behind the present, so for a press that is handled at once N < T, and the window
  alone would do. But a press is handled after its edge (a busy main thread, a slow card); meanwhile N moves
  beyond T, and the keyframe for T - window must still be there. It is, as long as N - T <= margin.
- *For the byte limit.* The oldest GOPs go, whatever their age, unless a reader has yet to read them.

**What is refused.** When what readers have yet to read leaves no room, what came first is kept: the frame that
does not fit is refused, and so is the rest of its GOP (it could not be decoded) and every GOP after it until
one finds room. The refused stretch becomes one gap in front of the next keyframe taken. While a reader is
behind, that one must find room for as many bytes as the last whole GOP had: storage that is a little too slow
makes few long gaps then, and not one in every GOP. (A single GOP above the limit is cut short in the same way.)

**The bound.** Payload bytes held, `sum(len(frame.data))`, never exceed the limit, not even in between.
"""

from bisect import bisect_right
from collections import deque
from itertools import islice

from device.buffer.stats import RingStats
from evidence.frames import EncodedFrame, GapCause, Shortfall, Span, Track

__all__ = ["Gop", "Gops", "Item", "Part", "Place"]

Item = EncodedFrame | Span
Part = tuple[list[Item], int, int]
"""A list that is only ever appended to, and the range of it that was handed out: sliced without the lock."""

_AT_KEYFRAME = -1
_PICTURE_CAUSES = frozenset(GapCause)


class Gop:
    """A keyframe and what came until the next one."""

    __slots__ = ("bytes_before", "end_ns", "ends", "gap", "items", "key_ns", "lead", "serial")

    def __init__(self, serial: int, keyframe: EncodedFrame, bytes_before: int, lead: list[Item]) -> None:
        self.serial = serial  # 0, 1, 2, … in order of arrival
        self.key_ns = keyframe.pts_ns
        self.end_ns = keyframe.pts_ns + keyframe.duration_ns  # where its latest picture ends
        self.bytes_before = bytes_before  # payload bytes ever taken before this GOP
        self.items = lead  # gaps that end at the keyframe, the keyframe, the rest
        self.lead = len(lead)  # index of the keyframe
        self.ends = [bytes_before] * len(lead)  # payload bytes ever taken up to and with each item
        self.gap: Shortfall | None = None  # set while its last picture is followed by a gap


class Place:
    """Where a reader is. Changed by `Gops` alone."""

    __slots__ = ("at_ns", "cause", "first_pts_ns", "index", "serial", "window_ns")

    def __init__(self, at_ns: int, window_ns: int, cause: Shortfall) -> None:
        self.at_ns = at_ns
        self.window_ns = window_ns
        self.cause = cause  # why there is nothing earlier
        self.first_pts_ns: int | None = None  # None while it waits for a keyframe
        self.serial = 0
        self.index = _AT_KEYFRAME

    @property
    def available_ns(self) -> int:
        """From the first frame to the time asked for; 0 while waiting, and if the first frame came later."""
        return 0 if self.first_pts_ns is None else max(0, self.at_ns - self.first_pts_ns)

    @property
    def shortfall(self) -> Shortfall | None:
        """Why `available_ns` is less than asked for; `None` if it is not."""
        return self.cause if self.available_ns < self.window_ns else None


class Gops:
    """The sequence of GOPs with its bounds, its readers' places and its counters."""

    def __init__(self, window_ns: int, margin_ns: int, limit_bytes: int) -> None:
        self._margin_ns = margin_ns
        self._keep_ns = window_ns + margin_ns
        self._limit_bytes = limit_bytes
        self._gops: deque[Gop] = deque()
        self._running: Gop | None = None  # the newest
        self._places: list[Place] = []
        self._next_serial = 0
        self._taken_bytes = 0  # ever
        self._newest_ns = 0
        self._newest_end_ns = 0
        self._whole_bytes = 0  # of the last GOP that was not cut short
        self._lost: Shortfall | None = Shortfall.JUST_STARTED  # why nothing is before the oldest; None: age
        self._stalled = False
        self._refused: Span | None = None  # picture refused since the last frame taken
        self._frames_taken = self._frames_early = self._frames_refused = self._bytes_refused = 0
        self._gaps = self._stalls = self._evicted = self._shortened = self._late = 0
        self.dropped: list[Gop] = []
        """Evicted GOPs, for the caller to let go of where freeing megabytes holds nobody up."""

    # -- appending -------------------------------------------------------------------------------------------

    def set_kept(self, keep_ns: int) -> None:
        """Keep so much from now on; what had aged before is missing for want of time, as after a start."""
        if keep_ns > self._keep_ns and self._lost is None:
            self._lost = Shortfall.JUST_STARTED
        self._keep_ns = keep_ns

    def frame(self, frame: EncodedFrame) -> bool:
        """Take one frame; return whether readers have something new. Never raises for a frame."""
        size = len(frame.data)
        if frame.keyframe and frame.track == Track.VIDEO:
            return self._keyframe(frame, size)
        running = self._running
        if self._stalled:
            return self._refuse(frame, size)
        if running is None:
            self._frames_early += 1
            return False
        if self._taken_bytes - self._gops[0].bytes_before + size > self._limit_bytes and not self._make_room(
            size, size, min(self._floor(), running.serial)
        ):
            return self._refuse(frame, size)
        self._add(running, frame, size)
        return True

    def gap(self, span: Span) -> bool:
        """Take note of a gap, in order; return whether readers have something new.

        A gap before the first keyframe is no gap of the sequence. One that falls into a refused stretch becomes
        part of that stretch: its pictures would not have been taken.
        """
        running = self._running
        if self._refused is not None:
            if span.cause in _PICTURE_CAUSES:
                self._widen(span.start_ns, span.end_ns)
            return False
        if running is None:
            return False
        running.items.append(span)
        running.ends.append(self._taken_bytes)
        if span.cause in _PICTURE_CAUSES:
            running.gap = Shortfall.CAMERA_GAP
            self._gaps += 1
        return True

    def _keyframe(self, frame: EncodedFrame, size: int) -> bool:
        floor = self._floor()
        wanted = size
        if self._stalled and floor < self._next_serial:
            wanted = max(size, self._whole_bytes)
        if not self._make_room(size, wanted, floor):
            return self._refuse(frame, size)
        self._begin(frame, size)
        return True

    def _begin(self, frame: EncodedFrame, size: int) -> None:
        before = self._running
        lead: list[Item] = []
        if self._refused is not None:
            start_ns = self._refused.start_ns
            lead.append(Span(start_ns, max(start_ns, frame.pts_ns), GapCause.STORAGE_STALL))
            self._gaps += 1
        if before is not None and not self._stalled:
            self._whole_bytes = self._taken_bytes - before.bytes_before
        self._stalled = False
        self._refused = None
        gop = Gop(self._next_serial, frame, self._taken_bytes, lead)
        self._next_serial += 1
        self._running = gop
        self._gops.append(gop)
        for place in self._places:
            if place.first_pts_ns is None:
                place.first_pts_ns = frame.pts_ns
                place.serial, place.index = gop.serial, gop.lead
            elif before is not None and place.serial == before.serial and place.index == len(before.items):
                place.serial, place.index = gop.serial, 0
        self._add(gop, frame, size)

    def _add(self, gop: Gop, frame: EncodedFrame, size: int) -> None:
        self._taken_bytes += size
        self._frames_taken += 1
        gop.items.append(frame)
        gop.ends.append(self._taken_bytes)
        if frame.track == Track.VIDEO:
            gop.gap = None
            end_ns = frame.pts_ns + frame.duration_ns
            gop.end_ns = max(gop.end_ns, end_ns)
            if self._frames_taken == 1 or frame.pts_ns > self._newest_ns:
                self._newest_ns = frame.pts_ns
            if self._frames_taken == 1 or end_ns > self._newest_end_ns:
                self._newest_end_ns = end_ns
            if self._outlived():  # at most one a frame: the encoder's thread never frees a backlog
                self._evict_old(1)

    def _refuse(self, frame: EncodedFrame, size: int) -> bool:
        self._stalled = True
        self._frames_refused += 1
        self._bytes_refused += size
        if frame.track == Track.VIDEO:
            if self._refused is None:
                self._stalls += 1
            self._widen(frame.pts_ns, frame.pts_ns + frame.duration_ns)
            if self._running is not None:
                self._running.gap = Shortfall.BYTE_LIMIT
        return False

    def _widen(self, start_ns: int, end_ns: int) -> None:
        refused = self._refused
        if refused is not None:  # with reordered frames the first one refused need not be the earliest
            start_ns, end_ns = min(start_ns, refused.start_ns), max(end_ns, refused.end_ns)
        self._refused = Span(start_ns, end_ns, GapCause.STORAGE_STALL)

    # -- room ------------------------------------------------------------------------------------------------

    def _floor(self) -> int:
        """Return the serial of the first GOP that a reader has yet to finish; all below it may go."""
        floor = self._next_serial
        running = self._running
        for place in self._places:
            if place.first_pts_ns is None or running is None:
                continue
            serial = place.serial
            if serial == running.serial and place.index == len(running.items):
                serial += 1
            floor = min(floor, serial)
        return floor

    def _pinned_bytes(self, floor: int) -> int:
        if floor >= self._next_serial:
            return 0
        return self._taken_bytes - self._gops[floor - self._gops[0].serial].bytes_before

    def _make_room(self, size: int, wanted: int, floor: int) -> bool:
        """Evict GOPs below `floor` until `size` bytes fit; if `wanted` cannot be had, evict none."""
        if self._pinned_bytes(floor) + wanted > self._limit_bytes:
            return False
        gops = self._gops
        while gops and self._taken_bytes - gops[0].bytes_before + size > self._limit_bytes:
            self.dropped.append(gops.popleft())
            self._lost = Shortfall.BYTE_LIMIT
            self._evicted += 1
            self._shortened += 1
        return True

    def _outlived(self) -> bool:
        """Whether the rest covers window and margin without the oldest GOP."""
        gops = self._gops
        if len(gops) < 2:  # noqa: PLR2004 - the oldest and one that follows it
            return False
        edge_ns = self._newest_ns - self._keep_ns
        return gops[1].key_ns <= edge_ns or self._cut_off(gops[0], edge_ns)

    def _cut_off(self, gop: Gop, start_ns: int) -> bool:
        """Whether a gap parts a GOP from what follows, and its picture ended well before `start_ns`.

        Without this a GOP of long ago would stay for as long as the gap behind it is not older than the window.
        """
        return gop.gap is not None and gop.end_ns < start_ns - self._margin_ns

    def _evict_old(self, most: int) -> None:
        floor = self._floor()
        gops = self._gops
        while most > 0 and self._outlived() and gops[0].serial < floor:
            gop = gops.popleft()
            self.dropped.append(gop)
            self._lost = gop.gap
            self._evicted += 1
            most -= 1

    # -- reading ---------------------------------------------------------------------------------------------

    def open(self, at_ns: int, window_ns: int) -> Place:
        """Open a place at the last keyframe at or before `at_ns - window_ns`, or at the oldest there is.

        Without a keyframe, or if the picture ended more than the margin before that time, the place waits for
        the next keyframe, and so it skips a GOP that a gap parts from the window by more than the margin.
        """
        start_ns = at_ns - window_ns
        gops = self._gops
        chosen = bisect_right(gops, start_ns, key=lambda gop: gop.key_ns) - 1
        if chosen >= 0:
            gop = gops[chosen]
            ended = chosen == len(gops) - 1 and gop.end_ns < start_ns - self._margin_ns
            if ended or self._cut_off(gop, start_ns):
                chosen += 1
        chosen = max(0, chosen)
        place = Place(at_ns, window_ns, self._cause_before(chosen))
        if chosen < len(gops):
            gop = gops[chosen]
            place.first_pts_ns = gop.key_ns
            place.serial, place.index = gop.serial, gop.lead
            if chosen == 0 and self._lost is None and place.shortfall is not None:
                self._late += 1
        self._places.append(place)
        return place

    def _cause_before(self, chosen: int) -> Shortfall:
        """Say why there is nothing before a GOP; what went by age counts as the ring's own bound."""
        if chosen > 0:
            return self._gops[chosen - 1].gap or Shortfall.CAMERA_GAP
        if self._lost is None or (self._stalled and not self._gops):
            return Shortfall.BYTE_LIMIT
        return self._lost

    def take(self, place: Place, limit_items: int, limit_bytes: int) -> list[Part]:
        """Hand out what comes next and move the place behind it: at least one item if there is one."""
        parts: list[Part] = []
        if place.first_pts_ns is None:
            return parts
        stop_bytes = self._bytes_before(place) + limit_bytes
        for gop in islice(self._gops, place.serial - self._gops[0].serial, None):
            start = place.index if gop.serial == place.serial else 0
            count = len(gop.items)
            end = min(count, start + limit_items)
            if end > start and gop.ends[end - 1] > stop_bytes:
                end = bisect_right(gop.ends, stop_bytes, start, end)
                end = max(end, start + 1) if not parts else end
            if end > start:
                parts.append((gop.items, start, end))
                limit_items -= end - start
            place.serial, place.index = gop.serial, end
            if end < count:
                break
        self._evict_old(len(self._gops))
        return parts

    def close(self, place: Place) -> None:
        """Give a place up; what only it held may go."""
        self._places.remove(place)
        self._evict_old(len(self._gops))

    def pending_bytes(self, place: Place) -> int:
        """Payload bytes that a place has yet to read."""
        return 0 if place.first_pts_ns is None else self._taken_bytes - self._bytes_before(place)

    def lag_ns(self, place: Place) -> int:
        """From the next item to be read to the end of the newest picture; 0 if all is read."""
        if place.first_pts_ns is None:
            return 0
        gop = self._gops[place.serial - self._gops[0].serial]
        if place.index == len(gop.items):
            return 0
        item = gop.items[place.index]
        return max(0, self._newest_end_ns - (item.start_ns if isinstance(item, Span) else item.pts_ns))

    def _bytes_before(self, place: Place) -> int:
        gop = self._gops[place.serial - self._gops[0].serial]
        return gop.ends[place.index - 1] if place.index else gop.bytes_before

    # -- looking ---------------------------------------------------------------------------------------------

    @property
    def open_gap(self) -> Span | None:
        """Picture refused since the last frame taken: the gap that the next keyframe would close."""
        return self._refused

    def stats(self) -> RingStats:
        """Return a snapshot."""
        gops = self._gops
        return RingStats(
            held_ns=self._newest_end_ns - gops[0].key_ns if gops else 0,
            held_bytes=self._taken_bytes - gops[0].bytes_before if gops else 0,
            pinned_bytes=self._pinned_bytes(self._floor()),
            gops=len(gops),
            cursors=len(self._places),
            newest_pts_ns=self._newest_ns if gops else None,
            stalled=self._stalled,
            frames_taken=self._frames_taken,
            frames_early=self._frames_early,
            frames_refused=self._frames_refused,
            bytes_refused=self._bytes_refused,
            gaps=self._gaps,
            stalls=self._stalls,
            gops_evicted=self._evicted,
            gops_shortened=self._shortened,
            opened_late=self._late,
        )
