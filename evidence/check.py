"""Whether a sealed clip is what its camera signed: everything that can be told, with or without a key.

Each question is one named check; a check that an earlier failure leaves without its ground is `skipped`. New
questions are further methods in `_CHECKS`.
"""

import errno
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.age import Identity, parse_recipient, read_header
from evidence.attestations import read_bounded, read_receipt, read_signed
from evidence.clock import format_utc, parse_utc
from evidence.cms import CMS_LIMIT_BYTES, CmsSigner, verify_cms
from evidence.custody.ofclip import HeldCheckpoint, attested_by, log_beside
from evidence.documents import Blob, Ended, Handover, Manifest, decode
from evidence.errors import EvidenceError
from evidence.findings import (
    Check,
    Finding,
    IncompleteAnswer,
    NoGroundError,
    NotCheckedAnswer,
    Outcome,
    UnknownAnswer,
    answer,
    finding_of,
)
from evidence.handover import HANDOVER, ORIGINAL_HEADER, check_handover, is_handed_over
from evidence.manifest import build_manifest
from evidence.paths import verify_path
from evidence.plaintext import check_media, check_plaintext
from evidence.reading import CIPHERTEXT, JOURNAL, ClipReading, bytes_present, read_clip
from evidence.revocation import RevocationError, Revocations, Standing, shown
from evidence.roles import Role

if TYPE_CHECKING:
    from cryptography import x509

__all__ = [
    "CIPHERTEXT",
    "JOURNAL",
    "MANIFEST",
    "SIGNATURE",
    "Check",
    "CheckReport",
    "Finding",
    "Outcome",
    "check_sealed_clip",
]

MANIFEST, SIGNATURE, RECEIPT = "manifest.json", "manifest.p7s", "receipt.json"
_MANIFEST_LIMIT_BYTES = 16 * 1024 * 1024


class CheckReport(msgspec.Struct, frozen=True):
    """All checks of one clip; `manifest` is there if it could be read, whether or not it is authentic."""

    clip: str
    checks: tuple[Check, ...]
    manifest: Manifest | None
    manifest_sha256: str | None = None

    @property
    def finding(self) -> Finding:
        """The first that applies: not authentic, cannot tell, incomplete, authentic."""
        return finding_of(self.checks)


def check_sealed_clip(
    directory: Path,
    roots: "Sequence[x509.Certificate]",
    *,
    revocations: Revocations | None = None,
    identities: Sequence[Identity] = (),
    checkpoints: Sequence[HeldCheckpoint] = (),
    advance: Callable[[int], object] = lambda _: None,
) -> CheckReport:
    """Check a sealed clip against the agency's root certificates (`evidence.paths.load_roots`).

    Reads every byte of the clip once, and once or twice more with identities; memory is bounded. Certificates
    are judged without a time: those of evidence never expire. Defects are results, not errors. `checkpoints` of
    the custody log, kept by others than the store, can attest when a clip of a revoked key existed. `advance`
    hears how many bytes of ciphertext were just read.

    Raises:
        OSError: a file that is there cannot be read.
    """
    examination = _Examination(directory, roots, revocations or Revocations(), identities, advance)
    examination.checkpoints = checkpoints
    checks = tuple(answer(name, partial(check, examination)) for name, check in _CHECKS)
    content = examination.content
    return CheckReport(
        clip=directory.resolve().name,
        checks=checks,
        manifest=examination.manifest,
        manifest_sha256=None if content is None else hashlib.sha256(content).hexdigest(),
    )


class _Examination:
    """One pass over a clip; each method answers one question and leaves what it established for the next."""

    def __init__(
        self,
        directory: Path,
        roots: "Sequence[x509.Certificate]",
        revocations: Revocations,
        identities: Sequence[Identity],
        advance: Callable[[int], object],
    ) -> None:
        self._directory = directory
        self._roots = roots
        self._revocations = revocations
        self._identities = identities
        self._advance = advance
        self._handed_over = is_handed_over(directory)
        self._attested: tuple[int, str] | None = None
        self.checkpoints: Sequence[HeldCheckpoint] = ()
        self.content: bytes | None = None
        self._signer: CmsSigner | None = None
        self._subject_id: str | None = None
        self._reading: ClipReading | None = None
        self.manifest: Manifest | None = None

    def signature(self) -> str:
        """Is the manifest what someone signed?"""
        self.content = read_bounded(self._directory / MANIFEST, _MANIFEST_LIMIT_BYTES)
        self._signer = verify_cms(self.content, read_bounded(self._directory / SIGNATURE, CMS_LIMIT_BYTES))
        return "the manifest's CMS signature is good"

    def certificate(self) -> str:
        """Does that someone count as a camera of the agency?"""
        if self._signer is None:
            raise NoGroundError("no good signature")
        signer = self._signer
        issuer = signer.leaf.issuer
        if not signer.intermediates and issuer not in (
            signer.leaf.subject,
            *(each.subject for each in self._roots),
        ):
            raise UnknownAnswer(f"the certificate of {shown(issuer)}, which issued the signer's, is missing")
        identity = verify_path(signer.leaf, signer.intermediates, self._roots, Role.CAMERA_EVIDENCE, None)
        self._subject_id = identity.subject_id
        return f"{identity.role} {identity.subject_id}, issued by the agency"

    def form(self) -> str:
        """Is the manifest in its one form?"""
        if self.content is None:
            raise NoGroundError("no manifest")
        self.manifest = decode(self.content, Manifest)
        return "canonical"

    def identity(self) -> str:
        """Are certificate, manifest and directory of one clip? The directory of a handover has any name."""
        manifest = self._manifest()
        if self._subject_id is None:
            raise NoGroundError("no certificate that counts")
        if self._subject_id != manifest.device:
            raise EvidenceError(
                "signed by another device", expected=manifest.device, found=ascii(self._subject_id)
            )
        if not self._handed_over and self._directory.resolve().name != manifest.clip:
            raise EvidenceError(
                "the directory is not named after the clip",
                expected=manifest.clip,
                found=ascii(self._directory.resolve().name),
            )
        return manifest.clip

    def journal(self) -> str:
        """Are all lines signed by that camera, and each chained to the one before?"""
        manifest = self._manifest()
        self._reading = read_clip(self._directory, self._key(), manifest, self._advance)
        figures = self._reading.figures
        if figures != manifest.journal:
            raise EvidenceError("the journal is not the one that the manifest names")
        torn = f", {figures.torn_bytes} torn bytes at the end" if figures.torn_bytes else ""
        return f"{figures.lines} lines, each signed and chained{torn}"

    def intervals(self) -> str:
        """Is each stretch of ciphertext the one that its line names?"""
        if self._reading is None:
            raise NoGroundError("no good journal")
        found = self._reading.ciphertext
        if found is None:
            if self._manifest().ciphertext is not None:
                raise NoGroundError("no ciphertext")
        elif found.defect:
            more = f"; {found.further_defects} more lines do not fit" if found.further_defects else ""
            raise EvidenceError(f"{found.defect}{more}")
        return f"{self._reading.figures.lines - 1} intervals"

    def ciphertext(self) -> str:
        """Is the whole file the one that the manifest names?"""
        manifest = self._manifest()
        if self._reading is None:
            raise NoGroundError("no good journal")
        found = self._reading.ciphertext
        if manifest.ciphertext is None:
            if found is not None:
                raise EvidenceError(f"{CIPHERTEXT} is there", expected="none, as the manifest says")
            return "none, as the manifest says"
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", self._reading.absent or CIPHERTEXT)
        if found.whole != manifest.ciphertext:
            raise EvidenceError(
                f"{CIPHERTEXT} is not the one that the manifest names",
                expected=f"{manifest.ciphertext.bytes} bytes, SHA-256 {manifest.ciphertext.sha256}",
                found=f"{found.whole.bytes} bytes, SHA-256 {found.whole.sha256}",
            )
        return f"{found.whole.bytes} bytes, SHA-256 {found.whole.sha256}"

    def header(self) -> str:
        """Is the age header the one that the manifest names, and for the recipients of line 0?"""
        manifest = self._manifest()
        if manifest.header is None:
            return "none, as the manifest says"
        with (self._directory / (ORIGINAL_HEADER if self._handed_over else CIPHERTEXT)).open("rb") as file:
            header = read_header(file)
        if Blob(bytes=len(header.raw), sha256=hashlib.sha256(header.raw).hexdigest()) != manifest.header:
            raise EvidenceError("the age header is not the one that the manifest names")
        kinds = [stanza.kind for stanza in header.stanzas]
        expected = [parse_recipient(recipient).kind for recipient in manifest.start.recipients]
        if kinds != expected:
            raise EvidenceError(
                "the age header is not for the recipients of line 0",
                expected=", ".join(expected),
                found=ascii(", ".join(kinds)[:200]),
            )
        return f"{len(kinds)} recipients ({kinds[0]})"

    def agreement(self) -> str:
        """Does the manifest say what follows from the journal and the bytes present?"""
        manifest = self._manifest()
        reading = self._reading
        if reading is None or (reading.ciphertext is None and manifest.ciphertext is not None):
            raise NoGroundError("no good journal, or no ciphertext")
        if reading.ciphertext and reading.ciphertext.defect:
            raise NoGroundError("no ciphertext that fits the journal")
        present = bytes_present(reading, manifest, self._directory)
        cause = Ended.POWER_LOSS if manifest.ended is Ended.POWER_LOSS else Ended.UNKNOWN
        expected = build_manifest(reading.summary, present, cause)
        if expected != manifest:
            fields = [
                name
                for name in manifest.__struct_fields__
                if getattr(expected, name) != getattr(manifest, name)
            ]
            raise EvidenceError("the manifest does not follow from journal and bytes", found=", ".join(fields))
        return "the manifest follows from journal and bytes"

    def completeness(self) -> str:
        """Did the clip end in an orderly way, with all its bytes there?"""
        manifest = self._manifest()
        if not manifest.complete:
            raise IncompleteAnswer(
                f"ended by {manifest.ended.value}; attested up to line {manifest.attested.line}"
            )
        return f"ended by {manifest.ended.value}, {manifest.frames} frames"

    def receipt(self) -> str:
        """Did a store of the agency sign for just these files?"""
        if not (self._directory / RECEIPT).exists():
            raise NotCheckedAnswer("there is none here")
        manifest = self._manifest()
        assert self.content is not None  # the manifest was read from it
        files = (self.content, read_bounded(self._directory / SIGNATURE, CMS_LIMIT_BYTES))
        receipt, signed = read_receipt(self._directory / RECEIPT, manifest, files, self._roots)
        by = f"{receipt.verdict} by {receipt.store} ({signed.identity.subject_id}) at {receipt.utc}"
        if self._standing(signed.signer).revoked_utc_ns is not None:
            return f"{by}; that key was revoked since, so the receipt proves no time"
        self._attested = parse_utc(receipt.utc), "a store signed for the clip"
        return by

    def revocation(self) -> str:
        """Did the camera's key count when the clip was made, as far as the given lists say?"""
        if not self._revocations.given:
            raise NotCheckedAnswer("revocation was not checked: no --crl was given")
        if self._signer is None or self._subject_id is None:
            raise NoGroundError("no certificate that counts")
        standing = self._standing(self._signer)
        lacking = f"; no list of {', '.join(standing.lacking)} was given" if standing.lacking else ""
        if standing.revoked_utc_ns is None:
            return f"not revoked{lacking}"
        since = format_utc(standing.revoked_utc_ns)
        attested = self._earliest(standing.revoked_utc_ns)
        if attested is None:
            raise UnknownAnswer(
                f"the key is revoked from {since} on, and no independent party attests that the clip is older"
            )
        first = format_utc(attested[0])
        if attested[0] >= standing.revoked_utc_ns:
            raise EvidenceError(
                "the key was revoked before the clip was first seen", expected=since, found=first
            )
        return f"the key is revoked from {since} on; {attested[1]} at {first}"

    def _earliest(self, revoked_utc_ns: int) -> tuple[int, str] | None:
        """Return when an independent party first attests the clip, and who: a receipt, else a checkpoint."""
        by_receipt = self._attested
        log = log_beside(self._directory)
        if by_receipt is not None and by_receipt[0] < revoked_utc_ns:
            return by_receipt
        if log is None or not self.checkpoints or self.content is None:
            return by_receipt
        digest = hashlib.sha256(self.content).hexdigest()
        held = attested_by(log, digest, self.checkpoints, self._is_unrevoked)
        if held is None:
            return by_receipt
        store = held.checkpoint.checkpoint.store
        by_log = held.utc_ns, f"{store} had it in its custody log by the checkpoint {held.checkpoint.name}"
        return by_log if by_receipt is None else min(by_log, by_receipt)

    def _is_unrevoked(self, signer: CmsSigner) -> bool:
        return self._standing(signer).revoked_utc_ns is None

    def handover(self) -> str:
        """Is the header of a handed-over clip the one that a custodian signed for?"""
        if not self._handed_over:
            raise NotCheckedAnswer("it was not handed over")
        manifest = self._manifest()
        record, signed = read_signed(self._directory / HANDOVER, Handover, self._roots, Role.CUSTODIAN)
        self._refuse_revoked(signed.signer)
        assert self.content is not None  # the manifest was read from it
        return check_handover(
            record, signed.identity.subject_id, self._directory / CIPHERTEXT, manifest, self.content
        )

    def plaintext(self) -> str:
        """Does it decrypt to what the manifest names?"""
        return check_plaintext(*self._to_decrypt())

    def media(self) -> str:
        """Does all of it decode?"""
        return check_media(*self._to_decrypt())

    def _to_decrypt(self) -> tuple[Path, Manifest, Sequence[Identity]]:
        if not self._identities:
            raise NotCheckedAnswer("no --identity was given")
        manifest = self._manifest()
        if manifest.ciphertext is None:
            raise NotCheckedAnswer("there is no ciphertext, as the manifest says")
        return self._directory / CIPHERTEXT, manifest, self._identities

    def _standing(self, signer: CmsSigner) -> Standing:
        try:
            return self._revocations.standing(signer, self._roots)
        except RevocationError as error:
            raise UnknownAnswer(str(error)) from error

    def _refuse_revoked(self, signer: CmsSigner) -> None:
        """Refuse to go by a signature whose time nobody independent attests, of a key that is revoked."""
        revoked = self._standing(signer).revoked_utc_ns
        if revoked is not None:
            raise UnknownAnswer(f"the signer's key is revoked from {format_utc(revoked)} on")

    def _manifest(self) -> Manifest:
        if self.manifest is None:
            raise NoGroundError("no readable manifest")
        return self.manifest

    def _key(self) -> ec.EllipticCurvePublicKey:
        if self._signer is None:
            raise NoGroundError("no good signature on the manifest")
        key = self._signer.leaf.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)  # `verify_cms` used it
        return key


_CHECKS: tuple[tuple[str, Callable[[_Examination], str]], ...] = (
    ("signature", _Examination.signature),
    ("certificate", _Examination.certificate),
    ("form", _Examination.form),
    ("identity", _Examination.identity),
    ("journal", _Examination.journal),
    ("intervals", _Examination.intervals),
    ("ciphertext", _Examination.ciphertext),
    ("header", _Examination.header),
    ("agreement", _Examination.agreement),
    ("receipt", _Examination.receipt),
    ("revocation", _Examination.revocation),
    ("handover", _Examination.handover),
    ("completeness", _Examination.completeness),
    ("plaintext", _Examination.plaintext),
    ("media", _Examination.media),
)
