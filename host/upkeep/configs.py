"""Configurations that the office signed, in a directory of the dock: which one a camera should have.

`NAME.json` and `NAME.p7s` (role config; that key is on no dock). Each is verified and validated before a camera
is bothered with it; the directory is read again when it changes, so a new pair is a copy away.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from cryptography import x509

from evidence.attestations import read_bounded
from evidence.clock import format_utc
from evidence.cms import CMS_LIMIT_BYTES, CmsSigner, verify_cms
from evidence.documents import Config
from evidence.errors import EvidenceError
from evidence.paths import verify_path
from evidence.policies import check_config
from evidence.revocation import Revocations
from evidence.roles import Role

__all__ = ["ConfigShelf", "ShelvedConfig"]

_logger = logging.getLogger(__name__)
_LIMIT_BYTES = 1024 * 1024  # what a request may carry (`docklink.messages.SignedDocument`)


class ShelvedConfig(msgspec.Struct, frozen=True):
    """A configuration that verified: its exact bytes, what they say, and who signed them."""

    name: str
    document: bytes
    cms: bytes
    config: Config
    signer: CmsSigner

    @property
    def sha256(self) -> str:
        """Digest of the document, as line 0 of a clip names it."""
        return hashlib.sha256(self.document).hexdigest()


class ConfigShelf:
    """The directory as it is now. Thread-safe."""

    def __init__(
        self,
        directory: Path,
        roots: Sequence[x509.Certificate],
        revocations: Revocations,
        announce: Callable[[str], object] = _logger.error,
    ) -> None:
        """Take the place; it is read when a camera comes. `announce` hears what is wrong with a file."""
        self.announce = announce
        self._directory = directory
        self._roots = tuple(roots)
        self._revocations = revocations
        self._lock = threading.Lock()
        self._stamp: object = None
        self._shelf: tuple[ShelvedConfig, ...] = ()

    def newest_for(self, device: str) -> ShelvedConfig | None:
        """Return the configuration with the highest version for a camera; `None` where there is none.

        Two different ones of one version are nobody's intention: announced, and neither is returned.
        """
        fitting = [each for each in self._read() if device in each.config.devices and self._counts(each)]
        if not fitting:
            return None
        newest = max(each.config.version for each in fitting)
        found = [each for each in fitting if each.config.version == newest]
        if len({each.sha256 for each in found}) > 1:
            names = ", ".join(sorted(each.name for each in found))
            self.announce(f"configurations {names}: different ones of version {newest} for {device}")
            return None
        return found[0]

    def _counts(self, shelved: ShelvedConfig) -> bool:
        """Whether the key that signed it is not revoked: then or now, a camera would not take it."""
        try:
            revoked = self._revocations.standing(shelved.signer, self._roots).revoked_utc_ns
        except EvidenceError as error:
            self.announce(f"configuration {shelved.name}: {error}")
            return False
        if revoked is not None:
            self.announce(
                f"configuration {shelved.name}: its signer's key is revoked from {format_utc(revoked)} on"
            )
        return revoked is None

    def _read(self) -> tuple[ShelvedConfig, ...]:
        troubles: list[str] = []
        with self._lock:
            try:
                stamp = _stamp(self._directory)
                if stamp != self._stamp:
                    self._shelf = self._loaded(troubles)
                    self._stamp = stamp
            except OSError as error:
                self._shelf, self._stamp = (), None
                troubles.append(f"the configurations cannot be read: {error.strerror}: {error.filename}")
            shelf = self._shelf
        for each in troubles:
            self.announce(each)
        return shelf

    def _loaded(self, troubles: list[str]) -> tuple[ShelvedConfig, ...]:
        found = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                found.append(self._load(path))
            except FileNotFoundError as error:
                troubles.append(f"configuration {path.name}: {Path(error.filename).name} is not there")
            except EvidenceError as error:
                troubles.append(f"configuration {path.name}: {error}")
        return tuple(found)

    def _load(self, path: Path) -> ShelvedConfig:
        document = read_bounded(path, _LIMIT_BYTES)
        cms = read_bounded(path.with_suffix(".p7s"), CMS_LIMIT_BYTES)
        signer = verify_cms(document, cms)
        verify_path(signer.leaf, signer.intermediates, self._roots, Role.CONFIG, None)
        return ShelvedConfig(path.name, document, cms, check_config(document).document, signer)


def _stamp(directory: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Name all files with what changes when they do."""
    found = []
    for path in sorted(directory.iterdir()):
        status = path.stat()
        found.append((path.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
