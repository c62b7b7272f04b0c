"""A clip being fetched, as a directory on a file system."""

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

from cryptography.hazmat.primitives.asymmetric import ec

from evidence.documents import ClipStart, Manifest
from evidence.journal import JournalReader
from evidence.steps import Operation, step
from evidence.storage import StorageError, cut_file, publish_file
from host.store.direct import DirectFile, OpenFile, open_file
from host.store.errors import StoreError
from host.store.follow import Follower
from host.store.readback import ClipFiles, Verified
from host.store.resume import resume_point, stretches
from host.store.values import CIPHERTEXT, CLIP_FILES, JOURNAL, TAIL, ClipKey

__all__ = ["SYNC_EVERY_BYTES", "DirectoryFiles", "FilePartial", "FilePartialWriter"]

SYNC_EVERY_BYTES = 2 * 1024 * 1024
"""One such stretch may be on its way to storage while the next is written: at most two are ever unsynced."""
_LARGE = (CIPHERTEXT, TAIL)
_MODE = 0o600


class DirectoryFiles:
    """The files of a clip in a directory, read from storage."""

    def __init__(self, directory: Path, opener: OpenFile = open_file) -> None:
        self._directory = directory
        self._opener = opener

    def open(self, name: str) -> DirectFile:
        """Open one for reading from storage."""
        return DirectFile(self._directory / name, self._opener)

    def size_bytes(self, name: str) -> int | None:
        """Return the size of one, `None` if it is not there."""
        try:
            return (self._directory / name).lstat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot look at {name}", error) from error


class FilePartialWriter:
    """Appends to a file; a helper thread syncs what was appended while the next is taken from the line."""

    def __init__(self, path: Path, start: int, noted: Callable[[int], None]) -> None:
        self.follower: Follower | None = None
        self._path = path
        self._noted = noted
        self._size = start
        self._durable = 0
        self._unsynced = 0
        self._syncing: Future[None] | None = None
        try:
            if not path.exists():
                step(Operation.CREATE, path)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
            present = os.fstat(self._fd).st_size
        except OSError as error:
            raise StorageError(f"cannot write {path.name}", error) from error
        try:
            _require_size(path.name, present, start)
            if present > start:
                cut_file(path, start)
            os.lseek(self._fd, start, os.SEEK_SET)
        except (StoreError, StorageError):
            os.close(self._fd)
            raise
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="store-sync")
        noted(start)

    @property
    def size_bytes(self) -> int:
        """Bytes of the file so far."""
        return self._size

    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data`; what a failure left of it is behind `size_bytes` and gets cut off."""
        step(Operation.APPEND, self._path)
        view = memoryview(data)
        while view:
            try:
                count = os.pwrite(self._fd, view[: SYNC_EVERY_BYTES - self._unsynced], self._size)
            except OSError as error:
                raise StorageError(f"cannot write {self._path.name}", error) from error
            self._size += count
            self._unsynced += count
            view = view[count:]
            if self._unsynced >= SYNC_EVERY_BYTES:
                self._await_sync()
                self._begin_sync()
        self._noted(self._size)

    def sync(self) -> None:
        """Return once everything is on storage."""
        self._await_sync()
        self._begin_sync()
        self._await_sync()

    def close(self) -> None:
        """Close the descriptor (once); an error of a sync under way is for the next reading back to find."""
        if self._fd < 0:
            return
        self._helper.shutdown()
        os.close(self._fd)
        self._fd = -1
        if self.follower and self._durable == self._size:
            self.follower.end()
        elif self.follower:
            self.follower.abandon()

    def _begin_sync(self) -> None:
        step(Operation.SYNC, self._path)
        start, self._unsynced = self._size - self._unsynced, 0
        self._syncing = self._helper.submit(self._sync_stretch, start, self._size - start)

    def _await_sync(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is None:
            return
        try:
            syncing.result()
        except OSError as error:
            raise StorageError(f"cannot sync {self._path.name}", error) from error

    def _sync_stretch(self, start: int, length: int) -> None:
        _sync_and_drop(self._fd, start, length)
        self._durable = start + length
        if self.follower:
            self.follower.durable(self._durable)


def _sync_and_drop(fd: int, start: int, length: int) -> None:
    """Sync, then let go of the pages: they are read from storage next, and fresh ones cost more than a core."""
    os.fdatasync(fd)
    os.posix_fadvise(fd, start, length, os.POSIX_FADV_DONTNEED)


def _require_size(name: str, present: int, start: int) -> None:
    if present < start:
        raise StoreError(f"cannot go on with {name} at byte {start}", found=f"{present} bytes")


class FilePartial:
    """A fetch in `partial/`; its store hands it out, and knows by `missing_bytes` what is promised to it."""

    def __init__(
        self,
        directory: Path,
        key: ClipKey,
        expected_bytes: int,
        *,
        opener: OpenFile,
        closed: Callable[["FilePartial", bool], None],
    ) -> None:
        """Take a directory that is there; `closed` hears of the end, and whether to delete what was fetched."""
        self.directory = directory
        self._key = key
        self._expected_bytes = expected_bytes
        self._opener = opener
        self._closed = closed
        self._writers: dict[str, FilePartialWriter] = {}
        self._to_follow: tuple[Manifest, ec.EllipticCurvePublicKey] | None = None
        self._follower: Follower | None = None
        files = DirectoryFiles(directory, opener)
        self._sizes = {name: files.size_bytes(name) or 0 for name in (*CLIP_FILES, TAIL)}
        self.open = True

    @property
    def key(self) -> ClipKey:
        """Which clip."""
        return self._key

    @property
    def expected_bytes(self) -> int:
        """What it will come to."""
        return self._expected_bytes

    @property
    def missing_bytes(self) -> int:
        """What is still to be written."""
        return max(0, self._expected_bytes - sum(self._sizes.values()))

    @property
    def files(self) -> ClipFiles:
        """What there is, read from storage."""
        return DirectoryFiles(self.directory, self._opener)

    def put(self, name: str, data: bytes) -> None:
        """Store a small file whole, durably; the same bytes are not written twice."""
        self._require(name, CLIP_FILES)
        path = self.directory / name
        try:
            with path.open("rb") as file:
                if file.read(len(data) + 1) == data:
                    return
        except FileNotFoundError:
            self._sizes[name] = 0
        except OSError as error:
            raise StorageError(f"cannot read {name}", error) from error
        self._stop_following()
        publish_file(path, data)
        self._sizes[name] = len(data)

    def writer(self, name: str, start: int) -> FilePartialWriter:
        """Go on with a large file at a byte."""
        self._require(name, _LARGE)
        before = self._writers.pop(name, None)
        if before:
            before.close()
        if name == CIPHERTEXT:
            self._stop_following()
        writer = FilePartialWriter(
            self.directory / name, start, lambda size: self._sizes.__setitem__(name, size)
        )
        self._writers[name] = writer
        if name == CIPHERTEXT and self._to_follow:
            self._follower = writer.follower = Follower(self.directory, self._opener, *self._to_follow)
        return writer

    def follow(self, manifest: Manifest, public_key: ec.EllipticCurvePublicKey) -> None:
        """Have a thread read the ciphertext back behind the next writer."""
        self._to_follow = (manifest, public_key)

    def verified(self, advance: Callable[[int], object]) -> Verified | None:
        """Return what reading back beside the fetch came to; `None` if that does not count."""
        return self._follower.verified(advance) if self._follower else None

    def resume_point(self, manifest: Manifest, public_key: ec.EllipticCurvePublicKey) -> int:
        """Return from which byte of the ciphertext to go on."""
        with contextlib.ExitStack() as stack:
            try:
                source = stack.enter_context(closing(self.files.open(CIPHERTEXT)))
                stream = stack.enter_context(closing(self.files.open(JOURNAL)))
            except FileNotFoundError:
                return 0
            lines = JournalReader(cast("BinaryIO", stream), public_key)  # it calls `read`, no more
            points = (line.document for line in lines if not isinstance(line.document, ClipStart))
            return resume_point(source, stretches(points, manifest))

    def close_writers(self) -> None:
        """Close the files, so that nothing grows while it is read back."""
        while self._writers:
            self._writers.popitem()[1].close()

    def _stop_following(self) -> None:
        if self._follower:
            self._follower.abandon()
            self._follower = None

    def discard(self) -> None:
        """Delete what was fetched, and close."""
        self._end(delete=True)

    def close(self) -> None:
        """Stop fetching for now."""
        self._end(delete=False)

    def _end(self, *, delete: bool) -> None:
        self.close_writers()
        self._stop_following()
        if self.open:
            self.open = False
            self._closed(self, delete)

    def _require(self, name: str, names: tuple[str, ...]) -> None:
        if not self.open:
            raise StoreError("the fetch is closed", found=self._key.clip, remedy="open it again")
        if name not in names:
            raise StoreError("not a file of a clip", expected=" or ".join(names), found=ascii(name[:40]))
