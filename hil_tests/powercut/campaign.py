"""The campaign: seeded chains of cuts, several boards at a time, results kept as they come.

`python -m hil_tests.powercut --cuts 1000 --results FILE` goes on where FILE ends.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from hil_tests.board.card import Filesystem, find_tool
from hil_tests.board.kernel import kernel_path
from hil_tests.powercut.chain import run_chain
from hil_tests.powercut.results import Aim, ChainPlan, ChainResult, Kind, append_result, read_results
from hil_tests.powercut.stage import make_stage

__all__ = ["SEED", "plan_chain", "run_campaign", "short_plans"]

SEED = 20261122
_MOST = 100_000
_BOOTS = 4  # a chain: few enough that a run in pieces loses little
_WINDOW_S = 2.0
_LONG_WINDOW_S = 12.0
_RECORD = (Aim.LIVE, Aim.LIVE, Aim.LIVE, Aim.SEAL, Aim.SEALED, Aim.SEALED, Aim.STOP, Aim.FLUSH)
_FULL = (Aim.LIVE, Aim.SEAL, Aim.SEALED, Aim.STOP, Aim.FLUSH)
_OFFLOAD = (*(Aim.OFFLOAD,) * 5, Aim.RECOVERY)
_KINDS: tuple[tuple[Kind, str, Filesystem], ...] = (
    (Kind.RECORD, "10", "ext4"),
    (Kind.RECORD, "2", "ext4"),
    (Kind.DELAYED, "0.2", "ext4"),
    (Kind.OFFLOAD, "0.2", "ext4"),
    (Kind.RECORD, "10", "f2fs"),
    (Kind.FULL, "10", "ext4"),
    (Kind.RECORD, "2", "ext4"),
    (Kind.RECORD, "0.2", "f2fs"),
    (Kind.OFFLOAD, "0.2", "ext4"),
    (Kind.DELAYED, "10", "ext4"),
    (Kind.FULL, "2", "ext4"),
    (Kind.RECORD, "2", "f2fs"),
    (Kind.LONG, "10", "ext4"),
)
_LONG = (*(Aim.LIVE,) * 3, Aim.FLUSH)
_AIMS = {
    Kind.LONG: _LONG,
    Kind.RECORD: _RECORD,
    Kind.DELAYED: _RECORD,
    Kind.FULL: _FULL,
    Kind.OFFLOAD: _OFFLOAD,
}


def plan_chain(number: int, seed: int = SEED) -> ChainPlan:
    """Return the chain of a number: the same for the same seed; f2fs where its cards can be made."""
    kind, mbit, filesystem = _KINDS[number % len(_KINDS)]
    if filesystem == "f2fs" and find_tool("mkfs.f2fs") is None:
        filesystem = "ext4"
    aims = random.Random(-seed - number).sample(_AIMS[kind], _BOOTS)
    return _plan(number, seed, kind=kind, mbit=mbit, filesystem=filesystem, aims=aims)


def short_plans(seed: int = SEED) -> list[ChainPlan]:
    """Return the short form: some by SIGKILL alone, some with copies, over every part of a recording's life."""
    rows: tuple[tuple[Kind, str, tuple[Aim, ...], bool], ...] = (
        (Kind.RECORD, "10", (Aim.FLUSH, Aim.LIVE), False),
        (Kind.OFFLOAD, "0.2", (Aim.OFFLOAD,), True),
        (Kind.RECORD, "2", (Aim.SEALED,), True),
        (Kind.FULL, "2", (Aim.LIVE,), False),
    )
    return [
        _plan(number, seed, kind=kind, mbit=mbit, filesystem="ext4", aims=aims, copies=copies)
        for number, (kind, mbit, aims, copies) in enumerate(rows)
    ]


def _plan(
    number: int,
    seed: int,
    *,
    kind: Kind,
    mbit: str,
    filesystem: Filesystem,
    aims: Sequence[Aim],
    copies: bool = True,
) -> ChainPlan:
    order = list(aims)
    random.Random(seed + number).shuffle(order)
    return ChainPlan(
        number=number,
        seed=seed * 10_000 + number,
        kind=kind,
        mbit=mbit,
        filesystem=filesystem,
        window_s=_LONG_WINDOW_S if kind is Kind.LONG else _WINDOW_S,
        aims=tuple(order),
        copies=copies,
    )


def run_plans(
    plans: Iterator[ChainPlan],
    directory: Path,
    results: Path,
    *,
    boards: int,
    cuts: int,
    until_s: float = math.inf,
) -> None:
    """Run chains until so many cuts are in the results; each chain's line is added as it ends.

    Each has a process of its own, so that no judge keeps the one that aims at an instant waiting. `until_s`, of
    the monotonic clock, is after when no further one begins.
    """
    stage, kernel = make_stage(directory / "stage"), kernel_path()
    done = {result.plan.number: result for result in read_results(results)}
    count = sum(len(result.cuts) for result in done.values())
    running: set[Future[ChainResult]] = set()
    with ProcessPoolExecutor(boards, get_context("spawn")) as pool:
        for plan in plans:
            if plan.number in done:
                continue
            expected = count + len(running) * len(plan.aims)
            if expected >= cuts or time.monotonic() > until_s:
                break
            running.add(pool.submit(run_chain, directory / f"chain-{plan.number}", stage, plan, kernel))
            if len(running) >= boards:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                count += _take(ended, results)
        _take(running, results)


def _take(ended: set[Future[ChainResult]], results: Path) -> int:
    count = 0
    for future in ended:
        result = future.result()
        append_result(results, result)
        count += len(result.cuts)
    return count


def run_campaign(
    directory: Path,
    results: Path,
    *,
    boards: int,
    cuts: int,
    seed: int = SEED,
    first: int = 0,
    until_s: float = math.inf,
) -> None:
    """Run the long form, or go on with it; `first` is the number of its first chain."""
    plans = (plan_chain(number, seed) for number in range(first, first + _MOST))
    run_plans(plans, directory, results, boards=boards, cuts=cuts, until_s=until_s)
