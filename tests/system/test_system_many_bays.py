"""Many bays at once, some with cameras that behave badly: nobody starves, and nobody else is disturbed."""

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from host.bays import BayState
from tests.system.manybays import MIB, Camera, Figures, Fleet, halfway, spread
from tests.system.roguecamera import CONDUCTS

REPORT = Path(__file__).parents[2] / "docs" / "reports" / "forty-bays.md"
BAYS = 40
RESTING = (BayState.READY, BayState.CHARGING)
_PAGE = """\
# Forty bays

Written by `make long` (`tests/system/test_system_many_bays.py`). The agent (`preroll dock run`) and each camera
(`docklink.simulated_process`) are processes on one machine; each camera has a certificate of its own and
{clips} clips of {mebibytes} MiB, with a sync point for each 256 KiB. The agent moves the footage of 8 bays at a
time, in parts of 8 MiB, as it is configured unless told otherwise. All clips were stored, read back, verified
and signed for in each run. Cameras and agent share this machine's {cores} cores, with other work on them.

| | one bay | {bays} bays | {good} bays, and 4 with rogues |
|---|---:|---:|---:|
{rows}

The rogues: one hangs in the middle of its footage, one serves footage of another size than it signed for, one
floods every request with an answer without end, one sends garbage instead of TLS. Nothing of theirs is in the
store but what was set apart.
"""


def _has_a_word(fleet: Fleet, rogue: Camera) -> bool:
    return fleet.bay(rogue).detail != ""


def _rests(fleet: Fleet, camera: Camera) -> bool:
    return fleet.bay(camera).state in RESTING


def check_rogues(fleet: Fleet) -> None:
    """Each was noticed, and nothing of it counts as stored."""
    for rogue in fleet.rogues:
        fleet.wait(partial(_has_a_word, fleet, rogue), f"a word about {rogue.device}")
        bay = fleet.bay(rogue)
        assert bay.state not in RESTING, bay
        assert bay.stored == 0
        assert not (fleet.place / "store" / "clips" / rogue.device).exists()


def check_undisturbed(fleet: Fleet, figures: Figures) -> None:
    """Each byte was fetched once, no session broke, and the bays show it."""
    assert figures.refetched_bytes == 0
    assert figures.broken_sessions == 0
    for camera in fleet.cameras:
        fleet.wait(partial(_rests, fleet, camera), f"rest of {camera.device}")
        bay = fleet.bay(camera)
        assert (bay.failed_sessions, bay.detail, bay.stored) == (0, "", camera.clips)
        assert len(list((fleet.place / "store" / "clips" / camera.device).iterdir())) == camera.clips


def run(place: Path, *, good: int, rogue: bool, clips: int, mebibytes: int, **timeouts: float) -> Figures:
    with ExitStack() as stack:
        fleet = Fleet(place, stack)
        for conduct in CONDUCTS if rogue else ():
            fleet.add(clips=1, mebibytes=mebibytes, conduct=conduct)
        for _ in range(good):
            fleet.add(clips=clips, mebibytes=mebibytes)
        fleet.start(**timeouts)
        fleet.wait_all()
        figures = Figures.of(fleet)
        check_rogues(fleet)
        check_undisturbed(fleet, figures)
        fleet.stop()
        return figures


def test_four_bays_beside_four_rogues(tmp_path: Path) -> None:
    figures = run(
        tmp_path / "dock", good=4, rogue=True, clips=2, mebibytes=1, look_s=0.5, retry_s=0.5, progress_s=2.0
    )
    assert figures.size_bytes > 8 * MIB


def test_halfway_is_told_from_time_stamps() -> None:
    marks = [[(1, 10), (5, 40)], [(2, 10), (3, 30), (6, 60)]]
    assert halfway(marks) == (40, 30)


@pytest.mark.long
def test_forty_bays(tmp_path: Path) -> None:
    clips, mebibytes = 2, 16
    one = run(tmp_path / "one", good=1, rogue=False, clips=clips, mebibytes=mebibytes)
    forty = run(tmp_path / "forty", good=BAYS, rogue=False, clips=clips, mebibytes=mebibytes)
    beside = run(tmp_path / "beside", good=BAYS - 4, rogue=True, clips=clips, mebibytes=mebibytes)
    for figures in (forty, beside):
        fair = figures.size_bytes / figures.bays / 2
        assert min(figures.halfway) >= fair / 4, "a bay starves"
    REPORT.write_text(_report((one, forty, beside), clips, mebibytes), encoding="utf-8")


def _report(runs: tuple[Figures, ...], clips: int, mebibytes: int) -> str:
    lines = {
        "footage, MiB": [f"{each.size_bytes / MIB:.0f}" for each in runs],
        "from the first byte to the last receipt, s": [f"{each.wall_s:.1f}" for each in runs],
        "all bays together, MB/s": [f"{each.rate:.0f}" for each in runs],
        "times the rate of one bay": [f"{each.rate / runs[0].rate:.2f}" for each in runs],
        "agent's peak resident memory, MiB": [f"{each.agent_bytes / MIB:.0f}" for each in runs],
        "a bay's MiB when half of all was fetched: least / median / most": [
            spread(tuple(given / MIB for given in each.halfway)) for each in runs
        ],
        "a camera's last receipt, s: first / median / last": [spread(each.done_s) for each in runs],
        "bytes fetched twice": [str(each.refetched_bytes) for each in runs],
        "sessions of good cameras that broke": [str(each.broken_sessions) for each in runs],
    }
    rows = "\n".join(f"| {name} | {' | '.join(values)} |" for name, values in lines.items())
    return _PAGE.format(
        clips=clips, mebibytes=mebibytes, cores=os.cpu_count(), bays=BAYS, good=BAYS - 4, rows=rows
    )
