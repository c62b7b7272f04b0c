"""The device's event log: append-only, chained, signed line by line (docs/formats.md, "Event log").

Every start of the process begins a new file, so nothing is ever appended behind a torn line; the chain runs on
from the last whole line that verifies.
"""

import re
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

from device.vault.layout import VaultLayout
from device.vault.vault import FileOpener
from evidence.clock import UtcMapping, format_utc
from evidence.documents import LogEvent, LogHead, LogLine, decode, encode
from evidence.errors import EvidenceError
from evidence.lines import LineChain, LineReader
from evidence.signer import Signer
from evidence.storage import AppendFile, PosixAppendFile, StorageError, sync_directory

__all__ = ["LOG_PREFIX", "EventLog"]

LOG_PREFIX = b"preroll-log-v1"
_SEGMENT = re.compile(r"(\d{6,})\.jsonl")
_SEGMENT_LIMIT_BYTES = 4 * 1024 * 1024


class EventLog:
    """Appends signed lines; one thread at a time.

    `damaged` lists what was found wrong in the files of earlier starts; the chain then goes on from the last
    line that verifies, and whoever reads the log sees the fork.
    """

    def __init__(
        self,
        layout: VaultLayout,
        signer: Signer,
        boot: str,
        read_mapping: Callable[[], UtcMapping],
        open_file: FileOpener = PosixAppendFile,
    ) -> None:
        self._layout = layout
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
            events=tuple(events),
        )
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

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _current(self) -> LineChain:
        if self._chain is not None and self._chain.size_bytes > _SEGMENT_LIMIT_BYTES:
            self.close()
        if self._file is None or self._chain is None:
            self._file = self._open_file(self._layout.log / f"{self._segment + 1:06d}.jsonl")
            self._segment += 1
            previous = self._head.sha256 if self._head else None
            self._chain = LineChain(LOG_PREFIX, self._signer, previous=previous)
            sync_directory(self._layout.log)
        return self._chain

    def _find_head(self) -> LogHead | None:
        for number, path in sorted(_segments(self._layout.log), reverse=True):
            self._segment = max(self._segment, number)
            head = self._last_good(path)
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


def _segments(directory: Path) -> list[tuple[int, Path]]:
    found = ((_SEGMENT.fullmatch(path.name), path) for path in directory.iterdir())
    return [(int(match[1]), path) for match, path in found if match]
