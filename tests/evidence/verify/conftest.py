"""An agency, clips that its camera wrote with the real pieces (writer, journal, seal), and stores of them."""

import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import msgspec
import pytest
from av.video.codeccontext import VideoCodecContext
from click.testing import CliRunner

from evidence.age import parse_recipient
from evidence.agency import AgencyFiles, SubjectKind, create_agency, issue_new
from evidence.clipwriter import ClipWriter
from evidence.clock import ClockSource, UtcMapping, format_utc
from evidence.cms import sign_cms
from evidence.documents import (
    AudioFacts,
    Blob,
    ClipEnd,
    ClipStart,
    Clock,
    ConfigRef,
    CustodyHead,
    Ended,
    Head,
    Manifest,
    MediaFacts,
    NamedBlob,
    Receipt,
    Requested,
    Reread,
    SyncPoint,
    Trigger,
    Verdict,
    VideoFacts,
    clip_name,
    decode,
    encode,
)
from evidence.frames import EncodedFrame, Track, VideoFormat
from evidence.journal import JournalBuilder
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.media.clipstream import MediaWriter
from evidence.roles import Role
from evidence.seal import seal_clip
from evidence.signer import SoftwareSigner, load_signer
from evidence.storage import PosixAppendFile

NS = 1_000_000_000
RATE = 10
BASE_NS = 9_089_888_000_000
BASE_UTC_NS = 1_795_319_693 * NS
BOOT = "0f0e0d0c0b0a09080706050403020100"
EPOCH = "5e1f2a6c0d9b4e7f8a1b2c3d4e5f6071"
FILES = ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s")


@functools.cache
def pictures(count: int) -> tuple[EncodedFrame, ...]:
    """A moving picture, a keyframe a second, from BASE_NS on."""
    encoder = VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 96, 64, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, RATE), Fraction(RATE)
    encoder.options = {
        "preset": "ultrafast",
        "g": str(RATE),
        "bf": "0",
        "x264-params": "repeat-headers=1:annexb=1:scenecut=0",
    }
    packets: list[Any] = []
    for index in range(count):
        picture = av.VideoFrame(96, 64, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes((index * 5 + position) % 256 for position in range(plane.buffer_size)))
        picture.pts, picture.time_base = index, Fraction(1, RATE)
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    times = [BASE_NS + index * NS // RATE for index in range(len(packets))]
    return tuple(
        EncodedFrame(Track.VIDEO, bytes(packet), time_ns, time_ns, NS // RATE, packet.is_keyframe)
        for packet, time_ns in zip(packets, times, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class Agency:
    """An agency on disk, with a camera cam0042, a dock, and a custodian."""

    directory: Path
    files: AgencyFiles

    @property
    def agency(self) -> Path:
        return self.directory / "agency"

    @property
    def ca(self) -> Path:
        return self.files.root_certificate

    @property
    def identity(self) -> Path:
        return self.files.identity

    def keys(self, who: str) -> Path:
        return self.directory / who

    def signer(self, who: str, role: Role) -> SoftwareSigner:
        return load_signer(self.keys(who), role)


def found_agency(directory: Path, name: str) -> Agency:
    files = create_agency(name, directory / "agency", now=datetime.now(UTC))
    for kind, who in (("camera", "cam0042"), ("dock", "dock7"), ("custodian", "j.doe"), ("config", "policy")):
        issue_new(SubjectKind(kind), who, directory / "agency", directory / who)
    return Agency(directory, files)


@pytest.fixture(scope="session")
def agency(tmp_path_factory: pytest.TempPathFactory) -> Agency:
    return found_agency(tmp_path_factory.mktemp("agency"), "Test Trust")


@pytest.fixture(scope="session")
def other_agency(tmp_path_factory: pytest.TempPathFactory) -> Agency:
    return found_agency(tmp_path_factory.mktemp("other"), "Another Trust")


class Camera:
    """Records one clip after the other into a directory, each naming the start of the one before."""

    def __init__(self, agency: Agency, device: str = "cam0042", *, keys: str = "cam0042") -> None:
        self.signer = agency.signer(keys, Role.CAMERA_EVIDENCE)
        self.device = device
        self.recipient = agency.files.recipient
        self.number = 0
        self.generation = 1
        self.previous_start: str | None = None

    def record(self, place: Path, *, frames: int = RATE, interrupted: bool = False) -> Path:
        """Record a clip of so many frames; an interrupted one ends after a sync point."""
        self.number += 1
        start = self._start()
        directory = place / start.clip
        directory.mkdir(parents=True)
        builder = JournalBuilder(self.signer)
        journal = PosixAppendFile(directory / "journal.jsonl")
        journal.append(builder.line(start))
        summary = JournalSummary(start, builder.previous)
        self.previous_start = builder.previous
        writer = self._writer(directory, builder, journal, summary)
        for frame in pictures(frames):
            writer.write(frame)
            writer.sync_if_due(frame.pts_ns, live=True)
        end: ClipEnd | None = None
        if interrupted:
            writer.abandon()
        else:
            end = writer.finish(Ended.STOPPED, BASE_NS + 9 * NS, BASE_NS + 10 * NS)
        media = (directory / "clip.mp4.age").read_bytes()
        header = blob(media[: media.index(b"\n--- ") + 49])
        present = BytesPresent(journal=builder.figures, ciphertext=blob(media), header=header)
        assert end is None or end.ciphertext == present.ciphertext
        seal_clip(directory, build_manifest(summary, present), self.signer)
        return directory

    def head(self, place: Path, utc_ns: int | None = BASE_UTC_NS + 3600 * NS) -> Path:
        """Sign how far the numbers have come, as a dock would keep it."""
        head = Head(
            device=self.device,
            epoch=EPOCH,
            generation=1,
            number=self.number,
            start_sha256=self.previous_start,
            log=None,
            boot=BOOT,
            monotonic_ns=BASE_NS + 3600 * NS,
            utc=None if utc_ns is None else format_utc(utc_ns),
        )
        path = place / "heads" / self.device / f"{EPOCH}.json"
        put_signed(path, encode(head), self.signer)
        return path

    def _start(self) -> ClipStart:
        video = VideoFacts(codec="h264", width=96, height=64, rate_num=RATE, rate_den=1)
        audio = AudioFacts(codec="aac", sample_rate=48_000, channels=1)
        return ClipStart(
            clip=clip_name(self.device, self.number, BASE_UTC_NS + self.number * 60 * NS),
            device=self.device,
            epoch=EPOCH,
            generation=self.generation,
            number=self.number,
            previous_start=self.previous_start,
            log=None,
            trigger=Trigger(source="button", edge_ns=BASE_NS),
            preevent=Requested(requested_ns=0, available_ns=0, shortfall=None),
            first_pts_ns=BASE_NS,
            boot=BOOT,
            monotonic_ns=BASE_NS,
            utc=format_utc(BASE_UTC_NS + self.number * 60 * NS),
            clock=Clock(source=ClockSource.DOCK, error_ns=40_000_000, set_ns=1),
            config=ConfigRef(version=1, sha256="0" * 64),
            recipients=(self.recipient,),
            wearer=None,
            media=MediaFacts(video=video, audio=audio),
            firmware="0.1.0",
        )

    def _writer(
        self, directory: Path, builder: JournalBuilder, journal: PosixAppendFile, summary: JournalSummary
    ) -> ClipWriter:
        def make_media(sink: Callable[[Any], object], tell: Callable[[Any], object]) -> MediaWriter:
            return MediaWriter(
                pictures(RATE)[0],
                VideoFormat(96, 64, Fraction(RATE)),
                sound_from_ns=None,
                utc=UtcMapping(BASE_NS, BASE_UTC_NS, ClockSource.DOCK),
                sink=sink,
                on_fragment=tell,
            )

        def on_line(point: SyncPoint | ClipEnd) -> None:
            summary.add(point)

        return ClipWriter(
            journal=builder,
            journal_file=journal,
            media_file=PosixAppendFile(directory / "clip.mp4.age"),
            recipients=[parse_recipient(self.recipient)],
            make_media=make_media,
            give_up_reserve=lambda: None,
            on_line=on_line,
        )


@pytest.fixture
def camera(agency: Agency) -> Camera:
    return Camera(agency)


@pytest.fixture
def make_camera(agency: Agency) -> type[Camera]:
    """The class, for tests that want more cameras than one."""
    return Camera


@pytest.fixture(scope="session")
def recorded(agency: Agency, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short clip, to be copied and not to be changed."""
    return Camera(agency).record(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def clip(recorded: Path, tmp_path: Path) -> Path:
    """A copy of one short clip, to be changed."""
    return Path(shutil.copytree(recorded, tmp_path / recorded.name))


class Result(msgspec.Struct):
    """What `preroll clip verify --json` said."""

    status: int
    report: dict[str, Any]

    def outcomes(self, index: int = 0) -> dict[str, str]:
        return {check["name"]: check["outcome"] for check in self.report["clips"][index]["checks"]}

    def details(self, index: int = 0) -> dict[str, str]:
        return {check["name"]: check["detail"] for check in self.report["clips"][index]["checks"]}


class Verify(Protocol):
    def __call__(self, *arguments: object, ca: Path | None = None) -> Result: ...


@pytest.fixture
def verify(agency: Agency) -> Verify:
    """Run `preroll clip verify --json` in this process; an exception is no exit status, but the test's end."""
    from preroll.commands.clip_verify import command

    def run(*arguments: object, ca: Path | None = None) -> Result:
        given = [*map(str, arguments), "--ca", str(ca or agency.ca), "--json"]
        result = CliRunner().invoke(command, given, catch_exceptions=False)
        assert result.output.startswith("{"), result.output
        report = json.loads(result.output)
        assert report["exit_status"] == result.exit_code
        return Result(result.exit_code, report)

    return run


def blob(data: bytes) -> Blob:
    return Blob(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def put_signed(path: Path, content: bytes, signer: SoftwareSigner) -> None:
    """Write a document and its signature."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.with_suffix(".p7s").write_bytes(sign_cms(content, signer))


@dataclasses.dataclass
class Dock:
    """Signs receipts, and lays clips out as stores and vaults do."""

    signer: SoftwareSigner
    store: str = "dock7-a"

    def receipt(self, clip: Path, utc_ns: int = BASE_UTC_NS + 7200 * NS) -> None:
        """Put a receipt beside a clip."""
        manifest = decode((clip / "manifest.json").read_bytes(), Manifest)
        sizes = {name: blob((clip / name).read_bytes()) for name in FILES if (clip / name).exists()}
        receipt = Receipt(
            version=1,
            device=manifest.device,
            epoch=manifest.epoch,
            generation=manifest.generation,
            number=manifest.number,
            clip=manifest.clip,
            files=tuple(NamedBlob(name=n, bytes=each.bytes, sha256=each.sha256) for n, each in sizes.items()),
            verdict=Verdict.STORED,
            unreadable=(),
            store=self.store,
            reread=Reread.DIRECT,
            utc=format_utc(utc_ns),
            boot=BOOT,
            monotonic_ns=BASE_NS,
            custody=CustodyHead(entries=1, head="0" * 64),
        )
        put_signed(clip / "receipt.json", encode(receipt), self.signer)

    def make_store(self, root: Path) -> Path:
        """Make an empty store."""
        for name in ("clips/cam0042", "partial", "quarantine", "tombstones", "heads", "disposals"):
            (root / name).mkdir(parents=True)
        (root / "store.json").write_text(f'{{"format":1,"store":"{self.store}"}}')
        return root

    def bury(self, clip: Path, tombstones: Path) -> Path:
        """Turn a clip, which has a receipt, into a tombstone."""
        stone = tombstones / clip.name
        stone.mkdir(parents=True)
        for name in ("manifest.json", "manifest.p7s", "receipt.json", "receipt.p7s"):
            shutil.copy(clip / name, stone / name)
        with (clip / "journal.jsonl").open("rb") as journal:
            (stone / "journal.jsonl").write_bytes(journal.readline())
        shutil.rmtree(clip)
        return stone


@pytest.fixture
def dock(agency: Agency) -> Dock:
    return Dock(agency.signer("dock7", Role.DOCK_RECEIPT))


@pytest.fixture
def store(dock: Dock, tmp_path: Path) -> Path:
    """A store of its own for a test, without clips."""
    return dock.make_store(tmp_path / "store")


@pytest.fixture
def full_store(store: Path, camera: Camera) -> Path:
    """A store with four clips of one camera, and its head."""
    for _ in range(4):
        camera.record(store / "clips" / "cam0042")
    camera.head(store)
    return store
