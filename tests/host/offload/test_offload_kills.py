"""Ended at each step and at each operation on storage, twice in a row: one verified copy, one custody trail."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docklink.messages import ClipState
from evidence.check import Finding, check_sealed_clip
from evidence.steps import Operation, set_step_hook
from host.offload import Step
from host.offload.machine import ENDINGS
from tests.host.offload.fakecamera import FakeCamera

if TYPE_CHECKING:
    from tests.host.offload.conftest import OffloadBench
    from tests.host.store.conftest import MadeClip

WORKING = [step for step in Step if step not in ENDINGS and step not in (Step.SALVAGE, Step.SET_APART)]


class Killed(BaseException):
    """The process is gone; nothing may catch it."""


@pytest.fixture(autouse=True)
def no_hook() -> Iterator[None]:
    yield
    set_step_hook(None)


def at_step(wanted: Step) -> Callable[[Step, str], None]:
    def hook(step: Step, _clip: str) -> None:
        if step is wanted:
            raise Killed

    return hook


def at_operation(count: int) -> Callable[[Operation, Path], None]:
    left = itertools.count(count, -1)

    def hook(_operation: Operation, _path: Path) -> None:
        if next(left) == 0:
            raise Killed

    return hook


def check_one_copy(bench: "OffloadBench", camera: FakeCamera, clip: "MadeClip") -> None:
    checked = check_sealed_clip(bench.place(clip), bench.pki.trust.roots)
    assert checked.finding is Finding.AUTHENTIC
    assert bench.kinds(clip) == ["clip_stored", "receipt_accepted"]
    assert camera.states[clip.key.clip] is ClipState.RELEASABLE
    assert list((bench.root / "partial").iterdir()) == []
    assert list((bench.root / "quarantine").rglob("*.json")) == []


@pytest.mark.parametrize("step", WORKING, ids=lambda step: step.name.lower())
def test_ended_at_each_step_twice(bench: "OffloadBench", step: Step) -> None:
    clip = bench.clips.make(1, chunks=3)
    camera = FakeCamera(bench.pki, [clip])
    _, port = bench.serve(camera)
    for _ in range(2):
        with pytest.raises(Killed):
            bench.session(port, step=at_step(step))
        if step is not Step.CONFIRM:
            assert camera.receipts == {}
        bench.restart()
    bench.session(port)
    check_one_copy(bench, camera, clip)


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.long)])
def test_ended_at_each_operation_on_storage_twice(bench: "OffloadBench", stride: int) -> None:
    camera = FakeCamera(bench.pki, [])
    _, port = bench.serve(camera)
    bench.session(port)
    for number in itertools.count(1):
        clip = bench.clips.make(number)
        camera.clips_here[clip.key.clip] = clip
        camera.files.update({(clip.key.clip, name): data for name, data in clip.files.items()})
        camera.states[clip.key.clip] = ClipState.SEALED
        killed = 0
        for _ in range(2):
            set_step_hook(at_operation((number - 1) * stride))
            try:
                bench.session(port)
            except Killed:
                killed += 1
            set_step_hook(None)
            had_receipt = (bench.place(clip) / "receipt.json").exists()
            assert had_receipt or clip.key.clip not in camera.receipts
            bench.restart()
        bench.session(port)
        check_one_copy(bench, camera, clip)
        if not killed:
            break
    assert number * stride > 40


@pytest.mark.parametrize("step", [Step.LOOK, Step.JOURNAL, Step.CIPHERTEXT, Step.HAND_OVER])
def test_the_camera_dies_at_a_request_twice(bench: "OffloadBench", step: Step) -> None:
    clip = bench.clips.make(1, chunks=3)
    camera = FakeCamera(bench.pki, [clip])
    server, port = bench.serve(camera)
    for _ in range(2):

        def die(at: Step, _clip: str) -> None:
            if at is step:
                server.close()

        bench.session(port, step=die)
        bench.restart()
        port = server.listen()
    bench.session(port)
    check_one_copy(bench, camera, clip)
