"""An agency, clips as a camera makes them, and stores of each kind."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from evidence.age import AgeWriter, parse_recipient
from evidence.agency import AgencyFiles, SubjectKind, create_agency, issue_new
from evidence.clock import ClockSource
from evidence.cms import sign_cms
from evidence.documents import (
    AudioFacts,
    Blob,
    ClipEnd,
    ClipStart,
    Clock,
    ConfigRef,
    Ended,
    Head,
    Manifest,
    MediaFacts,
    NamedBlob,
    Requested,
    SyncPoint,
    Trigger,
    Unattested,
    VideoFacts,
    clip_name,
    encode,
)
from evidence.journal import JournalBuilder
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import SoftwareSigner, load_signer
from host.custody import CustodyLog
from host.store import (
    CameraMoment,
    ClipKey,
    EvidenceStore,
    FileStore,
    Intake,
    Partial,
    SignedBytes,
    Trust,
    clip_key,
    format_store,
)
from host.store.memory import MemoryStore

EPOCH = "5e1f2a6c0d9b4e7f8a1b2c3d4e5f6071"
BOOT = "0f0e0d0c0b0a09080706050403020100"
NOW_NS = 1_795_000_000_000_000_000
CHUNK = 65_536


@dataclasses.dataclass(frozen=True)
class Pki:
    """An agency with two cameras and a dock."""

    directory: Path
    agency: AgencyFiles

    @property
    def trust(self) -> Trust:
        return Trust(roots=load_roots(self.agency.root_certificate))

    def camera(self, name: str = "cam0042") -> SoftwareSigner:
        return load_signer(self.directory / name, Role.CAMERA_EVIDENCE)

    @property
    def dock(self) -> SoftwareSigner:
        return load_signer(self.directory / "dock7", Role.DOCK_RECEIPT)


@dataclasses.dataclass(frozen=True)
class MadeClip:
    """The files of a clip, by name, and its key."""

    key: ClipKey
    manifest: Manifest
    start_sha256: str
    files: dict[str, bytes]

    @property
    def size(self) -> int:
        return sum(len(data) for data in self.files.values())


@dataclasses.dataclass
class ClipFactory:
    """Makes clips in memory, as a camera would write them."""

    pki: Pki
    recipient: str

    def make(
        self,
        number: int = 1,
        *,
        device: str = "cam0042",
        points: int = 3,
        chunks: int = 1,
        ended: bool = True,
        beyond: bytes = b"",
        tail: bytes = b"",
        empty: bool = False,
        first_utc_ns: int | None = NOW_NS,
        salt: bytes = b"",
        signer: SoftwareSigner | None = None,
        previous_start: str | None = None,
    ) -> MadeClip:
        signer = signer or self.pki.camera(device)
        start = self._start(number, device, first_utc_ns, previous_start)
        builder = JournalBuilder(signer)
        journal = bytearray(builder.line(start))
        start_sha256 = builder.previous
        summary = JournalSummary(start, start_sha256)
        ciphertext = bytearray()
        writer = AgeWriter([parse_recipient(self.recipient)], ciphertext.extend)
        plaintext = hashlib.sha256()
        take = functools.partial(
            _take,
            builder,
            journal=journal,
            summary=summary,
            ciphertext=ciphertext,
            writer=writer,
            start=start,
        )
        for index in range(0 if empty else points):
            media = bytes([index % 251]) * (CHUNK * chunks - len(salt)) + salt
            plaintext.update(media)
            writer.write(media)
            writer.flush_full()
            take()
        if ended and not empty:
            plaintext.update(b"the last fragment")
            writer.write(b"the last fragment")
            writer.close()
            take(plaintext=plaintext)
        taken = len(ciphertext)
        ciphertext.extend(beyond)
        blob = _blob(bytes(ciphertext))
        header = _blob(writer.header_bytes)
        rest = Unattested(taken, len(beyond), hashlib.sha256(beyond).hexdigest()) if beyond else None
        present = BytesPresent(
            journal=builder.figures,
            ciphertext=None if empty else blob,
            header=None if empty else header,
            unattested=rest,
            tail=NamedBlob("tail.bin", len(tail), hashlib.sha256(tail).hexdigest()) if tail else None,
        )
        manifest = build_manifest(summary, present)
        content = encode(manifest)
        files = {
            "clip.mp4.age": bytes(ciphertext),
            "journal.jsonl": bytes(journal),
            "manifest.json": content,
            "manifest.p7s": sign_cms(content, signer),
        }
        if empty:
            del files["clip.mp4.age"]
        if tail:
            files["tail.bin"] = tail
        key = clip_key(device, manifest.clip, hashlib.sha256(content).hexdigest())
        return MadeClip(key, manifest, start_sha256, files)

    def _start(
        self, number: int, device: str, first_utc_ns: int | None, previous_start: str | None
    ) -> ClipStart:
        known = first_utc_ns is not None
        return ClipStart(
            clip=clip_name(device, number, first_utc_ns),
            device=device,
            epoch=EPOCH,
            generation=1,
            number=number,
            previous_start=None if number == 1 else previous_start or "ab" * 32,
            log=None,
            trigger=Trigger("button", 9_000_000_000),
            preevent=Requested(0, 0, None),
            first_pts_ns=9_000_000_000,
            boot=BOOT,
            monotonic_ns=9_000_000_000,
            utc="2026-11-22T03:55:23.524000Z" if known else None,
            clock=Clock(ClockSource.DOCK if known else ClockSource.NONE, None, None),
            config=ConfigRef(1, "cd" * 32),
            recipients=(self.recipient,),
            wearer=None,
            media=MediaFacts(VideoFacts("h264", 640, 480, 30, 1), AudioFacts("aac", 48_000, 1)),
            firmware="0.1.0",
        )


def _take(
    builder: JournalBuilder,
    *,
    journal: bytearray,
    summary: JournalSummary,
    ciphertext: bytearray,
    writer: AgeWriter,
    start: ClipStart,
    plaintext: "hashlib._Hash | None" = None,
) -> None:
    number = builder.next_line
    before = summary.last.ciphertext_bytes if summary.last else 0
    fields = {
        "line": number,
        "previous": builder.previous,
        "ciphertext_bytes": len(ciphertext),
        "plaintext_bytes": writer.plaintext_sealed,
        "interval": hashlib.sha256(ciphertext[before:]).hexdigest(),
        "frames": 15 * number,
        "last_pts_ns": start.first_pts_ns + 500_000_000 * number,
        "gaps": (),
        "silences": (),
        "bookmarks": (),
        "triggers": (),
        "monotonic_ns": start.monotonic_ns + 500_000_000 * number,
    }
    point: SyncPoint | ClipEnd
    if plaintext is None:
        point = msgspec.convert(fields | {"type": "preroll-sync-v1"}, SyncPoint)
    else:
        point = ClipEnd(
            **fields,  # type: ignore[arg-type]  # one dictionary for both kinds of line
            ended=Ended.STOPPED,
            stop_ns=start.monotonic_ns,
            ciphertext=_blob(bytes(ciphertext)),
            plaintext=Blob(bytes=writer.plaintext_sealed, sha256=plaintext.hexdigest()),
            header=_blob(writer.header_bytes),
            duration_ns=500_000_000 * number,
        )
    journal.extend(builder.line(point))
    summary.add(point)


def _blob(data: bytes) -> Blob:
    return Blob(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    directory = tmp_path_factory.mktemp("pki")
    agency = create_agency("Test Trust", directory / "agency", now=datetime.now(UTC))
    for kind, name in (
        (SubjectKind.CAMERA, "cam0042"),
        (SubjectKind.CAMERA, "cam0043"),
        (SubjectKind.DOCK, "dock7"),
    ):
        issue_new(kind, name, directory / "agency", directory / name)
    return Pki(directory, agency)


@pytest.fixture(scope="session")
def clips(pki: Pki) -> ClipFactory:
    return ClipFactory(pki, pki.agency.recipient)


@pytest.fixture
def moment() -> CameraMoment:
    return CameraMoment(utc_ns=NOW_NS, boot=BOOT, monotonic_ns=12_000_000_000)


@dataclasses.dataclass
class Dock:
    """A store with its custody log, what goes by, and the ways of a camera with it."""

    store: EvidenceStore
    custody: CustodyLog
    intake: Intake
    pki: Pki
    clips: ClipFactory
    moment: CameraMoment

    @classmethod
    def over(cls, store: EvidenceStore, custody: CustodyLog, pki: Pki, clips: ClipFactory) -> "Dock":
        moment = CameraMoment(utc_ns=NOW_NS, boot=BOOT, monotonic_ns=12_000_000_000)
        return cls(store, custody, Intake(store, custody, pki.dock, pki.trust), pki, clips, moment)

    def fetch(self, clip: MadeClip, *, piece: int = 50_000, follow: bool = True) -> Partial:
        """Fetch a clip as an offload does: the small files, the resume point, the rest."""
        partial = self.store.open_partial(clip.key, clip.size)
        for name in ("manifest.p7s", "manifest.json", "journal.jsonl"):
            partial.put(name, clip.files[name])
        data = clip.files.get("clip.mp4.age")
        if data is not None:
            key = self.pki.camera(clip.key.device).public_key
            start = partial.resume_point(clip.manifest, key)
            if follow:
                partial.follow(clip.manifest, key)
            writer = partial.writer("clip.mp4.age", start)
            for place in range(start, len(data), piece):
                writer.append(data[place : place + piece])
            writer.sync()
            writer.close()
        return partial

    def head(self, number: int, start: str | None = None, **fields: object) -> SignedBytes:
        """Sign a head as a camera does."""
        values: dict[str, object] = {
            "device": "cam0042",
            "epoch": EPOCH,
            "generation": 1,
            "number": number,
            "start_sha256": start or (None if number == 0 else f"{number:064x}"),
            "log": None,
            "boot": BOOT,
            "monotonic_ns": 1,
            "utc": None,
        } | fields
        document = encode(Head(**values))  # type: ignore[arg-type]  # fields by name
        return SignedBytes(document=document, cms=sign_cms(document, self.pki.camera(str(values["device"]))))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A formatted store that nobody has open."""
    format_store(tmp_path / "store", "dock7-a")
    return tmp_path / "store"


@pytest.fixture(params=["file", "memory"])
def dock(request: pytest.FixtureRequest, tmp_path: Path, pki: Pki, clips: ClipFactory) -> Iterator[Dock]:
    """A dock with each kind of store, empty."""
    store: EvidenceStore = MemoryStore("dock7-a", total_bytes=1 << 30)
    if request.param == "file":
        format_store(tmp_path / "store", "dock7-a")
        store = FileStore(tmp_path / "store")
    custody = CustodyLog(tmp_path / "custody.jsonl", "dock7-a")
    yield Dock.over(store, custody, pki, clips)
    custody.close()
    store.close()


@pytest.fixture
def file_dock(root: Path, pki: Pki, clips: ClipFactory) -> Iterator[Dock]:
    """A dock with a store on the file system."""
    store = FileStore(root)
    custody = CustodyLog(root / "custody.jsonl", "dock7-a")
    yield Dock.over(store, custody, pki, clips)
    custody.close()
    store.close()
