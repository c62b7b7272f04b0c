"""The ring against a naive model: arbitrary streams, readers and limits.

The model never evicts: it remembers every item that was taken, and works everything out by walking lists.
"""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from device.buffer.gops import Gops, Item, Place
from evidence.frames import EncodedFrame, GapCause, Shortfall, Span, Track

PICTURE_NS = 100
AUDIO_NS = 64


def size_of(item: Item) -> int:
    return 0 if isinstance(item, Span) else len(item.data)


def is_key(item: Item) -> bool:
    return isinstance(item, EncodedFrame) and item.keyframe and item.track == Track.VIDEO


class Reader:
    """One place, what it handed out, and where in the model's sequence it began."""

    def __init__(self, place: Place, begins: int | None) -> None:
        self.place = place
        self.begins = begins
        self.read: list[Item] = []


class RingMachine(RuleBasedStateMachine):
    readers = Bundle("readers")

    @initialize(
        window=st.integers(0, 30),
        margin=st.integers(0, 15),
        limit=st.integers(1, 600) | st.just(10**6),
        pyramid=st.booleans(),
    )
    def start(self, window: int, margin: int, limit: int, pyramid: bool) -> None:
        self.window_ns = window * PICTURE_NS
        self.margin_ns = margin * PICTURE_NS
        self.limit_bytes = limit
        self.pyramid = pyramid  # decode order I P B P B, or I P P P P
        self.gops = Gops(self.window_ns, self.margin_ns, limit)
        self.sequence: list[Item] = []
        self.refused: list[EncodedFrame] = []  # since the last frame taken, video
        self.camera_gaps: list[Span] = []  # since the first of those
        self.begun = self.in_gop = 0  # picture number of the running GOP's keyframe, pictures in it
        self.now_ns = 0
        self.offered = self.early = self.refused_all = self.evicted_before = 0
        self.alive: list[Reader] = []

    # -- what the model knows ---------------------------------------------------------------------------------

    def gop_starts(self) -> list[int]:
        """Index of each keyframe of the sequence."""
        return [index for index, item in enumerate(self.sequence) if is_key(item)]

    def gop_begin(self, index: int) -> int:
        """Index at which the GOP that holds an index begins: its keyframe, or the gap in front of that."""
        key = max(start for start in self.gop_starts() if start <= max(index, self.gop_starts()[0]))
        follows = index + 1 < len(self.sequence) and is_key(self.sequence[index + 1])
        if self.is_stall(index) and follows:
            return index
        return key - 1 if key and self.is_stall(key - 1) else key

    def is_stall(self, index: int) -> bool:
        item = self.sequence[index]
        return isinstance(item, Span) and item.cause == GapCause.STORAGE_STALL

    def pinned_bytes(self) -> int:
        """Bytes from the GOP in which the slowest reader has yet to read, to the end."""
        nexts = [reader.begins + len(reader.read) for reader in self.alive if reader.begins is not None]
        unread = [index for index in nexts if index < len(self.sequence)]
        if not unread:
            return 0
        return sum(size_of(item) for item in self.sequence[self.gop_begin(min(unread)) :])

    def running_bytes(self) -> int:
        return sum(size_of(item) for item in self.sequence[self.gop_starts()[-1] :])

    def held_starts(self) -> list[int]:
        """Indices of the keyframes that are still held: the newest ones."""
        held = self.gops.stats().gops
        return self.gop_starts()[-held:] if held else []

    # -- appending --------------------------------------------------------------------------------------------

    def append(self, frame: EncodedFrame) -> None:
        self.offered += 1
        pinned, fresh = self.pinned_bytes(), not self.sequence
        stalled = self.gops.stats().stalled
        self.evicted_before = self.gops.stats().gops_evicted
        if self.gops.frame(frame):
            assert is_key(frame) or not (stalled or fresh), "something was taken that cannot be decoded"
            self.note_taken(frame)
        elif fresh and not is_key(frame) and not stalled:
            self.early += 1
        else:
            if not is_key(frame) and not stalled:
                pinned = max(pinned, self.running_bytes())
            self.note_refused(frame, pinned, stalled=stalled)

    def note_taken(self, frame: EncodedFrame) -> None:
        if is_key(frame):
            if self.refused:
                self.sequence.append(self.expected_gap(frame))
            for reader in self.alive:
                if reader.begins is None:
                    reader.begins = len(self.sequence)
        self.refused, self.camera_gaps = [], []
        self.sequence.append(frame)
        if frame.track == Track.VIDEO:
            self.covers_the_window_and_little_more()

    def note_refused(self, frame: EncodedFrame, pinned: int, *, stalled: bool) -> None:
        size = len(frame.data)
        self.refused_all += 1
        if frame.track == Track.VIDEO:
            self.refused.append(frame)
        if not stalled:  # the first one refused: there was no room
            assert pinned + size > self.limit_bytes
        elif is_key(frame):  # a whole GOP refused: a reader is behind, or it could never fit
            assert pinned or size > self.limit_bytes

    def expected_gap(self, keyframe: EncodedFrame) -> Span:
        start_ns = min(
            [frame.pts_ns for frame in self.refused] + [gap.start_ns for gap in self.camera_gaps],
        )
        return Span(start_ns, keyframe.pts_ns, GapCause.STORAGE_STALL)

    def picture(self, number: int, size: int, *, key: bool) -> None:
        pts_ns = number * PICTURE_NS
        self.now_ns = max(self.now_ns, pts_ns)
        dts_ns = (self.begun + self.in_gop - 2) * PICTURE_NS
        self.append(EncodedFrame(Track.VIDEO, bytes(size), pts_ns, dts_ns, PICTURE_NS, key))

    @rule(
        length=st.integers(1, 12),
        sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
        hole=st.sampled_from([0, 0, 0, 2, 25, 55]),
    )
    def whole_gop(self, length: int, sizes: list[int], hole: int) -> None:
        """A keyframe and its pictures; before it, now and then, a gap of the camera."""
        number = self.begun + self.in_gop
        if hole:
            self.camera_gap(number, number + hole)
            number += hole
        self.begun, self.in_gop = number, 0
        self.picture(number, sizes[0] * 3, key=True)
        self.in_gop = 1
        order = list(range(1, length))
        if self.pyramid:  # 2 1 4 3 …: each pair swapped, a single one left as it is
            order = [n for i in range(0, len(order), 2) for n in reversed(order[i : i + 2])]
        for place, offset in enumerate(order):
            self.picture(number + offset, sizes[place % len(sizes)], key=False)
            self.in_gop += 1

    @rule(size=st.integers(1, 5), count=st.integers(1, 4))
    def sound(self, size: int, count: int) -> None:
        for number in range(count):
            pts_ns = self.now_ns + number * AUDIO_NS
            self.append(EncodedFrame(Track.AUDIO, bytes(size), pts_ns, pts_ns, AUDIO_NS, True))

    @rule(count=st.integers(1, 6), size=st.integers(1, 60))
    def more_pictures(self, count: int, size: int) -> None:
        """The running GOP goes on (or nothing runs yet)."""
        for _ in range(count):
            self.picture(self.begun + self.in_gop, size, key=False)
            self.in_gop += 1

    @rule(missing=st.integers(1, 3))
    def dropped_picture(self, missing: int) -> None:
        number = self.begun + self.in_gop
        self.camera_gap(number, number + missing)
        self.in_gop += missing
        self.picture(self.begun + self.in_gop, 3, key=False)
        self.in_gop += 1

    def camera_gap(self, start: int, end: int) -> None:
        span = Span(start * PICTURE_NS, end * PICTURE_NS, GapCause.CAMERA_DROPPED)
        absorbed = self.gops.open_gap is not None
        if self.gops.gap(span):
            assert not absorbed
            self.sequence.append(span)
        elif absorbed:
            self.camera_gaps.append(span)

    # -- reading ----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.alive) < 4)
    @rule(target=readers, ago=st.integers(-5, 20), share=st.integers(0, 4))
    def open_at_a_time(self, ago: int, share: int) -> Reader:
        return self.open(self.now_ns - ago * PICTURE_NS, self.window_ns * share // 4)

    @precondition(lambda self: len(self.alive) < 4 and self.sequence)
    @rule(target=readers, which=st.integers(0, 5), off_ns=st.integers(-2 * PICTURE_NS, 2 * PICTURE_NS))
    def open_near_a_keyframe(self, which: int, off_ns: int) -> Reader:
        held = self.held_starts()
        return self.open(self.pts(held[which % len(held)]) + off_ns + self.window_ns, self.window_ns)

    def open(self, at_ns: int, window_ns: int) -> Reader:
        held = self.held_starts()
        place = self.gops.open(at_ns, window_ns)
        begins = self.expected_start(held, at_ns - window_ns)
        assert place.first_pts_ns == (None if begins is None else self.pts(begins))
        if place.available_ns >= window_ns:
            assert place.shortfall is None
        else:
            assert place.shortfall is not None
        reader = Reader(place, begins)
        self.alive.append(reader)
        return reader

    def pts(self, index: int) -> int:
        item = self.sequence[index]
        assert isinstance(item, EncodedFrame)
        return item.pts_ns

    def expected_start(self, held: list[int], start_ns: int) -> int | None:
        """The last keyframe at or before the start, or the oldest; but none from well before a gap."""
        before = [index for index in held if self.pts(index) <= start_ns]
        if not before:
            return held[0] if held else None
        begins = before[-1]
        following = next((index for index in held if index > begins), None)
        pictures = [i for i in range(begins, following or len(self.sequence)) if self.is_picture(i)]
        ended_ns = max(map(self.pts, pictures)) + PICTURE_NS
        if ended_ns < start_ns - self.margin_ns and (following is None or self.parted(following)):
            return following
        return begins

    @rule(reader=readers, items=st.integers(1, 30), size=st.integers(1, 300))
    def read(self, reader: Reader, items: int, size: int) -> None:
        if reader not in self.alive:
            return
        parts = self.gops.take(reader.place, items, size)
        batch = [item for held, start, end in parts for item in held[start:end]]
        assert len(batch) <= items
        assert sum(map(size_of, batch)) <= size or sum(1 for item in batch if size_of(item)) == 1
        reader.read += batch
        if not batch:
            assert reader.begins is None or reader.begins + len(reader.read) == len(self.sequence)

    @rule(reader=readers)
    def read_all(self, reader: Reader) -> None:
        self.read(reader, 10**9, 10**9)

    @rule(reader=consumes(readers))
    def close(self, reader: Reader) -> None:
        self.alive.remove(reader)
        self.gops.close(reader.place)

    # -- what always holds ------------------------------------------------------------------------------------

    @invariant()
    def never_above_the_limit(self) -> None:
        held = [item for gop in self.gops._gops for item in gop.items]
        stats = self.gops.stats()
        assert sum(map(size_of, held)) == stats.held_bytes <= self.limit_bytes

    @invariant()
    def held_is_the_end_of_the_sequence_in_whole_gops(self) -> None:
        held = [item for gop in self.gops._gops for item in gop.items]
        assert held == self.sequence[len(self.sequence) - len(held) :]
        assert not held or is_key(held[self.gops._gops[0].lead])

    @invariant()
    def readers_get_the_sequence_from_a_keyframe_on(self) -> None:
        for reader in self.alive:
            if reader.begins is not None:
                assert is_key(self.sequence[reader.begins])
                end = reader.begins + len(reader.read)
                assert reader.read == self.sequence[reader.begins : end]
                unread = self.sequence[end:]
                assert self.gops.pending_bytes(reader.place) == sum(map(size_of, unread))
                assert (self.gops.lag_ns(reader.place) > 0) <= bool(unread)
            else:
                assert not reader.read

    @invariant()
    def all_is_accounted_for(self) -> None:
        stats = self.gops.stats()
        taken = sum(isinstance(item, EncodedFrame) for item in self.sequence)
        assert (stats.frames_taken, stats.frames_early) == (taken, self.early)
        assert stats.frames_refused == self.refused_all == self.offered - taken - self.early
        assert stats.gaps == sum(isinstance(item, Span) for item in self.sequence)
        assert stats.pinned_bytes == self.pinned_bytes()
        gap = self.gops.open_gap
        assert (gap is not None) == bool(self.refused)
        if gap is not None:
            assert all(gap.start_ns <= frame.pts_ns < gap.end_ns for frame in self.refused)

    def covers_the_window_and_little_more(self) -> None:
        """What went by age was not needed; of what is not needed, one GOP goes with each picture taken."""
        stats = self.gops.stats()
        held = self.held_starts()
        newest_ns = max(self.pts(index) for index in range(len(self.sequence)) if self.is_picture(index))
        edge_ns = newest_ns - self.window_ns - self.margin_ns
        if held[0] != self.gop_starts()[0] and not self.parted(held[0]) and not stats.gops_shortened:
            assert self.pts(held[0]) <= edge_ns
        if not self.alive and stats.gops_evicted == self.evicted_before and len(held) > 1:
            assert self.pts(held[1]) > edge_ns

    def parted(self, index: int) -> bool:
        """Whether a gap lies between a keyframe and the picture before it."""
        while index and (isinstance(self.sequence[index - 1], Span) or self.sound_at(index - 1)):
            index -= 1
            if isinstance(self.sequence[index], Span):
                return True
        return False

    def is_picture(self, index: int) -> bool:
        return isinstance(self.sequence[index], EncodedFrame) and not self.sound_at(index)

    def sound_at(self, index: int) -> bool:
        item = self.sequence[index]
        return isinstance(item, EncodedFrame) and item.track == Track.AUDIO

    def teardown(self) -> None:
        if not hasattr(self, "gops"):
            return
        for reader in self.alive:
            parts = self.gops.take(reader.place, 10**9, 10**9)
            reader.read += [item for held, start, end in parts for item in held[start:end]]
            if reader.begins is not None:
                assert reader.read == self.sequence[reader.begins :]
            self.gops.close(reader.place)
        assert self.gops.stats().pinned_bytes == 0


TestRingModel = RingMachine.TestCase
TestRingModel.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_every_shortfall_is_known_to_the_format() -> None:
    assert {cause.value for cause in Shortfall} == {"just_started", "byte_limit", "camera_gap"}
