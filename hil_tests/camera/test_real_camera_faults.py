"""The sensor fails while a clip is recorded: noticed, healed inside the process, told in the clip."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from evidence.frames import Span
from hil_tests.camera.camerabench import NS_PER_S, Clip, Firmware
from hil_tests.camera.report import Report

_FRAME_NS = NS_PER_S // 30
_PATIENCE_NS = 90 * NS_PER_S


@pytest.fixture(scope="module")
def firmware(run_firmware: Callable[..., Firmware]) -> Iterator[Firmware]:
    started = run_firmware()
    yield started
    assert started.shut_down() == 0


@pytest.fixture(autouse=True)
def works_again(firmware: Firmware) -> Iterator[None]:
    yield
    firmware.relent()


def longest_gap(clip: Clip) -> Span:
    """Return a clip's longest gap, having shown that its gaps are all the holes in the sensor's numbers.

    A loaded machine may lose a frame more; that is told like every other, and is not what is tested here.
    """
    holes = [
        (before.monotonic_ns + _FRAME_NS, after.monotonic_ns)
        for before, after in pairwise(clip.stamps)
        if after.number != before.number + 1
    ]
    told = [(gap.start_ns, gap.end_ns) for gap in clip.manifest.gaps]
    assert len(told) == len(holes), (told, holes)
    for (start_ns, end_ns), (lost_ns, again_ns) in zip(told, holes, strict=True):
        assert abs(start_ns - lost_ns) < 2000
        assert abs(end_ns - again_ns) < 2000
    return max(clip.manifest.gaps, key=seconds)


def seconds(gap: Span) -> float:
    return (gap.end_ns - gap.start_ns) / NS_PER_S


def freeze(firmware: Firmware) -> None:
    """Let the camera freeze, once: it works when it is opened again."""
    firmware.order("freeze")
    firmware.wait(
        lambda now: time.monotonic_ns() - now["newest_pts_ns"] > NS_PER_S, "the picture to stand still"
    )
    firmware.relent()


def test_lost_frames_are_noticed(firmware: Firmware, report: Report) -> None:
    before = firmware.start()
    firmware.order("lose 10")
    firmware.wait(lambda now: now["gaps"] > before["gaps"], "the gap")
    firmware.run_for(1.0)
    clip = firmware.stop()
    gap = longest_gap(clip)
    assert str(gap.cause) == "camera_dropped"
    assert abs(gap.end_ns - gap.start_ns - 10 * _FRAME_NS) < 2000
    assert firmware.ask()["restarts"] == before["restarts"]
    assert firmware.verify(clip).returncode == 0
    report.add("10 frames lost in the sensor", f"gap of {seconds(gap):.3f} s, {gap.cause}; clip verifies")


def test_frames_lost_while_nobody_took_them_are_noticed(firmware: Firmware, report: Report) -> None:
    """The process stands still for a second; the sensor does not wait for it."""
    before = firmware.start()
    firmware.process.send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    firmware.process.send_signal(signal.SIGCONT)
    firmware.wait(lambda now: now["gaps"] > before["gaps"], "the gap")
    firmware.run_for(1.0)
    clip = firmware.stop()
    gap = longest_gap(clip)
    assert str(gap.cause) == "camera_dropped"
    assert seconds(gap) >= 0.5
    assert firmware.ask()["restarts"] == before["restarts"]
    report.add(
        "process stopped for 1 s", f"gap of {seconds(gap):.3f} s, {gap.cause}: what the buffers did not hold"
    )


def test_a_frozen_camera_is_opened_again(firmware: Firmware, report: Report) -> None:
    before = firmware.start()
    freeze(firmware)
    firmware.wait(lambda now: now["restarts"] > before["restarts"], "the restart")
    firmware.wait(lambda now: now["gaps"] > before["gaps"], "the picture again")
    firmware.run_for(1.0)
    clip = firmware.stop()
    gap = longest_gap(clip)
    assert str(gap.cause) == "camera_stalled"
    assert seconds(gap) >= 2.0
    assert firmware.process.poll() is None
    assert firmware.verify(clip).returncode == 0
    report.add(
        "camera frozen until it was opened again", f"gap of {seconds(gap):.3f} s, {gap.cause}; same process"
    )


def test_a_driver_that_hangs_for_some_seconds_is_survived(firmware: Firmware, report: Report) -> None:
    """libcamera's binding keeps the interpreter's lock in `Camera.stop`: the whole process waits with it."""
    before = firmware.start()
    firmware.order("hang")
    threading.Timer(5.0, firmware.relent).start()  # noticed after 2 s; closing the camera hangs from then on
    longest_s = 0.0
    now = before
    while now["gaps"] == before["gaps"]:
        asked = time.monotonic()
        now = firmware.ask()
        longest_s = max(longest_s, time.monotonic() - asked)
        assert time.monotonic_ns() < before["newest_pts_ns"] + _PATIENCE_NS, now
        time.sleep(0.05)
    firmware.run_for(1.0)
    clip = firmware.stop()
    gap = longest_gap(clip)
    assert str(gap.cause) == "camera_stalled"
    assert seconds(gap) >= 4.5
    assert firmware.ask()["restarts"] > before["restarts"]
    assert firmware.verify(clip).returncode == 0
    report.add("driver hung for 5 s, closing too", f"gap of {seconds(gap):.3f} s, {gap.cause}; same process")
    report.add("longest time for which the process gave no answer then", f"{longest_s:.1f} s")


def test_nothing_is_left_over_from_failures(firmware: Firmware, report: Report) -> None:
    """Compared with itself: a further stall leaves as much behind as the stalls before it, nothing."""
    steady = firmware.wait_picture()
    restarts = steady["restarts"]
    freeze(firmware)
    firmware.wait(lambda now: now["restarts"] > restarts, "the restart")
    firmware.wait(
        lambda now: now["newest_pts_ns"] > steady["newest_pts_ns"] + 3 * NS_PER_S, "the picture again"
    )
    after = firmware.wait_picture()
    for name in ("descriptors", "threads"):
        assert after[name] <= steady[name], name
    report.add(
        "descriptors and threads after a further restart",
        f"{after['descriptors']} and {after['threads']}, as before",
    )
