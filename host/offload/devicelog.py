"""Cameras' event logs as docks have fetched them: `DEVICE.EPOCH.jsonl`, lines as they came, each verified.

A camera may drop what a dock says that it has; so a dock asks on only from what is on its storage.
"""

import io
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from docklink.client import DockClient
from evidence.documents import LogHead, LogLine, decode
from evidence.errors import EvidenceError
from evidence.lines import LineReader
from evidence.storage import StorageError, cut_file, make_directory, sync_directory

__all__ = ["DeviceLogs"]

_PREFIX = b"preroll-log-v1"
_MOST_PAGES = 1024
_MODE = 0o600


class DeviceLogs:
    """A directory of event logs; each file has one writer, the bay in which its camera is."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take(self, camera: DockClient, device: str, epoch: str, key: ec.EllipticCurvePublicKey) -> int:
        """Fetch what is new; returns how many lines came.

        Raises:
            EvidenceError: a line is not good, or does not follow what was fetched before; it is not kept.
            LinkError: the session has failed.
            StorageError: storage refuses.
        """
        path = self._directory / f"{device}.{epoch}.jsonl"
        last, count = self._last(path, key), 0
        for _ in range(_MOST_PAGES):
            page = camera.log(last.index if last else 0)
            if not page:
                break
            last, lines = _follow(page, key, device, last)
            count += lines
            self._append(path, page)
        return count

    def _last(self, path: Path, key: ec.EllipticCurvePublicKey) -> LogHead | None:
        """Find the last whole line; what a crash left behind it is cut off."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {path.name}", error) from error
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            cut_file(path, len(whole))
        start = whole.rfind(b"\n", 0, len(whole) - 1) + 1
        last = None
        for line in LineReader(io.BytesIO(whole[start:]), _PREFIX, key):
            last = LogHead(index=decode(line.value, LogLine).index, sha256=line.sha256)
        return last

    def _append(self, path: Path, page: bytes) -> None:
        try:
            if not self._directory.is_dir():
                make_directory(self._directory)
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
            with open(fd, "ab") as file:  # noqa: PTH123 - a descriptor, for the mode of a new file
                file.write(page)
                file.flush()
                os.fdatasync(file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {path.name}", error) from error
        sync_directory(self._directory)


def _follow(
    page: bytes, key: ec.EllipticCurvePublicKey, device: str, last: LogHead | None
) -> tuple[LogHead | None, int]:
    """Hold a page against what came before; a gap is what the camera had to drop, anything else no log."""
    reader, count = LineReader(io.BytesIO(page), _PREFIX, key), 0
    for line in reader:
        said = decode(line.value, LogLine)
        index = last.index if last else 0
        follows = said.index > index + 1 or said.previous == (last.sha256 if last else None)
        if said.device != device or said.index <= index or not follows:
            raise EvidenceError(
                "the event log does not follow what was fetched before", expected=f"line {index + 1}"
            )
        last, count = LogHead(index=said.index, sha256=line.sha256), count + 1
    if not count or reader.torn_bytes:
        raise EvidenceError("a page of the event log without whole lines")
    return last, count
