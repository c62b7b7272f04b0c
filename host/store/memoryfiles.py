"""Files and fetches in memory, for the store in memory."""

import errno
import io
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

from cryptography.hazmat.primitives.asymmetric import ec

from evidence.documents import ClipStart, Manifest, Reread
from evidence.journal import JournalReader
from host.store.errors import StoreError
from host.store.readback import ClipFiles
from host.store.resume import resume_point, stretches
from host.store.values import CIPHERTEXT, CLIP_FILES, JOURNAL, TAIL, ClipKey

__all__ = ["MemoryFiles", "MemoryPartial", "MemoryReader", "MemoryWriter", "PartialOwner"]


class PartialOwner(Protocol):
    """What a fetch needs of its store."""

    def allow(self, size: int) -> None:
        """Refuse a change of so many bytes, if it has to be refused."""

    def require_open(self, partial: "MemoryPartial") -> "MemoryPartial":
        """Require that a fetch is not closed."""

    def end(self, partial: "MemoryPartial", *, delete: bool) -> None:
        """End a fetch."""


class MemoryReader(io.BytesIO):
    """A file of the memory; there is no cache to go round, so every reading is of what there is."""

    way = Reread.DIRECT

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes, or all that is left."""
        return super().read(size)


class MemoryFiles:
    """The files of one clip."""

    def __init__(self, content: dict[str, bytearray]) -> None:
        self.content = content
        self.synced = {name: len(data) for name, data in content.items()}

    def open(self, name: str) -> MemoryReader:
        """Open a file for reading."""
        if name not in self.content:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return MemoryReader(bytes(self.content[name]))

    def size_bytes(self, name: str) -> int | None:
        """Return the size of a file, `None` if it is not there."""
        return len(self.content[name]) if name in self.content else None

    @property
    def total(self) -> int:
        """Return the size of all files."""
        return sum(len(data) for data in self.content.values())

    def sync(self) -> None:
        """Count everything as on storage."""
        self.synced = {name: len(data) for name, data in self.content.items()}


class MemoryWriter:
    """Appends to one file of a fetch."""

    def __init__(self, files: MemoryFiles, name: str, start: int, allow: Callable[[int], None]) -> None:
        data = files.content.setdefault(name, bytearray())
        if len(data) < start:
            raise StoreError(f"cannot go on with {name} at byte {start}", found=f"{len(data)} bytes")
        del data[start:]
        files.synced[name] = min(files.synced.get(name, 0), start)
        self._files, self._name, self._data, self._allow = files, name, data, allow

    @property
    def size_bytes(self) -> int:
        """Bytes of the file so far."""
        return len(self._data)

    def append(self, data: bytes | memoryview) -> None:
        """Write behind what is there."""
        self._allow(len(data))
        self._data += data

    def sync(self) -> None:
        """Count everything as on storage."""
        self._allow(0)
        self._files.synced[self._name] = len(self._data)

    def close(self) -> None:
        """Nothing is open."""


class MemoryPartial:
    """A clip being fetched."""

    def __init__(self, store: PartialOwner, key: ClipKey, files: MemoryFiles, expected_bytes: int) -> None:
        self._store = store
        self._key = key
        self.clip_files = files
        self.expected_bytes = expected_bytes

    @property
    def key(self) -> ClipKey:
        """Which clip."""
        return self._key

    @property
    def missing_bytes(self) -> int:
        """What is still to be written."""
        return max(0, self.expected_bytes - self.clip_files.total)

    @property
    def files(self) -> ClipFiles:
        """What there is."""
        return self.clip_files

    def put(self, name: str, data: bytes) -> None:
        """Store a small file whole."""
        self._require(name, CLIP_FILES)
        self._store.allow(len(data))
        self.clip_files.content[name] = bytearray(data)
        self.clip_files.synced[name] = len(data)

    def writer(self, name: str, start: int) -> MemoryWriter:
        """Go on with a large file at a byte."""
        self._require(name, (CIPHERTEXT, TAIL))
        return MemoryWriter(self.clip_files, name, start, self._store.allow)

    def resume_point(self, manifest: Manifest, public_key: ec.EllipticCurvePublicKey) -> int:
        """Return from which byte of the ciphertext to go on."""
        if not {CIPHERTEXT, JOURNAL} <= set(self.clip_files.content):
            return 0
        lines = JournalReader(cast("BinaryIO", self.clip_files.open(JOURNAL)), public_key)  # it only reads
        points = (line.document for line in lines if not isinstance(line.document, ClipStart))
        return resume_point(self.clip_files.open(CIPHERTEXT), stretches(points, manifest))

    def follow(self, manifest: Manifest, public_key: ec.EllipticCurvePublicKey) -> None:
        """Do nothing: there is no storage to wait for."""

    def discard(self) -> None:
        """Delete what was fetched, and close."""
        self._store.end(self, delete=True)

    def close(self) -> None:
        """Stop fetching for now."""
        self._store.end(self, delete=False)

    def _require(self, name: str, names: tuple[str, ...]) -> None:
        self._store.require_open(self)
        if name not in names:
            raise StoreError("not a file of a clip", expected=" or ".join(names), found=ascii(name[:40]))
