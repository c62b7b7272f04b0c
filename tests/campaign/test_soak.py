"""Hours of recording, many times as fast: memory, descriptors and threads of the camera stay as they are."""

from pathlib import Path

import pytest

from tests.campaign.kills import ROOT, SEED
from tests.campaign.soak import Look, Plan, Soak, fitted_growth, run_soak
from tests.campaign.soak_report import MEMORY_LIMIT_BYTES, write_soak_report
from tests.campaign.stage import Keys, Picture

_PICTURE = Picture(width=320, height=180, bitrate_kbps=1000, noise=40)
_SHORT_MEMORY_BYTES = 8 * 1024 * 1024
"""A few seconds after the start caches and the allocator still fill; what leaks with each clip is seen in the
descriptors and threads of so short a run, and in the memory of the long one."""


def assert_flat(soak: Soak, memory_limit_bytes: int) -> None:
    half = soak.resting[len(soak.resting) // 2 :]
    assert {look.descriptors for look in half} == {half[0].descriptors}
    assert {look.threads for look in half} == {half[0].threads}
    assert fitted_growth(soak.resting, lambda look: look.memory_bytes) <= memory_limit_bytes


def test_four_minutes_of_footage_in_dockings(tmp_path: Path, keys: Keys) -> None:
    plan = Plan(
        seed=SEED,
        speed=30,
        picture=_PICTURE,
        footage_s=240,
        window_s=30,
        shortest_s=10,
        longest_s=40,
        clips_a_round=1,
    )
    soak = run_soak(plan, tmp_path, keys)
    assert soak.footage_s >= 240
    assert len(soak.resting) >= 3
    assert_flat(soak, _SHORT_MEMORY_BYTES)


@pytest.mark.long
def test_two_hours_of_footage(tmp_path: Path, keys: Keys) -> None:
    plan = Plan(
        seed=SEED,
        speed=30,
        picture=_PICTURE,
        footage_s=7200,
        window_s=30,
        shortest_s=15,
        longest_s=120,
        clips_a_round=1,
    )
    soak = run_soak(plan, tmp_path, keys)
    write_soak_report(ROOT / "docs" / "reports" / "soak.md", soak)
    assert soak.footage_s >= 7200
    assert_flat(soak, MEMORY_LIMIT_BYTES)


def looks(*memory: float) -> list[Look]:
    return [Look(number, number * 60.0, int(each), 20, 9) for number, each in enumerate(memory)]


def test_growth_is_that_of_the_second_half() -> None:
    assert fitted_growth(looks(0, 50, 90, 100, 100, 100), lambda look: look.memory_bytes) == 0
    assert fitted_growth(looks(5, 5, 5, 0, 10, 20), lambda look: look.memory_bytes) == pytest.approx(20)
    with pytest.raises(ValueError, match="no slope"):
        fitted_growth(looks(5), lambda look: look.memory_bytes)
