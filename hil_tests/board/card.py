"""A storage card as an image file on the host: made, copied, checked without root and without mounting."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hil_tests.board.protocol import BoardError

__all__ = ["CardImage", "Filesystem", "find_tool", "sparse_copy"]

Filesystem = Literal["ext4", "f2fs"]

_MIB = 1024 * 1024
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_MAKE: dict[str, tuple[str, ...]] = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "f2fs": ("mkfs.f2fs", "-q", "-f"),
}
_CHECK: dict[str, tuple[str, ...]] = {"ext4": ("e2fsck", "-f", "-n"), "f2fs": ("fsck.f2fs", "--dry-run")}


def find_tool(name: str) -> str | None:
    """Find a program also where only root usually looks."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def sparse_copy(source: Path, target: Path) -> None:
    """Copy an image; holes stay holes, and blocks are shared where the file system can do that."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)


@dataclass(frozen=True)
class CardImage:
    """A card: one file, one file system, no partitions."""

    path: Path
    filesystem: Filesystem = "ext4"

    @classmethod
    def create(cls, path: Path, size_mib: int = 256, filesystem: Filesystem = "ext4") -> "CardImage":
        """Make a fresh card; takes no more room than is written to it.

        Raises:
            BoardError: the program that formats it is missing or fails.
        """
        command = _MAKE[filesystem]
        tool = find_tool(command[0])
        if tool is None:
            raise BoardError(f"{command[0]} is missing; scripts/system-packages hil installs it")
        with path.open("wb") as image:
            image.truncate(size_mib * _MIB)
        done = subprocess.run([tool, *command[1:], path], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BoardError(f"{command[0]} failed with {done.returncode}: {done.stdout}{done.stderr}")
        return cls(path, filesystem)

    def copy(self, path: Path) -> "CardImage":
        """Copy the card as it is now."""
        sparse_copy(self.path, path)
        return CardImage(path, self.filesystem)

    def check(self) -> str:
        """Let the file system's own checker read it, changing nothing; returns what it found wrong, or nothing.

        After a power cut a journal that has yet to be replayed is no fault; mount the card once before.
        """
        command = _CHECK[self.filesystem]
        tool = find_tool(command[0])
        if tool is None:
            raise BoardError(f"{command[0]} is missing; scripts/system-packages hil installs it")
        done = subprocess.run([tool, *command[1:], self.path], capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"
