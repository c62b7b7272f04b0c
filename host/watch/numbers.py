"""Which of a dock's events were seen, and which are missing: its numbers have no gaps. No I/O, no clock.

What was numbered before we came is not missed. What the dock says that it has numbered (`info`), and what does
not come within `GRACE_NS`, is.
"""

import msgspec

from host.publish.payloads import EventsHeld

__all__ = ["ASK_AGAIN_NS", "ASK_MOST", "GRACE_NS", "MOST_EVENTS", "Numbers", "heard", "promised", "wanted"]

_S = 1_000_000_000
GRACE_NS = 10 * _S
ASK_AGAIN_NS = 15 * _S
ASK_MOST = 4
MOST_EVENTS = 1_000
"""As many as a dock sends again on one request."""
_MOST_RANGES = 1_000

Ranges = tuple[tuple[int, int], ...]


class Numbers(msgspec.Struct, frozen=True):
    """The account of one dock. `missing` are ranges, first and last, in order; `lost` can't be replayed.

    `top` is the greatest number accounted for, `None` before the first; `due` what the dock has numbered
    and when that is overdue.
    """

    series: str = ""
    top: int | None = None
    missing: Ranges = ()
    lost: int = 0
    due: tuple[int, int] | None = None
    asked_ns: int | None = None
    asks: int = 0

    @property
    def missed(self) -> int:
        """How many are missing that could still come."""
        return sum(last - first + 1 for first, last in self.missing)


def heard(numbers: Numbers, series: str, number: int) -> Numbers:
    """Take a number that came."""
    if series != numbers.series or numbers.top is None:
        return Numbers(series, number, lost=numbers.lost if series == numbers.series else 0)
    if number > numbers.top:
        gap: Ranges = ((numbers.top + 1, number - 1),) if number > numbers.top + 1 else ()
        fresh = msgspec.structs.replace(numbers, top=number, missing=(*numbers.missing, *gap)[-_MOST_RANGES:])
        return msgspec.structs.replace(fresh, asked_ns=None, asks=0) if gap else fresh
    left = _without(numbers.missing, number)
    if left == numbers.missing:
        return numbers
    return msgspec.structs.replace(
        numbers, missing=left, asks=0
    )  # an answer comes: it may be asked for the rest


def promised(numbers: Numbers, held: EventsHeld, now_ns: int, *, retained: bool) -> Numbers:
    """Take what a dock says that it holds; what was retained is from before we came, and tells no beginning."""
    if numbers.series != held.series:
        return Numbers(held.series, None if retained else held.last)
    if numbers.top is None:
        return numbers if retained else msgspec.structs.replace(numbers, top=held.last)
    kept = tuple((max(first, held.first), last) for first, last in numbers.missing if last >= held.first)
    gone = numbers.missed - sum(last - first + 1 for first, last in kept)
    due = numbers.due
    if held.last > numbers.top and due is None:
        due = held.last, now_ns + GRACE_NS
    return msgspec.structs.replace(numbers, missing=kept, lost=numbers.lost + gone, due=due)


def wanted(numbers: Numbers, now_ns: int) -> tuple[Numbers, tuple[int, int] | None]:
    """Call overdue what is, and return the range to ask for now, if any."""
    if numbers.due is not None and numbers.top is not None and now_ns >= numbers.due[1]:
        last = numbers.due[0]
        gap: Ranges = ((numbers.top + 1, last),) if last > numbers.top else ()
        numbers = msgspec.structs.replace(
            numbers, top=max(last, numbers.top), missing=(*numbers.missing, *gap), due=None
        )
        if gap:
            numbers = msgspec.structs.replace(numbers, asked_ns=None, asks=0)
    waits = numbers.asked_ns is not None and now_ns < numbers.asked_ns + ASK_AGAIN_NS
    if not numbers.missing or waits or numbers.asks >= ASK_MOST:
        return numbers, None
    first = numbers.missing[0][0]
    last = min(numbers.missing[-1][1], first + MOST_EVENTS - 1)
    return msgspec.structs.replace(numbers, asked_ns=now_ns, asks=numbers.asks + 1), (first, last)


def _without(ranges: Ranges, number: int) -> Ranges:
    left: list[tuple[int, int]] = []
    for first, last in ranges:
        if not first <= number <= last:
            left.append((first, last))
            continue
        left += [(first, number - 1)] if first < number else []
        left += [(number + 1, last)] if number < last else []
    return tuple(left)
