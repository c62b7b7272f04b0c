"""The four time stamps: what a camera learns of UTC from one exchange with a dock (RFC 5905, section 8).

The dock sends at its UTC `t1`; the camera receives and answers at `t2` and `t3` of its monotonic clock; the
dock receives at its UTC `t4`. The camera was at `t2` somewhere between `t1` and `t4 - (t3 - t2)`: the middle is
taken, half the width is the bound of the error, and the dock's own error is added to it.
"""

from collections.abc import Sequence

from docklink.errors import ProtocolError
from docklink.messages import SetClock
from evidence.clock import ClockSource, UtcMapping

__all__ = ["mapping_of", "quickest"]

_LONGEST_ROUND_TRIP_NS = 10_000_000_000


def mapping_of(stamps: SetClock) -> UtcMapping:
    """Return UTC at `received_ns`, with the bound of its error.

    Raises:
        ProtocolError: the time stamps contradict each other, or the exchange took longer than 10 s.
    """
    held_ns = stamps.sent_ns - stamps.received_ns
    round_trip_ns = stamps.dock_received_utc_ns - stamps.dock_sent_utc_ns - held_ns
    if held_ns < 0 or not 0 <= round_trip_ns <= _LONGEST_ROUND_TRIP_NS:
        raise ProtocolError(
            "time stamps that cannot be",
            expected="an exchange of at most 10 s",
            found=f"{held_ns} ns held, {round_trip_ns} ns on the way",
        )
    one_way_ns = round_trip_ns // 2
    return UtcMapping(
        monotonic_ns=stamps.received_ns,
        utc_ns=stamps.dock_sent_utc_ns + one_way_ns,
        source=ClockSource.DOCK,
        error_ns=round_trip_ns - one_way_ns + stamps.dock_error_ns,
        set_ns=stamps.received_ns,
    )


def quickest(exchanges: Sequence[SetClock]) -> SetClock:
    """Return the exchange with the smallest bound of error; there is at least one."""
    return min(
        exchanges,
        key=lambda each: each.dock_received_utc_ns - each.dock_sent_utc_ns - each.sent_ns + each.received_ns,
    )
