"""When bytes of a file became durable, from the kernel's own trace of ext4's syncs."""

import re
from collections.abc import Sequence

from hil_tests.board.protocol import Board

__all__ = ["first_syncs_ns", "inode", "watch_syncs"]

_ENTER, _EXIT = "ext4_sync_file_enter", "ext4_sync_file_exit"
_INODE = re.compile(r"\bino (\d+)\b")


def watch_syncs(board: Board) -> None:
    """Have every fsync and fdatasync on ext4 traced from now on."""
    for event in (_ENTER, _EXIT):
        board.watch(f"ext4/{event}")


def inode(board: Board, path: str) -> int:
    """Return a file's inode number."""
    return int(board.run("stat", "--format=%i", path).output)


def first_syncs_ns(board: Board, numbers: Sequence[int]) -> list[int]:
    """Return when the first sync of each inode was over: from then on its first bytes survive a power cut."""
    found: dict[int, int] = {}
    for event in board.traced():
        match = _INODE.search(event.text)
        if event.name == _EXIT and match:
            found.setdefault(int(match[1]), event.at_ns)
    missing = set(numbers) - found.keys()
    assert not missing, f"inodes {missing} were never synced"
    return [found[number] for number in numbers]
