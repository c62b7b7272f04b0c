"""Whether a sealed clip is what its camera signed: everything that can be told without a decryption key.

Each question is one named check; a check that an earlier failure leaves without its ground is `skipped`. New
questions (revocation, numbering, plaintext) are further methods in `_CHECKS`.
"""

import enum
import errno
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.age import parse_recipient, read_header
from evidence.cipherpass import CiphertextPass
from evidence.cms import CMS_LIMIT_BYTES, CmsSigner, verify_cms
from evidence.documents import Blob, ClipStart, Ended, JournalFigures, Manifest, NamedBlob, decode
from evidence.errors import EvidenceError
from evidence.journal import JournalReader
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.paths import verify_path
from evidence.roles import Role

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Check", "CheckReport", "Finding", "Outcome", "check_sealed_clip"]

CIPHERTEXT, JOURNAL, MANIFEST, SIGNATURE = "clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s"
_MANIFEST_LIMIT_BYTES = 16 * 1024 * 1024
_READ_BYTES = 1024 * 1024


class Outcome(enum.StrEnum):
    """What a check came to."""

    PASSED = "passed"
    FAILED = "failed"  # something is not what was signed
    INCOMPLETE = "incomplete"  # all there is is authentic, but it is not all
    MISSING = "missing"  # what is needed to tell is not there
    SKIPPED = "skipped"  # an earlier check left no ground for it


class Finding(enum.StrEnum):
    """The answer over all checks of a clip."""

    AUTHENTIC = "authentic"
    INCOMPLETE = "incomplete"
    NOT_AUTHENTIC = "not_authentic"
    CANNOT_TELL = "cannot_tell"


class Check(msgspec.Struct, frozen=True):
    """One question and its answer; `detail` is for people."""

    name: str
    outcome: Outcome
    detail: str


class CheckReport(msgspec.Struct, frozen=True):
    """All checks of one clip; `manifest` is there if it could be read, whether or not it is authentic."""

    clip: str
    checks: tuple[Check, ...]
    manifest: Manifest | None

    @property
    def finding(self) -> Finding:
        """The first that applies: not authentic, cannot tell, incomplete, authentic."""
        outcomes = {check.outcome for check in self.checks}
        if Outcome.FAILED in outcomes:
            return Finding.NOT_AUTHENTIC
        if Outcome.MISSING in outcomes or Outcome.SKIPPED in outcomes:
            return Finding.CANNOT_TELL
        return Finding.INCOMPLETE if Outcome.INCOMPLETE in outcomes else Finding.AUTHENTIC


class _NoGroundError(Exception):
    """A check needs what an earlier one did not establish."""


class _Incomplete(Exception):  # noqa: N818 - an answer, not an error
    """All is authentic, but it is not all."""


def check_sealed_clip(directory: Path, roots: "Sequence[x509.Certificate]") -> CheckReport:
    """Check a sealed clip against the agency's root certificates (`evidence.paths.load_roots`).

    Reads every byte of the clip once; memory is bounded. Certificates are judged without a time: those of
    evidence never expire. Defects are results, not errors.

    Raises:
        OSError: a file that is there cannot be read.
    """
    examination = _Examination(directory, roots)
    checks = tuple(_answer(name, check, examination) for name, check in _CHECKS)
    return CheckReport(clip=directory.name, checks=checks, manifest=examination.manifest)


def _answer(name: str, check: "Callable[[_Examination], str]", examination: "_Examination") -> Check:
    try:
        return Check(name, Outcome.PASSED, check(examination))
    except EvidenceError as error:
        return Check(name, Outcome.FAILED, str(error))
    except FileNotFoundError as error:
        return Check(name, Outcome.MISSING, f"no {Path(str(error.filename)).name}")
    except _Incomplete as answer:
        return Check(name, Outcome.INCOMPLETE, str(answer))
    except _NoGroundError as reason:
        return Check(name, Outcome.SKIPPED, str(reason))


class _Examination:
    """One pass over a clip; each method answers one question and leaves what it established for the next."""

    def __init__(self, directory: Path, roots: "Sequence[x509.Certificate]") -> None:
        self._directory = directory
        self._roots = roots
        self._content: bytes | None = None
        self._signer: CmsSigner | None = None
        self._subject_id: str | None = None
        self._summary: JournalSummary | None = None
        self._present: BytesPresent | None = None
        self._intervals: str | None = None
        self._broken_interval: EvidenceError | None = None
        self._ciphertext: Blob | None = None
        self.manifest: Manifest | None = None

    def signature(self) -> str:
        """Is the manifest what someone signed?"""
        self._content = self._read(MANIFEST, _MANIFEST_LIMIT_BYTES)
        self._signer = verify_cms(self._content, self._read(SIGNATURE, CMS_LIMIT_BYTES))
        return "the manifest's CMS signature is good"

    def certificate(self) -> str:
        """Does that someone count as a camera of the agency?"""
        if self._signer is None:
            raise _NoGroundError("no good signature")
        signer = self._signer
        identity = verify_path(signer.leaf, signer.intermediates, self._roots, Role.CAMERA_EVIDENCE, None)
        self._subject_id = identity.subject_id
        return f"{identity.role} {identity.subject_id}, issued by the agency; revocation was not checked"

    def form(self) -> str:
        """Is the manifest in its one form?"""
        if self._content is None:
            raise _NoGroundError("no manifest")
        self.manifest = decode(self._content, Manifest)
        return "canonical"

    def identity(self) -> str:
        """Are certificate, manifest and directory of one device and clip?"""
        manifest = self._manifest()
        if self._subject_id is None:
            raise _NoGroundError("no certificate that counts")
        if self._subject_id != manifest.device:
            raise EvidenceError(
                "signed by another device", expected=manifest.device, found=ascii(self._subject_id)
            )
        if self._directory.resolve().name != manifest.clip:
            raise EvidenceError(
                "the directory is not named after the clip",
                expected=manifest.clip,
                found=ascii(self._directory.resolve().name),
            )
        return manifest.clip

    def journal(self) -> str:
        """Are all lines signed by that camera, and each chained to the one before?"""
        manifest, key = self._manifest(), self._key()
        with (self._directory / JOURNAL).open("rb") as file:
            ciphertext = self._open_ciphertext(manifest)
            try:
                figures = self._fold(JournalReader(file, key), ciphertext)
            finally:
                if ciphertext:
                    ciphertext.close()
        if figures != manifest.journal:
            raise EvidenceError("the journal is not the one that the manifest names")
        torn = f", {figures.torn_bytes} torn bytes at the end" if figures.torn_bytes else ""
        return f"{figures.lines} lines, each signed and chained{torn}"

    def intervals(self) -> str:
        """Is each stretch of ciphertext the one that its line names?"""
        if self._broken_interval:
            raise self._broken_interval
        if self._intervals is None:
            raise _NoGroundError("no good journal, or no ciphertext")
        return self._intervals

    def ciphertext(self) -> str:
        """Is the whole file the one that the manifest names?"""
        manifest = self._manifest()
        if self._summary is None:
            raise _NoGroundError("no good journal")
        if manifest.ciphertext is None:
            if self._ciphertext is not None:
                raise EvidenceError(f"{CIPHERTEXT} is there", expected="none, as the manifest says")
            return "none, as the manifest says"
        if self._ciphertext is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", CIPHERTEXT)
        if self._ciphertext != manifest.ciphertext:
            raise EvidenceError(
                f"{CIPHERTEXT} is not the one that the manifest names",
                expected=f"{manifest.ciphertext.bytes} bytes, SHA-256 {manifest.ciphertext.sha256}",
                found=f"{self._ciphertext.bytes} bytes, SHA-256 {self._ciphertext.sha256}",
            )
        return f"{self._ciphertext.bytes} bytes"

    def header(self) -> str:
        """Is the age header the one that the manifest names, and for the recipients of line 0?"""
        manifest = self._manifest()
        if manifest.header is None:
            return "none, as the manifest says"
        with (self._directory / CIPHERTEXT).open("rb") as file:
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
        if self._summary is None or self._present is None:
            raise _NoGroundError("no good journal, or no ciphertext that fits it")
        cause = Ended.UNKNOWN if manifest.ended.orderly else manifest.ended
        expected = build_manifest(self._summary, self._present, cause)
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
            raise _Incomplete(f"ended by {manifest.ended.value}; attested up to line {manifest.attested.line}")
        return f"ended by {manifest.ended.value}, {manifest.frames} frames"

    def _fold(self, reader: JournalReader, ciphertext: CiphertextPass | None) -> JournalFigures:
        """Read the journal and, in step with it, the ciphertext."""
        summary: JournalSummary | None = None
        for line in reader:
            if isinstance(line.document, ClipStart):
                summary = JournalSummary(line.document, line.sha256)
                continue
            assert summary is not None  # the reader yields line 0 first
            summary.add(line.document)
            if ciphertext and self._broken_interval is None:
                self._broken_interval = ciphertext.defect(line.document)
        self._summary, figures, unattested = summary, reader.figures, None
        manifest = self._manifest()
        if ciphertext:
            self._ciphertext, unattested = ciphertext.finish()
        elif manifest.ciphertext is not None:
            return figures
        if self._broken_interval is None:
            self._intervals = f"{figures.lines - 1} intervals"
            self._present = BytesPresent(
                journal=figures,
                ciphertext=self._ciphertext,
                header=manifest.header,
                unattested=unattested,
                tail=self._tail(manifest),
            )
        return figures

    def _open_ciphertext(self, manifest: Manifest) -> CiphertextPass | None:
        try:
            return CiphertextPass((self._directory / CIPHERTEXT).open("rb"), manifest.header)
        except FileNotFoundError:
            return None  # whether that is as it should be is the business of `ciphertext`

    def _tail(self, manifest: Manifest) -> NamedBlob | None:
        if manifest.tail is None:
            return None
        path = self._directory / manifest.tail.name
        with path.open("rb") as file:
            return NamedBlob(name=manifest.tail.name, bytes=path.stat().st_size, sha256=_digest(file))

    def _manifest(self) -> Manifest:
        if self.manifest is None:
            raise _NoGroundError("no readable manifest")
        return self.manifest

    def _key(self) -> ec.EllipticCurvePublicKey:
        if self._signer is None:
            raise _NoGroundError("no good signature on the manifest")
        key = self._signer.leaf.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)  # `verify_cms` used it
        return key

    def _read(self, name: str, limit_bytes: int) -> bytes:
        with (self._directory / name).open("rb") as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise EvidenceError(f"{name} is too long", expected=f"at most {limit_bytes} bytes")
        return data


def _digest(file: BinaryIO) -> str:
    whole = hashlib.sha256()
    while data := file.read(_READ_BYTES):
        whole.update(data)
    return whole.hexdigest()


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
    ("completeness", _Examination.completeness),
)
