"""The service watchdog: fed while work gets done, and by nothing else.

Each part of a service says when it last got something done. While all of them did so lately, systemd is fed; as
soon as one has stopped, it is not, and systemd ends the process (SIGABRT) and starts it again.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from preroll.notify import ServiceManager

__all__ = ["Progress", "Watchdog", "stopped_parts"]

_log = logging.getLogger(__name__)
_NS_PER_S = 1_000_000_000
_LOOKS = 6
"""Looks within one interval of the watchdog."""

Progress = Callable[[], Mapping[str, int]]
"""For each part the CLOCK_MONOTONIC time, in nanoseconds, at which it last got something done."""


def stopped_parts(progress: Mapping[str, int], now_ns: int, limit_ns: int) -> tuple[str, ...]:
    """Return the parts that have got nothing done for longer than the limit."""
    return tuple(sorted(part for part, at_ns in progress.items() if now_ns - at_ns > limit_ns))


class Watchdog:
    """Looks at the progress several times an interval, in a thread of its own, and feeds or does not.

    A part is taken as stopped after half an interval, so systemd acts one and a half intervals after the last
    progress at the latest. Without a watchdog in the unit there is no thread; `look` can be called all the
    same.
    """

    def __init__(
        self,
        manager: ServiceManager,
        progress: Progress,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._manager = manager
        self._progress = progress
        self._now_ns = now_ns
        self._interval_ns = manager.watchdog_ns
        self._stopped: tuple[str, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start looking."""
        if self._interval_ns is not None:
            self._thread.start()

    def close(self) -> None:
        """Stop looking: what comes now is the end of the service, which has a time limit of its own."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> tuple[str, ...]:
        """Feed if all parts get on; returns those that do not, which are logged once."""
        limit_ns = (self._interval_ns or 60 * _NS_PER_S) // 2
        stopped = stopped_parts(self._progress(), self._now_ns(), limit_ns)
        if stopped != self._stopped:
            self._stopped = stopped
            if stopped:
                _log.error("no progress of %s: the watchdog is not fed", ", ".join(stopped))
            else:
                _log.warning("all parts get on again")
        if not stopped:
            self._manager.tell("WATCHDOG=1")
        return stopped

    def _run(self) -> None:
        assert self._interval_ns is not None  # `start` looked
        while not self._stop.wait(self._interval_ns / _LOOKS / _NS_PER_S):
            self.look()
