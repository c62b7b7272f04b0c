"""A card that fails, stalls or forgets: device-mapper targets between the file system and the card.

All run on the board through Debian's `dmsetup`, without udev. The tables are those of the kernel's
Documentation/admin-guide/device-mapper. A layer is put on before the card is mounted, and can be
changed under a mounted one.
"""

from hil_tests.board.protocol import Board, BoardError

__all__ = ["CardLayer", "delayed", "dropping_writes", "failing", "linear", "logged"]

_SECTOR_BYTES = 512
_NO_UDEV = ("--noudevrules", "--noudevsync", "--verifyudev")


def linear(device: str) -> str:
    """A card that works."""
    return f"linear {device} 0"


def failing(device: str, *, up_s: int, down_s: int) -> str:
    """A card that answers for so long, then fails everything for so long, over and over (dm-flakey)."""
    return f"flakey {device} 0 {up_s} {down_s}"


def dropping_writes(device: str, *, up_s: int, down_s: int) -> str:
    """The same, but while down it takes writes, says they are done, and forgets them."""
    return f"flakey {device} 0 {up_s} {down_s} 1 drop_writes"


def delayed(device: str, *, read_ms: int = 0, write_ms: int = 0, flush_ms: int = 0) -> str:
    """A card that answers late (dm-delay): reads, writes, and flushes each by so much."""
    return f"delay {device} 0 {read_ms} {device} 0 {write_ms} {device} 0 {flush_ms}"


def logged(device: str, log_device: str) -> str:
    """A card whose writes and flushes are logged in order on another disk (dm-log-writes)."""
    return f"log-writes {device} {log_device}"


class CardLayer:
    """One device before the card, at `path`."""

    def __init__(self, board: Board, target: str, *, device: str = "", name: str = "card") -> None:
        """Put it on; `target` is one of this module's functions' words, or a dmsetup target without its length.

        Raises:
            BoardError: dmsetup says no.
        """
        self._board = board
        self._name = name
        sectors = f"/sys/class/block/{(device or board.places.card_device).rpartition('/')[2]}/size"
        self._length = int(board.read(sectors))
        self.path = f"/dev/mapper/{name}"
        self._dmsetup("create", name, "--table", f"0 {self._length} {target}")

    @property
    def size_bytes(self) -> int:
        """The size of the device."""
        return self._length * _SECTOR_BYTES

    def change(self, target: str) -> None:
        """Put another target in place, also under a mounted file system; waits for writes under way."""
        self._dmsetup("reload", self._name, "--table", f"0 {self._length} {target}")
        self._dmsetup("resume", self._name, "--nolockfs")  # a failed file system can't be frozen

    def message(self, *words: str) -> None:
        """Send the target a message, such as log-writes' `mark NAME`."""
        self._dmsetup("message", self._name, "0", *words)

    def remove(self) -> None:
        """Take it away; nothing may be mounted on it."""
        self._dmsetup("remove", self._name)

    def _dmsetup(self, what: str, *arguments: str) -> None:
        options = () if what in {"message", "reload"} else _NO_UDEV
        done = self._board.run("dmsetup", what, *options, *arguments)
        if done.status != 0:
            raise BoardError(f"dmsetup {what} {' '.join(arguments)}: {(done.errors or done.output).strip()}")
