"""The clips held on the camera: claiming numbers, listing, space.

A claim is durable, with line 0 of the journal, before the first byte of the clip: line 0 is written and synced
in a directory of another name, and the rename is what makes it a clip. So a directory with a clip's name always
holds a whole line 0, and a number that anybody can have seen is never given twice.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from device.vault.layout import CLAIM_PREFIX, VaultError, VaultFacts, VaultLayout
from device.vault.space import Reserve, Space, read_space
from evidence.decoding import json_decoder
from evidence.documents import ClipStart, decode
from evidence.errors import EvidenceError
from evidence.storage import (
    AppendFile,
    PosixAppendFile,
    StorageError,
    make_directory,
    rename,
    sync_directory,
)

__all__ = ["ClaimedClip", "ClipEntry", "ClipPlace", "FileOpener", "Numbering", "Vault", "list_clips"]

FileOpener = Callable[[Path], AppendFile]
"""Creates a file to append to; tests put a slow or failing card here."""

_LINE_LIMIT_BYTES = 1 << 20


class ClipPlace(msgspec.Struct, frozen=True):
    """The place in the numbering that a claim takes."""

    device: str
    epoch: str
    generation: int
    number: int
    previous_start: str | None


class Numbering(msgspec.Struct, frozen=True):
    """The epoch, the highest number in it (0 if none), and the digest of that number's line 0."""

    facts: VaultFacts
    number: int
    start_sha256: str | None


class ClaimedClip(msgspec.Struct, frozen=True):
    """A claimed number: the clip's directory, its journal (line 0 on storage), the way to make more files."""

    name: str
    number: int
    directory: Path
    journal: AppendFile
    open_file: FileOpener


class ClipEntry(msgspec.Struct, frozen=True):
    """One clip of a vault or store, as it lies there; nothing about it is verified."""

    name: str
    directory: Path
    state: str
    bytes: int


class Vault:
    """All clips of this camera. Thread-safe."""

    def __init__(
        self, layout: VaultLayout, open_file: FileOpener = PosixAppendFile, reserve: Reserve | None = None
    ) -> None:
        self._layout = layout
        self._open_file = open_file
        self._lock = threading.Lock()
        self._reserve = reserve or Reserve(layout.reserve)
        self.damaged: list[str] = []
        self._number, self._last_start = self._find_last()

    @property
    def layout(self) -> VaultLayout:
        """Where things lie."""
        return self._layout

    @property
    def reserve(self) -> Reserve:
        """The space kept for sealing and logs."""
        return self._reserve

    @property
    def last_number(self) -> int:
        """The highest number claimed in this epoch, 0 if none."""
        return self._number

    def numbering(self) -> Numbering:
        """How far the numbering has come, all of one moment."""
        with self._lock:
            return Numbering(self._layout.facts, self._number, self._last_start)

    def space(self) -> Space:
        """Space left on the vault's file system.

        Raises:
            StorageError: the file system does not answer.
        """
        return read_space(self._layout.root)

    def claim(self, make_line0: Callable[[ClipPlace], tuple[str, bytes]]) -> ClaimedClip:
        """Claim the next number; `make_line0` returns the clip's name and its signed line 0.

        Raises:
            StorageError: line 0 could not be put on storage; the number is not taken, unless its directory has
                its name already: recovery then finds a number that holds nothing.
        """
        with self._lock:
            facts = self._layout.facts
            place = ClipPlace(facts.device, facts.epoch, facts.generation, self._number + 1, self._last_start)
            name, line0 = make_line0(place)
            try:
                clip = self._write_claim(place.number, name, line0)
            except StorageError:
                # Published, though not known to be on storage: given again, the number would be a fork.
                if (self._layout.clips / name).exists():
                    self._take(place.number, line0)
                raise
            self._take(place.number, line0)
            return clip

    def begin_epoch(self, seen_generation: int) -> VaultFacts:
        """Number from 1 again in a new epoch: a dock has seen a later head than ours (`POST /v1/epoch`).

        A clip that is open keeps its number. Whoever calls has checked the dock's signature, and logs the head
        that the new epoch follows.

        Raises:
            StorageError: it cannot be written; the old epoch goes on.
        """
        with self._lock:
            facts = self._layout.begin_epoch(seen_generation)
            self._number, self._last_start = 0, None
            return facts

    def _take(self, number: int, line0: bytes) -> None:
        self._number = number
        self._last_start = hashlib.sha256(line0).hexdigest()

    def _write_claim(self, number: int, name: str, line0: bytes) -> ClaimedClip:
        staging = self._layout.clips / f"{CLAIM_PREFIX}{number:06d}"
        final = self._layout.clips / name
        if final.exists():
            raise VaultError("cannot claim a number", expected="a new name", found=name)
        try:
            make_directory(staging)
        except FileExistsError:
            # Left by a claim of this process that failed half-way; its line 0 was never published.
            self._clear_staging(staging)
        journal = self._open_file(staging / "journal.jsonl")
        try:
            journal.append(line0)
            journal.sync()
            sync_directory(staging)
            rename(staging, final)
            sync_directory(self._layout.clips)
        except StorageError:
            journal.close()
            raise
        return ClaimedClip(name, number, final, journal, self._create)

    def _create(self, path: Path) -> AppendFile:
        """Create a file whose name is on storage before its first byte is attested."""
        file = self._open_file(path)
        try:
            sync_directory(path.parent)
        except StorageError:
            file.close()
            raise
        return file

    def _clear_staging(self, staging: Path) -> None:
        try:
            (staging / "journal.jsonl").unlink(missing_ok=True)
        except OSError as error:
            raise StorageError("cannot clear an unfinished claim", error) from error

    def _find_last(self) -> tuple[int, str | None]:
        """Return the highest number of this epoch and the digest of its line 0, as stored.

        A line 0 that a bad card has damaged must not keep the camera from recording: its number counts by the
        directory's name, the chain goes on from the bytes that are there, and verification will show the
        damage.
        """
        epoch = self._layout.facts.epoch
        for number, path in _by_number_descending(self._layout.clips, self._layout.tombstones):
            try:
                line0 = _first_line(path / "journal.jsonl")
                if _epoch_of(line0) != epoch:
                    continue
            except EvidenceError as error:
                self.damaged.append(f"{path.name}: {error}")
                line0 = error.line0 if isinstance(error, _DamagedStartError) else b""
            return number, hashlib.sha256(line0).hexdigest()
        return 0, None


def list_clips(root: Path, state_of: Callable[[str], str | None] = lambda _: None) -> Iterator[ClipEntry]:
    """List the clips of a vault (`clips/NAME`) or store (`clips/DEVICE/NAME`), by name.

    `state_of` is what a running camera knows of a clip beyond what lies there: `recovering`, `tampered`
    (`RecoveryReport.state_of`), or `None`; without it a clip is `sealed` or `unsealed`.

    Raises:
        VaultError: `root` is neither.
    """
    if not (root / "clips").is_dir() or not any(
        (root / name).is_file() for name in ("vault.json", "store.json")
    ):
        raise VaultError(f"no clips in {root}", expected="the root of a vault or a store")
    pattern = "*/journal.jsonl" if (root / "vault.json").is_file() else "*/*/journal.jsonl"
    for journal in sorted((root / "clips").glob(pattern)):
        directory = journal.parent
        if directory.name.startswith("."):  # work under way
            continue
        media = directory / "clip.mp4.age"
        lies = "sealed" if (directory / "manifest.json").is_file() else "unsealed"
        state = state_of(directory.name) or lies
        yield ClipEntry(directory.name, directory, state, media.stat().st_size if media.is_file() else 0)


def _by_number_descending(*roots: Path) -> list[tuple[int, Path]]:
    found: list[tuple[int, Path]] = []
    for root in roots:
        for path in root.iterdir():
            number = path.name.rpartition("-")[2]
            if number.isdigit() and not path.name.startswith("."):
                found.append((int(number), path))
    return sorted(found, reverse=True)


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline(_LINE_LIMIT_BYTES)
    except OSError as error:
        raise StorageError(f"cannot read line 0 of {path.parent.name}", error) from error


class _Line(msgspec.Struct):
    l: msgspec.Raw  # noqa: E741  # the format's own name
    s: str


class _DamagedStartError(EvidenceError):
    """A line 0 that cannot be read; `line0` holds the bytes that are there."""

    line0 = b""


def _epoch_of(line0: bytes) -> str:
    """Read the epoch in a line 0 of our own vault; its signature is checked when the clip is verified."""
    try:
        return decode(json_decoder(_Line).decode(line0).l, ClipStart).epoch
    except (msgspec.MsgspecError, UnicodeDecodeError, EvidenceError) as error:
        damaged = _DamagedStartError("line 0 is damaged", expected="the start of a journal")
        damaged.line0 = line0
        raise damaged from error
