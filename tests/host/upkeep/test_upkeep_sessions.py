"""What a session does beside the clips: renews, configures; and what a camera that is revoked gets."""

import hashlib
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from docklink.errors import LinkError
from docklink.messages import ClipState, SignedDocument, WearerAssignment
from docklink.peers import judge_camera
from docklink.service import RefusalError
from docklink.tls import CameraTrust
from evidence.agency import load_enrol
from evidence.certificates import issue_leaf, new_key
from evidence.documents import Config, ConfigRef
from evidence.revoke import revoke
from evidence.roles import Role
from host.custody import CustodyLog
from host.offload import Docking, Station, Step
from host.store import FileStore, Trust, format_store
from host.upkeep import ConfigShelf, RevocationFiles, Upkeep
from tests.host.offload.fakecamera import stone_of
from tests.host.upkeep.conftest import TendedCamera

if TYPE_CHECKING:
    from tests.host.offload.conftest import OffloadBench
    from tests.host.offload.fakecamera import CameraServer
    from tests.host.store.conftest import ClipFactory
    from tests.host.upkeep.conftest import Office

SHIFT = WearerAssignment("w-7f3a", "2026-11-22T00:00:00.000000Z", "2026-11-22T12:00:00.000000Z")


@pytest.fixture
def tended(bench: "OffloadBench", office: "Office") -> "OffloadBench":
    bench.station.upkeep = office.upkeep()
    return bench


@pytest.fixture
def camera(bench: "OffloadBench", clips: "ClipFactory") -> TendedCamera:
    return TendedCamera(bench.pki, [clips.make(1)])


def kinds(bench: "OffloadBench") -> list[str]:
    return [read.entry.kind for read in bench.custody.entries()]


def told(bench: "OffloadBench", kind: str) -> list[str]:
    return [each.detail for each in bench.station.notices if each.kind == kind]


def show(server: "CameraServer", bench: "OffloadBench", place: Path, issued: datetime) -> None:
    """Give a camera's port a link certificate that was issued then."""
    key = new_key()
    chain = issue_leaf(
        Role.CAMERA_LINK, "cam0042", key.public_key(), load_enrol(bench.pki.directory / "agency"), issued
    )
    path = place / f"link-{issued:%Y%m%d}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    )
    server.trust = CameraTrust(path, path, bench.pki.trust.roots, 0)


def revoked(bench: "OffloadBench", office: "Office", *who: tuple[str, str]) -> RevocationFiles:
    """Open the bench's station anew, with a list of these certificates."""
    agency = office.place / "agency-copy"
    shutil.copytree(bench.pki.directory / "agency", agency)
    for name, stem in who:
        crl = revoke(bench.pki.directory / name / f"{stem}.pem", agency, "keyCompromise").crl
    files = office.revocations(crl)
    office.shelf.mkdir(exist_ok=True)
    bench.station = Station(
        bench.store,
        bench.custody,
        bench.pki.dock,
        Trust(bench.pki.trust.roots, files),
        dock_id="dock7",
        upkeep=Upkeep(office.renewals(files), ConfigShelf(office.shelf, bench.pki.trust.roots, files)),
    )
    return files


def test_a_newer_configuration_is_handed_over_once(
    tended: "OffloadBench", office: "Office", camera: TendedCamera
) -> None:
    office.put("policy", office.config(7))
    _, port = tended.serve(camera)
    report = tended.session(port)
    assert report.config == ""
    assert report.device.config is not None
    assert report.device.config.version == 7
    assert camera.requests.index("config") < camera.requests.index("clips")
    tended.session(port)
    assert [each.version for each in camera.configs] == [7]
    assert kinds(tended).count("config_accepted") == 1
    office.put("policy", office.config(8))
    tended.session(port)
    assert [each.version for each in camera.configs] == [7, 8]


@pytest.mark.parametrize("version", [8, 12])
def test_a_camera_with_a_later_one_is_left_alone(
    tended: "OffloadBench", office: "Office", camera: TendedCamera, version: int
) -> None:
    camera.in_force = ConfigRef(version, "1" * 64)
    office.put("policy", office.config(7))
    _, port = tended.serve(camera)
    report = tended.session(port)
    assert (camera.configs, report.config) == ([], "")
    assert "config" not in camera.requests


def test_the_same_version_with_other_bytes_is_said(
    tended: "OffloadBench", office: "Office", camera: TendedCamera
) -> None:
    camera.in_force = ConfigRef(7, "1" * 64)
    office.put("policy", office.config(7))
    _, port = tended.serve(camera)
    assert "other bytes" in tended.session(port).config
    assert "other bytes" in told(tended, "config_refused")[0]
    assert "config" not in camera.requests
    path = office.shelf / "policy.json"
    camera.in_force = ConfigRef(7, hashlib.sha256(path.read_bytes()).hexdigest())
    assert tended.session(port).config == ""


def test_one_that_the_camera_refuses_is_tried_once_a_docking(
    tended: "OffloadBench", office: "Office", camera: TendedCamera
) -> None:
    def rolls_back(config: Config) -> None:
        raise RefusalError(422, "rolled back: no picture comes any more", field="window_ns")

    camera.answer_config = rolls_back
    office.put("policy", office.config(7))
    _, port = tended.serve(camera)
    for _ in range(3):
        report = tended.session(port)
        assert "422 (window_ns) rolled back" in report.config
        assert report.outcomes == () or report.outcomes[0].ending is Step.STORED
    assert camera.requests.count("config") == 1
    assert "rolled back" in told(tended, "config_refused")[0]
    assert kinds(tended).count("config_refused") == 1
    tended.docking = Docking("cam0042")
    tended.session(port)
    assert camera.requests.count("config") == 2


def test_one_that_has_to_wait_for_the_end_of_a_recording_is_tried_again(
    tended: "OffloadBench", office: "Office", camera: TendedCamera
) -> None:
    def records(config: Config) -> None:
        raise RefusalError(409, "recording: a configuration is tried between clips")

    camera.answer_config = records
    office.put("policy", office.config(7))
    _, port = tended.serve(camera)
    assert "recording" in tended.session(port).config
    assert "recording" in told(tended, "config_refused")[0]
    camera.answer_config = lambda _config: None
    assert tended.session(port).config == ""
    assert [each.version for each in camera.configs] == [7]


def test_one_that_breaks_the_session_does_not_keep_the_clips_from_coming(
    tended: "OffloadBench", office: "Office", camera: TendedCamera
) -> None:
    office.put("policy", office.config(7))
    _, port = tended.serve(camera)
    original = tended.connect

    def connect(at: int) -> object:
        client = original(at)

        def send_config(config: SignedDocument) -> None:
            camera.requests.append("config")
            client.close()
            raise LinkError("the camera has gone")

        client.send_config = send_config  # type: ignore[method-assign]  # breaks by plan
        return client

    tended.connect = connect  # type: ignore[method-assign,assignment]  # as above
    with pytest.raises(LinkError, match="gone"):
        tended.session(port)
    assert camera.receipts == {}
    with pytest.raises(LinkError, match="gone"):
        tended.session(port)  # after the clips
    assert len(camera.receipts) == 1
    with pytest.raises(LinkError):
        tended.session(port)
    report = tended.session(port)
    assert "it waits" in report.config
    assert camera.requests.count("config") == 3


def test_an_expired_link_certificate_is_renewed_with_an_alarm(
    tended: "OffloadBench", camera: TendedCamera, tmp_path: Path
) -> None:
    server, port = tended.serve(camera)
    show(server, tended, tmp_path, datetime.now(UTC) - timedelta(days=455))
    report = tended.session(port)
    assert [each.ending for each in report.outcomes] == [Step.STORED]
    assert told(tended, "certificate_expired")
    (chain,) = camera.chains
    peer = judge_camera(chain, tended.pki.trust.roots, now_utc_ns=time.time_ns(), revocations={})
    assert (peer.subject_id, peer.expired) == ("cam0042", False)
    entry = next(read.entry for read in tended.custody.entries() if read.entry.kind == "link_renewed")
    assert entry.detail["certificate"] == peer.fingerprint
    assert camera.requests.count("renew") == 2


@pytest.mark.parametrize(("age_days", "asked"), [(1, 0), (60, 2)])
def test_renewed_before_it_ends_and_not_all_the_time(
    tended: "OffloadBench", camera: TendedCamera, tmp_path: Path, age_days: int, asked: int
) -> None:
    server, port = tended.serve(camera)
    show(server, tended, tmp_path, datetime.now(UTC) - timedelta(days=age_days))
    tended.session(port)
    assert camera.requests.count("renew") == asked
    assert told(tended, "certificate_expired") == []


@pytest.mark.parametrize(
    ("refusal", "asked"), [(RefusalError(403, "no"), 1), (RefusalError(503, "storage"), 2)]
)
def test_a_camera_that_takes_no_certificate_is_read_all_the_same(
    tended: "OffloadBench", camera: TendedCamera, tmp_path: Path, refusal: RefusalError, asked: int
) -> None:
    server, port = tended.serve(camera)
    show(server, tended, tmp_path, datetime.now(UTC) - timedelta(days=455))
    camera.renewal_refusal = refusal
    first = tended.session(port)
    assert first.error is None
    assert len(camera.receipts) == 1
    tended.session(port)
    assert camera.requests.count("renew") == asked
    assert "link_renewed" not in kinds(tended)
    assert "takes no link certificate" in told(tended, "fault")[0]


def test_a_camera_that_asks_in_the_name_of_another_gets_nothing(
    tended: "OffloadBench", camera: TendedCamera, tmp_path: Path
) -> None:
    server, port = tended.serve(camera)
    show(server, tended, tmp_path, datetime.now(UTC) - timedelta(days=455))
    camera.asked_as = "cam0043"
    tended.session(port)
    assert camera.chains == []
    assert "someone else" in told(tended, "fault")[0]


def test_a_camera_whose_evidence_key_is_revoked_is_read_and_gets_nothing(
    bench: "OffloadBench", office: "Office", camera: TendedCamera, tmp_path: Path
) -> None:
    revoked(bench, office, ("cam0042", "evidence"))
    office.put("policy", office.config(7))
    server, port = bench.serve(camera)
    show(server, bench, tmp_path, datetime.now(UTC) - timedelta(days=455))
    camera.head_fields = {"number": 9, "start_sha256": "9" * 64}
    bench.session(port)
    camera.head_fields = {}
    report = bench.session(port, wearer=SHIFT)
    assert [each.ending for each in bench.session(port).outcomes] == [Step.QUARANTINED]
    assert (camera.receipts, camera.configs, camera.chains, camera.wearers, camera.grants) == (
        {},
        [],
        [],
        [],
        [],
    )
    assert not report.wearer_told
    assert any("keep the camera" in each for each in told(bench, "integrity_alarm"))
    (apart,) = bench.store.quarantined()
    assert "revoked" in " ".join(apart.note.reasons)


def test_a_list_that_comes_while_the_agent_runs_counts_from_the_next_clip_on(
    bench: "OffloadBench", office: "Office", clips: "ClipFactory"
) -> None:
    first = clips.make(1)
    camera = TendedCamera(bench.pki, [first])
    files = revoked(bench, office, ("cam0043", "evidence"))
    _, port = bench.serve(camera)
    assert bench.session(port).stored == 1
    agency = office.place / "agency-copy"
    revoke(bench.pki.directory / "cam0042" / "evidence.pem", agency, "keyCompromise")
    second = clips.make(2, previous_start=first.start_sha256)
    camera.clips_here[second.key.clip] = second
    camera.files.update({(second.key.clip, name): data for name, data in second.files.items()})
    camera.states[second.key.clip] = ClipState.SEALED
    report = bench.session(port)
    assert [each.ending for each in report.outcomes] == [Step.QUARANTINED]
    assert len(files.serials) == 2
    assert set(camera.receipts) == {first.key.clip}


@pytest.mark.parametrize(
    ("who", "counts"),
    [(("dock7", "dock-receipt"), False), (("cam0042", "evidence"), True), (("cam0043", "evidence"), True)],
    ids=["dock", "camera-later", "another"],
)
def test_a_tombstone_counts_as_far_as_its_receipt_does(
    bench: "OffloadBench", office: "Office", clips: "ClipFactory", who: tuple[str, str], counts: bool
) -> None:
    """Another store of the agency took the clip before anybody was revoked."""
    first = clips.make(1)
    camera = TendedCamera(bench.pki, [first])
    other = office.place / "other"
    format_store(other, "dock8-a")
    store = FileStore(other)
    custody = CustodyLog(other / "custody.jsonl", "dock8-a")
    mine = bench.station
    bench.station = Station(store, custody, bench.pki.dock, bench.pki.trust, dock_id="dock7")
    _, port = bench.serve(camera)
    bench.session(port)
    bench.station = mine
    receipt = store.receipt_of(next(iter(store.clips())))  # type: ignore[arg-type]  # it is no damaged one
    assert receipt is not None
    camera.bury(first.key.clip)
    camera.stones = [stone_of(camera, first, SignedDocument(document=receipt.document, cms=receipt.cms))]
    camera.head_fields = {"number": 1, "start_sha256": first.start_sha256}
    time.sleep(1.1 - time.time() % 1)  # a revocation counts from a whole second on
    revoked(bench, office, who)
    report = bench.session(port)
    assert report.completeness is not None
    assert report.completeness.missing == (() if counts else ((1, 1),))
    custody.close()
    store.close()


def test_what_an_earlier_epoch_lost_is_missing_still(bench: "OffloadBench", clips: "ClipFactory") -> None:
    first = clips.make(1)
    camera = TendedCamera(bench.pki, [first])
    _, port = bench.serve(camera)
    camera.head_fields = {"number": 3, "start_sha256": "3" * 64}
    bench.session(port)
    camera.head_fields = {}
    report = bench.session(port)
    assert len(camera.grants) == 1
    assert report.completeness is not None
    assert (report.completeness.generation, report.completeness.missing) == (2, ())
    assert any("2 to 3 of generation 1" in each for each in told(bench, "clip_missing"))


def test_a_head_of_the_same_number_with_another_start_is_given_a_new_epoch(
    bench: "OffloadBench", clips: "ClipFactory"
) -> None:
    """A card that was put back, and a clip recorded before the dock could notice."""
    camera = TendedCamera(bench.pki, [clips.make(1)])
    _, port = bench.serve(camera)
    camera.head_fields = {"number": 2, "start_sha256": "2" * 64}
    bench.session(port)
    camera.head_fields = {"number": 2, "start_sha256": "4" * 64}
    bench.session(port)
    assert len(camera.grants) == 1
    assert any("fork" in each for each in told(bench, "integrity_alarm"))
