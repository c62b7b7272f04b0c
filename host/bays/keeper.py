"""Keeps bays going: a thread that died is started again, later each time; one that stands still is told of."""

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["BayKeeper", "KeptBay"]

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_STEADY_S = 600.0
"""A bay that worked for so long has no history: the next death is its first."""


class KeptBay(Protocol):
    """What is kept going."""

    name: str

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""

    @property
    def died_of(self) -> str:
        """What ended its thread."""

    def stalled(self, now_ns: int) -> bool:
        """Whether it has made no progress for longer than its longest wait."""

    def restart(self) -> None:
        """Start a new thread."""


class _Record:
    def __init__(self) -> None:
        self.deaths = 0
        self.due_s: float | None = None  # when to start it again; `None` while it lives
        self.started_s = 0.0
        self.told_stalled = False


class BayKeeper:
    """Looks at all bays, again and again, with the time as an argument. No thread of its own."""

    def __init__(self, bays: Sequence[KeptBay], announce: Callable[[str], object]) -> None:
        self._announce = announce
        self._records = [(bay, _Record()) for bay in bays]

    def look(self, now_ns: int) -> bool:
        """Do what is due; returns whether at least one bay is getting on, or there is none."""
        getting_on = not self._records
        for bay, record in self._records:
            if bay.stopping:
                getting_on = True
            elif not bay.alive:
                self._dead(bay, record, now_ns / 1e9)
            else:
                getting_on = self._lives(bay, record, now_ns) or getting_on
        return getting_on

    def _dead(self, bay: KeptBay, record: _Record, now_s: float) -> None:
        if record.due_s is None:
            if now_s - record.started_s > _STEADY_S:
                record.deaths = 0
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**record.deaths)
            record.deaths += 1
            record.due_s = now_s + pause_s
            self._announce(f"bay {bay.name} has died of {bay.died_of}; it is started again")
        elif now_s >= record.due_s:
            record.due_s = None
            record.started_s = now_s
            bay.restart()

    def _lives(self, bay: KeptBay, record: _Record, now_ns: int) -> bool:
        stalled = bay.stalled(now_ns)
        if stalled and not record.told_stalled:
            self._announce(f"bay {bay.name} stands still; unplug what is in it")
        record.told_stalled = stalled
        return not stalled
