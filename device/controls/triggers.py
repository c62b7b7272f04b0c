"""Triggers beside the button: what makes one, without input, clock or thread.

A trigger fires at the first edge, without delay, and once more only after its line has been away from the
triggering level for `settle_ns`: contacts bounce at both ends.
"""

import re

import msgspec

from device.controls.edges import Edge

__all__ = ["ModemReading", "ModemTriggers", "TextTriggers", "Trigger", "TriggerLine", "TriggerPortState"]

_LONGEST_LINE_BYTES = 64
_TEXT_LINE = re.compile(rb"([a-z0-9][a-z0-9_-]{0,31}) ([01])\r?")


class Trigger(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A named line asks for a recording; `at_ns` is its edge by CLOCK_MONOTONIC."""

    source_name: str
    at_ns: int


class TriggerPortState(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A serial port with triggers came or went; `reason` says why it went; `garbage` counts bad lines."""

    port: str
    at_ns: int
    connected: bool
    reason: str = ""
    garbage: int = 0


class TriggerLine:
    """One line; `bounces` counts the activations that were swallowed."""

    def __init__(self, name: str, settle_ns: int, *, at_start: bool = False) -> None:
        self.name = name
        self.bounces = 0
        self._settle_ns = settle_ns
        self._at_start = at_start
        self._active = False
        self._left_ns: int | None = None

    def edge(self, edge: Edge) -> Trigger | None:
        """Take an edge of this line; return the trigger that it is, if it is one."""
        was_active, self._active = self._active, edge.active
        if not edge.active:
            if was_active:
                self._left_ns = edge.at_ns
            return None
        if was_active or (edge.initial and not self._at_start):
            return None
        if self._left_ns is not None and edge.at_ns - self._left_ns < self._settle_ns:
            self.bounces += 1
            return None
        return Trigger(self.name, edge.at_ns)


class TextTriggers:
    """The text protocol of a serial trigger box: lines `NAME 1` and `NAME 0`, ended by LF or CR LF.

    NAME is one of `names`, in lower case. A change from 0, or from nothing known, to 1 triggers; repeating a
    state is allowed, as a heartbeat. Every other line is garbage: counted, never guessed at. A line longer than
    64 bytes is garbage up to its end.
    """

    def __init__(self, names: tuple[str, ...], settle_ns: int) -> None:
        self.garbage = 0
        self._lines = {name.encode("ascii"): TriggerLine(name, settle_ns) for name in names}
        self._rest = b""
        self._overlong = False

    def feed(self, data: bytes, at_ns: int) -> list[Trigger]:
        """Take bytes as they came, `at_ns` the time of their arrival; return the triggers in them."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        triggers = []
        for line in lines:
            if self._overlong:
                self._overlong = False
                continue
            trigger = self._line(line, at_ns)
            if trigger is not None:
                triggers.append(trigger)
        if len(self._rest) > _LONGEST_LINE_BYTES:
            self.garbage += 0 if self._overlong else 1
            self._overlong, self._rest = True, b""
        return triggers

    def reset(self) -> None:
        """Forget an unfinished line, because the port was opened anew; what is known of each name stays."""
        self.garbage += 1 if self._rest and not self._overlong else 0
        self._rest, self._overlong = b"", False

    def _line(self, line: bytes, at_ns: int) -> Trigger | None:
        match = _TEXT_LINE.fullmatch(line)
        known = self._lines.get(match[1]) if match else None
        if match is None or known is None:
            self.garbage += 1
            return None
        return known.edge(Edge(known.name, at_ns, active=match[2] == b"1"))


class ModemReading(msgspec.Struct, frozen=True):
    """The modem status lines of a port: which are on, and how often each has changed (empty if unknown).

    Keys and members are `cts`, `dsr`, `ri` and `cd`.
    """

    on: frozenset[str]
    changes: dict[str, int] = {}


class ModemTriggers:
    """Modem status lines as triggers: a line that goes on triggers.

    A pulse shorter than the time between two readings shows in the driver's count of changes, and counts.
    """

    def __init__(self, lines: dict[str, str], settle_ns: int) -> None:
        self._lines = {modem: TriggerLine(name, settle_ns) for modem, name in lines.items()}
        self._before: ModemReading | None = None

    def reading(self, reading: ModemReading, at_ns: int) -> list[Trigger]:
        """Take a reading; return what has triggered since the one before. The first only sets the levels."""
        triggers = []
        for modem, line in self._lines.items():
            for active in self._levels_since(modem, reading):
                trigger = line.edge(Edge(line.name, at_ns, active=active, initial=self._before is None))
                if trigger is not None:
                    triggers.append(trigger)
        self._before = reading
        return triggers

    def reset(self) -> None:
        """The port was opened anew: its counts have started over, its levels are compared as before."""
        if self._before is not None:
            self._before = ModemReading(self._before.on)

    def _levels_since(self, modem: str, reading: ModemReading) -> tuple[bool, ...]:
        level = modem in reading.on
        if self._before is None:
            return (level,)
        was = modem in self._before.on
        counted = modem in reading.changes and modem in self._before.changes
        changed = counted and reading.changes[modem] != self._before.changes[modem]
        return (not level, level) if was is level and changed else (level,)
