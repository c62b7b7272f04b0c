"""Who wears which camera for a shift: kept on disk until the camera was told, or the shift is over."""

import threading
from pathlib import Path

import msgspec

from docklink.messages import WearerAssignment
from evidence.clock import format_utc
from evidence.decoding import json_decoder
from evidence.errors import EvidenceError
from evidence.storage import StorageError, publish_file

__all__ = ["Wearers"]

_LIMIT_BYTES = 1 << 20


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    assignment: WearerAssignment
    told: bool = False


class Wearers:
    """Assignments by camera, in one file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Read what was assigned before.

        Raises:
            EvidenceError: the file is not one of ours.
            StorageError: it cannot be read.
        """
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        try:
            with path.open("rb") as file:
                self._entries = json_decoder(dict[str, _Entry]).decode(file.read(_LIMIT_BYTES))
        except FileNotFoundError:
            return  # nothing was assigned yet
        except OSError as error:
            raise StorageError(f"cannot read {path.name}", error) from error
        except msgspec.MsgspecError as error:
            raise EvidenceError(f"cannot use {path}", found=str(error), remedy="delete it") from error

    def assign(self, device: str, assignment: WearerAssignment) -> None:
        """Assign, durably; the camera is told in its next session.

        Raises:
            StorageError: it cannot be kept.
        """
        with self._lock:
            self._keep({**self._entries, device: _Entry(assignment)})

    def pending(self, device: str, now_utc_ns: int) -> WearerAssignment | None:
        """Return what a camera has to be told, unless its shift is over."""
        with self._lock:
            entry = self._entries.get(device)
        if entry is None or entry.told or entry.assignment.end_utc <= format_utc(now_utc_ns):
            return None
        return entry.assignment

    def told(self, device: str, assignment: WearerAssignment) -> None:
        """Note that the camera knows.

        Raises:
            StorageError: it cannot be kept; the camera is told once more.
        """
        with self._lock:
            if self._entries.get(device) == _Entry(assignment):
                self._keep({**self._entries, device: _Entry(assignment, told=True)})

    def _keep(self, entries: dict[str, _Entry]) -> None:
        publish_file(self._path, msgspec.json.encode(entries))
        self._entries = entries
