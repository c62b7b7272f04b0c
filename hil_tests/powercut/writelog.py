"""Reads the log of dm-log-writes, and makes of it the states that a cut could have left.

The format is the kernel's (drivers/md/dm-log-writes.c; Documentation/admin-guide/device-mapper/log-writes.rst):
a sector with the header, then for each entry a sector that describes it and, but for discards and marks, its
data. All numbers are little-endian, positions and lengths count sectors. A write stands in the log once a flush
after it has completed, so that the log's order is the order in which things reached storage for certain.
"""

import itertools
import os
import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from hil_tests.board.protocol import BoardError

__all__ = ["FLUSH", "FUA", "MARK", "Entry", "Replay", "State", "WriteLog", "choose_states"]

_MAGIC = 0x6A736677736872
_VERSION = 1
_HEADER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
FLUSH, FUA, _DISCARD, MARK = 1, 2, 4, 8


class Entry(msgspec.Struct, frozen=True):
    """One entry: bytes `start` to `start + length` of the card; its data lies in the log at `offset`."""

    start: int
    length: int
    flags: int
    offset: int
    mark: str = ""

    @property
    def writes(self) -> bool:
        """Whether it changes the card."""
        return self.length > 0 and not self.flags & MARK


class WriteLog:
    """A log disk, read once.

    Raises:
        BoardError: it is not such a log.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        head = os.pread(self._fd, _HEADER.size, 0)
        magic, version, count, self.sector_bytes = _HEADER.unpack(head.ljust(_HEADER.size, b"\0"))
        if (magic, version) != (_MAGIC, _VERSION):
            raise BoardError(f"{path}: expected a log of dm-log-writes, version 1, found {head[:16].hex()}")
        self.entries = tuple(self._read(count))

    def data(self, entry: Entry) -> bytes:
        """Return what an entry wrote; a discard wrote zeroes."""
        if entry.flags & _DISCARD:
            return bytes(entry.length)
        return os.pread(self._fd, entry.length, entry.offset)

    def close(self) -> None:
        """Close the log disk."""
        os.close(self._fd)

    def _read(self, count: int) -> Iterator[Entry]:
        size = self.sector_bytes
        position = size
        for _ in range(count):
            block = os.pread(self._fd, size, position)
            sector, sectors, flags, data_bytes = _ENTRY.unpack_from(block)
            position += size
            text = block[_ENTRY.size : _ENTRY.size + data_bytes] if flags & MARK else b""
            yield Entry(sector * size, sectors * size, flags, position, text.decode("ascii", "replace"))
            if not flags & (_DISCARD | MARK):
                position += sectors * size


class State(msgspec.Struct, frozen=True):
    """A card after a cut: all entries up to `index` (not included), and of those behind it only `kept`.

    Of the last one of `kept`, which is a write, only the first `torn_bytes` if that is not 0.
    """

    index: int
    kept: tuple[int, ...] = ()
    torn_bytes: int = 0


class Replay:
    """Brings an image forward through the log; states must be asked for in the order of their index."""

    def __init__(self, log: WriteLog, image: Path) -> None:
        self._log = log
        self._image = image
        self._done = 0

    def advance(self, index: int) -> None:
        """Apply all entries before `index`."""
        assert index >= self._done, "an image goes forward only"
        self._apply(self._image, range(self._done, index))
        self._done = index

    def apply_kept(self, copy: Path, state: State) -> None:
        """Apply to a copy what of the unflushed writes had reached the card all the same."""
        self._apply(copy, state.kept[:-1])
        if state.kept:
            last = self._log.entries[state.kept[-1]]
            length = state.torn_bytes or last.length
            self._write(copy, last.start, self._log.data(last)[:length])

    def _apply(self, image: Path, indices: Sequence[int]) -> None:
        entries = (self._log.entries[index] for index in indices)
        fd = os.open(image, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for entry in entries:
                if entry.writes:
                    os.pwrite(fd, self._log.data(entry), entry.start)
        finally:
            os.close(fd)

    @staticmethod
    def _write(image: Path, start: int, data: bytes) -> None:
        with image.open("r+b") as file:
            file.seek(start)
            file.write(data)


def choose_states(log: WriteLog, count: int, seed: int) -> list[State]:
    """Return states, half of them flush boundaries (all, if they are no more), half with writes dropped.

    A write behind the last flush may have reached the card or not, each for itself, and the last one in part;
    one with FUA that had completed has.
    """
    chosen = random.Random(seed)
    flushes = [index for index, entry in enumerate(log.entries) if entry.flags & FLUSH]
    boundaries = chosen.sample(flushes, min(len(flushes), (count + 1) // 2))
    states = [State(index + 1) for index in boundaries]
    gaps = [gap for gap in itertools.pairwise((*flushes, len(log.entries))) if _droppable(log, *gap)]
    while len(states) < count and gaps:
        states.append(_dropped(log, chosen, *chosen.choice(gaps)))
    return sorted(states, key=lambda state: state.index)


def _droppable(log: WriteLog, flush: int, end: int) -> bool:
    return any(entry.writes and not entry.flags & FUA for entry in log.entries[flush + 1 : end])


def _dropped(log: WriteLog, chosen: random.Random, flush: int, end: int) -> State:
    begin = flush + 1
    cut = chosen.randint(begin + 1, end)
    kept = [
        index
        for index in range(begin, cut)
        if log.entries[index].writes and (log.entries[index].flags & FUA or chosen.random() < 0.5)
    ]
    torn = 0
    if kept and not log.entries[kept[-1]].flags & FUA and chosen.random() < 0.5:
        sectors = log.entries[kept[-1]].length // log.sector_bytes
        torn = chosen.randrange(1, sectors) * log.sector_bytes if sectors > 1 else 0
    return State(begin, tuple(kept), torn)
