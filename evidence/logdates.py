"""What time it was, from a device's event log: a mapping from monotonic time to UTC for each boot.

Each line of the log is one reading of both clocks, and a `clock` event says whenever the device learned better.
So a clip made while the device had no clock (`notime`) can be dated from what it learned later in that boot.
"""

from collections.abc import Iterable

import msgspec

from evidence.clock import ClockSource, parse_utc
from evidence.documents import LogLine

__all__ = ["CLOCK_EVENT", "DRIFT_PPM", "DatedInstant", "LogDates"]

CLOCK_EVENT = "clock"
"""Kind of the event that says who sets the clock from now on: `source`, `error_ns`, `before`, `after`."""
DRIFT_PPM = 100
"""Bound of the drift of the monotonic clock: a quartz without compensation, over all temperatures."""

_PARTS = 1_000_000
_TRUST = {
    ClockSource.NONE: 0,
    ClockSource.SYSTEM: 1,
    ClockSource.RTC: 2,
    ClockSource.NTP: 3,
    ClockSource.DOCK: 4,
}


class DatedInstant(msgspec.Struct, frozen=True):
    """Between which instants (ns since 1970) something happened, and who says so.

    `bounded` says that the source gave a bound of its error. Without, the two are what the clock showed, which
    nobody vouches for.
    """

    earliest_utc_ns: int
    latest_utc_ns: int
    source: ClockSource
    bounded: bool


class _Reading(msgspec.Struct, frozen=True):
    monotonic_ns: int
    utc_ns: int
    source: ClockSource
    error_ns: int | None

    def dates(self, monotonic_ns: int) -> tuple[int, int]:
        distance_ns = monotonic_ns - self.monotonic_ns
        error_ns = (self.error_ns or 0) + abs(distance_ns) * DRIFT_PPM // _PARTS
        middle = self.utc_ns + distance_ns
        return middle - error_ns, middle + error_ns


class LogDates:
    """Folds verified lines of one device's log; holds one reading for each line that carries UTC."""

    def __init__(self, lines: Iterable[LogLine] = ()) -> None:
        self._readings: dict[str, list[_Reading]] = {}
        self._sources: dict[str, tuple[ClockSource, int | None]] = {}
        for line in lines:
            self.add(line)

    def add(self, line: LogLine) -> None:
        """Take the next line."""
        for event in line.events:
            if event.kind == CLOCK_EVENT:
                self._sources[line.boot] = _source(event.detail.get("source"), event.detail.get("error_ns"))
        if line.utc is None:
            return
        source, error_ns = self._sources.get(line.boot, (ClockSource.SYSTEM, None))
        reading = _Reading(line.monotonic_ns, parse_utc(line.utc), source, error_ns)
        self._readings.setdefault(line.boot, []).append(reading)

    def date_of(self, boot: str, monotonic_ns: int) -> DatedInstant | None:
        """Say when it was, at a monotonic time of a boot; `None` if no line of that boot knows UTC.

        The best source of the boot counts, from its reading nearest to the time; where that source gives no
        bound, the answer spans all its readings, so that a clock that was set in between shows.
        """
        readings = self._readings.get(boot, [])
        if not readings:
            return None
        best = max((reading.source for reading in readings), key=_TRUST.__getitem__)
        trusted = [reading for reading in readings if reading.source is best]
        nearest = min(trusted, key=lambda reading: abs(reading.monotonic_ns - monotonic_ns))
        bounded = nearest.error_ns is not None
        spans = [reading.dates(monotonic_ns) for reading in ((nearest,) if bounded else trusted)]
        return DatedInstant(
            earliest_utc_ns=min(earliest for earliest, _ in spans),
            latest_utc_ns=max(latest for _, latest in spans),
            source=best,
            bounded=bounded,
        )


def _source(source: object, error_ns: object) -> tuple[ClockSource, int | None]:
    """Read a `clock` event; a source that this version does not know counts as one that nobody vouches for."""
    known = next((known for known in ClockSource if known == source), ClockSource.SYSTEM)
    if not isinstance(error_ns, int) or isinstance(error_ns, bool) or error_ns < 0:
        return known, None
    return known, error_ns
