"""Plans, results and the report of a campaign, without a board."""

from pathlib import Path

import msgspec
import pytest

from hil_tests.powercut.campaign import plan_chain, short_plans
from hil_tests.powercut.report import write_report
from hil_tests.powercut.results import (
    Aim,
    ChainPlan,
    ChainResult,
    Cut,
    Kind,
    Phase,
    Way,
    append_result,
    read_results,
)

_MS = 1_000_000


def _live(lost_ms: int, way: Way = Way.KILL, late_ms: int = 10) -> Cut:
    return Cut(
        aim=Aim.LIVE,
        phase=Phase.LIVE,
        caught_up=True,
        lost_ns=lost_ms * _MS,
        unattested_ns=lost_ms * _MS,
        frames=90,
        lines=4,
        late_ns=late_ms * _MS,
        way=way,
        stop_ns=7 * _MS if way is Way.COPY else 0,
    )


def _result(plan: ChainPlan, *cuts: Cut, fault: str = "") -> ChainResult:
    return ChainResult(plan=plan, cuts=cuts, clips=1, sealed=1, seconds=4.0, build="abc1234", fault=fault)


def test_chains_differ_and_are_the_same_again() -> None:
    plans = [plan_chain(number) for number in range(52)]
    assert plans == [plan_chain(number) for number in range(52)]
    assert {plan.kind for plan in plans} == set(Kind)
    assert {plan.mbit for plan in plans} == {"0.2", "2", "10"}
    assert {aim for plan in plans for aim in plan.aims} >= {Aim.LIVE, Aim.STOP, Aim.SEAL, Aim.OFFLOAD}
    assert len({plan.seed for plan in plans}) == len(plans)


def test_the_short_form_cuts_in_both_ways() -> None:
    assert {plan.copies for plan in short_plans()} == {False, True}


def test_results_of_a_campaign_without_copies_are_read(tmp_path: Path) -> None:
    path = tmp_path / "results"
    append_result(path, _result(short_plans()[0], _live(300)))
    document = msgspec.json.decode(path.read_bytes())
    del document["plan"]["copies"], document["cuts"][0]["way"], document["cuts"][0]["stop_ns"]
    path.write_bytes(msgspec.json.encode(document) + b"\nof a line that a kill tore")
    (found,) = read_results(path)
    assert not found.plan.copies
    assert found.cuts == (_live(300),)


def test_the_report_compares_the_ways(tmp_path: Path) -> None:
    copying, plain = (msgspec.structs.replace(short_plans()[2], copies=copies) for copies in (True, False))
    cuts = [_live(ms, way) for ms in range(100, 700, 10) for way in Way]
    results = [
        _result(copying, *cuts, _live(3000, late_ms=400)),
        _result(plain, _live(250)),
        _result(plain, fault="cut 1: TimeoutError: the camera did not get there\nmore"),
    ]
    path = tmp_path / "report.md"
    write_report(path, results)
    text = path.read_text(encoding="utf-8")
    assert "Cuts: 122 in 3 chains, 62 by SIGKILL and 60 by copy" in text
    assert "1 on boards short of processor" in text
    assert "a cut took 0.0 s in chains with copies, 8.0 s in those without" in text
    assert "A board stood still for 7.0 ms at the median, 7 ms at most" in text
    assert "The target was reached in all 121 of these cuts." in text
    assert "| copy at a stop | 60 | 0.395 | 0.690 | 0.690 | 0.395 | 0.690 | 0.690 |" in text
    assert "| SIGKILL | 60 | 0.395 |" in text
    assert "| SIGKILL, boards that never stood still | 1 | 0.250 |" in text
    assert "as far apart or farther with a probability of 1.00" in text
    assert "| short of processor | 1 | 1 | 3.000 |" in text
    assert "TimeoutError: the camera did not get there" in text


@pytest.mark.parametrize("ways", [(Way.KILL,), (Way.COPY,), ()])
def test_a_report_of_one_way_compares_nothing(tmp_path: Path, ways: tuple[Way, ...]) -> None:
    write_report(tmp_path / "report.md", [_result(short_plans()[1], *(_live(1, way) for way in ways))])
    assert "There are not enough of them to compare." in (tmp_path / "report.md").read_text(encoding="utf-8")
