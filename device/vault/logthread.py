"""The thread that writes the event log, so that no press ever waits for a card.

What must be durable at once is written at once; the rest goes along with it, or after a minute at the latest.
What storage refuses is kept, in order and bounded, and tried again; what the bound drops is counted in the next
line.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

import msgspec

from device.inbox import Inbox
from device.vault.eventlog import EventLog
from evidence.documents import LogEvent, LogHead
from evidence.storage import StorageError

__all__ = ["LogThread"]

Detail = Mapping[str, str | int | bool | None]

_KEEP_EVENTS = 1000
_EVENTS_PER_LINE = 200
_NS_PER_S = 1_000_000_000


class _Posted(msgspec.Struct, frozen=True):
    event: LogEvent
    urgent: bool
    done: "Future[LogHead]"


class LogThread:
    """Takes events from any thread; `on_trouble` hears of a storage that refuses, `None` when it is well."""

    def __init__(
        self,
        log: EventLog,
        on_trouble: Callable[[StorageError | None], None],
        *,
        batch_ns: int = 60 * _NS_PER_S,
        retry_ns: int = 2 * _NS_PER_S,
    ) -> None:
        self._log = log
        self._on_trouble = on_trouble
        self._batch_ns = batch_ns
        self._retry_ns = retry_ns
        self._queue: Inbox[_Posted | None] = Inbox()
        self._kept: list[_Posted] = []
        self._signed: list[_Posted] = []
        self._dropped = 0
        self._troubled = False
        self._head_lock = threading.Lock()
        self._head = log.head
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
        self._thread.start()

    @property
    def head(self) -> LogHead | None:
        """The last line on storage."""
        with self._head_lock:
            return self._head

    def docked(self, index: int) -> None:
        """Note that a dock has all lines up to this one: they may be cut away sooner."""
        head = self.head
        if head is not None and self._log.docked_index < index <= head.index:
            self._log.docked_index = index

    def post(
        self, kind: str, at_ns: int, detail: Detail | None = None, *, urgent: bool = False
    ) -> "Future[LogHead]":
        """Log an event; the future is done once it is on storage."""
        event = LogEvent(kind=kind, monotonic_ns=at_ns, detail=dict(detail or {}))
        posted = _Posted(event, urgent, Future())
        self._queue.put(posted)
        return posted.done

    def close(self) -> None:
        """Write what is left, once, and end; what storage still refuses is reported through `on_trouble`."""
        self._queue.put(None)
        self._thread.join()
        self._log.close()

    def _run(self) -> None:
        due_ns: int | None = None
        while True:
            timeout_s = None if due_ns is None else max(0, due_ns - time.monotonic_ns()) / _NS_PER_S
            try:
                posted = self._queue.get(timeout_s)
            except queue.Empty:
                due_ns = self._write_kept()
                continue
            if posted is None:
                self._write_kept()
                return
            self._keep(posted)
            if posted.urgent:
                due_ns = self._write_kept()
            elif due_ns is None:
                due_ns = time.monotonic_ns() + self._batch_ns

    def _keep(self, posted: _Posted) -> None:
        self._kept.append(posted)
        if len(self._kept) > _KEEP_EVENTS:
            oldest = self._kept.pop(0)
            self._dropped += 1
            oldest.done.cancel()

    def _write_kept(self) -> int | None:
        """Write what is kept; return when to try again, `None` if nothing is left."""
        try:
            self._log.flush()
            self._settle()
            while self._kept:
                self._write_line()
        except StorageError as error:
            self._troubled = True
            self._on_trouble(error)
            return time.monotonic_ns() + self._retry_ns
        if self._troubled:
            self._troubled = False
            self._on_trouble(None)
        return None

    def _write_line(self) -> None:
        batch = self._kept[:_EVENTS_PER_LINE]
        events = [posted.event for posted in batch]
        dropped = self._dropped
        if dropped:
            detail: Detail = {"events": dropped}
            events.append(LogEvent(kind="log_dropped", monotonic_ns=time.monotonic_ns(), detail=dict(detail)))
        try:
            self._log.append(events)
        finally:
            if self._log.owing or self._log.head != self._head:  # signed: never sign these events again
                del self._kept[: len(batch)]
                self._dropped -= dropped
                self._signed += batch
        self._settle()

    def _settle(self) -> None:
        """Say of all signed events that they are on storage."""
        head = self._log.head
        with self._head_lock:
            self._head = head
        for posted in self._signed:
            assert head is not None  # something was signed
            posted.done.set_result(head)
        self._signed.clear()
