"""Prints when the board stood still, as a process sees it that only wakes: `stalls.py SECONDS`.

Lines of `START END`, CLOCK_MONOTONIC in nanoseconds: one for each sleep of 10 ms that took over 60 ms, and last
one for the time that it watched. It shares nothing with the firmware, so it tells a board that is short of
processor from firmware that is slow.
"""

import sys
import time

__all__: list[str] = []

_SLEEP_S, _LATE_NS = 0.01, 60_000_000
_NS_PER_S = 1_000_000_000


def _main(seconds: float) -> None:
    begin_ns = last_ns = time.monotonic_ns()
    end_ns = begin_ns + round(seconds * _NS_PER_S)
    while last_ns < end_ns:
        time.sleep(_SLEEP_S)
        now_ns = time.monotonic_ns()
        if now_ns - last_ns > _LATE_NS:
            print(last_ns, now_ns)  # noqa: T201 - its answer
        last_ns = now_ns
    print(begin_ns, last_ns)  # noqa: T201 - as above


_main(float(sys.argv[1]))
