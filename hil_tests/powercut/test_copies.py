"""A card that is copied while its board stands still is the card that a SIGKILL at that instant leaves."""

import hashlib
from pathlib import Path

import pytest

from hil_tests.board.card import CardImage
from hil_tests.board.protocol import BoardError
from hil_tests.board.virtual import VirtualBoard
from hil_tests.powercut.freeze import Freezer, copy_image
from hil_tests.powercut.samples import kolmogorov_smirnov

_CARD_MIB = 16
_WRITER = """\
import os
fd = os.open("/mnt/card/file", os.O_WRONLY | os.O_CREAT, 0o600)
for number in range(100_000):
    os.pwrite(fd, b"%08d" % number * 1024, number % 512 * 8192)
    if number % 8 == 0:
        os.fdatasync(fd)
        print(number, flush=True)
"""
_STOPS = 10


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def board(kernel: Path, tmp_path: Path) -> VirtualBoard:
    return VirtualBoard(
        tmp_path, CardImage.create(tmp_path / "card.img", _CARD_MIB), kernel=kernel, memory_mib=128
    )


def _start_writer(board: VirtualBoard) -> None:
    """Boot, and keep the card busy; returns when it is."""
    board.boot()
    board.mount_card()
    (board.share / "writer.py").write_text(_WRITER, encoding="ascii")
    writer = board.start("writer", board.places.python, "-S", "-B", f"{board.places.files}/writer.py")
    writer.wait_log("64\n")


def test_a_copy_at_a_stop_is_the_card_after_a_kill_there(board: VirtualBoard, tmp_path: Path) -> None:
    copied = tmp_path / "copy.img"
    with board:
        _start_writer(board)
        freezer = Freezer(board.processes)
        with freezer.held():
            copy_image(board.card.path, copied)
            board.cut_power()
        assert _digest(copied) == _digest(board.card.path)
        board.boot()
        board.mount_card()
        after_kill = board.run("sha256sum", "/mnt/card/file").output
        board.power_off()
        copy_image(copied, board.card.path)
        board.boot()
        board.mount_card()
        assert board.run("sha256sum", "/mnt/card/file").output == after_kill
        assert len(after_kill) > len("/mnt/card/file")


def test_a_board_that_stood_still_goes_on(board: VirtualBoard, tmp_path: Path) -> None:
    with board:
        _start_writer(board)
        freezer = Freezer(board.processes)
        log = board.share / "log" / "writer.log"
        for _ in range(_STOPS):
            with freezer.held():
                before = log.stat().st_size, _digest(board.card.path)
                copy_image(board.card.path, tmp_path / "copy.img")
                assert (log.stat().st_size, _digest(board.card.path)) == before
        assert board.run("true").status == 0
        assert log.stat().st_size > before[0]
    assert (tmp_path / "copy.img").stat().st_size == board.card.path.stat().st_size


def test_a_board_that_is_off_cannot_be_stopped(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="the board is off"), Freezer(list).held():
        pass
    assert not list(tmp_path.iterdir())


def test_a_copy_keeps_holes_and_its_place(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.write(b"start")
        file.seek(3 << 20)
        file.write(b"end")
        file.truncate(8 << 20)
    target.write_bytes(b"x" * (9 << 20))
    inode = target.stat().st_ino
    copy_image(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_ino == inode
    assert target.stat().st_blocks * 512 < 1 << 20


def test_samples_of_one_distribution_and_of_two() -> None:
    evens, odds = range(0, 400, 2), range(1, 400, 2)
    distance, chance = kolmogorov_smirnov(evens, odds)
    assert distance == pytest.approx(1 / 200)
    assert chance > 0.99
    distance, chance = kolmogorov_smirnov(range(100), range(50, 150))
    assert distance == pytest.approx(0.5)
    assert chance < 1e-6
    assert kolmogorov_smirnov([1.0], [1.0]) == (0.0, 1.0)
