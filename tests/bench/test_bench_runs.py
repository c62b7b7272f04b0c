"""The benches measure what they say: structure and counts, never speed."""

import gc
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.append import real_writer
from bench.cpu import mux, write_cpu
from bench.flush import flush_once, plain_once
from bench.footage import NS_PER_S, FrameStream
from bench.memory import memory_once
from bench.rig import CONFIG, Rig, write_keys
from bench.ring_append import CopiedDeque, PrerollRing, flusher, measure, pooled
from bench.start import import_times, start_once
from device.buffer.ring import Ring
from device.config import parse_config
from device.controls.bench_board import BenchBoard
from device.recording.events import ClipEnded, ClipFailed, ClipProgress
from device.service import DeviceService, ServiceParts
from evidence.documents.fields import Ended
from evidence.storage import CardBehaviour

FRAME_NS = 1_000_000_000 // 30


@pytest.fixture
def stream(units: list[tuple[bytes, bool]]) -> FrameStream:
    return FrameStream(units, FRAME_NS)


def test_footage_has_a_keyframe_a_second(units: list[tuple[bytes, bool]]) -> None:
    assert [number for number, (_, key) in enumerate(units) if key] == [0, 30]
    assert len(units) == 60


def test_a_press_is_followed_to_the_last_frame_before_it(tmp_path: Path, stream: FrameStream) -> None:
    with Rig(tmp_path) as rig:
        found = flush_once(rig, stream, window_s=2)
        assert not list((tmp_path / "vault" / "clips").iterdir())
    assert found.preevent_s >= 2
    assert 0 < found.first_s <= found.durable_s
    assert found.caught_up_s > 0
    assert found.syncs >= 2 * (found.signatures - 1) > 0  # clip and journal for each line but line 0
    assert found.preevent_bytes > 0


def test_a_slow_card_is_paid_for_in_time(tmp_path: Path) -> None:
    card = CardBehaviour(rate_bytes_per_s=1_000_000, stall_ns=0)
    assert plain_once(tmp_path, [bytes(100_000)], card) <= 1_000_000
    assert not list(tmp_path.iterdir())


def test_the_write_path_is_measured_over_every_frame(tmp_path: Path, stream: FrameStream) -> None:
    with Rig(tmp_path) as rig:
        spent = write_cpu(rig, stream, 45)
        assert spent.cpu_s > 0
        assert spent.wall_s > 0
        assert rig.counts.signatures >= 4  # line 0, two sync points and more, the last line
        assert rig.counts.bytes > 45
    assert mux(stream, 45, len) > 0


def test_appends_are_timed_beside_the_real_writer(tmp_path: Path, units: list[tuple[bytes, bool]]) -> None:
    with Rig(tmp_path) as rig:
        found = measure(PrerollRing, 0.4, real_writer(rig), key=units[0][0], rate=60)
    assert found.appends == len(found.returned_ms) == len(found.own_ms)
    assert found.flushes >= 1
    assert found.lock_ms == sorted(found.lock_ms)
    assert pooled([found, found]).appends == 2 * found.appends


def test_appends_are_timed_beside_a_peer(tmp_path: Path) -> None:
    found = measure(CopiedDeque, 0.2, flusher(tmp_path / "plain", 1, 0.0))
    assert found.flushes >= 1


def test_the_first_frame_of_a_start_is_seen(tmp_path: Path, footage: Path) -> None:
    write_keys(tmp_path)
    text = CONFIG.replace('"synthetic"', f'"replay:{footage}"')
    (tmp_path / "device.toml").write_text(text, encoding="utf-8")
    found = start_once(tmp_path, import_time=True)
    assert found["cpu_s"] > 0
    assert found["wall_s"] > 0
    assert "device.service" in found["modules"]
    assert import_times(found["stderr"])["device"] > 0


@pytest.mark.parametrize("kind", ["camera", "deque"])
def test_memory_is_that_of_a_full_ring(tmp_path: Path, footage: Path, kind: str) -> None:
    write_keys(tmp_path)
    found = memory_once(tmp_path, footage, kind, 2.0)
    assert 0 < found["held"] < found["rss"] <= found["peak"]


def test_the_camera_runs_with_what_the_bench_found_best(tmp_path: Path) -> None:
    write_keys(tmp_path)
    before_s = sys.getswitchinterval()
    config = parse_config(CONFIG.replace('"synthetic"', '"synthetic"\nwidth = 320\nheight = 180'), "bench")
    board = BenchBoard(config.controls)
    service = DeviceService(config, tmp_path, ServiceParts(factory=board.factory))
    assert sys.getswitchinterval() == pytest.approx(0.001)
    service.stop("measured")
    service.run()
    board.close()
    assert sys.getswitchinterval() == before_s
    assert gc.get_freeze_count() == 0


def test_no_more_than_4_mib_lies_between_two_sync_points(
    tmp_path: Path, units: list[tuple[bytes, bool]]
) -> None:
    key = next(data for data, keyframe in units if keyframe)
    slices = b"\x00\x00\x00\x01\x41" + bytes([0x55]) * 150_000
    large = FrameStream([(key, True), *[(slices, False)] * 29], FRAME_NS)
    with Rig(tmp_path) as rig:
        found = flush_once(rig, large, window_s=3)
    assert found.preevent_bytes > 12 * 1024 * 1024
    assert found.largest_interval_bytes <= 4 * 1024 * 1024
    assert found.signatures >= 4


def test_what_says_caught_up_covers_every_picture_but_the_newest(tmp_path: Path, stream: FrameStream) -> None:
    ring = Ring(2 * NS_PER_S, 8 * 1024 * 1024)
    now_ns = time.monotonic_ns()
    stream.fill(ring.frame, 100, now_ns)  # no fragment would end with the last but one
    seen: list[ClipProgress] = []

    def caught_up(event: ClipProgress | ClipEnded | ClipFailed) -> bool:
        if isinstance(event, ClipProgress):
            seen.append(event)
        return bool(seen and seen[-1].caught_up)

    with Rig(tmp_path) as rig:
        cursor = ring.open_cursor(now_ns)
        first_pts_ns = cursor.first_pts_ns
        assert first_pts_ns is not None
        clip = rig.make_clip(cursor, now_ns)
        clip.start()
        rig.wait_for(caught_up)  # while no frame comes any more
        clip.end(Ended.STOPPED, now_ns)
        rig.wait_for(lambda event: isinstance(event, ClipEnded))
    assert seen[-1].frames == round((now_ns - first_pts_ns) / FRAME_NS) - 1
    assert [event.caught_up for event in seen[:-1]] == [False] * (len(seen) - 1)


def test_the_writer_sleeps_until_a_fragment_can_be_whole(tmp_path: Path, stream: FrameStream) -> None:
    rests: list[float] = []
    events: list[threading.Event] = []
    with Rig(tmp_path) as rig:

        def rest(event: threading.Event, seconds: float) -> None:
            events.append(event)
            rests.append(seconds)
            event.wait(seconds)

        rig.rest = rest
        found = flush_once(rig, stream, window_s=2, live_s=1.5)
    assert rests
    assert all(0 < seconds <= 0.5 for seconds in rests)
    assert events[0].is_set()  # a stop cuts a sleep short
    assert found.lost_frames == 0
