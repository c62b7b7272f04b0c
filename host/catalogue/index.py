"""The catalogue as the agent uses it: noted if it can be, never waited for, made anew when it fell behind."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from host.catalogue.catalogue import Catalogue, CatalogueDamagedError, CatalogueError, CatalogueLockedError
from host.catalogue.rebuild import rebuild
from host.custody.log import CustodyLog
from host.store.protocol import EvidenceStore

__all__ = ["CatalogueIndex"]

_logger = logging.getLogger(__name__)


class CatalogueIndex:
    """Takes notes for a catalogue that may be locked, lost or broken; offload goes on in any case.

    `missed` counts what could not be noted since the last good rebuild; above zero, answers are stale.
    `opener` opens the catalogue, and may raise `CatalogueError`. A damaged one at `path`, which holds no truth,
    is put aside with `.broken` behind its name. Thread-safe.
    """

    def __init__(
        self,
        opener: Callable[[], Catalogue],
        store: EvidenceStore,
        custody: CustodyLog,
        *,
        path: Path | None = None,
    ) -> None:
        self._opener = opener
        self._path = path
        self._store = store
        self._custody = custody
        self._lock = threading.Lock()
        self._catalogue: Catalogue | None = None
        self._reason = "not opened yet"
        self.missed = 0

    @property
    def reason(self) -> str:
        """Why the catalogue is behind, for people; empty if it is not."""
        return self._reason

    def note(self, change: Callable[[Catalogue], None]) -> bool:
        """Make a change; returns whether it was noted. What was not, the next `catch_up` brings in."""
        with self._lock:
            if self._catalogue is None or self.missed:
                self.missed += 1
                return False
            try:
                change(self._catalogue)
            except CatalogueError as error:
                self._fell_behind(error)
                return False
            return True

    def catch_up(self) -> bool:
        """Open the catalogue if need be and rebuild it if it is behind; returns whether it is good now.

        Call it at start and every minute or so. It reads the whole store's manifests if there is need.

        Raises:
            StorageError: store or custody log cannot be read.
        """
        with self._lock:
            if self._catalogue is not None and not self.missed:
                return True
            try:
                self._catalogue = self._catalogue or self._opener()
                rebuild(self._catalogue, self._store, self._custody)
            except CatalogueError as error:
                self._fell_behind(error)
                return False
            self.missed = 0
            self._reason = ""
            return True

    def close(self) -> None:
        """Close the catalogue."""
        with self._lock:
            if self._catalogue:
                self._catalogue.close()
                self._catalogue = None

    def _fell_behind(self, error: CatalogueError) -> None:
        """Remember why; all but a lock needs the database opened anew, or a fresh one."""
        self.missed += 1
        if str(error) != self._reason:
            _logger.warning("%s", error)
        self._reason = str(error)
        if isinstance(error, CatalogueLockedError):
            return
        if self._catalogue is not None:
            self._catalogue.close()
            self._catalogue = None
        if isinstance(error, CatalogueDamagedError) and self._path is not None:
            self._put_aside(self._path)

    def _put_aside(self, path: Path) -> None:
        try:
            path.replace(path.with_name(f"{path.name}.broken"))
            for suffix in ("-wal", "-shm"):  # they belong to it, and would be replayed into the next
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            _logger.warning("cannot put the catalogue %s aside: %s", path.name, error.strerror)
