"""The acts of the demo in their order: what has been reached, since when, and what has not."""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["WORDS", "Act", "Playbill", "Turn"]


class Act(enum.StrEnum):
    """What the demo goes through; a new part of the system gets an act of its own in its place."""

    FILM = "film"
    RECORD = "record"
    DOCK = "dock"
    OFFLOAD = "offload"
    RECEIPT = "receipt"
    RELEASE = "release"
    REPORT = "report"
    VERIFY = "verify"
    OPEN = "open"


WORDS: Final[Mapping[Act, str]] = {
    Act.FILM: "the camera films, and keeps the last seconds in memory",
    Act.RECORD: "pressed: those seconds and all that follows go to storage",
    Act.DOCK: "stopped and sealed; the camera is put into its dock, a serial line",
    Act.OFFLOAD: "the dock takes the clip, reads it back from storage and verifies it",
    Act.RECEIPT: "the dock signs a receipt and hands it to the camera",
    Act.RELEASE: "the camera checks the receipt, deletes the clip, and shows its tombstone",
    Act.REPORT: "the dock told it all over MQTT; a subscriber that comes only now gets the same picture",
    Act.VERIFY: "the store and the vault are verified as `preroll clip verify` does it",
    Act.OPEN: "the clip in the store is decrypted and every frame decoded",
}


class Turn(msgspec.Struct, frozen=True):
    """When an act was on, in seconds from the beginning; `end_s` is `None` while it is."""

    act: Act
    begin_s: float
    end_s: float | None = None


class Playbill:
    """Where the demo is; acts follow each other and none comes twice."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The acts that were reached, in order."""
        return tuple(self._turns)

    @property
    def current(self) -> Act | None:
        """The act that is on; `None` before the first and after the last."""
        last = self._turns[-1] if self._turns else None
        return last.act if last and last.end_s is None else None

    @property
    def open_acts(self) -> tuple[Act, ...]:
        """The acts that have not come to their end: the current one and those ahead."""
        done = {turn.act for turn in self._turns if turn.end_s is not None}
        return tuple(act for act in Act if act not in done)

    def reach(self, act: Act, now_s: float) -> bool:
        """Begin an act and end all before it; returns whether that is news. A skipped one took no time."""
        ahead = list(Act)[len(self._turns) :]
        if act not in ahead:
            return False
        for passed in ahead[: ahead.index(act) + 1]:
            self.close(now_s)
            self._turns.append(Turn(passed, now_s))
        return True

    def close(self, now_s: float) -> None:
        """End the current act."""
        if self.current is not None:
            self._turns[-1] = msgspec.structs.replace(self._turns[-1], end_s=now_s)
