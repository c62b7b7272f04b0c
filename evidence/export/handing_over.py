"""Handing a clip over to another agency: the same payload under a new age header (docs/formats.md).

The clip itself is read and never touched. The new directory is built under another name beside its place and
renamed when everything is on storage, so that what is there under its name is whole.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from evidence.age import Identity, Recipient, check_one_kind, open_header, read_header, seal_header
from evidence.check import CIPHERTEXT, JOURNAL, MANIFEST, SIGNATURE
from evidence.cms import sign_cms
from evidence.documents import Blob, Handover, Manifest, encode
from evidence.export.gate import CheckClip, require_authentic
from evidence.export.target import OutputExistsError
from evidence.handover import HANDOVER, ORIGINAL_HEADER, HandoverError, is_handed_over
from evidence.paths import verify_path
from evidence.roles import Role
from evidence.signer import Signer
from evidence.storage import PosixAppendFile, StorageError, create_file, sync_directory

__all__ = ["hand_over", "require_custodian"]

_COPY_BYTES = 1024 * 1024
_RECEIPTS = ("receipt.json", "receipt.p7s")


def require_custodian(signer: Signer) -> str:
    """Return the id of the person whose key it is; the certificate has to have the role custodian, exactly.

    Whether the agency issued it is for those to judge who hold the agency's root; here its own issuer is
    trusted.

    Raises:
        PathError: it has another role, or is none for signing.
        HandoverError: it was issued by a root itself.
    """
    if len(signer.chain) < 2:  # noqa: PLR2004 - the leaf and its issuer
        raise HandoverError(
            "the custodian's certificate has no intermediate", expected="the chain of `keys issue`"
        )
    leaf, *intermediates = signer.chain
    return verify_path(leaf, intermediates, signer.chain[-1:], Role.CUSTODIAN, None).subject_id


def hand_over(
    clip: Path,
    output: Path,
    *,
    check: CheckClip,
    identities: Sequence[Identity],
    recipients: Sequence[Recipient],
    signer: Signer,
    reason: str,
    utc: str,
) -> Handover:
    """Make `output`, a directory with the clip for other recipients; `clip` is not altered.

    Args:
        clip: the clip's directory.
        output: must not exist; its parent must.
        check: verifies the clip before anything is written.
        identities: one of them opens the clip.
        recipients: who is to open the new one; of one kind.
        signer: the custodian who hands it over.
        reason: why, in words by a person.
        utc: when, as in signed documents.

    Returns:
        The record, as it was signed.

    Raises:
        UnauthenticClipError, DoubtfulClipError: the clip is not fit to be handed over.
        OutputExistsError: there is something at `output`.
        HandoverError: the clip holds nothing or was handed over itself, or it changed while it was copied.
        PathError: the signer is no custodian.
        AgeKeyError: recipients of mixed kinds, or none.
        AgeNoIdentityError: no identity opens the clip.
        StorageError: a file cannot be written; nothing is left under `output`.
        OSError: a file of the clip cannot be read.
    """
    operator = require_custodian(signer)
    check_one_kind(recipients)
    _refuse_existing(output)
    if is_handed_over(clip):
        raise HandoverError(
            "the clip was handed over itself",
            expected="the original",
            found=f"a clip with {HANDOVER}",
            remedy="ask the agency that holds the original",
        )
    _, manifest = require_authentic(clip, check)
    if manifest.ciphertext is None or manifest.header is None:
        raise HandoverError("the clip holds nothing that could be opened", found=manifest.ended.value)
    with (clip / CIPHERTEXT).open("rb") as source:
        header = read_header(source)
        new_header = seal_header(open_header(header, identities), recipients)
        record = Handover(
            clip=manifest.clip,
            device=manifest.device,
            epoch=manifest.epoch,
            generation=manifest.generation,
            number=manifest.number,
            manifest_sha256=_sha256((clip / MANIFEST).read_bytes()),
            original_header=manifest.header,
            new_header=Blob(bytes=len(new_header), sha256=_sha256(new_header)),
            recipients=tuple(str(recipient) for recipient in recipients),
            operator=operator,
            reason=reason,
            utc=utc,
        )
        building = _building_place(output)
        try:
            _copy_payload(source, building / CIPHERTEXT, header.raw, new_header, manifest.ciphertext)
            create_file(building / ORIGINAL_HEADER, header.raw)
            _copy_files(clip, building, manifest)
            _sign(building, record, signer)
            _publish(building, output)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return record


def _refuse_existing(output: Path) -> None:
    if output.exists() or output.is_symlink():
        raise OutputExistsError(f"{output} is there already", remedy="choose a directory that does not exist")


def _building_place(output: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".tmp", dir=output.absolute().parent))
    except OSError as error:
        raise StorageError(f"cannot make {output}", error) from error


def _copy_payload(source: BinaryIO, target: Path, old_header: bytes, new_header: bytes, expected: Blob) -> None:
    """Write the new header and the rest of `source`; the old header with that rest has to be the original."""
    digest, size = hashlib.sha256(old_header), len(old_header)
    file = PosixAppendFile(target)
    try:
        file.append(new_header)
        while data := source.read(_COPY_BYTES):
            digest.update(data)
            size += len(data)
            file.append(data)
        file.sync()
    finally:
        file.close()
    if (size, digest.hexdigest()) != (expected.bytes, expected.sha256):
        raise HandoverError(
            "the clip changed while it was copied", expected=f"{expected.bytes} bytes as signed"
        )


def _copy_files(clip: Path, building: Path, manifest: Manifest) -> None:
    """Copy what stays as it is."""
    for name in _unchanged(clip, manifest):
        file = PosixAppendFile(building / name)
        try:
            with (clip / name).open("rb") as source:
                while data := source.read(_COPY_BYTES):
                    file.append(data)
            file.sync()
        finally:
            file.close()


def _unchanged(clip: Path, manifest: Manifest) -> Iterator[str]:
    yield from (JOURNAL, MANIFEST, SIGNATURE)
    if manifest.tail is not None:
        yield manifest.tail.name
    yield from (name for name in _RECEIPTS if (clip / name).exists())


def _sign(building: Path, record: Handover, signer: Signer) -> None:
    document = encode(record)
    path = building / HANDOVER
    create_file(path.with_suffix(".p7s"), sign_cms(document, signer))
    create_file(path, document)


def _publish(building: Path, output: Path) -> None:
    sync_directory(building)
    _refuse_existing(output)
    try:
        building.rename(output)
    except OSError as error:
        raise StorageError(f"cannot rename {output.name} into place", error) from error
    sync_directory(output.absolute().parent)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
