"""The directory of a file-system store: formatting, opening, what lies where (docs/store.md)."""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

import msgspec

from evidence.documents.fields import StoreId
from evidence.holdings import HoldingsError, StoreFacts, load_store
from evidence.storage import StorageError, make_directory, publish_file, sync_directory
from host.store.errors import StoreError, StoreGoneError, StoreInUseError
from host.store.values import ClipKey, clip_key

__all__ = ["StoreLayout", "format_store", "open_layout"]

_FORMAT = 1
_DIRECTORIES = ("clips", "partial", "quarantine", "tombstones", "heads", "disposals", "checkpoints")
_TRASH_PREFIX = ".trash-"


class StoreLayout:
    """An opened store: its id and paths, and the lock that keeps a second agent out."""

    def __init__(self, root: Path, store_id: str, lock_fd: int) -> None:
        self.root = root
        self.store_id = store_id
        self.clips = root / "clips"
        self.partial = root / "partial"
        self.quarantine = root / "quarantine"
        self.tombstones = root / "tombstones"
        self.heads = root / "heads"
        self.disposals = root / "disposals"
        self._lock_fd = lock_fd

    def clip(self, key: ClipKey) -> Path:
        """Return the place of a clip."""
        return self.clips / key.device / key.clip

    def partial_of(self, key: ClipKey) -> Path:
        """Return the place of a fetch; two different clips of one name have two."""
        return self.partial / f"{key.clip}.{key.manifest_sha256}"

    def partial_keys(self) -> tuple[ClipKey, ...]:
        """Return the fetches that lie there; what has another name is none of ours.

        Raises:
            StorageError: the directory cannot be listed.
        """
        keys = []
        try:
            names = sorted(path.name for path in self.partial.iterdir())
        except OSError as error:
            raise StorageError("cannot list the fetches of the store", error) from error
        for name in names:
            clip, _, digest = name.partition(".")
            with contextlib.suppress(StoreError):
                keys.append(clip_key(clip.partition("-")[2].rpartition("-")[0], clip, digest))
        return tuple(keys)

    def require_present(self) -> None:
        """Require that this very store is still where it was opened.

        Raises:
            StoreGoneError: it was unplugged, or another one is in its place.
        """
        try:
            here, opened = (self.root / "store.json").stat(), os.fstat(self._lock_fd)
        except OSError as error:
            raise StoreGoneError(
                f"the store {self.store_id} is gone",
                expected=str(self.root / "store.json"),
                found=error.strerror or type(error).__name__,
                remedy="plug it in or mount it again; the agent goes on by itself",
            ) from error
        if (here.st_dev, here.st_ino) != (opened.st_dev, opened.st_ino):
            raise StoreGoneError(
                f"another store lies where {self.store_id} was",
                found=str(self.root),
                remedy="mount the right one; the agent goes on by itself",
            )

    def make_way(self, directory: Path) -> None:
        """Make a directory for a device, durably, if there is none yet.

        Raises:
            StorageError: it cannot be made.
        """
        if directory.is_dir():
            return
        with contextlib.suppress(FileExistsError):  # another worker was faster
            make_directory(directory)
        sync_directory(directory.parent)

    def throw_away(self, directory: Path) -> None:
        """Delete a directory so that no half of it is ever seen under its name.

        Raises:
            StorageError: it cannot be renamed or deleted.
        """
        trash = self.partial / f"{_TRASH_PREFIX}{directory.name}"
        try:
            if trash.exists():
                shutil.rmtree(trash)
            if directory.exists():
                directory.rename(trash)
                sync_directory(directory.parent)
                shutil.rmtree(trash)
        except OSError as error:
            raise StorageError(f"cannot delete {directory.name}", error) from error

    def sweep(self) -> None:
        """Delete what a crash left of deletions.

        Raises:
            StorageError: the file system refuses.
        """
        try:
            for path in self.partial.iterdir():
                if path.name.startswith(_TRASH_PREFIX):
                    shutil.rmtree(path)
        except OSError as error:
            raise StorageError("cannot clear unfinished deletions", error) from error

    def close(self) -> None:
        """Let another agent in."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def format_store(root: Path, store_id: str) -> None:
    """Make an empty store; `store.json` is published last.

    Raises:
        StoreError: a store is there already, or the id is not in its grammar.
        StorageError: it cannot be written.
    """
    try:
        msgspec.convert(store_id, StoreId)
    except msgspec.ValidationError as error:
        raise StoreError(
            "not the id of a store", expected="1 to 32 of a-z, 0-9 and -", found=ascii(store_id[:40])
        ) from error
    if (root / "store.json").exists():
        raise StoreError("cannot format the store", expected="no store", found=f"one in {root}")
    try:
        for name in _DIRECTORIES:
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"cannot make the store in {root}", error) from error
    publish_file(root / "store.json", msgspec.json.encode(StoreFacts(format=_FORMAT, store=store_id)))


def open_layout(root: Path, store_id: str | None) -> StoreLayout:
    """Open a store for one process, until `close` or the process ends.

    Raises:
        StoreError: no store there, unreadable facts, or another store than `store_id`.
        StoreInUseError: another agent has it.
        StorageError: the file system refuses.
    """
    try:
        facts = load_store(root)
    except HoldingsError as error:
        raise StoreError(
            f"no store in {root}", found=str(error), remedy="mount it, or format a new one"
        ) from error
    if store_id is not None and facts.store != store_id:
        raise StoreError("another store lies there", expected=store_id, found=facts.store)
    layout = StoreLayout(root, facts.store, _lock(root / "store.json"))
    try:
        for name in _DIRECTORIES:
            layout.make_way(root / name)
        layout.sweep()
    except StorageError:
        layout.close()
        raise
    return layout


def _lock(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"cannot open {path}", error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise StoreInUseError(
            f"the store in {path.parent} is in use",
            expected="one agent a store",
            found="another process that has it open",
            remedy="stop the other agent first",
        ) from error
    except OSError as error:
        os.close(fd)
        raise StorageError(f"cannot lock {path}", error) from error
    return fd
