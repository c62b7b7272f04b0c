"""What a camera tells the host while it works: one JSON array a line, in a file that no power cut reaches."""

import enum
from collections.abc import Iterator
from pathlib import Path

import msgspec

__all__ = ["Kind", "Record", "Told"]


class Kind(enum.StrEnum):
    """What happened."""

    FRAME = "frame"
    """The encoder handed a frame to its output; `flag` for a keyframe, `at_ns` its presentation time.

    `late_ns` is how much later than that it came: how short of processor time the board was.
    """
    GAP = "gap"
    PROGRESS = "progress"
    """A clip's writer has synced; `flag`: it has caught up with the ring."""
    ENDED = "ended"
    """A clip's writer is done; `flag`: sealed."""
    FAILED = "failed"
    RECOVERY = "recovery"
    """Recovery begins; `detail` names the clips that it will seal."""
    STEP = "step"
    """A named step of storage is about to happen; `clip` is the directory that it happens in."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """One event, at a time of the board's CLOCK_MONOTONIC."""

    kind: Kind
    at_ns: int
    clip: str = ""
    flag: bool = False
    detail: str = ""
    late_ns: int = 0


class Record:
    """The record of one boot, read while it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._decoder = msgspec.json.Decoder(Told)
        self.events: list[Told] = []

    def copy(self) -> "Record":
        """Return what was read so far, as a record that grows no more."""
        copied = Record(self._path)
        copied.events = list(self.events)
        return copied

    def read(self) -> list[Told]:
        """Return what has come since the last call; a line that the cut tore is no event."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        new = [self._decoder.decode(line) for line in whole.splitlines()]
        self.events += new
        return new

    def of(self, kind: Kind) -> Iterator[Told]:
        """Return the events of one kind that were read so far."""
        return (event for event in self.events if event.kind is kind)
