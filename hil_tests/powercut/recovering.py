"""A board that stays on and is given one copied card after the other: mounted, recovered, checked."""

import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hil_tests.board.card import CardImage
from hil_tests.board.protocol import BoardError, Service
from hil_tests.powercut.board import BOARD_ENVIRONMENT, CutBoard
from hil_tests.powercut.copies import Copier, Copy
from hil_tests.powercut.freeze import copy_image
from hil_tests.powercut.orders import Order, write_order
from hil_tests.powercut.record import Record
from hil_tests.powercut.results import Aim, ChainPlan, Kind
from hil_tests.powercut.stage import FULL_CONFIG, NET_PORT, VAULT, Stage

__all__ = ["Recovering", "RecoveryBoard"]

_PATIENCE_S = 180.0


class Recovering(msgspec.Struct, frozen=True):
    """A recovery under way: the vault as the mount left it, as the firmware leaves it, and what it tells."""

    number: int
    found: Path
    after: Path
    record: Record


class RecoveryBoard:
    """Boots when it is made; use `board` as a context manager. The card in its slot is a file that stays."""

    def __init__(self, directory: Path, stage: Stage, plan: ChainPlan, card: CardImage, kernel: Path) -> None:
        directory.mkdir()
        self.kind = plan.kind
        self._slot = card.copy(directory / "slot.img")
        self.board = CutBoard(directory, self._slot, kernel=kernel)
        self._copier = Copier(self.board.processes, self._slot.path, directory)
        port = NET_PORT if plan.kind is Kind.OFFLOAD else ""
        config = stage.camera_config(self.board.places.files, plan.mbit, plan.window_s, port=port)
        if plan.kind is Kind.FULL:
            config += FULL_CONFIG
        stage.furnish(self.board.share, plan.mbit, config)
        self._number = 0
        self._service: Service | None = None

    def insert(self, image: Path) -> None:
        """Put a card in and mount it; the board boots if it is off."""
        copy_image(image, self._slot.path)
        if self._service is None:
            self.board.boot(timeout_s=_PATIENCE_S)
            self._service = self.board.start(
                "nursery",
                self.board.places.python,
                *("-B", "-m", "hil_tests.powercut.nursery", self.board.places.files),
                environment=BOARD_ENVIRONMENT,
            )
            self._service.wait_log("ready", timeout_s=_PATIENCE_S)
        self.board.mount_card()

    def begin(self, settled: Sequence[str], *, makes_room: bool = False) -> Recovering:
        """Have the firmware recover the card; see `Order`."""
        assert self._service is not None
        self._number += 1
        share, number = self.board.share, self._number
        write_order(share, Order(number=number, vault=VAULT, settled=tuple(settled), makes_room=makes_room))
        self._service.signal(signal.SIGUSR1)
        record = Record(share / f"record-{number}")
        return Recovering(number, share / f"found-{number}", share / f"after-{number}", record)

    def copy(self, run: Recovering, parent: Copy) -> Copy:
        """Copy the card now, while it is recovered."""
        copied = self._copier.take(run.record, Aim.RECOVERY)
        return msgspec.structs.replace(copied, stored=parent.stored)

    def ended(self, run: Recovering) -> bool:
        """Whether the firmware has ended."""
        assert self._service is not None
        return f"done {run.number} " in self._service.log

    def finish(self, run: Recovering) -> None:
        """Wait for the firmware's end.

        Raises:
            BoardError: it did not end well.
        """
        assert self._service is not None
        self._service.wait_log(f"done {run.number} ", timeout_s=_PATIENCE_S)
        log = self._service.log
        if f"done {run.number} 0\n" not in log:
            raise BoardError(f"the camera that recovers ended badly: {log[-2000:]}")
        run.record.read()

    def remove(self) -> str:
        """Take the card out; returns what its file system's checker finds wrong, or nothing."""
        self.board.unmount_card()
        return self._slot.check()
