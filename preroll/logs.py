"""Where the services' log goes: to the journal with fields, one entry an event; to standard error elsewhere.

The journal takes entries as datagrams on a socket ("Native Journal Protocol",
systemd.io/JOURNAL_NATIVE_PROTOCOL). `SIGUSR1` makes a running service tell more, `SIGUSR2` what it told at
first. Secrets and frames are in no message: errors describe what they found and never quote it
(evidence/errors.py).
"""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType

__all__ = ["JournalHandler", "journal_entry", "set_up_logging"]

JOURNAL = Path("/run/systemd/journal/socket")
_FORMAT = "%(levelname)s %(name)s: %(message)s"
_LONGEST_BYTES = 32 * 1024
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
_log = logging.getLogger(__name__)


class _OneLine(logging.Formatter):
    """One event is one line, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        return " | ".join(line for line in super().format(record).splitlines() if line.strip())


class JournalHandler(logging.Handler):
    """Sends each record as one entry. What the journal does not take is counted in `lost`."""

    def __init__(self, path: Path = JOURNAL) -> None:
        super().__init__()
        self.lost = 0
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(0.2)  # a journal that is full must not hold a thread of the camera up

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            self._socket.sendto(journal_entry(record), self._path)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        super().close()


def journal_entry(record: logging.LogRecord) -> bytes:
    """Return the datagram of one record: fields, each `NAME=value` or, with a newline in it, by length."""
    text = " ".join(record.getMessage().split())
    fields = {
        "MESSAGE": text,
        "PRIORITY": str(next(number for level, number in _PRIORITIES if record.levelno >= level)),
        "SYSLOG_IDENTIFIER": "preroll",
        "PREROLL_LOGGER": record.name,
        "PREROLL_THREAD": record.threadName or "",
    }
    if record.exc_info:
        fields["PREROLL_TRACEBACK"] = logging.Formatter().formatException(record.exc_info)
    extra = getattr(record, "fields", None)
    if isinstance(extra, Mapping):
        fields |= {f"PREROLL_{str(key).upper()}": str(value) for key, value in extra.items()}
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")[:_LONGEST_BYTES]
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


def set_up_logging(*, verbose: bool, journal: Path = JOURNAL) -> None:
    """Send the log of this process where it belongs, errors that end a thread included; for the main thread."""
    handler: logging.Handler
    if _goes_to_journal() and journal.exists():
        handler = JournalHandler(journal)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_OneLine(_FORMAT))
    usual = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=usual, handlers=[handler])

    def told_more(caught: int, _frame: FrameType | None) -> None:
        level = logging.DEBUG if caught == signal.SIGUSR1 else usual
        logging.getLogger().setLevel(level)
        _log.log(max(level, logging.WARNING), "log level is now %s", logging.getLevelName(level))

    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, told_more)
    sys.excepthook = _process_died
    threading.excepthook = _thread_died


def _goes_to_journal() -> bool:
    """Whether standard error is the journal's (systemd.exec(5), `JOURNAL_STREAM`)."""
    try:
        facts = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or no file
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"


def _process_died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _log.critical("ended by an error of the program: %s", kind.__name__, exc_info=(kind, error, trace))


def _thread_died(died: threading.ExceptHookArgs) -> None:
    name = died.thread.name if died.thread else "?"
    trace = (died.exc_type, died.exc_value or died.exc_type(), died.exc_traceback)
    _log.critical(
        "thread %s ended by an error of the program: %s", name, died.exc_type.__name__, exc_info=trace
    )
