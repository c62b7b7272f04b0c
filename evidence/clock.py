"""UTC as a mapping from the monotonic clock.

Media, edges and journal run on CLOCK_MONOTONIC alone; UTC is one pair of readings beside it, with its source
and the bound of its error, signed into line 0 of the journal.
"""

import enum
import re
from datetime import UTC, datetime, timedelta

import msgspec

from evidence.errors import EvidenceError

__all__ = ["ClockSource", "UtcMapping", "format_utc", "parse_utc"]

_NS_PER_US = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UTC_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class ClockSource(enum.StrEnum):
    """Who says what time it is (docs/formats.md, `clock`)."""

    NONE = "none"
    SYSTEM = "system"
    NTP = "ntp"
    RTC = "rtc"
    DOCK = "dock"


class UtcMapping(msgspec.Struct, frozen=True):
    """One instant read on both clocks; `utc_ns` counts from 1970 and is `None` while UTC is unknown."""

    monotonic_ns: int
    utc_ns: int | None
    source: ClockSource
    error_ns: int | None = None
    set_ns: int | None = None

    def utc_at(self, monotonic_ns: int) -> int | None:
        """Return UTC in nanoseconds since 1970 at a monotonic time of the same boot, or `None` if unknown."""
        return None if self.utc_ns is None else self.utc_ns + monotonic_ns - self.monotonic_ns


def format_utc(utc_ns: int) -> str:
    """Write nanoseconds since 1970 as RFC 3339 with six decimals and `Z` (rounded down)."""
    moment = _EPOCH + timedelta(microseconds=utc_ns // _NS_PER_US)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def parse_utc(text: str) -> int:
    """Read what `format_utc` wrote; nanoseconds since 1970.

    Raises:
        EvidenceError: the text has another form or names no instant.
    """
    if not _UTC_FORM.fullmatch(text):
        raise EvidenceError("not a UTC time", expected="YYYY-MM-DDTHH:MM:SS.ffffffZ", found=repr(text[:40]))
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise EvidenceError("not a UTC time", expected="a day that exists", found=repr(text)) from error
    return (moment - _EPOCH) // timedelta(microseconds=1) * _NS_PER_US
