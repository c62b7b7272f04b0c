"""What manifests in a store said, remembered outside it: a walk over many clips reads only the new ones.

It holds no truth: an entry counts as long as directory and manifest have the inode, size and times that they
had when they were read, and it may be lost at any time.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from evidence.errors import EvidenceError
from evidence.storage import StorageError
from host.store.protocol import DamagedClip
from host.store.shelves import load_stored
from host.store.values import MANIFEST, StoredClip

__all__ = ["ClipMemory"]

_logger = logging.getLogger(__name__)
_TABLE = (
    "CREATE TABLE IF NOT EXISTS clips_1 (device TEXT, clip TEXT, stamp TEXT, row BLOB,"
    " PRIMARY KEY (device, clip)) WITHOUT ROWID"
)
_FRESH_NS = 3_000_000_000
"""A directory that changed within this time may change again without a change of its time stamp."""
_TIMEOUT_S = 2.0
_decoder = msgspec.msgpack.Decoder(StoredClip)
_encoder = msgspec.msgpack.Encoder()

_Known = dict[str, tuple[str, bytes]]


class ClipMemory:
    """Walks the clips of a store with a SQLite file at hand. Thread-safe: each walk has its own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def walk(self, top: Path) -> Iterator[StoredClip | DamagedClip]:
        """Yield the clips below `top/DEVICE/`, by device and name, as `shelves.walk` does.

        Raises:
            StorageError: a directory cannot be listed.
        """
        for device in _names(top):
            known = self._recall(device)
            learned: list[tuple[str, str, str, bytes]] = []
            for clip in _names(top / device):
                place = f"{top}/{device}/{clip}"
                stamp = _stamp(place)
                before = _remembered(known.get(clip), stamp)
                if before is not None:
                    del known[clip]
                    yield before
                    continue
                found = _load(Path(place))
                yield found
                if stamp and isinstance(found, StoredClip):
                    known.pop(clip, None)
                    learned.append((device, clip, stamp, _encoder.encode(found)))
            self._learn(device, learned, list(known))

    def _recall(self, device: str) -> _Known:
        try:
            with closing(sqlite3.connect(self._path, timeout=_TIMEOUT_S)) as database:
                database.execute(_TABLE)
                rows = database.execute("SELECT clip, stamp, row FROM clips_1 WHERE device = ?", (device,))
                return {clip: (stamp, row) for clip, stamp, row in rows}
        except sqlite3.Error as error:
            self._give_up(error)
            return {}

    def _learn(self, device: str, learned: list[tuple[str, str, str, bytes]], gone: list[str]) -> None:
        if not learned and not gone:
            return
        try:
            with closing(sqlite3.connect(self._path, timeout=_TIMEOUT_S)) as database, database:
                database.executemany(
                    "DELETE FROM clips_1 WHERE device = ? AND clip = ?", [(device, clip) for clip in gone]
                )
                database.executemany("INSERT OR REPLACE INTO clips_1 VALUES (?, ?, ?, ?)", learned)
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: sqlite3.Error) -> None:
        """Go on without; a file that is no database any more is removed, for the next walk to make another."""
        _logger.warning("what was remembered of the store cannot be used: %s", error)
        if isinstance(error, sqlite3.OperationalError):
            return  # locked, or storage refuses: it may be whole
        try:
            self._path.unlink(missing_ok=True)
        except OSError as refused:
            _logger.warning("cannot remove %s: %s", self._path.name, refused.strerror)


def _names(directory: Path) -> list[str]:
    """List as `shelves.list_directory`, without a call for each entry."""
    try:
        with os.scandir(directory) as entries:
            return sorted(each.name for each in entries if not each.name.startswith(".") and each.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot list {directory.name}", error) from error


def _remembered(row: tuple[str, bytes] | None, stamp: str) -> StoredClip | None:
    if row is None or not stamp or row[0] != stamp:
        return None
    try:
        return _decoder.decode(row[1])
    except msgspec.MsgspecError:
        return None  # another version wrote it; the manifest is read again


def _stamp(place: str) -> str:
    """Say what tells that nothing has changed; empty if that cannot be told yet."""
    try:
        directory, manifest = os.stat(place), os.stat(f"{place}/{MANIFEST}")  # noqa: PTH116 - 100,000 of them
    except OSError:
        return ""  # reading it says what is wrong
    if not 0 <= directory.st_mtime_ns < time.time_ns() - _FRESH_NS:
        return ""
    parts = (
        directory.st_dev,
        directory.st_ino,
        directory.st_mtime_ns,
        manifest.st_ino,
        manifest.st_size,
        manifest.st_mtime_ns,
        manifest.st_ctime_ns,
    )
    return ".".join(map(str, parts))


def _load(directory: Path) -> StoredClip | DamagedClip:
    try:
        return load_stored(directory)
    except StorageError:
        raise
    except (EvidenceError, OSError) as error:
        return DamagedClip(place=f"{directory.parent.name}/{directory.name}", reason=str(error))
