"""When checkpoints are made, and where they go: into the store, and to places that a second party can take."""

import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from evidence.attestations import read_bounded
from evidence.cms import CMS_LIMIT_BYTES
from evidence.documents import Checkpoint, CustodyHead, decode
from evidence.errors import EvidenceError
from evidence.signer import Signer
from evidence.storage import StorageError, publish_file
from host.custody.checkpoints import keep_checkpoint, make_checkpoint
from host.custody.log import CustodyLog, HeadStanding

__all__ = ["CheckpointKeeper", "CheckpointStatus", "CopyStatus"]


class CopyStatus(msgspec.Struct, frozen=True):
    """One place for copies: the last entry that one there covers, and what is wrong with the place."""

    place: str
    entries: int
    error: str = ""


class CheckpointStatus(msgspec.Struct, frozen=True):
    """The last checkpoint: how many entries it covers, when it was made; how many came since; its copies."""

    entries: int
    utc: str | None
    since: int
    error: str = ""
    copies: tuple[CopyStatus, ...] = ()


class CheckpointKeeper:
    """Makes a checkpoint after so many entries or so much time, and at a clean stop. Thread-safe.

    A place for copies that is not there (a stick that somebody took along) gets all that it lacks when it is
    back; its directory is never made, for it would be made on the wrong disk.
    """

    def __init__(
        self,
        log: CustodyLog,
        store: str,
        signer: Signer,
        directory: Path,
        *,
        copies: Sequence[Path] = (),
        every_entries: int = 1000,
        every_ns: int = 3600 * 1_000_000_000,
    ) -> None:
        self._log = log
        self._store = store
        self._signer = signer
        self._directory = directory
        self._every_entries = every_entries
        self._every_ns = every_ns
        self._lock = threading.Lock()
        self._copies = {place: CopyStatus(str(place), 0) for place in copies}
        self._last: Checkpoint | None = None
        self._made_ns: int | None = None
        self._error = ""

    @property
    def status(self) -> CheckpointStatus:
        """How it stands."""
        with self._lock:
            entries = self._last.entries if self._last else 0
            return CheckpointStatus(
                entries=entries,
                utc=self._last.utc if self._last else None,
                since=(self._log.head.entries if self._log.head else 0) - entries,
                error=self._error,
                copies=tuple(self._copies.values()),
            )

    def begin(self, monotonic_ns: int) -> tuple[str, ...]:
        """Take up from the checkpoints that lie there; say which do not agree with the log.

        The newest of each place is held against the log: every entry names the one before, so a log that
        agrees with the newest is the one that the earlier were made of. Signatures: `verify_custody`.
        """
        troubles = []
        with self._lock:
            self._made_ns = monotonic_ns
            for place in (self._directory, *self._copies):
                try:
                    newest = _newest(place)
                    if newest is None:
                        continue
                    standing = self._log.look_up(CustodyHead(entries=newest.entries, head=newest.head))
                except EvidenceError as error:
                    troubles.append(f"a checkpoint in {place} cannot be read: {error}")
                    continue
                if standing is not HeadStanding.KNOWN:
                    what = "ends before" if standing is HeadStanding.AHEAD else "is not the log of"
                    troubles.append(f"the custody log {what} the checkpoint {newest.entries} in {place}")
                elif place == self._directory:
                    self._last = newest
        return tuple(troubles)

    def look(self, monotonic_ns: int, utc_ns: int) -> None:
        """Make a checkpoint if one is due, and bring the places for copies up to date."""
        with self._lock:
            if self._due(monotonic_ns):
                self._make(monotonic_ns, utc_ns)
            self._copy()

    def finish(self, monotonic_ns: int, utc_ns: int) -> None:
        """Make a last one, at a clean stop, unless nothing came since."""
        with self._lock:
            if self._since():
                self._make(monotonic_ns, utc_ns)
            self._copy()

    def _since(self) -> int:
        head = self._log.head
        return (head.entries if head else 0) - (self._last.entries if self._last else 0)

    def _due(self, monotonic_ns: int) -> bool:
        since = self._since()
        late = self._made_ns is None or monotonic_ns - self._made_ns >= self._every_ns
        return since >= self._every_entries or (since > 0 and late)

    def _make(self, monotonic_ns: int, utc_ns: int) -> None:
        try:
            signed = make_checkpoint(self._log, self._store, self._signer, utc_ns)
            keep_checkpoint(self._directory, signed)
        except EvidenceError as error:
            self._error = str(error)
            return
        self._error = ""
        self._last = signed.checkpoint
        self._made_ns = monotonic_ns

    def _copy(self) -> None:
        """Copy what the places lack; nothing is looked at as long as they have the last one."""
        last = self._last.entries if self._last else 0
        for place, status in self._copies.items():
            if status.entries == last and not status.error:
                continue
            try:
                _copy_missing(self._directory, place)
            except EvidenceError as error:
                self._copies[place] = CopyStatus(str(place), status.entries, str(error))
            else:
                self._copies[place] = CopyStatus(str(place), last)


def _names(place: Path) -> list[str]:
    try:
        return sorted(path.name for path in place.iterdir() if path.suffix == ".json" and path.stem.isdigit())
    except OSError as error:
        raise StorageError(f"cannot list {place}", error) from error


def _newest(place: Path) -> Checkpoint | None:
    names = _names(place)
    if not names:
        return None
    try:
        return decode(read_bounded(place / names[-1]), Checkpoint)
    except OSError as error:
        raise StorageError(f"cannot read {names[-1]}", error) from error


def _copy_missing(source: Path, place: Path) -> None:
    """Copy the signature, then the document, whose presence means that both are there."""
    for name in sorted(set(_names(source)) - set(_names(place))):
        path = source / name
        try:
            document, cms = read_bounded(path), read_bounded(path.with_suffix(".p7s"), CMS_LIMIT_BYTES)
        except OSError as error:
            raise StorageError(f"cannot read {name}", error) from error
        publish_file((place / name).with_suffix(".p7s"), cms)
        publish_file(place / name, document)
