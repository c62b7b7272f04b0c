"""Offload with real processes on both sides: cut at random bytes, killed at each named step, a large clip.

The short form is part of the long one, which writes docs/reports/offload.md.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from tests.campaign.kills import ROOT
from tests.campaign.offload_campaign import (
    CAMERA_DEATHS,
    DOCK_DEATHS,
    Cut,
    StepKill,
    Volume,
    run_cuts,
    run_steps,
    run_volume,
)
from tests.campaign.offload_processes import Death
from tests.campaign.offload_report import write_offload_report
from tests.device.dockport.dockbench import Agency, make_agency

_MIB = 1 << 20
_SIZES = (6 * _MIB, _MIB)
_SMALL = (_MIB, 128 * 1024)
_GIB = 1024 * _MIB
ResultT = TypeVar("ResultT")


@pytest.fixture(scope="session")
def dock_agency(tmp_path_factory: pytest.TempPathFactory) -> Agency:
    return make_agency(tmp_path_factory.mktemp("offload-agency"))


def check_cuts(cuts: Sequence[Cut], count: int) -> None:
    assert len(cuts) == count
    for cut in cuts:
        assert 0 <= cut.delivery.again_bytes <= cut.bound_bytes, cut
        killed = "killed" in cut.fault.kind
        assert cut.delivery.deaths == killed, cut


def check_steps(kills: Sequence[StepKill], count: int) -> None:
    assert len(kills) == count
    assert all(kill.delivery.deaths >= 1 for kill in kills), [
        kill for kill in kills if not kill.delivery.deaths
    ]


def check_volume(volume: Volume, size_bytes: int) -> None:
    assert volume.size_bytes >= size_bytes
    assert volume.sent_sha256 == volume.stored_sha256


@pytest.mark.parametrize(("way", "count"), [("serial", 10), ("tcp", 7)])
def test_cut_at_random_bytes(dock_agency: Agency, tmp_path: Path, way: str, count: int) -> None:
    size, interval = _SMALL
    cuts = run_cuts(
        tmp_path / "rig",
        dock_agency,
        serial=way == "serial",
        cuts=count,
        size_bytes=size,
        interval_bytes=interval,
    )
    check_cuts(cuts, count)


@pytest.mark.parametrize(
    ("side", "deaths"), [("dock", DOCK_DEATHS[::7]), ("camera", CAMERA_DEATHS[::8])], ids=["dock", "camera"]
)
def test_killed_at_named_steps(dock_agency: Agency, tmp_path: Path, side: str, deaths: Sequence[Death]) -> None:
    check_steps(run_steps(tmp_path / "rig", dock_agency, side, deaths), len(deaths))


@pytest.mark.parametrize(("way", "mib"), [("serial", 32), ("tcp", 64)])
def test_a_large_clip(dock_agency: Agency, tmp_path: Path, way: str, mib: int) -> None:
    size = mib * _MIB
    volume = run_volume(tmp_path / "rig", dock_agency, serial=way == "serial", size_bytes=size, patience_s=120)
    check_volume(volume, size)


def at_once(*works: Callable[[], ResultT]) -> list[ResultT]:
    """Run side by side: each waits for most of its time."""
    with ThreadPoolExecutor(len(works)) as pool:
        futures: list[Future[ResultT]] = [pool.submit(work) for work in works]
        return [future.result() for future in futures]


@pytest.mark.long
def test_a_hundred_cuts_each_step_and_a_gibibyte(dock_agency: Agency, tmp_path: Path) -> None:
    size, interval = _SIZES

    def cut(way: str, part: int) -> list[Cut]:
        return run_cuts(
            tmp_path / f"cuts-{way}-{part}",
            dock_agency,
            serial=way == "serial",
            cuts=50,
            size_bytes=size,
            interval_bytes=interval,
            part=part,
        )

    halves = [(way, part) for way in ("serial", "tcp") for part in (0, 1)]
    cuts = [each for some in at_once(*(functools.partial(cut, *half) for half in halves)) for each in some]
    check_cuts(cuts, 200)
    kills = at_once(
        lambda: run_steps(tmp_path / "dock", dock_agency, "dock", DOCK_DEATHS),
        lambda: run_steps(tmp_path / "camera", dock_agency, "camera", CAMERA_DEATHS),
    )
    check_steps(kills[0], len(DOCK_DEATHS))
    check_steps(kills[1], len(CAMERA_DEATHS))
    volumes = [
        run_volume(tmp_path / f"volume-{serial}", dock_agency, serial=serial, size_bytes=_GIB, patience_s=900)
        for serial in (True, False)
    ]
    for volume in volumes:
        check_volume(volume, _GIB)
    report = ROOT / "docs" / "reports" / "offload.md"
    write_offload_report(report, cuts, [*kills[0], *kills[1]], volumes, _SIZES)
