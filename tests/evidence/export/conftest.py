"""Agencies, a custodian, and short clips with pictures that decode."""

import dataclasses
import hashlib
import importlib.util
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import av
import pytest

from evidence.age import Identity, parse_identities
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.check import CheckReport, check_sealed_clip
from evidence.cms import sign_cms
from evidence.documents import CustodyHead, Manifest, NamedBlob, Receipt, Reread, Verdict, decode, encode
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import load_signer

SECONDS, PRESS_S = 12, 4.0


@dataclasses.dataclass(frozen=True)
class Place:
    """Keys on disk: an agency with a camera, a dock and a custodian; and another agency."""

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "agency" / "root" / "root.pem"

    @property
    def identity(self) -> Path:
        return self.directory / "agency" / "identity" / "identity.txt"

    @property
    def other_identity(self) -> Path:
        return self.directory / "other" / "identity" / "identity.txt"

    @property
    def identities(self) -> list[Identity]:
        return parse_identities(self.identity.read_text())

    def check(self, clip: Path) -> CheckReport:
        return check_sealed_clip(clip, load_roots(self.root))

    def recipient(self, agency: str = "other") -> str:
        return (self.directory / agency / "identity" / "recipients.txt").read_text().strip()


@dataclasses.dataclass(frozen=True)
class Packet:
    """What a demuxer says of one packet of a file."""

    kind: str
    pts: int
    dts: int
    key: bool
    data: bytes


@pytest.fixture(scope="session")
def long_clip() -> ModuleType:
    """The script of the long clips; its writer makes the short ones too."""
    path = Path(__file__).with_name("long_clip.py")
    spec = importlib.util.spec_from_file_location("long_clip", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["long_clip"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    directory = tmp_path_factory.mktemp("keys")
    create_agency("Test Trust", directory / "agency")
    create_agency("Other Trust", directory / "other")
    create_agency("Quantum Trust", directory / "quantum", post_quantum=True)
    for kind, name in (("camera", "cam0042"), ("dock", "dock7"), ("custodian", "j.doe")):
        issue_new(SubjectKind(kind), name, directory / "agency", directory / kind)
    return Place(directory)


@pytest.fixture(scope="session")
def filmed(place: Place, long_clip: ModuleType) -> Path:
    """A clip of 12 s with a keyframe a second, pressed at 4 s, with marks at 6 s. Not to be altered."""
    clip: Path = long_clip.film_clip(
        place.directory, place.directory / "clips", seconds=SECONDS, press_s=PRESS_S, marks=True
    )
    return clip


@pytest.fixture(scope="session")
def cut_off(place: Place, long_clip: ModuleType) -> Path:
    """A clip that lost its power after 5 s. Not to be altered."""
    clip: Path = long_clip.film_clip(
        place.directory, place.directory / "cut-off", seconds=5, press_s=2, power_lost=True
    )
    return clip


@pytest.fixture
def clip(filmed: Path, tmp_path: Path) -> Path:
    """A copy of the clip, to be altered."""
    return Path(shutil.copytree(filmed, tmp_path / "clips" / filmed.name))


@pytest.fixture(scope="session")
def manifest_of() -> Callable[[Path], Manifest]:
    return lambda clip: decode((clip / "manifest.json").read_bytes(), Manifest)


@pytest.fixture(scope="session")
def packets() -> Callable[[bytes], list[Packet]]:
    """Demux a file; times of pictures in 1/90000 s, of sound in 1/48000 s."""

    def read(data: bytes) -> list[Packet]:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            found = []
            for packet in container.demux():
                if packet.size and packet.pts is not None and packet.dts is not None:
                    kind = packet.stream.type
                    found.append(Packet(kind, packet.pts, packet.dts, packet.is_keyframe, bytes(packet)))
            return found

    return read


@pytest.fixture(scope="session")
def decoded() -> Callable[[bytes], int]:
    """Decode all pictures and all sound of a file; returns how many pictures."""

    def decode_all(data: bytes) -> int:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            pictures = sum(1 for _ in container.decode(video=0))
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            assert sum(1 for _ in container.decode(audio=0))
        return pictures

    return decode_all


@pytest.fixture
def stored(clip: Path, place: Place, manifest_of: Callable[[Path], Manifest]) -> Path:
    """The copy, with the receipt of a store."""
    manifest = manifest_of(clip)
    receipt = Receipt(
        version=1,
        device=manifest.device,
        epoch=manifest.epoch,
        generation=manifest.generation,
        number=manifest.number,
        clip=manifest.clip,
        files=tuple(
            NamedBlob(
                name, (clip / name).stat().st_size, hashlib.sha256((clip / name).read_bytes()).hexdigest()
            )
            for name in ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s")
        ),
        verdict=Verdict.STORED,
        unreadable=(),
        store="dock7-a",
        reread=Reread.DIRECT,
        utc="2026-11-22T04:12:40.000000Z",
        boot=manifest.start.boot,
        monotonic_ns=manifest.start.monotonic_ns,
        custody=CustodyHead(entries=1, head="0" * 64),
    )
    document = encode(receipt)
    (clip / "receipt.json").write_bytes(document)
    signer = load_signer(place.directory / "dock", Role.DOCK_RECEIPT)
    (clip / "receipt.p7s").write_bytes(sign_cms(document, signer))
    return clip
