"""Times as people give them: seconds from a clip's first frame, or UTC."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from evidence.clock import UtcMapping, parse_utc
from evidence.documents import ClipStart
from evidence.errors import EvidenceError

__all__ = ["Moment", "MomentError", "parse_moment", "utc_mapping"]

_NS_PER_S = 1_000_000_000
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_UTC = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?[Zz]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MomentError(EvidenceError):
    """A time is in neither form, or the clip has no UTC to hold it against."""


class Moment:
    """A time that a person gave; `text` is how."""

    def __init__(self, text: str, *, offset_ns: int | None = None, utc_ns: int | None = None) -> None:
        self.text = text
        self._offset_ns = offset_ns
        self._utc_ns = utc_ns

    def in_clip(self, start: ClipStart) -> int:
        """Return it in nanoseconds from the clip's first frame; negative if it lies before.

        Raises:
            MomentError: it is a UTC, and the camera did not know UTC.
        """
        if self._offset_ns is not None:
            return self._offset_ns
        first_ns = utc_mapping(start).utc_at(start.first_pts_ns)
        if first_ns is None or self._utc_ns is None:
            raise MomentError(
                f"the time {self.text} cannot be found in the clip",
                found="a camera that did not know UTC",
                remedy="give seconds from the first frame",
            )
        return self._utc_ns - first_ns


def parse_moment(text: str) -> Moment:
    """Read seconds (`12.5`) or RFC 3339 UTC (`2026-11-22T03:55:23Z`, with up to nine decimals).

    Raises:
        MomentError: the text has neither form, or names no instant.
    """
    if _SECONDS.fullmatch(text):
        return Moment(text, offset_ns=int(Decimal(text) * _NS_PER_S))
    found = _UTC.fullmatch(text)
    try:
        if found:
            whole = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00")
            fraction_ns = int((found[3] or "0").ljust(9, "0"))
            return Moment(text, utc_ns=(whole - _EPOCH) // timedelta(seconds=1) * _NS_PER_S + fraction_ns)
    except ValueError as error:
        raise MomentError("not a time", expected="a day and an hour that exist", found=ascii(text)) from error
    raise MomentError(
        "not a time", expected="seconds from the first frame, or RFC 3339 UTC with Z", found=ascii(text[:40])
    )


def utc_mapping(start: ClipStart) -> UtcMapping:
    """Return what line 0 says of the two clocks."""
    return UtcMapping(
        monotonic_ns=start.monotonic_ns,
        utc_ns=None if start.utc is None else parse_utc(start.utc),
        source=start.clock.source,
        error_ns=start.clock.error_ns,
        set_ns=start.clock.set_ns,
    )
