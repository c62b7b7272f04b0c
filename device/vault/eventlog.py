"""The device's event log: append-only, chained, signed line by line (docs/formats.md, "Event log").

Every start of the process begins a new file, so nothing is ever appended behind a torn line; the chain runs on
from the last whole line that verifies. With each new file the size of all is held against a bound: a signed
line says up to where the oldest are removed, and only then are they.
"""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import msgspec

from device.vault.layout import VaultLayout
from device.vault.vault import FileOpener
from evidence.clock import UtcMapping, format_utc
from evidence.documents import LogEvent, LogHead, LogLine, decode, encode
from evidence.errors import EvidenceError
from evidence.eventlog import LOG_CUT, LOG_PREFIX, LogSegment, first_entry, log_segments
from evidence.lines import LineChain, LineReader
from evidence.logdates import CLOCK_EVENT
from evidence.signer import Signer
from evidence.storage import AppendFile, PosixAppendFile, StorageError, remove_file, sync_directory

__all__ = ["LOG_PREFIX", "EventLog", "LogBounds"]

_SEGMENT_LIMIT_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 4096
_CLOCK_STEP_NS = 100_000_000
"""A clock that is this far from where it would have run was set, and not merely steered."""


class LogBounds(msgspec.Struct, frozen=True):
    """How much of the log stays: lines that a dock has up to the first, all others up to the second."""

    docked_limit_bytes: int = 16 * 1024 * 1024
    limit_bytes: int = 64 * 1024 * 1024


class _Cut(msgspec.Struct, frozen=True):
    """Files that are to go, and the last line in them."""

    segments: tuple[LogSegment, ...]
    last: LogHead


class EventLog:
    """Appends signed lines; one thread at a time.

    `damaged` lists what was found wrong in the files of earlier starts; the chain then goes on from the last
    line that verifies, and whoever reads the log sees the fork. `docked_index` is the last line that a dock
    is known to have.
    """

    def __init__(
        self,
        layout: VaultLayout,
        signer: Signer,
        boot: str,
        read_mapping: Callable[[], UtcMapping],
        open_file: FileOpener = PosixAppendFile,
        *,
        bounds: LogBounds | None = None,
    ) -> None:
        self._layout = layout
        self._bounds = bounds or LogBounds()
        self._cut: _Cut | None = None
        self._mapping: UtcMapping | None = None
        self.docked_index = 0
        self._signer = signer
        self._boot = boot
        self._read_mapping = read_mapping
        self._open_file = open_file
        self.damaged: list[str] = []
        self._segment = 0
        self._head = self._find_head()
        self._chain: LineChain | None = None
        self._file: AppendFile | None = None
        self._unwritten = b""
        self._unsynced = False
        self._named = False  # whether the running file's name is on storage

    @property
    def head(self) -> LogHead | None:
        """The last line that was signed, `None` while there is none."""
        return self._head

    @property
    def owing(self) -> bool:
        """Whether a signed line is not on storage yet."""
        return bool(self._unwritten) or self._unsynced

    def append(self, events: Sequence[LogEvent]) -> LogHead:
        """Sign one line with these events; on storage when this returns.

        Raises:
            StorageError: it is not on storage. With `owing` the events are signed, and `flush` must bring them
                there; without it, nothing happened.
        """
        self.flush()
        chain = self._current()
        if not self._named:
            sync_directory(self._layout.log)
            self._named = True
        mapping = self._read_mapping()
        facts = self._layout.facts
        line = LogLine(
            device=facts.device,
            epoch=facts.epoch,
            generation=facts.generation,
            index=self._head.index + 1 if self._head else 1,
            previous=self._head.sha256 if self._head else None,
            boot=self._boot,
            monotonic_ns=mapping.monotonic_ns,
            utc=None if mapping.utc_ns is None else format_utc(mapping.utc_ns),
            events=(*self._own_events(mapping), *events),
        )
        self._mapping = mapping
        self._unwritten = chain.sign(encode(line))
        self._unsynced = True
        assert chain.previous is not None  # a line was signed
        self._head = LogHead(index=line.index, sha256=chain.previous)
        self.flush()
        return self._head

    def flush(self) -> None:
        """Bring a line that is signed, and not on storage yet, there: from the byte at which storage refused.

        Raises:
            StorageError: storage still refuses.
        """
        if self._file is None or not self.owing:
            return
        before = self._file.size_bytes
        try:
            self._file.append(self._unwritten)
        finally:
            self._unwritten = self._unwritten[self._file.size_bytes - before :]
        self._file.sync()
        self._unsynced = False
        self._remove_cut()

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _current(self) -> LineChain:
        if self._chain is not None and self._chain.size_bytes > _SEGMENT_LIMIT_BYTES:
            self.close()
        if self._file is None or self._chain is None:
            self._cut = self._find_cut()
            self._file = self._open_file(self._layout.log / f"{self._segment + 1:06d}.jsonl")
            self._segment += 1
            self._named = False
            previous = self._head.sha256 if self._head else None
            self._chain = LineChain(LOG_PREFIX, self._signer, previous=previous)
        return self._chain

    def _own_events(self, mapping: UtcMapping) -> list[LogEvent]:
        """Say what the log itself knows: who sets the clock now, and what is removed of the log."""
        events: list[LogEvent] = []
        if _clock_was_set(self._mapping, mapping):
            before = self._mapping.utc_at(mapping.monotonic_ns) if self._mapping else None
            detail: dict[str, str | int | bool | None] = {
                "source": str(mapping.source),
                "error_ns": mapping.error_ns,
                "before": None if before is None else format_utc(before),
                "after": None if mapping.utc_ns is None else format_utc(mapping.utc_ns),
            }
            events.append(LogEvent(kind=CLOCK_EVENT, monotonic_ns=mapping.monotonic_ns, detail=detail))
        if self._cut is not None:
            last = self._cut.last
            detail = {"index": last.index, "sha256": last.sha256}
            events.append(LogEvent(kind=LOG_CUT, monotonic_ns=mapping.monotonic_ns, detail=detail))
        return events

    def _find_cut(self) -> _Cut | None:
        """Choose the oldest files beyond the bounds; the newest always stays."""
        try:
            segments = log_segments(self._layout.log)
            sizes = [-(-segment.path.stat().st_size // _BLOCK_BYTES) * _BLOCK_BYTES for segment in segments]
            left = sum(sizes)
            cut: _Cut | None = None
            for count in range(1, len(segments)):
                following = first_entry(segments[count], self._signer.public_key)
                if following is None or following.line.previous is None:
                    continue  # it says nothing of what went before: it goes together with its neighbours
                last = LogHead(index=following.line.index - 1, sha256=following.line.previous)
                docked = last.index <= self.docked_index
                if left <= (self._bounds.docked_limit_bytes if docked else self._bounds.limit_bytes):
                    break
                cut = _Cut(tuple(segments[:count]), last)
                left = sum(sizes[count:])
        except OSError as error:
            raise StorageError("cannot look at the event log", error) from error
        return cut

    def _remove_cut(self) -> None:
        """Remove what a line that is on storage says is removed; what does not go, goes with the next cut."""
        cut, self._cut = self._cut, None
        if cut is None:
            return
        try:
            for segment in cut.segments:
                remove_file(segment.path)
            sync_directory(self._layout.log)
        except StorageError as error:
            self.damaged.append(f"{self._layout.log.name}: {error}")

    def _find_head(self) -> LogHead | None:
        for segment in reversed(log_segments(self._layout.log)):
            self._segment = max(self._segment, segment.number)
            head = self._last_good(segment.path)
            if head is not None:
                return head
        return None

    def _last_good(self, path: Path) -> LogHead | None:
        """Return the last line of a file that verifies; looks from the end, so a long file costs little."""
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            self.damaged.append(f"{path.name}: {StorageError('unreadable', error)}")
            return None
        if lines[-1].strip(b"\0"):
            self.damaged.append(f"{path.name}: torn, {len(lines[-1])} bytes behind the last whole line")
        for text in reversed(lines[:-1]):
            try:
                (line,) = LineReader(BytesIO(text + b"\n"), LOG_PREFIX, self._signer.public_key)
                return LogHead(index=decode(line.value, LogLine).index, sha256=line.sha256)
            except EvidenceError as error:
                self.damaged.append(f"{path.name}: {error}")
        return None


def _clock_was_set(before: UtcMapping | None, now: UtcMapping) -> bool:
    """Whether UTC is another's, or elsewhere than it would have run to; the first reading of a start counts."""
    if before is None or before.source is not now.source:
        return True
    expected = before.utc_at(now.monotonic_ns)
    if expected is None or now.utc_ns is None:
        return (expected is None) != (now.utc_ns is None)
    return abs(now.utc_ns - expected) > _CLOCK_STEP_NS
