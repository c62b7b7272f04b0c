"""Output that is there whole or not at all, and never in the place of something else.

Decrypted footage is written to a file without a name (`O_TMPFILE` of Linux): killed half-way, nothing is left
of it. Where a file system cannot do that, it gets a hidden temporary name in the same directory.
"""

import errno
import hashlib
import os
import tempfile
from pathlib import Path

from evidence.errors import EvidenceError
from evidence.storage import StorageError

__all__ = ["OutputExistsError", "OutputFile", "publish_together"]

_MODE = 0o600
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class OutputExistsError(EvidenceError):
    """There is something at the place of the output already."""


class OutputFile:
    """One new file; its digest runs along.

    Attributes:
        size_bytes: bytes written so far.
    """

    def __init__(self, path: Path) -> None:
        """Open it in the directory of `path`, under no name or a hidden one.

        Raises:
            OutputExistsError: there is something at `path`.
            StorageError: it cannot be created there.
        """
        self.path = path
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._hidden: Path | None = None
        self.refuse_existing()
        try:
            self._fd = self._open()
        except OSError as error:
            raise StorageError(f"cannot create {path}", error) from error

    @property
    def sha256(self) -> str:
        """Digest of what was written so far."""
        return self._digest.hexdigest()

    def refuse_existing(self) -> None:
        """Refuse to go on if something has come to lie at the path.

        Raises:
            OutputExistsError: it has.
        """
        if self.path.exists() or self.path.is_symlink():
            raise OutputExistsError(
                f"{self.path} is there already", remedy="nothing is overwritten; choose another"
            )

    def write(self, data: bytes | memoryview) -> None:
        """Write all of `data`.

        Raises:
            StorageError: storage refuses.
        """
        self._digest.update(data)
        view = memoryview(data)
        while view:
            try:
                count = os.write(self._fd, view)
            except OSError as error:
                raise StorageError(f"cannot write {self.path.name}", error) from error
            self.size_bytes += count
            view = view[count:]

    def publish(self) -> None:
        """Put the bytes on storage, then give the file its name.

        Raises:
            OutputExistsError: something has come to lie there.
            StorageError: storage refuses.
        """
        try:
            os.fsync(self._fd)
            self._link()
        except FileExistsError as error:
            raise OutputExistsError(f"{self.path} is there already", remedy="nothing is overwritten") from error
        except OSError as error:
            raise StorageError(f"cannot publish {self.path.name}", error) from error

    def close(self) -> None:
        """Let go of the file; if it was not published, nothing is left of it. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._hidden is not None:
            self._hidden.unlink(missing_ok=True)
            self._hidden = None

    def _open(self) -> int:
        directory = self.path.absolute().parent
        try:
            return os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, _MODE)
        except OSError as error:
            if error.errno not in _NO_UNNAMED or not directory.is_dir():
                raise
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".tmp", dir=directory)
        self._hidden = Path(name)
        return descriptor

    def _link(self) -> None:
        if self._hidden is None:
            directory = os.open(self.path.absolute().parent, os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # With a `dir_fd` Python calls linkat(2) and follows the descriptor: how a file without
                # a name gets one (open(2), O_TMPFILE). It fails if the name is taken.
                source = f"/proc/self/fd/{self._fd}"
                os.link(source, self.path.name, dst_dir_fd=directory, follow_symlinks=True)
            finally:
                os.close(directory)
            return
        try:
            self.path.hardlink_to(self._hidden)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self.refuse_existing()  # FAT knows no links: a rename, and a moment in which it could overwrite
            self._hidden.rename(self.path)
            self._hidden = None


def publish_together(files: "list[OutputFile]") -> None:
    """Publish files in their order; if one fails, those before it are taken back.

    Raises:
        OutputExistsError: something lies in the place of one.
        StorageError: storage refuses.
    """
    published: list[OutputFile] = []
    try:
        for file in files:
            file.publish()
            published.append(file)
    except EvidenceError:
        for file in published:
            file.path.unlink(missing_ok=True)
        raise
