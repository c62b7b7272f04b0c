"""An agency with one of each, and a clip that its camera signed."""

import dataclasses
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from evidence import documents
from evidence.age import AgeWriter, parse_recipient
from evidence.agency import AgencyFiles, SubjectKind, create_agency, issue_new
from evidence.cms import sign_cms
from evidence.documents import (
    Blob,
    ClipEnd,
    ClipStart,
    Ended,
    Manifest,
    SyncPoint,
    Unattested,
    decode,
    encode,
)
from evidence.frames import Span
from evidence.journal import JournalBuilder
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import SoftwareSigner, load_signer

_FORMATS = Path(__file__).parents[3] / "docs" / "formats.md"
_SUBJECTS = {
    Role.CAMERA_EVIDENCE: "camera",
    Role.CAMERA_LINK: "camera",
    Role.DOCK_LINK: "dock",
    Role.DOCK_RECEIPT: "dock",
    Role.CONFIG: "config",
    Role.CUSTODIAN: "custodian",
}
CHUNK = 65_536


@dataclasses.dataclass(frozen=True)
class Pki:
    """An agency on disk, with a camera cam0042, a dock, a configuration key and a custodian."""

    directory: Path
    agency: AgencyFiles

    @property
    def agency_directory(self) -> Path:
        return self.directory / "agency"

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        return load_roots(self.agency.root_certificate)

    def signer(self, role: Role) -> SoftwareSigner:
        return load_signer(self.directory / _SUBJECTS[role], role)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    directory = tmp_path_factory.mktemp("pki")
    agency = create_agency("Test Trust", directory / "agency", now=datetime.now(UTC))
    for kind, name in (("camera", "cam0042"), ("dock", "dock7"), ("config", "policy"), ("custodian", "j.doe")):
        issue_new(SubjectKind(kind), name, directory / "agency", directory / kind)
    return Pki(directory, agency)


@pytest.fixture(scope="session")
def examples() -> dict[str, bytes]:
    """The example of each type in docs/formats.md, by type."""
    found = re.findall(r"```json\n(.*?)\n```", _FORMATS.read_text("utf-8"), re.DOTALL)
    return {msgspec.json.decode(text)["type"]: text.encode() for text in found}


@pytest.fixture(scope="session")
def kinds() -> dict[str, type[msgspec.Struct]]:
    """The structure of each type that has one, by type."""
    return {
        str(kind.__struct_config__.tag): kind
        for kind in vars(documents).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag
    }


@pytest.fixture
def start(examples: dict[str, bytes], pki: Pki) -> ClipStart:
    """Line 0 of the documentation's clip, for the agency's recipient."""
    example = decode(examples["preroll-clip-start-v1"], ClipStart)
    return msgspec.structs.replace(example, recipients=(pki.agency.recipient,))


@pytest.fixture
def sync(examples: dict[str, bytes]) -> SyncPoint:
    return decode(examples["preroll-sync-v1"], SyncPoint)


@pytest.fixture
def end(examples: dict[str, bytes]) -> ClipEnd:
    return decode(examples["preroll-end-v1"], ClipEnd)


@dataclasses.dataclass
class ClipMaker:
    """Writes a clip directory step by step, as a camera would; `signer` may be anyone's."""

    root: Path
    signer: SoftwareSigner
    start: ClipStart
    sync: SyncPoint
    end: ClipEnd

    def make(
        self,
        *,
        points: int = 3,
        ended: bool = True,
        beyond: bytes = b"",
        torn: bytes = b"",
        change: Callable[[Manifest], Manifest] = lambda manifest: manifest,
    ) -> Path:
        """Make a clip with some sync points; without `ended` it is one that was interrupted.

        `beyond` follows the last good line in the ciphertext, `torn` the last whole line in the journal;
        `change` alters the manifest before it is signed.
        """
        directory = self.root / self.start.clip
        directory.mkdir()
        ciphertext = bytearray()
        writer = AgeWriter([parse_recipient(text) for text in self.start.recipients], ciphertext.extend)
        builder = JournalBuilder(self.signer)
        journal = bytearray(builder.line(self.start))
        summary = JournalSummary(self.start, builder.previous)
        plaintext = hashlib.sha256()
        taken = 0

        def take(template: SyncPoint | ClipEnd, **fields: object) -> None:
            nonlocal taken
            point = msgspec.structs.replace(
                template,
                line=builder.next_line,
                previous=builder.previous,
                ciphertext_bytes=len(ciphertext),
                plaintext_bytes=writer.plaintext_sealed,
                interval=hashlib.sha256(ciphertext[taken:]).hexdigest(),
                frames=15 * builder.next_line,
                last_pts_ns=self.start.first_pts_ns + 500_000_000 * builder.next_line,
                silences=(_silence(self.start, builder.next_line),),
                monotonic_ns=self.start.monotonic_ns + 500_000_000 * builder.next_line,
                **fields,
            )
            journal.extend(builder.line(point))
            summary.add(point)
            taken = len(ciphertext)

        for number in range(points):
            media = bytes([number]) * CHUNK
            plaintext.update(media)
            writer.write(media)
            writer.flush_full()
            take(self.sync)
        if ended:
            plaintext.update(b"the last fragment")
            writer.write(b"the last fragment")
            writer.close()
            take(
                self.end,
                ended=Ended.STOPPED,
                ciphertext=_blob(ciphertext),
                plaintext=Blob(bytes=writer.plaintext_sealed, sha256=plaintext.hexdigest()),
                header=_blob(writer.header_bytes),
            )
        ciphertext.extend(beyond)
        figures = msgspec.structs.replace(
            builder.figures,
            bytes=len(journal) + len(torn),
            sha256=hashlib.sha256(journal + torn).hexdigest(),
            torn_bytes=len(torn),
        )
        present = BytesPresent(
            journal=figures,
            ciphertext=_blob(ciphertext),
            header=_blob(writer.header_bytes),
            unattested=_beyond(taken, beyond),
        )
        manifest = encode(change(build_manifest(summary, present)))
        (directory / "clip.mp4.age").write_bytes(ciphertext)
        (directory / "journal.jsonl").write_bytes(journal + torn)
        (directory / "manifest.p7s").write_bytes(sign_cms(manifest, self.signer))
        (directory / "manifest.json").write_bytes(manifest)
        return directory


@pytest.fixture
def clips(tmp_path: Path, pki: Pki, start: ClipStart, sync: SyncPoint, end: ClipEnd) -> ClipMaker:
    return ClipMaker(tmp_path, pki.signer(Role.CAMERA_EVIDENCE), start, sync, end)


def _silence(start: ClipStart, line: int) -> Span:
    begin = start.first_pts_ns + 500_000_000 * (line - 1)
    return Span(start_ns=begin, end_ns=begin + 500_000_000, cause="policy_before_press")


def _beyond(start: int, data: bytes) -> Unattested | None:
    return Unattested(start=start, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()) if data else None


def _blob(data: bytes | bytearray) -> Blob:
    return Blob(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
