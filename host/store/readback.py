"""Reading a clip back from storage and holding every byte against what its camera signed.

The questions are those of `evidence.check`, for a clip as it comes from a camera; what differs is where the
bytes come from (`host.store.direct`) and that the answer is a value which publishing and signing ask for.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.age import parse_recipient, read_header
from evidence.cipherpass import CiphertextFigures, CiphertextPass
from evidence.clock import format_utc
from evidence.cms import CMS_LIMIT_BYTES, verify_cms
from evidence.documents import Blob, ClipStart, Ended, JournalFigures, Manifest, NamedBlob, Reread, decode
from evidence.errors import EvidenceError
from evidence.journal import JournalReader
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.paths import verify_path
from evidence.revocation import Revocations
from evidence.roles import Role
from evidence.storage import StorageError
from host.store.errors import StoreError, VerificationError
from host.store.values import CIPHERTEXT, CLIP_FILES, JOURNAL, MANIFEST, SIGNATURE, TAIL, ClipKey, ReadBack

if TYPE_CHECKING:
    from cryptography import x509

__all__ = [
    "MANIFEST_LIMIT_BYTES",
    "ClipFiles",
    "Reader",
    "Trust",
    "Verified",
    "camera_manifest",
    "digests_of",
    "read_back",
    "read_in_step",
    "receiptable",
]

MANIFEST_LIMIT_BYTES = 16 * 1024 * 1024
_HEADER_LIMIT_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024
_THREADS_FROM_BYTES = 4 * 1024 * 1024
"""Below this a thread costs more than it saves."""


class Reader(Protocol):
    """One file, read from storage; `way` says how."""

    way: Reread

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start; returns how many bytes, 0 at the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes, or all that is left."""

    def close(self) -> None:
        """Let go of the file."""


class ClipFiles(Protocol):
    """The files of one clip, wherever they lie."""

    def open(self, name: str) -> Reader:
        """Open a file for reading from storage.

        Raises:
            FileNotFoundError: it is not there.
            StorageError: it cannot be opened.
        """

    def size_bytes(self, name: str) -> int | None:
        """Size of a file, `None` if it is not there."""


class Trust(msgspec.Struct, frozen=True):
    """What a dock goes by: its agency's roots, and revocation lists if it has any."""

    roots: "tuple[x509.Certificate, ...]"
    revocations: Revocations = msgspec.field(default_factory=Revocations)


class Verified(msgspec.Struct, frozen=True):
    """Journal and ciphertext of the clip with this manifest, read from storage: what they came to, and how."""

    manifest: Manifest
    public_key: ec.EllipticCurvePublicKey
    summary: JournalSummary
    journal: JournalFigures
    ciphertext: CiphertextFigures | None
    ways: frozenset[Reread]


def read_back(
    files: ClipFiles,
    key: ClipKey,
    trust: Trust,
    advance: Callable[[int], object] = lambda _: None,
    *,
    before: Verified | None = None,
) -> ReadBack:
    """Read all files of a clip from storage and verify them; each byte of the ciphertext is read once.

    The files must have been synced. `advance` hears how many bytes of ciphertext were just read. `before` is
    what reading journal and ciphertext from storage came to while they were fetched; they are not read again.

    Raises:
        VerificationError: a file is missing, or not what the camera signed.
        StorageError: storage does not give what it took.
    """
    try:
        return _Examination(files, key, trust, advance).run(before)
    except (StorageError, VerificationError):
        raise
    except FileNotFoundError as error:
        raise VerificationError(f"{key.clip}: a file is missing", found=str(error)) from error
    except EvidenceError as error:
        raise VerificationError(f"{key.clip} does not verify", found=str(error)) from error
    except OSError as error:
        raise StorageError(f"cannot read {key.clip} back", error) from error


def camera_manifest(
    content: bytes, signature: bytes, key: ClipKey, trust: Trust
) -> tuple[Manifest, ec.EllipticCurvePublicKey]:
    """Verify a manifest by itself: the camera's signature, its certificate's role, its name, this key.

    Worth doing before anything else is fetched; returns the key that signs the journal too.

    Raises:
        EvidenceError: what does not hold.
    """
    signer = verify_cms(content, signature)
    identity = verify_path(signer.leaf, signer.intermediates, trust.roots, Role.CAMERA_EVIDENCE, None)
    manifest = decode(content, Manifest)
    if not identity.subject_id == manifest.device == key.device:
        raise VerificationError("signed by another device", expected=key.device, found=identity.subject_id)
    digest = hashlib.sha256(content).hexdigest()
    if (manifest.clip, digest) != (key.clip, key.manifest_sha256):
        raise VerificationError("the manifest is another one", expected=key.clip, found=manifest.clip)
    revoked = trust.revocations.standing(signer, trust.roots).revoked_utc_ns
    if revoked is not None:
        raise VerificationError(
            f"the key of {key.device} is revoked from {format_utc(revoked)} on",
            found="a clip that nobody independent saw before",
            remedy="see whether the clip is older, then release it from quarantine",
        )
    public_key = signer.leaf.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)  # `verify_cms` used it
    return manifest, public_key


def digests_of(files: ClipFiles, names: Sequence[str] = CLIP_FILES) -> tuple[tuple[NamedBlob, ...], Reread]:
    """Read files back without judging them: their digests, and how they were read; what is absent is left out.

    Raises:
        StorageError: storage does not give them.
    """
    found: list[NamedBlob] = []
    ways: set[Reread] = set()
    for name in names:
        try:
            reader = files.open(name)
        except FileNotFoundError:
            continue
        with closing(reader):
            found.append(_digest(reader, name))
            ways.add(reader.way)
    return tuple(found), Reread.CACHE_DROPPED if Reread.CACHE_DROPPED in ways else Reread.DIRECT


def receiptable(files: tuple[NamedBlob, ...], way: Reread) -> tuple[tuple[NamedBlob, ...], Reread]:
    """Pass on digests that a receipt can list: all four files, or all but the ciphertext.

    Raises:
        StoreError: another file is missing, so there is nothing that a receipt could be for.
    """
    names = tuple(file.name for file in files)
    if names not in (CLIP_FILES, CLIP_FILES[1:]):
        raise StoreError(
            "not all files of the clip are there",
            expected=", ".join(CLIP_FILES),
            found=", ".join(names) or "none",
            remedy="fetch it again",
        )
    return files, way


class _Examination:
    """One reading of a clip."""

    def __init__(self, files: ClipFiles, key: ClipKey, trust: Trust, advance: Callable[[int], object]) -> None:
        self._files = files
        self._key = key
        self._trust = trust
        self._advance = advance
        self._ways: set[Reread] = set()

    def run(self, before: Verified | None) -> ReadBack:
        content = self._small(MANIFEST, MANIFEST_LIMIT_BYTES)
        signature = self._small(SIGNATURE, CMS_LIMIT_BYTES)
        manifest, public_key = camera_manifest(content, signature, self._key, self._trust)
        if before and (before.manifest, before.public_key) == (manifest, public_key):
            self._ways |= before.ways
            summary, figures, found = before.summary, before.journal, before.ciphertext
        else:
            summary, figures, found = self._bytes(manifest, public_key)
        self._judge(manifest, figures, found)
        self._check_header(manifest)
        present = BytesPresent(
            journal=figures,
            ciphertext=found.whole if found else None,
            header=manifest.header,
            unattested=found.unattested if found else None,
            tail=self._tail(manifest),
        )
        cause = Ended.POWER_LOSS if manifest.ended is Ended.POWER_LOSS else Ended.UNKNOWN
        if build_manifest(summary, present, cause) != manifest:
            raise VerificationError("the manifest does not follow from journal and bytes")
        ciphertext = [_named(CIPHERTEXT, manifest.ciphertext)] if manifest.ciphertext else []
        return ReadBack(
            files=(
                *ciphertext,
                NamedBlob(name=JOURNAL, bytes=figures.bytes, sha256=figures.sha256),
                _named(MANIFEST, _blob(content)),
                _named(SIGNATURE, _blob(signature)),
            ),
            way=Reread.CACHE_DROPPED if Reread.CACHE_DROPPED in self._ways else Reread.DIRECT,
            manifest=manifest,
            manifest_sha256=self._key.manifest_sha256,
        )

    def _open(self, name: str) -> Reader:
        reader = self._files.open(name)
        self._ways.add(reader.way)
        return reader

    def _small(self, name: str, limit_bytes: int) -> bytes:
        with closing(self._open(name)) as reader:
            data = reader.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise VerificationError(f"{name} is too long", expected=f"at most {limit_bytes} bytes")
        return data

    def _bytes(
        self, manifest: Manifest, public_key: ec.EllipticCurvePublicKey
    ) -> tuple[JournalSummary, JournalFigures, CiphertextFigures | None]:
        """Read the journal, each line verified, and in step with it the ciphertext."""
        size = self._files.size_bytes(CIPHERTEXT)
        ciphertext = None
        if size is not None:
            threads = size >= _THREADS_FROM_BYTES
            source = self._open(CIPHERTEXT)
            ciphertext = CiphertextPass(source, manifest.header, threads=threads, advance=self._advance)
        try:
            with closing(self._open(JOURNAL)) as journal:
                return read_in_step(journal, public_key, ciphertext)
        finally:
            if ciphertext:
                ciphertext.close()

    @staticmethod
    def _judge(manifest: Manifest, figures: JournalFigures, found: CiphertextFigures | None) -> None:
        if figures != manifest.journal:
            raise VerificationError("the journal is not the one that the manifest names")
        if found and found.defect:
            raise found.defect
        whole = found.whole if found else None
        if whole != manifest.ciphertext:
            raise VerificationError(
                f"{CIPHERTEXT} is not the one that the manifest names",
                expected=_described(manifest.ciphertext),
                found=_described(whole),
            )

    def _check_header(self, manifest: Manifest) -> None:
        if manifest.header is None:
            return
        if manifest.header.bytes > _HEADER_LIMIT_BYTES:
            raise VerificationError("the age header is too long", found=f"{manifest.header.bytes} bytes")
        with closing(self._open(CIPHERTEXT)) as reader:
            header = read_header(BytesIO(reader.read(manifest.header.bytes)))
        if _blob(header.raw) != manifest.header:
            raise VerificationError("the age header is not the one that the manifest names")
        kinds = [stanza.kind for stanza in header.stanzas]
        if kinds != [parse_recipient(each).kind for each in manifest.start.recipients]:
            raise VerificationError("the age header is not for the recipients of line 0")

    def _tail(self, manifest: Manifest) -> NamedBlob | None:
        if manifest.tail is None:
            return None
        if manifest.tail.name != TAIL:
            raise VerificationError("the tail has another name", expected=TAIL, found=manifest.tail.name)
        with closing(self._open(TAIL)) as reader:
            return _digest(reader, TAIL)


def read_in_step(
    journal: Reader, public_key: ec.EllipticCurvePublicKey, ciphertext: CiphertextPass | None
) -> tuple[JournalSummary, JournalFigures, CiphertextFigures | None]:
    """Read a journal to its end, each line verified, and in step with it the ciphertext, if there is one.

    Raises:
        EvidenceError: the journal is not good.
        StorageError: storage does not give the bytes.
    """
    reader = JournalReader(cast("BinaryIO", journal), public_key)  # it calls `read`, no more
    summary = _fold(reader, ciphertext)
    return summary, reader.figures, ciphertext.finish() if ciphertext else None


def _fold(reader: JournalReader, ciphertext: CiphertextPass | None) -> JournalSummary:
    summary: JournalSummary | None = None
    for line in reader:
        if isinstance(line.document, ClipStart):
            summary = JournalSummary(line.document, line.sha256)
            continue
        assert summary is not None  # the reader yields line 0 first
        summary.add(line.document)
        if ciphertext:
            ciphertext.take(line.document)
    if summary is None:
        raise VerificationError("a journal without line 0")
    return summary


def _digest(reader: Reader, name: str) -> NamedBlob:
    digest, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_READ_BYTES))
    while count := reader.readinto(buffer):
        digest.update(buffer[:count])
        size += count
    return NamedBlob(name=name, bytes=size, sha256=digest.hexdigest())


def _blob(data: bytes) -> Blob:
    return Blob(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _named(name: str, blob: Blob) -> NamedBlob:
    return NamedBlob(name=name, bytes=blob.bytes, sha256=blob.sha256)


def _described(blob: Blob | None) -> str:
    return f"{blob.bytes} bytes, SHA-256 {blob.sha256}" if blob else "no such file"
