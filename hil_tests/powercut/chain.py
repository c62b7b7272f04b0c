"""A chain of cuts on one card: boot, see what the cut before left, start the camera, aim, cut, and so on."""

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from hil_tests.board.card import CardImage, find_tool
from hil_tests.board.faults import CardLayer, delayed
from hil_tests.board.protocol import BoardError
from hil_tests.powercut.board import CutBoard, Firmware
from hil_tests.powercut.judge import Judge, Left
from hil_tests.powercut.record import Kind as Told
from hil_tests.powercut.record import Told as Event
from hil_tests.powercut.results import Aim, ChainPlan, ChainResult, Cut, Kind
from hil_tests.powercut.stage import RATE, Stage, dock_config
from tests.campaign.offload_cable import LineCable
from tests.campaign.offload_processes import AgentSpec, start_process
from tests.campaign.report import build

__all__ = ["run_chain"]

_NS_PER_S = 1_000_000_000
_CARD_MIB = 256
_LOOK_S = 0.002
_PATIENCE_S = 180.0
_TAP_S = 0.1
_HOLD_S = 0.5
_FLUSH_S = {"0.2": 0.15, "2": 0.25, "10": 0.5}
_ROOM_BYTES = {"0.2": 400_000, "2": 2_000_000, "10": 8_000_000}
_DELIVERY_S = 4.0
_LATE_WRITE_MS, _LATE_FLUSH_MS = 20, 60
_DELIVERY_STEPS = ("", "", "create .receipt.p7s.tmp", "make-directory tombstone", "rename clip")
_STEP_S = 0.1
_DELIVERY_PATIENCE_S = 60.0
_FILL = """\
rm -f /mnt/card/filler
set -- $(stat -f -c '%a %S' /mnt/card)
fallocate -l $(($1 * $2 - {})) /mnt/card/filler
"""


class _Chain:
    """One card in one board's slot."""

    def __init__(self, directory: Path, stage: Stage, plan: ChainPlan, kernel: Path) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._directory = directory
        docked = plan.kind is Kind.OFFLOAD
        card = CardImage.create(directory / "card.img", _CARD_MIB, plan.filesystem)
        if plan.kind is Kind.FULL and plan.filesystem == "ext4":
            # No blocks for root alone: the firmware is root on this board, and is to meet a card that is full.
            subprocess.run(
                [find_tool("tune2fs") or "tune2fs", "-m", "0", card.path], check=True, capture_output=True
            )
        self._line = directory / "tty-camera" if docked else None
        self._board = CutBoard(directory, card, kernel=kernel, dock_line=self._line)
        self._judge = Judge(stage, plan.window_s, directory / "store" if docked else None)
        self._left: Left | None = None
        self._pressed_ns = self._stopped_ns = 0
        self._boots = 0
        share = self._board.share
        shutil.copytree(stage.directory / "agency", share / "agency")
        shutil.copy(stage.footage(plan.mbit), share / "footage.mp4")
        text = stage.camera_config(self._board.places.files, plan.mbit, plan.window_s, docked=docked)
        if plan.kind is Kind.FULL:
            text += "[storage]\nminimum_mib = 1\n"
        (share / "device.toml").write_text(text, encoding="utf-8")

    def run(self) -> ChainResult:
        """Make all cuts, and a last start that must bring everything in order; a fault ends the chain."""
        began_s = time.monotonic()
        cuts: list[Cut] = []
        fault = ""
        try:
            with self._board, ThreadPoolExecutor(1) as judging:
                judged: Future[Cut] | None = None
                for aim in self._plan.aims:
                    self._boot(judged, cuts)
                    if self._left is not None:
                        judged = judging.submit(self._judge.cut, self._left)
                    self._strike(aim)
                self._boot(judged, cuts)
                assert self._left is not None
                cuts.append(self._judge.cut(self._left))
                self._end()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this chain's result and ends no other
            fault = f"cut {len(cuts) + 1}: {type(error).__name__}: {error}"
        return ChainResult(
            plan=self._plan,
            cuts=tuple(cuts),
            clips=len(self._judge.known),
            sealed=len(self._judge.sealed),
            delivered=len(self._judge.delivered),
            seconds=time.monotonic() - began_s,
            build=build(),
            fault=fault,
        )

    def _boot(self, judged: Future[Cut] | None, cuts: list[Cut]) -> None:
        """Boot on the card as the cut left it, and copy the vault before the firmware can touch it."""
        self._board.boot(timeout_s=_PATIENCE_S)
        device = ""
        if self._plan.kind is Kind.DELAYED:
            late = delayed("/dev/ubda", write_ms=_LATE_WRITE_MS, flush_ms=_LATE_FLUSH_MS)
            device = CardLayer(self._board, late, device="/dev/ubda").path
        self._board.mount_card(device)
        if judged is not None:
            cuts.append(judged.result())
        if self._left is not None:
            self._board.take_vault(self._left.vault.parent, self._judge.known)
        if self._plan.kind is Kind.FULL and self._random.random() < 0.7:
            self._board.run("rm", "-f", "/mnt/card/filler")

    def _strike(self, aim: Aim) -> None:
        """Start the camera, bring it to where the cut is meant to fall, and cut."""
        self._pressed_ns = self._stopped_ns = 0
        service = self._board.start_camera()
        self._lead(aim, service)
        self._board.cut_power()
        record = self._board.record
        record.read()
        vault = self._directory / "found" / "vault"
        self._left = Left(
            vault=vault, record=record, aim=aim, pressed_ns=self._pressed_ns, stopped_ns=self._stopped_ns
        )

    def _lead(self, aim: Aim, service: Firmware) -> None:
        """Return at the instant at which power is to be cut."""
        if aim is Aim.START:
            time.sleep(self._random.uniform(0, 4))
            return
        self._wait(service, lambda: any(self._board.record.of(Told.RECOVERY)))
        if aim is Aim.RECOVERY:
            time.sleep(self._random.uniform(0, 0.6))
            return
        held = self._plan.held_s or self._random.uniform(0.3, self._plan.window_s + 1.5)
        self._wait(service, lambda: self._frames() >= held * RATE)
        if aim is Aim.IDLE:
            return
        if self._plan.kind is Kind.FULL:
            room = int(self._random.uniform(0, _ROOM_BYTES[self._plan.mbit]))
            done = self._board.run("sh", "-c", _FILL.format(room))
            if done.status != 0:
                raise BoardError(f"the card can't be filled: {done.errors}")
        self._press(aim, service)

    def _press(self, aim: Aim, service: Firmware) -> None:
        """Press, and go on as far as the cut is meant to fall: an event of the firmware, and some time more."""
        flush_s = _FLUSH_S[self._plan.mbit] * self._plan.window_s / 2
        self._pressed_ns = self._board.button_down()
        if aim is Aim.PRESS:
            time.sleep(self._random.uniform(0, 0.1))
            return
        if aim is Aim.FLUSH:
            self._reach(service, lambda: self._begun("create clip.mp4.age"))
            time.sleep(self._random.uniform(0, flush_s))
            return
        time.sleep(_TAP_S)
        self._board.button_up()
        self._reach(service, self._caught_up)
        if aim is Aim.LIVE:
            time.sleep(self._random.uniform(0, 2.5))
            return
        time.sleep(self._random.uniform(0.1, 0.6))
        self._stopped_ns = self._board.button_down() + int(_HOLD_S * _NS_PER_S)
        if aim is Aim.STOP:
            time.sleep(_HOLD_S + self._random.uniform(-0.05, 0.15))
            return
        name = self._clip()
        self._reach(service, lambda: self._begun("create .manifest.p7s.tmp", name) or self._ended())
        if aim is Aim.SEAL:
            time.sleep(self._random.uniform(0, 0.05))
            return
        self._reach(service, self._ended)
        self._board.button_up()
        self._deliver(service)

    def _reach(self, service: Firmware, condition: Callable[[], bool]) -> None:
        """Wait until the firmware is there; on a full card it may never be, and power is cut all the same."""
        if self._plan.kind is not Kind.FULL:
            self._wait(service, condition)
            return
        with contextlib.suppress(TimeoutError):
            self._wait(service, condition, patience_s=5)

    def _begun(self, step: str, clip: str = "") -> bool:
        return any(each.detail == step and clip in {"", each.clip} for each in self._board.record.of(Told.STEP))

    def _ended(self) -> bool:
        return any(self._board.record.of(Told.ENDED))

    def _clip(self) -> str:
        """Name the clip that is being written; nothing if there is none."""
        return next((event.clip for event in self._board.record.of(Told.PROGRESS)), "none")

    def _deliver(self, service: Firmware) -> None:
        """Let the dock take clips, until some time is over or a step of a delivery has begun."""
        step = self._random.choice(_DELIVERY_STEPS)
        if not step:
            time.sleep(self._random.uniform(0, _DELIVERY_S))
            return
        record = self._board.record
        with contextlib.suppress(TimeoutError):  # so late is as good an instant as any
            self._wait(
                service, lambda: any(each.detail == step for each in record.of(Told.STEP)), patience_s=20
            )
        time.sleep(self._random.uniform(0, _STEP_S))

    def _end(self) -> None:
        """Start a last time, let everything be recovered, stop in order, and look at the whole card."""
        self._board.run("rm", "-f", "/mnt/card/filler")
        service = self._board.start_camera()
        record = self._board.record
        self._wait(service, lambda: any(record.of(Told.RECOVERY)))
        waiting = next(record.of(Told.RECOVERY)).detail
        names = {name for name in waiting.split(",") if name}
        self._wait(service, lambda: names <= set(_published(record.of(Told.STEP))))
        status = service.stop(timeout_s=_PATIENCE_S)
        assert status == 0, f"the camera ended with {status}: {service.log[-2000:]}"
        whole = self._directory / "whole"
        self._board.take_vault(whole, ())
        self._board.unmount_card()
        self._board.power_off()
        wrong = self._board.card.check()
        assert not wrong, f"the file system is damaged: {wrong}"
        self._judge.end(whole / "vault")

    def _frames(self) -> int:
        return sum(1 for _ in self._board.record.of(Told.FRAME))

    def _caught_up(self) -> bool:
        return any(event.flag for event in self._board.record.of(Told.PROGRESS))

    def _wait(self, service: Firmware, condition: Callable[[], bool], patience_s: float = _PATIENCE_S) -> None:
        give_up = time.monotonic() + patience_s
        while not condition():
            self._board.record.read()
            if service.ended:
                raise BoardError(f"the camera ended by itself: {service.log[-2000:]}")
            if time.monotonic() > give_up:
                raise TimeoutError(f"the camera did not get there: {service.log[-2000:]}")
            time.sleep(_LOOK_S)


def _published(steps: Iterator[Event]) -> Iterator[str]:
    """Name the clips whose manifest is in its place, and the directory that it is in is being synced."""
    renamed = ""
    for event in steps:
        if event.detail == "rename .manifest.json.tmp":
            renamed = event.clip
        elif renamed and event.detail == "sync-directory clip":
            yield renamed


@contextlib.contextmanager
def _dock(directory: Path, stage: Stage, plan: ChainPlan) -> Iterator[None]:
    """Have a dock at the other end of the camera's line: on the host, where no power is cut."""
    if plan.kind is not Kind.OFFLOAD:
        yield
        return
    cable = LineCable(directory, lambda _: None)
    (directory / "dock.toml").write_text(dock_config(stage, cable.dock_path), encoding="utf-8")
    agent = start_process(AgentSpec(directory / "dock.toml", directory / "agent.told"))
    try:
        yield
    finally:
        agent.terminate()
        agent.join(30)
        if agent.is_alive():
            agent.kill()
        cable.close()


def run_chain(directory: Path, stage: Stage, plan: ChainPlan, kernel: Path) -> ChainResult:
    """Run one chain; its directory is removed unless it found a fault."""
    directory.mkdir(parents=True)
    with _dock(directory, stage, plan):
        result = _Chain(directory, stage, plan, kernel).run()
    if not result.fault:
        shutil.rmtree(directory)
    return result
