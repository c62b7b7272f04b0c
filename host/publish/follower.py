"""Following the custody log: each entry of a kind that is an event becomes one, exactly once in a series.

What is in the custody log counts, so the log is what these events are made from, and not what the agent says
while it works. How far that has come is noted in the transaction that keeps the events: a kill between an entry
and its event loses nothing, the next start goes on from there.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from evidence.custody.reading import ReadEntry
from evidence.documents import CustodyHead
from evidence.errors import EvidenceError
from host.publish.drafts import draft_of_entry
from host.publish.errors import PayloadError
from host.publish.outbox import Draft, Outbox

__all__ = ["CustodySource", "Follower", "follow_pages"]

_PAGE = 256


class CustodySource(Protocol):
    """What is followed; `host.custody.CustodyLog` is one."""

    @property
    def store(self) -> str:
        """Id of the store."""

    @property
    def head(self) -> CustodyHead | None:
        """How far it has come."""

    def after(self, index: int, most: int) -> tuple[ReadEntry, ...]:
        """Return the entries behind one."""


class Follower:
    """Follows a custody log into an outbox. Thread-safe; who comes while another is at it does not wait.

    `source` gives the log of the store that is open now. `begin` is how far the log of a store had come before
    the outbox could be opened; it counts where the outbox knows nothing of that log.
    """

    def __init__(
        self,
        outbox: Outbox,
        dock: str,
        source: Callable[[], CustodySource],
        begin: CustodyHead | None,
        on_trouble: Callable[[str], object],
    ) -> None:
        """Begin where the outbox left off, or at the log's end if it never was followed.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        self._outbox = outbox
        self._dock = dock
        self._source = source
        self._on_trouble = on_trouble
        self._lock = threading.Lock()
        self._followed: dict[str, int] = {}
        self.refused = 0
        log = source()
        self._start = (log.store, _entries(log.head))
        self._begin(log, _entries(begin))

    @property
    def behind(self) -> bool:
        """Whether the log has entries that were not looked at yet."""
        log = self._source()
        return self._followed.get(log.store, -1) != _entries(log.head)

    def page(self) -> bool:
        """Look at the next entries, at most 256; returns whether any was, else somebody else is at it.

        Raises:
            EvidenceError: log or outbox cannot be used; they are looked at again.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            log = self._source()
            if log.store not in self._followed or self._followed[log.store] > _entries(log.head):
                self._begin(log, _entries(log.head))
            found = log.after(self._followed[log.store], _PAGE)
            if found:
                drafts = [draft for each in found if (draft := self._draft(log.store, each)) is not None]
                upto = found[-1].entry.index
                self._outbox.follow(log.store, upto, drafts)
                self._followed[log.store] = upto
            return bool(found)
        finally:
            self._lock.release()

    def _begin(self, log: CustodySource, otherwise: int) -> None:
        followed, entries = self._outbox.followed(log.store), _entries(log.head)
        if followed is None or followed > entries:
            if followed is not None:
                self._on_trouble(
                    f"the custody log of {log.store} ends at entry {entries}, and events were made up to "
                    f"{followed}: what is appended from now on becomes events"
                )
            followed = min(otherwise, entries)
            self._outbox.begin_at(log.store, followed)
        self._followed[log.store] = followed

    def _draft(self, store: str, read: ReadEntry) -> Draft | None:
        at_start = store == self._start[0] and read.entry.index <= self._start[1]
        try:
            return draft_of_entry(self._dock, self._outbox.series, read.entry, read.sha256, at_start=at_start)
        except PayloadError as error:  # an id that is older than today's grammar; the log keeps it
            self.refused += 1
            self._on_trouble(f"entry {read.entry.index} of the custody log is no event: {error}")
            return None


def follow_pages(follower: Follower, on_trouble: Callable[[str], object], most: int = 1) -> int:
    """Look at so many pages; returns how many there were. What fails is told, and looked at again later."""
    done = 0
    try:
        while done < most and follower.behind and follower.page():
            done += 1
    except EvidenceError as error:
        on_trouble(str(error))
    return done


def _entries(head: CustodyHead | None) -> int:
    return head.entries if head else 0
