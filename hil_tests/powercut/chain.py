"""A chain of cuts on one card: boot, see what the cut before left, start the camera, aim, cut, and so on."""

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from hil_tests.board.card import CardImage, find_tool
from hil_tests.board.faults import CardLayer, delayed
from hil_tests.powercut.board import CutBoard
from hil_tests.powercut.copies import Copier, Copy
from hil_tests.powercut.copyjudge import CopyJudge
from hil_tests.powercut.dock import docked
from hil_tests.powercut.judge import Judge, Left
from hil_tests.powercut.life import PATIENCE_S, Life, wait_until
from hil_tests.powercut.record import Kind as Told
from hil_tests.powercut.record import Told as Event
from hil_tests.powercut.recovering import RecoveryBoard
from hil_tests.powercut.results import Aim, ChainPlan, ChainResult, Cut, Kind
from hil_tests.powercut.stage import FULL_CONFIG, SERIAL_PORT, Stage
from tests.campaign.report import build

__all__ = ["run_chain"]

_CARD_MIB = 256
_LATE_WRITE_MS, _LATE_FLUSH_MS = 20, 60
_FILLER_GOES = 0.7


class _Chain:
    """One card in one board's slot."""

    def __init__(self, directory: Path, stage: Stage, plan: ChainPlan, kernel: Path, *, spoils: bool) -> None:
        self._plan = plan
        self._spoils = spoils
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
        self._judged: Future[Cut] | None = None
        self._cuts: list[Cut] = []
        port = SERIAL_PORT if docked else ""
        text = stage.camera_config(self._board.places.files, plan.mbit, plan.window_s, port=port)
        if plan.kind is Kind.FULL:
            text += FULL_CONFIG
        stage.furnish(self._board.share, plan.mbit, text)
        self._copies: CopyJudge | None = None
        if plan.copies:
            board = RecoveryBoard(directory / "recovery", stage, plan, card, kernel)
            self._copies = CopyJudge(board, self._random)

    def run(self) -> ChainResult:
        """Make all cuts, and a last start that must bring everything in order; a fault ends the chain."""
        began_s = time.monotonic()
        fault = ""
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(self._board)
                if self._copies is not None:
                    stack.enter_context(self._copies.board)
                judging = stack.enter_context(ThreadPoolExecutor(1))
                for aim in self._plan.aims:
                    self._live(aim, judging)
                self._boot()
                assert self._left is not None
                self._cuts.append(self._judge.cut(self._left))
                self._end()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this chain's result and ends no other
            notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
            fault = f"cut {len(self._cuts) + 1}: {type(error).__name__}: {error}{notes}"
        return ChainResult(
            plan=self._plan,
            cuts=tuple(self._cuts),
            clips=len(self._judge.known),
            sealed=len(self._judge.sealed),
            delivered=len(self._judge.delivered),
            seconds=time.monotonic() - began_s,
            build=build(),
            fault=fault,
        )

    def _live(self, aim: Aim, judging: ThreadPoolExecutor) -> None:
        """Boot, lead the camera on, cut; what is on its card is judged meanwhile, and its copies afterwards."""
        self._boot()
        if self._left is not None:
            self._judged = judging.submit(self._judge.cut, self._left)
        copies = self._strike(aim)
        self._take_judged()
        for copied in copies:
            assert self._copies is not None
            self._cuts += self._copies.judge(copied, self._judge)

    def _take_judged(self) -> None:
        if self._judged is not None:
            self._cuts.append(self._judged.result())
            self._judged = None

    def _boot(self) -> None:
        """Boot on the card as the cut left it, and copy the vault before the firmware can touch it."""
        self._board.boot(timeout_s=PATIENCE_S)
        device = ""
        if self._plan.kind is Kind.DELAYED:
            late = delayed("/dev/ubda", write_ms=_LATE_WRITE_MS, flush_ms=_LATE_FLUSH_MS)
            device = CardLayer(self._board, late, device="/dev/ubda").path
        self._board.mount_card(device)
        if self._left is not None:
            self._board.take_vault(self._left.vault.parent, self._judge.known)
        if self._plan.kind is Kind.FULL and self._random.random() < _FILLER_GOES:
            self._board.run("rm", "-f", "/mnt/card/filler")

    def _strike(self, aim: Aim) -> list[Copy]:
        """Lead the camera to where the cut is meant to fall, and cut; returns the copies made on the way."""
        copier = None
        if self._plan.copies:
            copier = Copier(self._board.processes, self._board.card.path, self._directory, self._stored)
        refused = self._quarantined if self._spoils else None
        life = Life(self._board, self._plan, self._random, copier=copier, refused=refused)
        life.lead(aim)
        self._board.cut_power()
        record = self._board.record
        record.read()
        vault = self._directory / "found" / "vault"
        self._left = Left(
            vault=vault, record=record, aim=aim, pressed_ns=life.pressed_ns, stopped_ns=life.stopped_ns
        )
        return life.copies

    def _stored(self) -> frozenset[str]:
        """Name the clips that the dock's store has now."""
        return frozenset(path.name for path in (self._directory / "store" / "clips").glob("*/[!.]*"))

    def _quarantined(self) -> bool:
        return any((self._directory / "store" / "quarantine").glob("*/*/*"))

    def _end(self) -> None:
        """Start a last time, let everything be recovered, stop in order, and look at the whole card."""
        self._board.run("rm", "-f", "/mnt/card/filler")
        service = self._board.start_camera()
        record = self._board.record
        wait_until(self._board, service, lambda: any(record.of(Told.RECOVERY)))
        waiting = next(record.of(Told.RECOVERY)).detail
        names = {name for name in waiting.split(",") if name}
        wait_until(self._board, service, lambda: names <= set(_published(record.of(Told.STEP))))
        status = service.stop(timeout_s=PATIENCE_S)
        assert status == 0, f"the camera ended with {status}: {service.log[-2000:]}"
        whole = self._directory / "whole"
        self._board.take_vault(whole, ())
        self._board.unmount_card()
        self._board.power_off()
        wrong = self._board.card.check()
        assert not wrong, f"the file system is damaged: {wrong}"
        self._judge.end(whole / "vault")


def _published(steps: Iterator[Event]) -> Iterator[str]:
    """Name the clips whose manifest is in its place, and the directory that it is in is being synced."""
    renamed = ""
    for event in steps:
        if event.detail == "rename .manifest.json.tmp":
            renamed = event.clip
        elif renamed and event.detail == "sync-directory clip":
            yield renamed


def run_chain(
    directory: Path, stage: Stage, plan: ChainPlan, kernel: Path, *, spoils: bool = False
) -> ChainResult:
    """Run one chain; its directory is removed unless it found a fault. `spoils`: see `docked`."""
    directory.mkdir(parents=True)
    dock = docked(directory, stage, spoils=spoils) if plan.kind is Kind.OFFLOAD else contextlib.nullcontext()
    with dock:
        result = _Chain(directory, stage, plan, kernel, spoils=spoils).run()
    if not result.fault:
        shutil.rmtree(directory)
    return result
