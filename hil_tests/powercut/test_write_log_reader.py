"""The reader of dm-log-writes, on logs written here by the letter of the format."""

import struct
from pathlib import Path

import pytest

from hil_tests.board.protocol import BoardError
from hil_tests.powercut.writelog import FLUSH, FUA, MARK, Replay, State, WriteLog, choose_states

_SECTOR = 512
_DISCARD = 4


def _log(path: Path, entries: list[tuple[int, int, int, bytes]]) -> WriteLog:
    """Write a log of (sector, sectors, flags, data); a mark's data is its text."""
    blocks = [struct.pack("<QQQI", 0x6A736677736872, 1, len(entries), _SECTOR)]
    for sector, sectors, flags, data in entries:
        inside = data if flags & MARK else b""
        blocks.append(struct.pack("<QQQQ", sector, sectors, flags, len(inside)) + inside)
        if data and not flags & MARK:
            blocks.append(data)
    path.write_bytes(b"".join(block.ljust(-(-len(block) // _SECTOR) * _SECTOR, b"\0") for block in blocks))
    return WriteLog(path)


def _sector(letter: str, count: int = 1) -> bytes:
    return letter.encode() * _SECTOR * count


@pytest.fixture
def log(tmp_path: Path) -> WriteLog:
    return _log(
        tmp_path / "log",
        [
            (0, 1, 0, _sector("a")),
            (0, 0, FLUSH, b""),
            (1, 2, 0, _sector("b", 2)),
            (3, 1, FUA, _sector("c")),
            (0, 0, MARK, b"synced:1:x"),
            (0, 1, _DISCARD, b""),
            (4, 1, FLUSH | FUA, _sector("d")),
        ],
    )


def test_entries_and_marks(log: WriteLog) -> None:
    assert [entry.start // _SECTOR for entry in log.entries if entry.writes] == [0, 1, 3, 0, 4]
    assert [entry.mark for entry in log.entries if entry.mark] == ["synced:1:x"]


def test_replay_to_a_boundary_and_with_writes_dropped(log: WriteLog, tmp_path: Path) -> None:
    card, copy = tmp_path / "card", tmp_path / "copy"
    card.write_bytes(_sector(".", 5))
    replay = Replay(log, card)
    replay.advance(2)
    assert card.read_bytes() == _sector("a") + _sector(".", 4)
    copy.write_bytes(card.read_bytes())
    replay.apply_kept(copy, State(2, kept=(3, 2), torn_bytes=_SECTOR))
    assert copy.read_bytes() == _sector("a") + _sector("b") + _sector(".") + _sector("c") + _sector(".")
    replay.advance(7)
    assert card.read_bytes() == bytes(_SECTOR) + _sector("b", 2) + _sector("c") + _sector("d")


def test_states_keep_what_went_through_and_are_in_order(log: WriteLog) -> None:
    states = choose_states(log, 40, seed=1)
    assert states == choose_states(log, 40, seed=1)
    assert [state.index for state in states] == sorted(state.index for state in states)
    dropped = [state for state in states if state.kept]
    assert all(state.index == 2 for state in dropped)
    assert any(2 not in state.kept for state in dropped)
    assert all(3 in state.kept for state in dropped if max(state.kept) > 3)


def test_another_disk_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"not a log")
    with pytest.raises(BoardError, match="expected a log of dm-log-writes"):
        WriteLog(path)
