"""When bytes of a file became durable, from the kernel's own trace of ext4's syncs."""

import re

from hil_tests.board.protocol import Board

__all__ = ["first_sync_ns", "inode", "watch_syncs"]

_ENTER, _EXIT = "ext4_sync_file_enter", "ext4_sync_file_exit"
_INODE = re.compile(r"\bino (\d+)\b")


def watch_syncs(board: Board) -> None:
    """Have every fsync and fdatasync on ext4 traced from now on."""
    for event in (_ENTER, _EXIT):
        board.watch(f"ext4/{event}")


def inode(board: Board, path: str) -> int:
    """Return a file's inode number."""
    return int(board.run("stat", "--format=%i", path).output)


def first_sync_ns(board: Board, number: int) -> int:
    """Return when the first sync of an inode was over: from then on its first bytes survive a power cut."""
    for event in board.traced():
        found = _INODE.search(event.text)
        if event.name == _EXIT and found and int(found[1]) == number:
            return event.at_ns
    raise AssertionError(f"inode {number} was never synced")
