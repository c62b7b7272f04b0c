"""From a clip to its tombstone, so that a kill at any step leaves one of them whole (docs/formats.md, "Vault").

The tombstone is built under another name, published by a rename, and read back; only then does the clip lose
its name, and only then its files. Whatever was begun is finished, or taken back, by the next run.
"""

from pathlib import Path

from device.errors import DeviceError
from device.vault.layout import VaultLayout
from device.vault.trust import sha256_of
from evidence.attestations import read_bounded
from evidence.cms import CMS_LIMIT_BYTES
from evidence.errors import EvidenceError
from evidence.lines import LINE_LIMIT_BYTES
from evidence.steps import Operation, step
from evidence.storage import StorageError, create_file, make_directory, remove_file, rename, sync_directory

__all__ = ["DRAFT_PREFIX", "REMAINS_PREFIX", "bury", "dig", "finish_burials", "read_tombstone_files"]

DRAFT_PREFIX = ".making-"
"""A tombstone before it is published."""
REMAINS_PREFIX = ".released-"
"""A clip whose tombstone is on storage, while its files are deleted."""
_FILES = ("journal.jsonl", "manifest.json", "manifest.p7s", "receipt.json", "receipt.p7s")


def dig(layout: VaultLayout, clip: str, start_sha256: str) -> None:
    """Publish the tombstone of a clip, durably; one that is there already and the same is kept.

    Raises:
        DeviceError: line 0 is not the one that was sealed.
        EvidenceError: a file of the clip is longer than it can be.
        StorageError: storage refuses; nothing of the clip is touched.
    """
    files = read_tombstone_files(layout.clips / clip)
    if sha256_of(files["journal.jsonl"]) != start_sha256:
        raise DeviceError("line 0 is not the sealed one", expected=f"SHA-256 {start_sha256}")
    place = layout.tombstones / clip
    draft = layout.tombstones / f"{DRAFT_PREFIX}{clip}"
    if place.is_dir():
        if _is(place, files):
            sync_directory(layout.tombstones)  # whoever published it may not have come that far
            return
        rename(place, draft)  # not what the clip says: made again, while all of the clip is still there
    _remove(draft)
    make_directory(draft)
    for name, data in files.items():
        create_file(draft / name, data)
    sync_directory(draft)
    rename(draft, place)
    sync_directory(layout.tombstones)
    if not _is(place, files):
        raise DeviceError("the tombstone does not read as it was written", found=clip)


def bury(layout: VaultLayout, clip: str) -> None:
    """Delete a clip whose tombstone is on storage.

    Raises:
        StorageError: storage refuses; the next run goes on.
    """
    remains = layout.clips / f"{REMAINS_PREFIX}{clip}"
    rename(layout.clips / clip, remains)
    sync_directory(layout.clips)
    _remove(remains)
    sync_directory(layout.clips)


def finish_burials(layout: VaultLayout) -> tuple[str, ...]:
    """Finish what an earlier run left half done; returns the clips whose deletion is now at its end.

    Remains without a whole tombstone, which no kill leaves, get their name back. A clip that still has its
    name is left to the next release, drafts of tombstones are removed.

    Raises:
        StorageError: storage refuses.
    """
    finished = []
    for remains in _children(layout.clips, REMAINS_PREFIX):
        clip = remains.name.removeprefix(REMAINS_PREFIX)
        place = layout.tombstones / clip
        if all((place / name).is_file() for name in _FILES):
            sync_directory(layout.clips)
            _remove(remains)
            finished.append(clip)
        else:
            rename(remains, layout.clips / clip)
        sync_directory(layout.clips)
    for draft in _children(layout.tombstones, DRAFT_PREFIX):
        _remove(draft)
    return tuple(finished)


def read_tombstone_files(directory: Path) -> dict[str, bytes]:
    """Read what a tombstone holds from a clip or a tombstone: of the journal line 0 alone.

    Raises:
        EvidenceError: a file is longer than it can be.
        StorageError: a file is missing or cannot be read.
    """
    files: dict[str, bytes] = {}
    for name in _FILES:
        try:
            if name == "journal.jsonl":
                with (directory / name).open("rb") as file:
                    files[name] = file.readline(LINE_LIMIT_BYTES)
            elif name.endswith(".p7s"):
                files[name] = read_bounded(directory / name, CMS_LIMIT_BYTES)
            else:
                files[name] = read_bounded(directory / name)
        except OSError as error:
            raise StorageError(f"cannot read {name} of {directory.name}", error) from error
    return files


def _is(place: Path, files: dict[str, bytes]) -> bool:
    try:
        return read_tombstone_files(place) == files and not (place / "clip.mp4.age").exists()
    except EvidenceError:
        return False


def _children(directory: Path, prefix: str) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.name.startswith(prefix))
    except OSError as error:
        raise StorageError(f"cannot list {directory.name}", error) from error


def _remove(directory: Path) -> None:
    """Remove a directory with its files, if it is there."""
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        remove_file(path)
    step(Operation.REMOVE, directory)
    try:
        directory.rmdir()
    except OSError as error:
        raise StorageError(f"cannot remove {directory.name}", error) from error
