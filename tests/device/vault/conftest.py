"""A vault of a test camera, and line 0 of clips for it."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from device.vault.layout import VaultLayout, format_vault, open_layout
from device.vault.vault import ClipPlace
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.documents import ClipStart, decode
from evidence.journal import JournalBuilder
from evidence.roles import Role
from evidence.signer import Signer, load_signer

_EXAMPLE = (
    b'{"type":"preroll-clip-start-v1","clip":"notime-cam0042-000001","device":"cam0042",'
    b'"epoch":"5e1f2a6c0d9b4e7f8a1b2c3d4e5f6071","generation":1,"number":1,"previous_start":null,"log":null,'
    b'"trigger":{"source":"button","edge_ns":9},"preevent":{"requested_ns":0,"available_ns":0,"shortfall":null},'
    b'"first_pts_ns":9,"boot":"0f0e0d0c0b0a09080706050403020100","monotonic_ns":10,"utc":null,'
    b'"clock":{"source":"none","error_ns":null,"set_ns":null},"config":{"version":0,"sha256":"'
    + hashlib.sha256(b"").hexdigest().encode()
    + b'"},"recipients":["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"],"wearer":null,'
    b'"media":{"video":{"codec":"h264","width":160,"height":96,"rate_num":25,"rate_den":1},'
    b'"audio":{"codec":"aac","sample_rate":48000,"channels":1}},"firmware":"0.1.0"}'
)

Line0 = Callable[[ClipPlace], tuple[str, bytes]]


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    place = tmp_path_factory.mktemp("vault-keys")
    create_agency("Test agency", place / "agency")
    issue_new(SubjectKind.CAMERA, "cam0042", place / "agency", place / "camera")
    return load_signer(place / "camera", Role.CAMERA_EVIDENCE)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[VaultLayout]:
    format_vault(tmp_path / "vault", "cam0042")
    opened = open_layout(tmp_path / "vault", "cam0042")
    yield opened
    opened.close()


@pytest.fixture
def line0(signer: Signer) -> Line0:
    """Make name and signed line 0 for a place in the numbering."""

    def make(place: ClipPlace) -> tuple[str, bytes]:
        name = f"notime-{place.device}-{place.number:06d}"
        start = msgspec.structs.replace(
            decode(_EXAMPLE, ClipStart),
            clip=name,
            device=place.device,
            epoch=place.epoch,
            generation=place.generation,
            number=place.number,
            previous_start=place.previous_start,
        )
        return name, JournalBuilder(signer).line(start)

    return make
