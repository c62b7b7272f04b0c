"""The table of steps; and any order of kills, broken links, re-docking at another dock."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docklink.client import open_session
from docklink.errors import LinkError
from docklink.faults import Cut, FaultyStream
from docklink.messages import ClipState
from docklink.streams import connect_tcp
from evidence.check import Finding, check_sealed_clip
from evidence.documents import Verdict
from evidence.steps import Operation, set_step_hook
from host.offload import Settings, Step, Watch, run_session
from host.offload.machine import ENDINGS, FAILURES, TABLE, Event, next_step
from host.store import format_store
from tests.host.offload.conftest import OffloadBench
from tests.host.offload.fakecamera import QUICK, FakeCamera

if TYPE_CHECKING:
    from tests.host.store.conftest import ClipFactory, Pki


class Killed(BaseException):
    """The process is gone."""


def test_every_step_leads_to_an_ending() -> None:
    leads = {step: {after for (before, _), after in TABLE.items() if before is step} for step in Step}
    reached, grown = {Step.LOOK}, True
    while grown:
        more = reached | set().union(*(leads[step] for step in reached))
        grown, reached = more != reached, more
    assert reached == set(Step) - set(FAILURES.values())
    for step in reached - ENDINGS:
        assert leads[step], step
    assert not any(leads[step] for step in ENDINGS)


@pytest.mark.parametrize("step", sorted(set(Step) - ENDINGS))
def test_a_failure_ends_every_step(step: Step) -> None:
    assert {next_step(step, event) for event in FAILURES} == set(FAILURES.values())


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_no_receipt_without_the_store(events: list[Event]) -> None:
    """Whatever happens, a receipt is handed over only after the store said that it has the clip."""
    step, before = Step.LOOK, Step.LOOK
    for event in events:
        if step in ENDINGS or ((step, event) not in TABLE and event not in FAILURES):
            return
        before, step = step, next_step(step, event)
        if step is Step.HAND_OVER:
            assert (before, event) in {
                (Step.TAKE, Event.GOOD),
                (Step.LOOK, Event.HELD),
                (Step.LOOK, Event.RELEASED),
            }


ACTIONS = st.one_of(
    st.tuples(st.just("kill"), st.integers(0, 60)),
    st.tuples(st.just("cut"), st.integers(0, 500_000)),
    st.tuples(st.just("whole"), st.just(0)),
)


def killer(count: int) -> Callable[[Operation, Path], None]:
    left = itertools.count(count, -1)

    def hook(_operation: Operation, _path: Path) -> None:
        if next(left) == 0:
            raise Killed

    return hook


def visit(bench: OffloadBench, port: int, action: str, place: int) -> None:
    """Dock once: whole, with a link that is cut, or in an agent that is killed."""
    set_step_hook(killer(place) if action == "kill" else None)
    try:
        stream = FaultyStream(connect_tcp("127.0.0.1", port, 5), [Cut(place)] if action == "cut" else [])
        with open_session(stream, bench.trust, timeouts=QUICK) as client:
            run_session(client, bench.station, bench.docking, Settings(), Watch())
    except (LinkError, Killed):
        bench.restart()
    finally:
        set_step_hook(None)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(visits=st.lists(st.tuples(st.booleans(), ACTIONS), min_size=1, max_size=5))
def test_any_order_of_visits_to_two_docks(
    tmp_path_factory: pytest.TempPathFactory,
    pki: "Pki",
    clips: "ClipFactory",
    visits: list[tuple[bool, tuple[str, int]]],
) -> None:
    place = tmp_path_factory.mktemp("orders")
    docks = []
    for name in ("one", "two"):
        format_store(place / name, f"dock7-{name}")
        docks.append(OffloadBench(place / name, pki, clips))
    made = [clips.make(1, points=4), clips.make(2, chunks=2)]
    camera = FakeCamera(pki, made)
    _, port = docks[0].serve(camera)
    try:
        for second, (action, at) in visits:
            visit(docks[second], port, action, at)
            for clip in made:
                receipt = camera.receipts.get(clip.key.clip)
                if receipt is not None:
                    holder = docks[receipt.store == "dock7-two"]
                    assert receipt.verdict is Verdict.STORED
                    checked = check_sealed_clip(holder.place(clip), pki.trust.roots)
                    assert checked.finding is Finding.AUTHENTIC
                    assert (holder.place(clip) / "receipt.json").exists()
        visit(docks[0], port, "whole", 0)
        visit(docks[1], port, "whole", 0)
        for clip in made:
            assert camera.states[clip.key.clip] is ClipState.RELEASABLE
            trails = [dock.kinds(clip) for dock in docks]
            assert ["clip_stored", "receipt_accepted"] in trails
            assert all(trail in ([], ["clip_stored", "receipt_accepted"]) for trail in trails)
    finally:
        for dock in docks:
            dock.close()
