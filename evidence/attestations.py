"""Signed documents beside clips, read and held against what they are about: receipt, head, disposal, tombstone.

Each function returns the document and who signed it, or raises what is wrong; nothing here judges revocation.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.cms import CMS_LIMIT_BYTES, CmsSigner, verify_cms
from evidence.documents import Disposal, Head, Manifest, Receipt, Verdict, decode
from evidence.errors import EvidenceError
from evidence.journal import JournalReader
from evidence.paths import VerifiedIdentity, verify_path
from evidence.roles import Role

if TYPE_CHECKING:
    from cryptography import x509

__all__ = [
    "AttestationError",
    "Signed",
    "Tombstone",
    "read_bounded",
    "read_disposal",
    "read_head",
    "read_receipt",
    "read_signed",
    "read_tombstone",
]

DocumentT = TypeVar("DocumentT", bound=msgspec.Struct)
_MEASURED = frozenset({"clip.mp4.age", "journal.jsonl"})
_DOCUMENT_LIMIT_BYTES = 16 * 1024 * 1024


class AttestationError(EvidenceError):
    """A signed document is good in itself, and not of what lies beside it."""


class Signed(msgspec.Struct, frozen=True):
    """Who signed a document: the certificates, and what they say."""

    signer: CmsSigner
    identity: VerifiedIdentity
    content: bytes


class Tombstone(msgspec.Struct, frozen=True):
    """What is left of a released clip. `manifest_signed` is of the camera, `receipt_signed` of a dock."""

    manifest: Manifest
    manifest_signed: Signed
    receipt: Receipt
    receipt_signed: Signed


def read_bounded(path: Path, limit_bytes: int = _DOCUMENT_LIMIT_BYTES) -> bytes:
    """Read a file that must not be longer than a limit.

    Raises:
        EvidenceError: it is.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise EvidenceError(f"{path.name} is too long", expected=f"at most {limit_bytes} bytes")
    return data


def read_signed(
    path: Path, kind: type[DocumentT], roots: "Sequence[x509.Certificate]", role: Role
) -> tuple[DocumentT, Signed]:
    """Read `NAME.json` and `NAME.p7s`: a good signature by this role, and the one form of the document.

    Raises:
        EvidenceError: one of these does not hold.
        OSError: a file cannot be read; `FileNotFoundError` where it is not there.
    """
    content = read_bounded(path)
    signer = verify_cms(content, read_bounded(path.with_suffix(".p7s"), CMS_LIMIT_BYTES))
    identity = verify_path(signer.leaf, signer.intermediates, roots, role, None)
    return decode(content, kind), Signed(signer=signer, identity=identity, content=content)


def read_receipt(
    path: Path, manifest: Manifest, manifest_files: tuple[bytes, bytes], roots: "Sequence[x509.Certificate]"
) -> tuple[Receipt, Signed]:
    """Read a receipt and hold it against a manifest and the bytes of `manifest.json` and `manifest.p7s`.

    With the verdict `quarantined` journal and ciphertext may have other figures than the manifest names: those
    of the bytes that were stored. The camera has held them against its own before it took the receipt. Manifest
    and signature are the sealed ones in any case.

    Raises:
        EvidenceError: it is not good, or of another clip or other files.
        OSError: a file cannot be read.
    """
    receipt, signed = read_signed(path, Receipt, roots, Role.DOCK_RECEIPT)
    if _place(receipt) != _place(manifest):
        raise AttestationError("the receipt is of another clip", found=receipt.clip)
    figures = {file.name: (file.bytes, file.sha256) for file in receipt.files}
    expected = {
        "journal.jsonl": (manifest.journal.bytes, manifest.journal.sha256),
        "manifest.json": (len(manifest_files[0]), hashlib.sha256(manifest_files[0]).hexdigest()),
        "manifest.p7s": (len(manifest_files[1]), hashlib.sha256(manifest_files[1]).hexdigest()),
    }
    if manifest.ciphertext is not None:
        expected["clip.mp4.age"] = (manifest.ciphertext.bytes, manifest.ciphertext.sha256)
    apart = _MEASURED if receipt.verdict is Verdict.QUARANTINED else frozenset()
    names = sorted(name for name in expected | figures if expected.get(name) != figures.get(name))
    if set(figures) != set(expected) or not apart.issuperset(names):
        raise AttestationError("the receipt is for other files", found=", ".join(names))
    return receipt, signed


def read_head(path: Path, roots: "Sequence[x509.Certificate]") -> tuple[Head, Signed]:
    """Read `heads/DEVICE/EPOCH.json`.

    Raises:
        EvidenceError: it is not good, or of another device or epoch than where it lies.
        OSError: a file cannot be read.
    """
    head, signed = read_signed(path, Head, roots, Role.CAMERA_EVIDENCE)
    if signed.identity.subject_id != head.device:
        raise AttestationError(
            "the head is signed by another device", expected=head.device, found=signed.identity.subject_id
        )
    if (path.parent.name, path.stem) != (head.device, head.epoch):
        raise AttestationError("the head lies in another's place", expected=f"{head.device}/{head.epoch}.json")
    return head, signed


def read_disposal(path: Path, roots: "Sequence[x509.Certificate]") -> tuple[Disposal, Signed]:
    """Read `disposals/NAME.json`.

    Raises:
        EvidenceError: it is not good, not by the person that it names, or of another clip than its name.
        OSError: a file cannot be read.
    """
    disposal, signed = read_signed(path, Disposal, roots, Role.CUSTODIAN)
    if signed.identity.subject_id != disposal.operator:
        raise AttestationError(
            "the disposal is signed by another person",
            expected=disposal.operator,
            found=signed.identity.subject_id,
        )
    if path.stem != disposal.clip:
        raise AttestationError("the disposal lies in another's place", expected=f"{disposal.clip}.json")
    return disposal, signed


def read_tombstone(directory: Path, roots: "Sequence[x509.Certificate]") -> Tombstone:
    """Read what is left of a released clip: line 0, manifest and receipt with their signatures.

    Raises:
        EvidenceError: one of them is not good, or they do not belong together.
        OSError: a file cannot be read.
    """
    manifest, signed = read_signed(directory / "manifest.json", Manifest, roots, Role.CAMERA_EVIDENCE)
    if signed.identity.subject_id != manifest.device:
        raise AttestationError(
            "signed by another device", expected=manifest.device, found=signed.identity.subject_id
        )
    if directory.name != manifest.clip:
        raise AttestationError("the tombstone is not named after the clip", expected=manifest.clip)
    key = signed.signer.leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # `verify_cms` used it
    with (directory / "journal.jsonl").open("rb") as file:
        lines = [(line.document, line.sha256) for line in JournalReader(file, key)]
    if lines != [(manifest.start, manifest.start_sha256)]:
        raise AttestationError("the tombstone's journal is not line 0 of the manifest, alone")
    files = (signed.content, read_bounded(directory / "manifest.p7s", CMS_LIMIT_BYTES))
    receipt, receipt_signed = read_receipt(directory / "receipt.json", manifest, files, roots)
    return Tombstone(manifest, signed, receipt, receipt_signed)


def _place(document: Receipt | Manifest) -> tuple[str, str, str, int, int]:
    return document.clip, document.device, document.epoch, document.generation, document.number
