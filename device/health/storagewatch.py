"""Looks at storage in a thread of its own: a card that freezes must freeze neither recorder nor health."""

import threading
from collections.abc import Callable
from pathlib import Path

from device.health.readings import CardReading, read_card
from device.recording.events import StorageLevel
from device.vault.space import Reserve, read_space
from device.vault.vault import FileOpener
from evidence.storage import PosixAppendFile, StorageError

__all__ = ["StorageWatch"]

_PROBE = ".probe"
_PROBE_BYTES = bytes(512)


class StorageWatch:
    """Looks once a period and posts what it finds.

    `wants_probe` says that a writer has got nothing done for a while: then a few bytes are written and synced,
    so that a card that is frozen, from which only patience helps, is told from a writer that hangs.
    """

    def __init__(
        self,
        root: Path,
        reserve: Reserve,
        post: Callable[[StorageLevel], None],
        *,
        minimum_bytes: int,
        now_ns: Callable[[], int],
        wants_probe: Callable[[], bool] = lambda: False,
        open_file: FileOpener = PosixAppendFile,
        period_s: float = 1.0,
    ) -> None:
        self._root = root
        self._reserve = reserve
        self._post = post
        self._minimum_bytes = minimum_bytes
        self._now_ns = now_ns
        self._wants_probe = wants_probe
        self._open_file = open_file
        self._period_s = period_s
        self._asked_ns: int | None = None
        self.card = CardReading()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-watch", daemon=True)

    def start(self) -> None:
        """Look once, at once, and then once a period."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        """Stop looking; a look that storage does not answer is left behind."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(self._period_s)

    def look(self) -> None:
        """Look once; returns when storage has answered."""
        self._asked_ns = self._now_ns()
        level = self._level()
        self._asked_ns = None
        self._post(level)

    def silent_ns(self, now_ns: int) -> int:
        """Return for how long storage has owed an answer; 0 between two looks, however far apart they are."""
        asked_ns = self._asked_ns
        return 0 if asked_ns is None else now_ns - asked_ns

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self.look()

    def _level(self) -> StorageLevel:
        """Judge the space; a reserve that was given up is taken back first, when there is room for it."""
        try:
            if self._wants_probe():
                self._probe()
            self.card = _card(self._root)
            space = read_space(self._root)
            reason = ""
            if not self._reserve.held:
                reason = self._hold_reserve()
                space = read_space(self._root)
        except StorageError as error:
            return StorageLevel(free_bytes=0, usable_bytes=0, blocked=True, reason=str(error))
        usable = max(0, space.free_bytes - self._minimum_bytes)
        if not reason and not usable:
            reason = "storage is full"
        return StorageLevel(
            free_bytes=space.free_bytes, usable_bytes=usable, blocked=bool(reason), reason=reason
        )

    def _hold_reserve(self) -> str:
        try:
            self._reserve.hold()
        except StorageError as error:
            return "storage is full" if error.full else str(error)
        return ""

    def _probe(self) -> None:
        """Write, sync and remove a few bytes as a writer would; one that is left from a crash goes first."""
        path = self._root / _PROBE
        _remove(path)
        file = self._open_file(path)
        try:
            file.append(_PROBE_BYTES)
            file.sync()
        finally:
            file.close()
            _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError("cannot remove the probe", error) from error


def _card(root: Path) -> CardReading:
    try:
        return read_card(root)
    except OSError as error:
        raise StorageError("cannot look at the vault", error) from error
