"""Power is really cut, over all of a recording's life; what is left is judged after each boot."""

import os
from pathlib import Path

import msgspec
import pytest

from hil_tests.powercut.campaign import run_campaign, run_plans, short_plans
from hil_tests.powercut.chain import run_chain
from hil_tests.powercut.logged_run import log_a_life
from hil_tests.powercut.report import LOSS_LIMIT_NS, STARVED_NS, write_report
from hil_tests.powercut.results import Aim, ChainResult, Phase, Way, read_results
from hil_tests.powercut.stage import make_stage
from hil_tests.powercut.states import StateJudge
from hil_tests.powercut.writelog import choose_states
from tests.campaign.kills import ROOT

_SHORT_CUTS, _LONG_CUTS = 20, 1000
_LONG_STATES = 100


def _check(results: list[ChainResult], cuts: int) -> None:
    faults = [f"{result.plan.group}: {result.fault}" for result in results if result.fault]
    assert not faults
    found = [cut for result in results for cut in result.cuts]
    assert len(found) >= cuts
    assert any(cut.caught_up for cut in found)
    assert any(cut.phase in {Phase.PRESS, Phase.FLUSH, Phase.LIVE} for cut in found)
    for cut in found:
        if cut.caught_up and cut.late_ns < STARVED_NS:
            assert cut.lost_ns is not None
            assert cut.lost_ns <= LOSS_LIMIT_NS, cut


@pytest.mark.usefixtures("kernel")
def test_two_dozen_power_cuts(tmp_path: Path) -> None:
    plans = short_plans()
    results = tmp_path / "results.jsonl"
    run_plans(iter(plans), tmp_path / "work", results, boards=2, cuts=_LONG_CUTS)
    found = list(read_results(results))
    _check(found, _SHORT_CUTS)
    assert {cut.way for result in found for cut in result.cuts} == set(Way)


def test_a_full_ring_is_kept_from_the_right_keyframe(kernel: Path, tmp_path: Path) -> None:
    plan = msgspec.structs.replace(short_plans()[2], aims=(Aim.LIVE,), held_s=4.5, copies=False)
    result = run_chain(tmp_path / "chain", make_stage(tmp_path / "stage"), plan, kernel)
    assert not result.fault
    assert result.cuts[0].caught_up


def test_no_receipt_for_bytes_that_changed_on_their_way_to_storage(kernel: Path, tmp_path: Path) -> None:
    """The dock received what was sent, and its storage holds something else: only reading again shows it."""
    plan = msgspec.structs.replace(short_plans()[1], aims=(Aim.OFFLOAD,), copies=False)
    result = run_chain(tmp_path / "chain", make_stage(tmp_path / "stage"), plan, kernel, spoils=True)
    assert not result.fault
    assert result.delivered == 0
    assert result.cuts[0].phase is Phase.OFFLOAD


@pytest.mark.parametrize("mbit", ["2"])
def test_states_of_the_write_log(kernel: Path, tmp_path: Path, mbit: str) -> None:
    _judge_states(kernel, tmp_path, mbit, 12)


@pytest.mark.long
@pytest.mark.usefixtures("kernel")
def test_a_thousand_power_cuts(tmp_path: Path) -> None:
    """Goes on with the results that `POWERCUT_RESULTS` names, if it does."""
    results = Path(os.environ.get("POWERCUT_RESULTS", tmp_path / "results.jsonl"))
    run_campaign(tmp_path / "work", results, boards=2, cuts=_LONG_CUTS)
    found = list(read_results(results))
    write_report(ROOT / "docs" / "reports" / "power-cuts.md", found)
    _check(found, _LONG_CUTS)


@pytest.mark.long
@pytest.mark.parametrize("mbit", ["0.2", "2", "10"])
def test_many_states_of_the_write_log(kernel: Path, tmp_path: Path, mbit: str) -> None:
    _judge_states(kernel, tmp_path, mbit, _LONG_STATES)


def _judge_states(kernel: Path, directory: Path, mbit: str, count: int) -> None:
    stage = make_stage(directory / "stage")
    judge = StateJudge(stage, log_a_life(directory / "life", stage, mbit, kernel), directory / "judge")
    clips = [judge.judge(state) for state in choose_states(judge.log, count, seed=count)]
    assert len(clips) == count
    assert max(clips) == 2
