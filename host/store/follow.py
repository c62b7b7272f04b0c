"""Reading a clip's ciphertext back from storage while the rest of it still comes.

Each byte is read from storage once the fdatasync that covers it has returned, in whole blocks, so that nothing
that was read is written again; the end is read after the last sync. Journal and bytes are held against each
other as at the end of a fetch (`host.store.readback`). What this finds counts only if it is flawless, the file
is the one that was read and has not changed since the last sync, and the journal neither; in every other case
the whole clip is read back once it is there, and that reading is the judge.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from evidence.cipherpass import CiphertextPass
from evidence.documents import Manifest
from evidence.errors import EvidenceError
from host.store.direct import BLOCK_BYTES, DirectFile, OpenFile
from host.store.errors import StoreError
from host.store.readback import Verified, read_in_step
from host.store.values import CIPHERTEXT, JOURNAL

__all__ = ["Follower"]

_logger = logging.getLogger(__name__)
_BUFFER_BYTES = 256 * 1024
_JOURNAL_BUFFER_BYTES = 64 * 1024
_LOOK_S = 0.2
_LEAVE_S = 5.0
"""Only how long `abandon` puts up with storage that does not answer."""
_State = tuple[int, int, int, int]
"""Device, inode, size, time of the last change in nanoseconds."""


class _AbandonedError(StoreError):
    """The fetch has ended early."""


class _Mark:
    """How far a growing file is on storage, and whether it ends there."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._bytes = 0
        self._ended = False
        self._abandoned = False

    def advance(self, durable_bytes: int) -> None:
        with self._changed:
            self._bytes = durable_bytes
            self._changed.notify_all()

    def end(self, *, abandoned: bool) -> None:
        with self._changed:
            self._ended, self._abandoned = True, self._abandoned or abandoned
            self._changed.notify_all()

    def bound(self, offset: int) -> int:
        """Wait until more than `offset` may be read, and return up to where; see `host.store.direct.Bound`."""
        with self._changed:
            while not self._ended and self._bytes // BLOCK_BYTES * BLOCK_BYTES <= offset:
                self._changed.wait()
            if self._abandoned:
                raise _AbandonedError("the fetch has ended early")
            return self._bytes if self._ended else self._bytes // BLOCK_BYTES * BLOCK_BYTES


class Follower:
    """A thread that reads one fetch's ciphertext behind its writer; memory: some 600 KiB, whatever the size."""

    def __init__(
        self, directory: Path, opener: OpenFile, manifest: Manifest, public_key: ec.EllipticCurvePublicKey
    ) -> None:
        """Begin; the journal lies in `directory` already, durably."""
        self._directory = directory
        self._opener = opener
        self._manifest = manifest
        self._public_key = public_key
        self._mark = _Mark()
        self._position = 0
        self._verified: Verified | None = None
        self._journal_state = _state(directory / JOURNAL)
        self._state: _State | None = None
        self._thread = threading.Thread(target=self._run, name="store-follow", daemon=True)
        self._thread.start()

    def durable(self, size_bytes: int) -> None:
        """Hear that so many bytes from the start of the file are on storage."""
        self._mark.advance(size_bytes)

    def end(self) -> None:
        """Hear that the file is on storage as a whole, and that nobody writes to it any more."""
        self._state = _state(self._directory / CIPHERTEXT)
        self._mark.end(abandoned=False)

    def abandon(self) -> None:
        """Stop: nothing that was found counts."""
        self._mark.end(abandoned=True)
        self._thread.join(_LEAVE_S)

    def verified(self, advance: Callable[[int], object]) -> Verified | None:
        """Wait for the reading to end, and return what it came to; `None`: read the whole clip back.

        `advance` hears how many bytes were read since it heard last.
        """
        told = 0
        while self._thread.is_alive():
            self._thread.join(_LOOK_S)
            position = self._position
            advance(position - told)
            told = position
        advance(self._position - told)
        read = (self._state, self._journal_state)
        now = (_state(self._directory / CIPHERTEXT), _state(self._directory / JOURNAL))
        return self._verified if read == now and None not in now else None

    def _run(self) -> None:
        try:
            verified = self._read()
        except _AbandonedError:
            _logger.debug("the reading of %s beside its fetch was given up", self._manifest.clip)
        except (EvidenceError, OSError) as error:
            _logger.warning("%s is read back as a whole: %s", self._manifest.clip, error)
        else:
            self._verified = verified
            if verified is None:
                _logger.warning("%s is read back as a whole: it does not verify", self._manifest.clip)

    def _read(self) -> Verified | None:
        self._mark.bound(0)  # some file systems say only of a file with content how it can be read
        source = self._open(CIPHERTEXT, buffer_bytes=_BUFFER_BYTES, growing=True)
        ciphertext = CiphertextPass(
            source, self._manifest.header, threads=False, buffer_bytes=_BUFFER_BYTES, advance=self._count
        )
        with closing(ciphertext), closing(self._open(JOURNAL, buffer_bytes=_JOURNAL_BUFFER_BYTES)) as journal:
            ways = frozenset((source.way, journal.way))
            opened = (source.identity, journal.identity)
            summary, figures, found = read_in_step(journal, self._public_key, ciphertext)
        assert found is not None  # there is a ciphertext
        good = found.defect is None and found.whole == self._manifest.ciphertext
        if not good or figures != self._manifest.journal or opened != self._in_place():
            return None
        return Verified(self._manifest, self._public_key, summary, figures, found, ways)

    def _open(self, name: str, *, buffer_bytes: int, growing: bool = False) -> DirectFile:
        bound = self._mark.bound if growing else None
        return DirectFile(self._directory / name, self._opener, bound=bound, buffer_bytes=buffer_bytes)

    def _in_place(self) -> tuple[tuple[int, ...], ...]:
        """Return device and inode of what has the names of the files now."""
        states = (_state(self._directory / name) for name in (CIPHERTEXT, JOURNAL))
        return tuple(state[:2] if state else () for state in states)

    def _count(self, count: int) -> None:
        self._position += count


def _state(path: Path) -> _State | None:
    """Return what tells whether a file is still the same with the same content; `None` if that cannot be seen.

    Then nothing counts, and the reading of the whole clip meets the error.
    """
    try:
        found = path.lstat()
    except OSError as error:
        _logger.warning("cannot look at %s: %s", path.name, error.strerror)
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
