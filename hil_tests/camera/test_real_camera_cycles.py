"""The source opened and closed many times in one process: each time a picture, and nothing left behind."""

import json
import os
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hil_tests.camera.camerabench import NS_PER_S, ROOT, Stack
from hil_tests.camera.report import Report

_CYCLES = 12
_WARM = 3  # the first ones load libraries and fill pools
_BUFFER_KIB = 640 * 480 * 3 // 2 / 1024  # one of six that a camera has


@pytest.fixture(scope="module")
def cycles(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    orders: Path = tmp_path_factory.mktemp("cycles") / "orders"
    count = int(os.environ.get("CAMERA_CYCLES", _CYCLES))
    ran = subprocess.run(
        [sys.executable, "-m", "hil_tests.camera.cycles", str(count)],
        cwd=ROOT,
        env=stack.environment(orders),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_each_start_gives_a_picture(cycles: list[dict[str, Any]], report: Report) -> None:
    assert [cycle["came"] for cycle in cycles] == [True] * len(cycles)
    for cycle in cycles:
        assert cycle["states"][-1] == "ended"
        assert "running" in cycle["states"]
        steps = [(later - earlier) * 30 / NS_PER_S for earlier, later in pairwise(cycle["times_ns"])]
        assert all(abs(step - round(step)) < 0.001 for step in steps), steps
        assert sum(step > 1.5 for step in steps) == cycle["gaps"], "a frame that a loaded machine lost is told"
    report.add("camera opened and closed in one process", f"{len(cycles)} times, each time a picture")


def test_nothing_is_left_behind(cycles: list[dict[str, Any]], report: Report) -> None:
    warm = cycles[_WARM:]
    for name in ("descriptors", "threads"):
        counts = [cycle[name] for cycle in warm]
        assert max(counts) <= min(counts) + 1, f"{name} {counts}: a thread may be about to end, no more"
    kept = statistics.median(later["rss_kib"] - earlier["rss_kib"] for earlier, later in pairwise(warm))
    report.add("memory kept by an opening, median", f"{kept:+.0f} KiB; {warm[-1]['descriptors']} descriptors")
    assert kept < _BUFFER_KIB / 4, [cycle["rss_kib"] for cycle in cycles]
