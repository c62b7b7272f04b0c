"""One long take through libcamera, picamera2 and the firmware: nothing missing, nothing growing."""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from evidence.frames import Span
from hil_tests.camera.camerabench import NS_PER_S, Clip, Firmware
from hil_tests.camera.report import Form, Report
from hil_tests.camera.stillness import Watcher

_GROWN_KIB, _GROWN_KIB_A_MINUTE = 2048.0, 256.0
"""What memory may seem to grow by, the greater of both: an allocator's noise (in the first minute up to 1.3 MiB
were measured), and in the long run so much a minute."""
_BEFORE_NS, _STOOD_NS = NS_PER_S, 150_000_000
"""A lost frame is not held against the firmware if in so long before it the machine stood still for so long."""
_SETTLE = 0.25  # of the samples: buffers, the writer and the encoder reach their size


class Take:
    """The clip, and the firmware's state every second while it was recorded."""

    def __init__(self, firmware: Firmware, seconds: float) -> None:
        self.firmware = firmware
        watcher = Watcher()
        try:
            self._record(seconds)
            self.standstills = watcher.stop()
        finally:
            watcher.kill()

    def _record(self, seconds: float) -> None:
        firmware = self.firmware
        self.began_ns = time.monotonic_ns()
        self.before = firmware.start()
        self.samples: list[dict[str, Any]] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.samples.append(firmware.ask() | {"at_s": time.monotonic()})
            time.sleep(1.0)
        self.after = firmware.ask()
        self.clip: Clip = firmware.stop()
        self.ended_ns = time.monotonic_ns()

    def stood_still(self, gap: Span) -> bool:
        """Say whether the machine kept a process of the firmware's priority from running just then."""
        since_ns = gap.start_ns - _BEFORE_NS
        spans = ((max(each.start_ns, since_ns), min(each.end_ns, gap.end_ns)) for each in self.standstills)
        return sum(max(0, end_ns - start_ns) for start_ns, end_ns in spans) >= _STOOD_NS

    def settled(self, name: str) -> list[Any]:
        """Return one figure over time, from when everything had its size."""
        return [sample[name] for sample in self.samples[int(len(self.samples) * _SETTLE) :]]


@pytest.fixture(scope="module")
def take(run_firmware: Callable[..., Firmware], form: Form) -> Take:
    firmware = run_firmware(size=form.size)
    return Take(firmware, form.seconds)


def test_the_firmware_runs_on_real_picamera2(take: Take, report: Report, form: Form) -> None:
    assert take.after["encoder"] == "libav in software"
    assert take.after["restarts"] == 0
    video = take.clip.manifest.media.video
    assert (video.width, video.height) == form.size
    seconds = take.clip.manifest.duration_ns / NS_PER_S
    report.add("recorded", f"{seconds:.1f} s at {form.size[0]}x{form.size[1]}, 2 s of it before the press")
    report.add("priority", f"nice {take.after['nice']} (the unit's is -10)")
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    report.add("load of the machine at the end (1, 5, 15 minutes)", load)
    cpu_s = take.samples[-1]["cpu_s"] - take.samples[0]["cpu_s"]
    wall_s = take.samples[-1]["at_s"] - take.samples[0]["at_s"]
    report.add(
        "CPU of the whole process, the sensor's drawing included", f"{100 * cpu_s / wall_s:.0f} % of a core"
    )


def test_no_frame_is_missing(take: Take, report: Report) -> None:
    """What is missing is always told; where the whole machine stood still, no more is asked."""
    numbers, manifest = take.clip.numbers, take.clip.manifest
    holes = [after - before - 1 for before, after in pairwise(numbers) if after != before + 1]
    report.add("frames, by the numbers drawn into them", f"{len(numbers)}, {sum(holes)} missing")
    assert manifest.frames == len(numbers)
    assert [round((gap.end_ns - gap.start_ns) * 30 / NS_PER_S) for gap in manifest.gaps] == holes
    still = [_ms(each.start_ns, each.end_ns) for each in take.standstills]
    told = f"{len(still)} times, worst {max(still):.0f} ms" if still else "never"
    report.add("a process of the same priority that only wakes was late by over 50 ms", told)
    lost = [gap for gap in manifest.gaps if not take.stood_still(gap)]
    if len(lost) < len(holes):
        excused = len(holes) - len(lost)
        report.add("gaps while the machine itself stood still", f"{excused} of {len(holes)}")
    assert lost == []


def test_the_rate_is_the_sensors(take: Take, report: Report) -> None:
    times, numbers = take.clip.times_ns, take.clip.numbers
    rate = (numbers[-1] - numbers[0]) * NS_PER_S / (times[-1] - times[0])
    report.add("frames a second, by presentation times", f"{rate:.4f}")
    assert abs(rate - 30.0) < 0.01
    for (at, number), (then, later) in pairwise(zip(times, numbers, strict=True)):
        assert abs(then - at - (later - number) * NS_PER_S // 30) <= 2 * take.clip.tick_ns + 2000


def test_times_are_the_sensors_on_the_monotonic_clock(take: Take, report: Report) -> None:
    """picamera2 hands out microseconds, the file has ticks of its own: no time is off by more than both."""
    stamps, times = take.clip.stamps, take.clip.times_ns
    worst_ns = max(abs(stamp.monotonic_ns - at) for stamp, at in zip(stamps, times, strict=True))
    report.add("worst difference, time in the file to time of exposure", f"{worst_ns / 1000:.1f} µs")
    assert worst_ns <= take.clip.tick_ns + 2000
    assert take.clip.manifest.first_pts_ns == stamps[0].monotonic_ns // 1000 * 1000
    window_ns = 3 * NS_PER_S  # the pre-event window and the GOP that it begins in
    edge_ns = take.clip.manifest.start.trigger.edge_ns
    assert take.began_ns <= edge_ns <= take.ended_ns
    assert edge_ns - window_ns - NS_PER_S <= stamps[0].monotonic_ns <= edge_ns - 2 * NS_PER_S
    assert stamps[-1].monotonic_ns <= take.ended_ns


def test_memory_descriptors_and_threads_are_flat(take: Take, report: Report) -> None:
    slope = _slope_a_minute(take.settled("at_s"), take.settled("rss_kib"))
    first, last = take.settled("rss_kib")[0], take.settled("rss_kib")[-1]
    report.add("resident memory", f"{last / 1024:.1f} MiB, slope {slope:+.0f} KiB a minute")
    minutes = (take.samples[-1]["at_s"] - take.samples[0]["at_s"]) / 60
    assert last - first <= max(_GROWN_KIB, _GROWN_KIB_A_MINUTE * minutes)
    for name in ("descriptors", "threads"):
        counts = take.settled(name)
        report.add(name, f"{min(counts)} to {max(counts)}")
        assert statistics.median_low(counts[: len(counts) // 2]) >= statistics.median_low(
            counts[len(counts) // 2 :]
        )


def test_the_clip_verifies(take: Take, report: Report) -> None:
    verified = take.firmware.verify(take.clip)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    report.add("`preroll clip verify`", "authentic and complete")


def test_every_frame_decodes_elsewhere(take: Take, report: Report) -> None:
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0"]
    command += ["-show_entries", "stream=nb_read_frames,codec_name", "-of", "json", str(take.clip.video)]
    probed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert probed.stderr == ""
    (stream,) = json.loads(probed.stdout)["streams"]
    report.add("frames that ffprobe decodes", f"{stream['nb_read_frames']} ({stream['codec_name']})")
    assert int(stream["nb_read_frames"]) == take.clip.manifest.frames


def test_the_service_stops_and_starts_again(
    take: Take, run_firmware: Callable[..., Firmware], form: Form, report: Report
) -> None:
    assert take.firmware.shut_down() == 0
    again = run_firmware(take.firmware.place, size=form.size)
    again.start()
    again.run_for(1.0)
    clip = again.stop()
    assert clip.manifest.number == take.clip.manifest.number + 1
    assert clip.manifest.gaps == ()
    assert again.verify(clip).returncode == 0
    assert again.shut_down() == 0
    report.add("the service stopped by SIGTERM and started again", "goes on with the next number")


def _ms(start_ns: int, end_ns: int) -> float:
    return (end_ns - start_ns) / 1e6


def _slope_a_minute(at_s: Sequence[float], values: Sequence[int]) -> float:
    return statistics.linear_regression(at_s, values).slope * 60
