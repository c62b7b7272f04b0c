"""The vault's directory: formatting, opening, and what lies where (docs/formats.md, "Vault")."""

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import Annotated

import msgspec

from device.errors import DeviceError
from evidence.decoding import json_decoder
from evidence.documents.fields import DeviceId, Epoch, Positive
from evidence.storage import StorageError, publish_file, sync_directory

__all__ = [
    "CLAIM_PREFIX",
    "VaultError",
    "VaultFacts",
    "VaultLayout",
    "format_vault",
    "is_blank",
    "open_layout",
    "read_vault_device",
]

CLAIM_PREFIX = ".claim-"
"""A clip's directory before its line 0 is on storage."""

_FORMAT = 1
_DIRECTORIES = ("clips", "tombstones", "log")
_FACTS_DRAFT = ".vault.json.tmp"


class VaultError(DeviceError):
    """The vault is not there, belongs to another camera, is in use, or holds what it cannot hold."""


class VaultFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`vault.json`."""

    format: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)]
    device: DeviceId
    epoch: Epoch
    generation: Positive


class VaultLayout:
    """An opened vault: its facts and paths, and the lock that keeps a second process out."""

    def __init__(self, root: Path, facts: VaultFacts, lock_fd: int) -> None:
        self.root = root
        self.facts = facts
        self.clips = root / "clips"
        self.tombstones = root / "tombstones"
        self.log = root / "log"
        self.rejected = root / "rejected"
        self.reserve = root / "reserve.bin"
        self._lock_fd = lock_fd

    def begin_epoch(self, seen_generation: int) -> VaultFacts:
        """Draw a new epoch, one generation above our own and the highest that a dock has seen; durable.

        Raises:
            StorageError: it cannot be written; the old epoch goes on.
        """
        generation = max(self.facts.generation, seen_generation) + 1
        facts = msgspec.structs.replace(self.facts, epoch=secrets.token_hex(16), generation=generation)
        path = self.root / "vault.json"
        publish_file(path, msgspec.json.encode(facts))
        self.facts = facts
        new_fd = _lock(path)  # the lock is on the file, and this is another one
        self.close()
        self._lock_fd = new_fd
        return facts

    def close(self) -> None:
        """Let another process in."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def read_vault_device(root: Path) -> str | None:
    """Return whose vault it is, `None` if there is none.

    Raises:
        VaultError: its facts cannot be read.
    """
    try:
        return json_decoder(VaultFacts).decode((root / "vault.json").read_bytes()).device
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise VaultError(
            f"cannot use {root / 'vault.json'}", expected="the facts of a vault", found=str(error)
        ) from error


def is_blank(root: Path) -> bool:
    """Whether a vault may be made here: nothing is there, or only what a formatting leaves that lost power.

    Raises:
        StorageError: the directory cannot be read.
    """
    try:
        found = {path.name: path for path in root.iterdir()} if root.exists() else {}
        found.pop(_FACTS_DRAFT, None)
        return all(name in _DIRECTORIES and not any(path.iterdir()) for name, path in found.items())
    except OSError as error:
        raise StorageError(f"cannot look into {root}", error) from error


def format_vault(root: Path, device: str) -> None:
    """Make an empty vault for a device, with a fresh random epoch; `vault.json` is published last.

    Raises:
        VaultError: a vault is there already.
        StorageError: it cannot be written.
    """
    if (root / "vault.json").exists():
        raise VaultError("cannot format the vault", expected="no vault", found=f"one in {root}")
    facts = VaultFacts(format=_FORMAT, device=device, epoch=secrets.token_hex(16), generation=1)
    try:
        for name in _DIRECTORIES:
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"cannot make the vault in {root}", error) from error
    publish_file(root / "vault.json", msgspec.json.encode(facts))
    sync_directory(root.parent)


def open_layout(root: Path, device: str) -> VaultLayout:
    """Open a vault for one process; claims that never got their line 0 onto storage are cleared away.

    Raises:
        VaultError: no vault, one of another device, unreadable facts, or another process has it.
        StorageError: the file system refuses.
    """
    path = root / "vault.json"
    try:
        facts = json_decoder(VaultFacts).decode(path.read_bytes())
    except FileNotFoundError as error:
        raise VaultError("no vault", expected=str(path), remedy="format one with the selftest") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}", error) from error
    except msgspec.MsgspecError as error:
        raise VaultError(f"cannot use {path}", expected="the facts of a vault", found=str(error)) from error
    if facts.device != device:
        raise VaultError("the vault is another camera's", expected=device, found=facts.device)
    lock_fd = _lock(path)
    layout = VaultLayout(root, facts, lock_fd)
    try:
        _clear_claims(layout)
    except BaseException:
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
        raise VaultError(
            "the vault is in use", found="another process", remedy="stop the other preroll first"
        ) from error
    return fd


def _clear_claims(layout: VaultLayout) -> None:
    """Remove directories that never became clips: all they hold is a line 0 whose number nobody has seen."""
    try:
        stale = [path for path in layout.clips.iterdir() if path.name.startswith(CLAIM_PREFIX)]
        for path in stale:
            shutil.rmtree(path)
    except OSError as error:
        raise StorageError("cannot clear unfinished claims", error) from error
    if stale:
        sync_directory(layout.clips)
