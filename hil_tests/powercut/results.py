"""What cuts came to: one JSON line a chain of cuts, so that a campaign can be run in pieces and summed up."""

import enum
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hil_tests.board.card import Filesystem

__all__ = ["Aim", "ChainPlan", "ChainResult", "Cut", "Kind", "Phase", "Way", "append_result", "read_results"]


class Aim(enum.StrEnum):
    """For which part of a recording's life a cut is meant; where it falls, its phase tells."""

    START = "start"
    RECOVERY = "recovery"
    IDLE = "idle"
    PRESS = "press"
    FLUSH = "flush"
    LIVE = "live"
    STOP = "stop"
    SEAL = "seal"
    SEALED = "sealed"
    OFFLOAD = "offload"


class Phase(enum.StrEnum):
    """Where a cut fell, as the card and what the camera had told have it."""

    START = "start"  # the firmware had not got to its vault
    RECOVERY = "recovery"  # clips of earlier cuts were not all sealed yet
    IDLE = "idle"
    PRESS = "press"  # pressed, and no clip on the card
    FLUSH = "flush"  # the writer had not caught up with the ring
    LIVE = "live"
    STOP = "stop"  # stopped, no last line yet
    SEAL = "seal"  # last line there, no manifest yet
    SEALED = "sealed"
    OFFLOAD = "offload"  # sealed clips are on their way to the dock
    RECEIPT = "receipt"  # a receipt is being stored
    RELEASE = "release"  # a tombstone is being made
    DELETION = "deletion"


class Way(enum.StrEnum):
    """How power was cut: in earnest, or by a copy of the card from a board that stood still."""

    KILL = "SIGKILL"
    COPY = "copy at a stop"


class Kind(enum.StrEnum):
    """What a chain of cuts is about."""

    RECORD = "record"
    FULL = "full card"
    OFFLOAD = "offload"
    LONG = "long window"  # a flush that takes several sync points
    DELAYED = "late syncs"  # dm-delay: a cut falls between two syncs, and what was on its way is gone


class ChainPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Cuts on one card, one after the other; `aims` are those by SIGKILL, one a boot.

    `held_s` is how long the ring fills before a press; 0 for any time up to longer than its window. `copies`:
    the card is also copied on the way to each of them.
    """

    number: int
    seed: int
    kind: Kind
    mbit: str
    filesystem: Filesystem
    window_s: float
    aims: tuple[Aim, ...]
    held_s: float = 0.0
    copies: bool = False

    @property
    def group(self) -> str:
        """What the report calls it."""
        return f"{self.mbit} Mbit/s, {self.filesystem}, {self.kind}"


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """One cut. Times in nanoseconds; `None` where there is nothing to measure.

    `lost_ns`: from the last picture that decodes to the last frame that the encoder had handed to its output
    (or the stop); `unattested_ns`: the same from the last sync point. `late_ns` is the latest that a frame came
    in the last second before the cut: how short of processor time the board was.
    """

    aim: Aim
    phase: Phase
    caught_up: bool = False
    lost_ns: int | None = None
    unattested_ns: int | None = None
    frames: int = 0
    lines: int = 0
    late_ns: int = 0
    way: Way = Way.KILL
    stop_ns: int = 0


class ChainResult(msgspec.Struct, frozen=True, kw_only=True):
    """A chain that has been run. `fault` says what broke a promise, or is empty."""

    plan: ChainPlan
    cuts: tuple[Cut, ...]
    clips: int = 0
    sealed: int = 0
    delivered: int = 0
    seconds: float = 0.0
    build: str = ""
    fault: str = ""


def append_result(path: Path, result: ChainResult) -> None:
    """Add a chain's line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(result) + b"\n")


def read_results(path: Path) -> Sequence[ChainResult]:
    """Read all whole lines; none if there is no file."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=ChainResult) for line in lines]
