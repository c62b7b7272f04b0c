"""A camera's life on a card whose every write is logged: recovery, press, flush, live, stop, seal."""

import time
from collections.abc import Callable
from pathlib import Path

from hil_tests.board.card import CardImage
from hil_tests.board.faults import CardLayer, logged
from hil_tests.board.protocol import BoardError
from hil_tests.powercut.board import CutBoard, Firmware
from hil_tests.powercut.record import Kind, Record
from hil_tests.powercut.stage import RATE, Stage
from hil_tests.powercut.states import Logged

__all__ = ["log_a_life"]

_CARD_MIB = 64
_LOG_BYTES = 1 << 30
_WINDOW_S = 1.0
_LAYER = "card"
_HOLD_S = 0.6
_LIVE_S = 1.2
_PATIENCE_S = 180.0


def log_a_life(directory: Path, stage: Stage, mbit: str, kernel: Path) -> Logged:
    """Cut power in a recording, then log all of the next life: it recovers that one, and makes another.

    Raises:
        BoardError: the camera did not get there.
    """
    directory.mkdir(parents=True)
    log = directory / "log.img"
    with log.open("wb") as file:
        file.truncate(_LOG_BYTES)
    card = CardImage.create(directory / "card.img", _CARD_MIB)
    with CutBoard(directory, card, kernel=kernel) as board:
        board.disks.append(log)
        stage.furnish(board.share, mbit, stage.camera_config(board.places.files, mbit, _WINDOW_S))
        before = _interrupted(board)
        base = card.copy(directory / "base.img")
        return Logged(base.path, log, (before, _whole(board)), mbit)


def _interrupted(board: CutBoard) -> Record:
    board.boot(timeout_s=_PATIENCE_S)
    board.mount_card()
    firmware = board.start_camera()
    _press(board, firmware)
    board.cut_power()
    board.record.read()
    return board.record


def _whole(board: CutBoard) -> Record:
    board.boot(timeout_s=_PATIENCE_S)
    layer = CardLayer(board, logged("/dev/ubda", "/dev/ubdb"), device="/dev/ubda", name=_LAYER)
    board.mount_card(layer.path)
    firmware = board.start_camera(logged=_LAYER)
    _press(board, firmware)
    board.button_down()
    time.sleep(_HOLD_S)
    board.button_up()
    record = board.record
    _wait(board, firmware, lambda: any(event.flag for event in record.of(Kind.ENDED)))
    firmware.stop(timeout_s=_PATIENCE_S)
    board.unmount_card()
    layer.remove()
    board.power_off()
    record.read()
    return record


def _press(board: CutBoard, firmware: Firmware) -> None:
    record = board.record
    _wait(board, firmware, lambda: sum(1 for _ in record.of(Kind.FRAME)) > _WINDOW_S * RATE)
    edge_ns = board.button_down()
    _wait(board, firmware, lambda: board.has_seen(edge_ns))
    board.button_up()
    _wait(board, firmware, lambda: any(event.flag for event in record.of(Kind.PROGRESS)))
    time.sleep(_LIVE_S)


def _wait(board: CutBoard, firmware: Firmware, condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while not condition():
        board.record.read()
        if firmware.ended or time.monotonic() > give_up:
            raise BoardError(f"the camera did not get there: {firmware.log[-2000:]}")
        time.sleep(0.01)
