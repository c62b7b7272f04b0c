"""Reading a device's event log: what holds, what does not, what lies between two heads, and what time it was.

The log is a chain over files (docs/formats.md, "Event log"). It shows that what it holds happened, and that
nothing was removed between two heads; it does not show that nothing else happened.
"""

import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.documents import DocumentError, LogHead, LogLine, decode
from evidence.errors import EvidenceError
from evidence.lines import LINE_LIMIT_BYTES, LineReader, TamperedError

__all__ = [
    "LOG_CUT",
    "LOG_PREFIX",
    "LogDefect",
    "LogEntry",
    "LogReader",
    "LogSegment",
    "first_entry",
    "lines_between",
    "log_segments",
]

LOG_PREFIX = b"preroll-log-v1"
LOG_CUT = "log_cut"
"""Kind of the event that says up to which line (`index`, `sha256`) the oldest files were removed."""
_SEGMENT = re.compile(r"(\d{6,18})\.jsonl")


class LogSegment(msgspec.Struct, frozen=True, order=True):
    """One file of the log."""

    number: int
    path: Path


class LogEntry(msgspec.Struct, frozen=True):
    """A verified line, its digest, and the number of the file that it is in."""

    segment: int
    sha256: str
    line: LogLine

    @property
    def head(self) -> LogHead:
        """The line as a head names it."""
        return LogHead(index=self.line.index, sha256=self.sha256)


class LogDefect(msgspec.Struct, frozen=True):
    """What is not as it must be, in which file (0: the log as a whole), and the details for people.

    `kind` is `tampered` (a line is not what the device signed; the rest of its file is not read), `fork` (a
    second line with a number that there was, or a line that follows another), `gap` (lines are missing),
    `device` (lines of more than one device) or `unreadable`.
    """

    kind: str
    segment: int
    detail: str


class LogReader:
    """Iterates over the verified lines of a log, in order; holds one line in memory.

    What does not verify is no error but a defect, and reading goes on with the next file: from the end of the
    iteration on, `defects` holds them all, `torn` the files that end in a torn line and its bytes, `first` and
    `head` the ends of what was read. A log whose oldest files were removed begins with a higher index; that is
    a gap unless a later line says so (`log_cut`).
    """

    def __init__(
        self, segments: Iterable[LogSegment], public_key: ec.EllipticCurvePublicKey, *, whole: bool = True
    ) -> None:
        """Take files in their order; `whole` says that they are all there are, not the end of a longer log."""
        self._segments = segments
        self._public_key = public_key
        self._whole = whole
        self._missing_before: LogHead | None = None
        self.defects: list[LogDefect] = []
        self.torn: dict[int, int] = {}
        self.first: LogHead | None = None
        self.head: LogHead | None = None
        self._device: str | None = None

    def __iter__(self) -> Iterator[LogEntry]:
        """Yield verified lines; those that a defect concerns are yielded too, after it was noted."""
        for segment in self._segments:
            try:
                with segment.path.open("rb") as file:
                    yield from self._read(segment.number, file)
            except OSError as error:
                self._note("unreadable", segment.number, error.strerror or type(error).__name__)
        if self._missing_before is not None and self._whole:
            index = self._missing_before.index
            self._note("gap", 0, f"the log begins after line {index}, and no later line says that it was cut")

    def _read(self, number: int, file: BinaryIO) -> Iterator[LogEntry]:
        reader = LineReader(file, LOG_PREFIX, self._public_key)
        try:
            for line in reader:
                entry = LogEntry(number, line.sha256, decode(line.value, LogLine))
                self._follow(entry)
                yield entry
        except TamperedError as error:
            self._note("tampered", number, f"line {error.line}: {error.reason}")
        except DocumentError as error:
            self._note("tampered", number, str(error))
        if reader.torn_bytes:
            self.torn[number] = reader.torn_bytes

    def _follow(self, entry: LogEntry) -> None:
        """Hold a line against the one before it."""
        line = entry.line
        if self._device is not None and line.device != self._device:
            self._note("device", entry.segment, f"line {line.index} is of another device")
        self._device = line.device
        if self.head is None:
            self._begin(entry)
        elif line.index <= self.head.index:
            self._note("fork", entry.segment, f"line {line.index} comes after line {self.head.index}")
        elif line.index > self.head.index + 1:
            self._note("gap", entry.segment, f"no lines {self.head.index + 1} to {line.index - 1}")
        elif line.previous != self.head.sha256:
            self._note("fork", entry.segment, f"line {line.index} follows another line {self.head.index}")
        self.head = entry.head
        for event in line.events:
            if event.kind == LOG_CUT:
                self._explain(event.detail.get("index"), event.detail.get("sha256"))

    def _begin(self, entry: LogEntry) -> None:
        self.first = entry.head
        if entry.line.previous is not None:
            self._missing_before = LogHead(index=entry.line.index - 1, sha256=entry.line.previous)

    def _explain(self, index: object, sha256: object) -> None:
        """Take a line's word that the log was cut; it may name more than what is missing, never less."""
        missing = self._missing_before
        if missing is None or not isinstance(index, int):
            return
        if index > missing.index or (index == missing.index and sha256 == missing.sha256):
            self._missing_before = None

    def _note(self, kind: str, segment: int, detail: str) -> None:
        self.defects.append(LogDefect(kind, segment, detail))


def log_segments(directory: Path) -> list[LogSegment]:
    """Return the files of a log, oldest first.

    Raises:
        OSError: the directory cannot be read.
    """
    found = ((_SEGMENT.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted(LogSegment(int(match[1]), path) for match, path in found if match)


def first_entry(segment: LogSegment, public_key: ec.EllipticCurvePublicKey) -> LogEntry | None:
    """Return the first line of a file, `None` if it holds none that is good.

    Raises:
        OSError: the file cannot be read.
    """
    with segment.path.open("rb") as file:
        text = file.readline(LINE_LIMIT_BYTES)
    try:
        (line,) = LineReader(BytesIO(text), LOG_PREFIX, public_key)
        return LogEntry(segment.number, line.sha256, decode(line.value, LogLine))
    except (EvidenceError, ValueError):  # tampered, or torn: no line at all
        return None


def lines_between(entries: Iterable[LogEntry], after: LogHead | None, upto: LogHead) -> Iterator[LogEntry]:
    """Yield the lines after one head up to and including another; proof that nothing between was removed.

    `after` is `None` for all from line 1 on.

    Raises:
        EvidenceError: a head is not in the log, a line between is missing, or the log forked between. Lines
            that were yielded before the error are good, but do not connect the two.
    """
    last = after
    found_after = after is None
    for entry in entries:
        if entry.line.index > upto.index:
            break
        if not found_after:
            found_after = entry.head == after
            continue
        expected = (last.index + 1, last.sha256) if last else (1, None)
        if (entry.line.index, entry.line.previous) != expected:
            raise EvidenceError(
                "the log does not connect the two heads",
                expected=f"line {expected[0]}",
                found=f"line {entry.line.index}, or one that follows another",
            )
        last = entry.head
        yield entry
    if not found_after or last != upto:
        raise EvidenceError(
            "the log does not hold both heads", expected=f"line {upto.index} with the head's digest"
        )
