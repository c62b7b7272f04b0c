"""What the camera knows of its sealed clips and its tombstones without reading ciphertext."""

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from device.vault.trust import sha256_of
from evidence.attestations import read_bounded
from evidence.cms import CMS_LIMIT_BYTES
from evidence.documents import Blob, Manifest, decode
from evidence.errors import EvidenceError
from evidence.sealstate import SealState, read_seal_state
from evidence.storage import StorageError

__all__ = ["Place", "SealedFacts", "SealedShelf", "facts_of"]

_BLOCK_BYTES = 1024 * 1024


class Place(msgspec.Struct, frozen=True):
    """A clip's name and its place in the numbering."""

    clip: str
    device: str
    epoch: str
    generation: int
    number: int


class SealedFacts(msgspec.Struct, frozen=True):
    """A clip as its manifest seals it: figures of its files by name, and whether it is urgent (bookmarked)."""

    place: Place
    files: Mapping[str, Blob]
    start_sha256: str
    urgent: bool

    @property
    def bytes(self) -> int:
        """The size of all its files."""
        return sum(figures.bytes for figures in self.files.values())


def facts_of(manifest: Manifest, document: bytes, cms: bytes) -> SealedFacts:
    """Take the facts from a manifest, its exact bytes and those of its signature."""
    files = {
        "journal.jsonl": Blob(bytes=manifest.journal.bytes, sha256=manifest.journal.sha256),
        "manifest.json": Blob(bytes=len(document), sha256=sha256_of(document)),
        "manifest.p7s": Blob(bytes=len(cms), sha256=sha256_of(cms)),
    }
    if manifest.ciphertext is not None:
        files["clip.mp4.age"] = manifest.ciphertext
    if manifest.tail is not None:
        files["tail.bin"] = Blob(bytes=manifest.tail.bytes, sha256=manifest.tail.sha256)
    place = Place(manifest.clip, manifest.device, manifest.epoch, manifest.generation, manifest.number)
    return SealedFacts(place, files, manifest.start_sha256, urgent=bool(manifest.bookmarks))


class SealedShelf:
    """Facts of sealed clips and of tombstones, each read once: neither changes any more. Thread-safe."""

    def __init__(self, clips: Path, tombstones: Path, public_key: ec.EllipticCurvePublicKey) -> None:
        self._clips = clips
        self._tombstones = tombstones
        self._public_key = public_key
        self._lock = threading.Lock()
        self._known: dict[Path, SealedFacts] = {}

    def clip(self, name: str) -> SealedFacts | None:
        """Return the facts of a clip that is sealed by our own key, `None` for any other.

        Raises:
            StorageError: it is there and cannot be read.
        """
        return self._facts(self._clips / name)

    def tombstone(self, name: str) -> SealedFacts | None:
        """Return the facts of a clip that is released, `None` if there is no tombstone of our own making.

        Raises:
            StorageError: it is there and cannot be read.
        """
        return self._facts(self._tombstones / name)

    def digest(self, name: str, file: str) -> Blob:
        """Measure a clip's file as it lies there.

        Raises:
            StorageError: it cannot be read.
        """
        digest = hashlib.sha256()
        size = 0
        try:
            with (self._clips / name / file).open("rb") as source:
                while block := source.read(_BLOCK_BYTES):
                    digest.update(block)
                    size += len(block)
        except OSError as error:
            raise StorageError(f"cannot read {file}", error) from error
        return Blob(bytes=size, sha256=digest.hexdigest())

    def _facts(self, directory: Path) -> SealedFacts | None:
        with self._lock:
            known = self._known.get(directory)
        if known is not None and directory.is_dir():
            return known
        try:
            if read_seal_state(directory, self._public_key) is not SealState.SEALED:
                return None
            document = read_bounded(directory / "manifest.json")
            cms = read_bounded(directory / "manifest.p7s", CMS_LIMIT_BYTES)
            facts = facts_of(decode(document, Manifest), document, cms)
        except FileNotFoundError:
            return None  # it was released meanwhile
        except OSError as error:
            raise StorageError(f"cannot read {directory.name}", error) from error
        except StorageError:
            raise
        except EvidenceError:
            return None  # a journal that is no plain file, say: nothing that we sealed
        with self._lock:
            self._known[directory] = facts
        return facts
