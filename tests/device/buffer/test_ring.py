"""What a cursor delivers, what it knows about it, and what the ring does at its bounds."""

from collections.abc import Callable
from typing import Any

import pytest

from device.buffer.cursor import Cursor
from device.buffer.ring import MAX_WINDOW_NS, Ring
from device.errors import DeviceError
from evidence.frames import EncodedFrame, GapCause, Shortfall, Span, Track

S = 1_000_000_000
FRAME = S // 10
MakeFrame = Callable[..., EncodedFrame]
MakeGops = Callable[..., list[EncodedFrame]]


def small_ring(window_s: int = 3, limit_bytes: int = 1_000_000, margin_s: int = 1) -> Ring:
    return Ring(window_s * S, limit_bytes, margin_ns=margin_s * S)


def fill(ring: Ring, frames: list[EncodedFrame]) -> None:
    for frame in frames:
        ring.frame(frame)


def drain(cursor: Cursor, **limits: int) -> list[EncodedFrame | Span]:
    items: list[EncodedFrame | Span] = []
    while batch := cursor.read_nowait(**limits):
        items += batch
    return items


class TestStart:
    def test_starts_at_the_last_keyframe_at_or_before_the_window(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        frames = make_gops(0, 105)
        fill(ring, frames)
        cursor = ring.open_cursor(10 * S + 4 * FRAME)
        assert cursor.first_pts_ns == 7 * S
        assert cursor.available_ns == 3 * S + 4 * FRAME
        assert cursor.shortfall is None
        assert drain(cursor) == frames[70:]

    def test_a_keyframe_exactly_at_the_start_of_the_window_counts(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        fill(ring, make_gops(0, 105))
        assert ring.open_cursor(10 * S).first_pts_ns == 7 * S

    def test_frames_that_the_encoder_still_holds_at_the_press_are_delivered_later(
        self, make_gops: MakeGops
    ) -> None:
        ring = small_ring()
        frames = make_gops(0, 120)
        fill(ring, frames[:101])
        cursor = ring.open_cursor(10 * S + 3 * FRAME)  # the newest is 300 ms older than the press
        first = drain(cursor)
        fill(ring, frames[101:])
        assert first + drain(cursor) == frames[70:]
        assert cursor.available_ns >= 3 * S

    @pytest.mark.parametrize("late", range(11))
    def test_an_edge_up_to_the_margin_in_the_past_loses_nothing(self, make_gops: MakeGops, late: int) -> None:
        for newest in range(100, 111):
            ring = small_ring()
            fill(ring, make_gops(0, newest + 1))
            cursor = ring.open_cursor((newest - late) * FRAME)
            assert cursor.available_ns >= 3 * S
            assert cursor.shortfall is None

    def test_an_edge_beyond_the_margin_is_short_and_counted(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        fill(ring, make_gops(0, 131))
        cursor = ring.open_cursor(11 * S)
        assert cursor.first_pts_ns == 9 * S
        assert cursor.shortfall is Shortfall.BYTE_LIMIT
        assert ring.stats().opened_late == 1

    def test_just_started(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        fill(ring, make_gops(0, 15))
        cursor = ring.open_cursor(15 * FRAME)
        assert (cursor.first_pts_ns, cursor.available_ns) == (0, 15 * FRAME)
        assert cursor.shortfall is Shortfall.JUST_STARTED

    def test_before_the_first_keyframe_nothing_is_kept_and_a_cursor_waits(self, make_frame: MakeFrame) -> None:
        ring = small_ring()
        ring.frame(make_frame(0, track=Track.AUDIO))
        ring.frame(make_frame(0))
        ring.gap(Span(0, FRAME, GapCause.CAMERA_DROPPED))
        cursor = ring.open_cursor(FRAME)
        known: list[int | None] = [cursor.first_pts_ns]
        assert cursor.read_nowait() == []
        assert cursor.shortfall is Shortfall.JUST_STARTED
        ring.frame(make_frame(1))
        key = make_frame(2, key=True)
        ring.frame(key)
        assert cursor.read_nowait() == [key]
        assert [*known, cursor.first_pts_ns] == [None, 2 * FRAME]
        assert cursor.available_ns == 0
        stats = ring.stats()
        assert (stats.frames_early, stats.frames_taken, stats.gaps) == (3, 1, 0)

    def test_a_window_of_nothing_starts_at_the_running_gop(self, make_gops: MakeGops) -> None:
        ring = small_ring(window_s=0)
        fill(ring, make_gops(0, 47))
        cursor = ring.open_cursor(47 * FRAME)
        assert cursor.first_pts_ns == 4 * S
        assert cursor.shortfall is None

    def test_a_cursor_may_ask_for_less_than_the_ring_keeps_but_not_for_more(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        fill(ring, make_gops(0, 101))
        assert ring.open_cursor(10 * S, S).first_pts_ns == 9 * S
        with pytest.raises(DeviceError, match="seconds asked for"):
            ring.open_cursor(10 * S, 3 * S + 1)

    @pytest.mark.parametrize(
        ("window_ns", "limit_bytes", "margin_ns"),
        [(-1, 1, 0), (MAX_WINDOW_NS + 1, 1, 0), (0, 0, 0), (0, 1, -1)],
    )
    def test_bounds_out_of_range_are_refused(self, window_ns: int, limit_bytes: int, margin_ns: int) -> None:
        with pytest.raises(DeviceError, match="out of range"):
            Ring(window_ns, limit_bytes, margin_ns=margin_ns)


class TestOrder:
    def test_video_sound_and_gaps_come_in_order_of_arrival(self, make_frame: MakeFrame) -> None:
        ring = small_ring()
        gap = Span(FRAME, 2 * FRAME, GapCause.CAMERA_DROPPED)
        items: list[EncodedFrame | Span] = [
            make_frame(0, key=True),
            make_frame(0, track=Track.AUDIO),
            make_frame(1, track=Track.AUDIO),
            gap,
            make_frame(2),
        ]
        for item in items:
            ring.gap(item) if isinstance(item, Span) else ring.frame(item)
        assert drain(ring.open_cursor(2 * FRAME)) == items
        assert ring.stats().gaps == 1

    @pytest.mark.parametrize(
        "limits", [{"limit_items": 1}, {"limit_items": 7}, {"limit_bytes": 1}, {"limit_bytes": 95}]
    )
    def test_batches_of_any_size_join_to_the_same_sequence(
        self, make_gops: MakeGops, limits: dict[str, int]
    ) -> None:
        ring = small_ring()
        frames = make_gops(0, 41)
        fill(ring, frames)
        cursor = ring.open_cursor(4 * S)
        assert len(cursor.read_nowait(**limits)) == limits.get(
            "limit_items", max(1, limits.get("limit_bytes", 0) // 10)
        )
        cursor.close()
        assert drain(ring.open_cursor(4 * S), **limits) == frames[10:]

    def test_how_far_behind(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        fill(ring, make_gops(0, 41))
        cursor = ring.open_cursor(4 * S)
        assert (cursor.lag_ns, cursor.pending_bytes) == (31 * FRAME, 310)
        cursor.read_nowait(limit_items=30)
        assert (cursor.lag_ns, cursor.pending_bytes) == (FRAME, 10)
        cursor.read_nowait()
        assert (cursor.lag_ns, cursor.pending_bytes) == (0, 0)


class TestAge:
    def test_holds_window_and_margin_and_at_most_one_gop_more(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        for frame in make_gops(0, 200):
            ring.frame(frame)
            if frame.pts_ns > 5 * S:
                assert 4 * S < ring.stats().held_ns <= 5 * S + FRAME

    def test_what_a_cursor_has_yet_to_read_stays_and_goes_once_read(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        frames = make_gops(0, 300)
        fill(ring, frames[:41])
        cursor = ring.open_cursor(4 * S)
        fill(ring, frames[41:])
        assert ring.stats().pinned_bytes == 2900
        assert drain(cursor) == frames[10:]
        assert ring.stats().held_bytes <= 500
        assert ring.stats().pinned_bytes == 0

    def test_closing_lets_go(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        frames = make_gops(0, 300)
        fill(ring, frames[:41])
        with ring.open_cursor(4 * S) as cursor:
            fill(ring, frames[41:])
        assert cursor.closed
        assert cursor.read() == []
        assert ring.stats().held_bytes <= 500
        assert ring.stats().cursors == 0
        cursor.close()


class TestByteLimit:
    def test_shortens_the_window_if_nobody_reads(self, make_gops: MakeGops) -> None:
        ring = small_ring(limit_bytes=250)
        frames = make_gops(0, 100)
        for frame in frames:
            ring.frame(frame)
            assert ring.stats().held_bytes <= 250
        stats = ring.stats()
        assert (stats.frames_refused, stats.stalls, stats.gaps) == (0, 0, 0)
        assert stats.gops_shortened == stats.gops_evicted > 0
        cursor = ring.open_cursor(10 * S)
        assert (cursor.first_pts_ns, cursor.available_ns) == (8 * S, 2 * S)
        assert cursor.shortfall is Shortfall.BYTE_LIMIT
        assert drain(cursor) == frames[80:]

    def test_a_stall_keeps_what_came_first_and_dates_the_gap(self, make_gops: MakeGops) -> None:
        ring = small_ring(limit_bytes=350)
        frames = make_gops(0, 200)
        fill(ring, frames[:31])
        cursor = ring.open_cursor(3 * S)
        fill(ring, frames[31:95])
        assert ring.stats().stalled
        assert cursor.open_gap == Span(35 * FRAME, 95 * FRAME, GapCause.STORAGE_STALL)
        read = drain(cursor)
        fill(ring, frames[95:120])
        read += drain(cursor)
        assert read == [*frames[:35], Span(35 * FRAME, 100 * FRAME, GapCause.STORAGE_STALL), *frames[100:120]]
        stats = ring.stats()
        assert (stats.stalls, stats.gaps, stats.frames_refused, stats.bytes_refused) == (1, 1, 65, 650)
        assert not stats.stalled
        assert cursor.open_gap is None

    def test_what_is_read_makes_room_even_if_the_window_wants_it(self, make_gops: MakeGops) -> None:
        ring = small_ring(limit_bytes=350)
        frames = make_gops(0, 100)
        fill(ring, frames[:31])
        cursor = ring.open_cursor(3 * S)
        read: list[EncodedFrame | Span] = []
        for frame in frames[31:]:
            read += cursor.read_nowait(limit_items=2)
            ring.frame(frame)
        assert read + drain(cursor) == frames
        assert ring.stats().frames_refused == 0

    def test_while_a_reader_is_behind_a_gop_is_taken_only_if_one_would_fit_whole(
        self, make_gops: MakeGops
    ) -> None:
        ring = small_ring(limit_bytes=350)
        fill(ring, make_gops(0, 1))
        cursor = ring.open_cursor(0)
        fill(ring, make_gops(1, 10))
        fill(ring, make_gops(10, 30, size=20))  # 100 + 200 bytes, and two pictures of the third
        read = cursor.read_nowait(limit_items=10)
        fill(ring, make_gops(30, 40, size=20))  # room for the keyframe, not for 200 bytes
        read += cursor.read_nowait(limit_items=10)
        fill(ring, make_gops(40, 50, size=20))
        assert [item for item in read + drain(cursor) if isinstance(item, Span)] == [
            Span(22 * FRAME, 40 * FRAME, GapCause.STORAGE_STALL)
        ]

    def test_a_cursor_opened_behind_the_gap_does_not_begin_with_it(self, make_gops: MakeGops) -> None:
        ring = small_ring(limit_bytes=300)
        frames = make_gops(0, 100)
        fill(ring, frames[:21])
        with ring.open_cursor(2 * S):
            fill(ring, frames[21:45])
        fill(ring, frames[50:70])
        cursor = ring.open_cursor(7 * S, 15 * FRAME)
        assert drain(cursor)[0] == frames[50]

    def test_the_gap_of_reordered_frames_begins_with_the_earliest_refused(self, make_frame: MakeFrame) -> None:
        ring = small_ring(limit_bytes=20)
        kept = [make_frame(0, key=True), make_frame(1)]
        fill(ring, kept)
        cursor = ring.open_cursor(0)
        fill(ring, [make_frame(4), make_frame(2), make_frame(3)])  # decode order P B B
        assert drain(cursor) == kept
        fill(ring, [make_frame(5, key=True)])
        assert drain(cursor) == [
            Span(2 * FRAME, 5 * FRAME, GapCause.STORAGE_STALL),
            make_frame(5, key=True),
        ]

    def test_a_camera_gap_inside_a_refused_stretch_becomes_part_of_it(self, make_gops: MakeGops) -> None:
        ring = small_ring(limit_bytes=150)
        frames = make_gops(0, 41)
        fill(ring, frames[:1])
        cursor = ring.open_cursor(0)
        fill(ring, frames[1:20])
        ring.gap(Span(20 * FRAME, 25 * FRAME, GapCause.CAMERA_STALLED))
        read = drain(cursor)
        fill(ring, [frames[30]])
        assert read == frames[:15]
        assert drain(cursor) == [Span(15 * FRAME, 30 * FRAME, GapCause.STORAGE_STALL), frames[30]]

    def test_refused_sound_alone_is_no_gap_of_picture(self, make_frame: MakeFrame) -> None:
        ring = small_ring(limit_bytes=20)
        key = make_frame(0, key=True, size=15)
        fill(ring, [key, make_frame(0, track=Track.AUDIO)])
        following = make_frame(1, key=True)
        fill(ring, [following])
        stats = ring.stats()
        assert (stats.frames_refused, stats.stalls, stats.gaps, stats.stalled) == (1, 0, 0, False)
        assert drain(ring.open_cursor(FRAME, 0)) == [following]

    def test_a_gop_that_does_not_fit_at_all_is_cut_short(self, make_gops: MakeGops) -> None:
        ring = small_ring(limit_bytes=45)
        frames = make_gops(0, 31)
        fill(ring, frames)
        cursor = ring.open_cursor(3 * S)
        assert cursor.first_pts_ns == 3 * S
        assert cursor.shortfall is Shortfall.BYTE_LIMIT
        assert ring.stats().frames_refused == 18

    def test_a_keyframe_above_the_limit_evicts_nothing(
        self, make_gops: MakeGops, make_frame: MakeFrame
    ) -> None:
        ring = small_ring(limit_bytes=100)
        frames = make_gops(0, 10)
        fill(ring, frames)
        fill(ring, [make_frame(10, key=True, size=101), make_frame(11)])
        assert drain(ring.open_cursor(S)) == frames
        alone = small_ring(limit_bytes=100)
        fill(alone, [make_frame(10, key=True, size=101), make_frame(11)])
        cursor = alone.open_cursor(S)
        assert (cursor.read_nowait(), cursor.shortfall) == ([], Shortfall.BYTE_LIMIT)
        fill(alone, [make_frame(20, key=True)])
        assert cursor.read_nowait() == [make_frame(20, key=True)]


class TestCameraGap:
    def stalled(self, make_gops: MakeGops, newest: int) -> Ring:
        """Picture from 0 to 5 s, none until 20 s, then picture again."""
        ring = small_ring()
        fill(ring, make_gops(0, 50))
        ring.gap(Span(5 * S, 20 * S, GapCause.CAMERA_STALLED))
        fill(ring, make_gops(200, newest))
        return ring

    def test_picture_from_before_a_long_gap_is_not_reached_back_for(self, make_gops: MakeGops) -> None:
        ring = self.stalled(make_gops, 215)
        cursor = ring.open_cursor(215 * FRAME)
        assert cursor.first_pts_ns == 20 * S
        assert cursor.shortfall is Shortfall.CAMERA_GAP
        assert ring.stats().held_ns == 15 * FRAME

    def test_a_gap_inside_the_window_is_delivered(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        fill(ring, make_gops(0, 52))
        gap = Span(52 * FRAME, 60 * FRAME, GapCause.TRUNCATED)
        ring.gap(gap)
        fill(ring, make_gops(60, 85))
        cursor = ring.open_cursor(85 * FRAME)
        assert cursor.first_pts_ns == 5 * S
        assert cursor.shortfall is None
        assert gap in drain(cursor)

    def test_a_press_while_the_camera_is_gone_waits_for_its_return(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        fill(ring, make_gops(0, 50))
        cursor = ring.open_cursor(15 * S)
        assert cursor.first_pts_ns is None
        assert cursor.shortfall is Shortfall.CAMERA_GAP
        ring.gap(Span(5 * S, 16 * S, GapCause.CAMERA_RESTARTED))
        frames = make_gops(160, 163)
        fill(ring, frames)
        assert drain(cursor) == frames
        assert cursor.available_ns == 0

    def test_a_press_just_after_the_camera_went_delivers_what_there_is(self, make_gops: MakeGops) -> None:
        ring = small_ring()
        fill(ring, make_gops(0, 50))
        cursor = ring.open_cursor(6 * S)
        assert cursor.first_pts_ns == 3 * S
        assert cursor.shortfall is None


def test_stats_of_an_empty_ring_and_of_several_cursors(make_gops: MakeGops) -> None:
    ring = small_ring()
    assert (ring.stats().held_ns, ring.stats().held_bytes, ring.stats().newest_pts_ns) == (0, 0, None)
    frames = make_gops(0, 41)
    fill(ring, frames)
    slow, fast = ring.open_cursor(4 * S), ring.open_cursor(4 * S, S)
    drain(fast)
    stats: Any = ring.stats()
    assert (stats.cursors, stats.pinned_bytes, stats.newest_pts_ns, stats.gops) == (2, 310, 4 * S, 5)
    assert drain(slow) == frames[10:]
