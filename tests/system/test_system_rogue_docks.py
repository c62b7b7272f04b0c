"""Docks that must get nothing from a whole camera: nothing read, nothing deleted, nothing changed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from device.config import parse_config
from device.dockport.dockport import DockPort
from device.service import ServiceParts
from docklink.client import DockClient, open_session
from docklink.errors import LinkError
from docklink.httpclient import AnswerError
from docklink.messages import ClipState, Probe, SetClock, SignedDocument
from docklink.streams import connect_tcp
from docklink.tls import DockEnrolment, DockTrust
from evidence.agency import SubjectKind, create_agency, issue_new, load_enrol
from evidence.certificates import issue_leaf, new_key
from evidence.clock import format_utc
from evidence.documents import Config, Receipt, Revocation, decode
from evidence.roles import Role
from tests.system.conftest import _TOML as TOML
from tests.system.conftest import Camera
from tests.system.test_system_dockport import DOCKPORT, Dock

NS_PER_S = 1_000_000_000
CONFIG_VERSION = 5
SEALED_FILES = ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s")


class Scene:
    """A camera that has had one clip taken off it by a good dock, knows the time and whom it must not trust.

    The clip that it still has goes as soon as a good receipt comes: it holds clips for no time at all.
    """

    def __init__(self, place: Path) -> None:
        create_agency("Test agency", place / "keys" / "agency")
        issue_new(SubjectKind.CAMERA, "cam0042", place / "keys" / "agency", place / "keys" / "camera")
        self.dock = Dock(place)
        self.camera = Camera(
            parse_config(TOML.format(window_s=0.5, microphone="none") + DOCKPORT, "device.toml"),
            place,
            ServiceParts(),
        )
        issue_new(SubjectKind.DOCK, "dock8", self.dock.keys / "agency", self.dock.keys / "dock8")
        self.taken = self.record()
        with self.dock.open(self.camera) as client:
            self._set_clock_and_config(client)
            self.old_receipt = self.dock.offload(client, self.taken)
            client.send_receipt(self.taken, self.old_receipt)
        self.camera.wait(lambda: not self.clip(self.taken).exists(), "the release")
        self.waiting = self.record()

    def record(self) -> str:
        """Record a clip; returns its name."""
        self.camera.wait_filled(0.5)
        self.camera.start()
        self.camera.run_for(0.3)
        self.camera.stop()
        return self.camera.clips()[-1].directory.name

    def clip(self, name: str) -> Path:
        return self.camera.vault / "clips" / name

    @property
    def port(self) -> DockPort:
        late = self.camera.service.dock
        assert late is not None
        assert isinstance(late.port, DockPort), late.error
        return late.port

    def trust(self, chain: Path, key: Path) -> DockTrust:
        return DockTrust(chain, key, self.dock.roots, time.time_ns())

    def serial(self, who: str, stem: str) -> str:
        (leaf, *_) = x509.load_pem_x509_certificates((self.dock.keys / who / f"{stem}.pem").read_bytes())
        return f"{leaf.serial_number:x}"

    def receipt(self) -> Receipt:
        """Return what a good dock signs for the clip that waits, once it has read it."""
        with self.dock.open(self.camera) as client:
            return decode(self.dock.offload(client, self.waiting).document, Receipt)

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """What is on the camera stays byte for byte, no clip becomes releasable, and no policy changes."""
        before = self._state()
        yield
        self.port.look()  # the keeper's turn: it lets go what may go
        assert self._state() == before
        assert self.port.releases.state_of(self.waiting) is ClipState.SEALED

    def _state(self) -> dict[str, object]:
        vault = self.camera.vault
        files = {path.name: path.read_bytes() for path in self.clip(self.waiting).iterdir()}
        assert set(SEALED_FILES) <= files.keys()
        stones = sorted(path.name for path in (vault / "tombstones").iterdir())
        config = (vault / "config.json").read_bytes()
        return {"files": files, "stones": stones, "config": config}

    def _set_clock_and_config(self, client: DockClient) -> None:
        utc_ns = time.time_ns()
        echo = client.probe_clock(Probe(utc_ns))
        back_ns = utc_ns + (echo.sent_ns - echo.received_ns) + 2_000_000
        client.set_clock(SetClock(echo.boot, utc_ns, echo.received_ns, echo.sent_ns, back_ns, 1_000_000))
        revoked = [
            Revocation(serial=self.serial("dock8", stem), utc=format_utc(utc_ns))
            for stem in ("dock-link", "dock-receipt")
        ]
        client.send_config(
            self.dock.config(CONFIG_VERSION, window_ns=NS_PER_S // 2, revocations=tuple(revoked))
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("rogue"))
    yield made
    made.camera.shut_down()


def no_session(scene: Scene, trust: DockTrust | DockEnrolment) -> None:
    """The camera shows nothing but its certificate; no request is answered."""
    tcp = scene.port.tcp
    assert tcp is not None
    greeted = len(scene.camera.log_events("docked"))
    with (
        scene.unharmed(),
        pytest.raises(LinkError) as error,
        open_session(connect_tcp("127.0.0.1", tcp.number, 5), trust) as client,
    ):
        client.device()
    assert not isinstance(error.value, AnswerError)
    assert len(scene.camera.log_events("docked")) == greeted


def refused(scene: Scene, status: int, send: Callable[[], object], word: str) -> None:
    with scene.unharmed(), pytest.raises(AnswerError) as error:
        send()
    assert error.value.status == status
    assert word in error.value.problem.detail


def send_receipt(scene: Scene, receipt: SignedDocument) -> None:
    with scene.dock.open(scene.camera) as client:
        client.send_receipt(scene.waiting, receipt)


def send_config(scene: Scene, config: SignedDocument) -> None:
    with scene.dock.open(scene.camera) as client:
        client.send_config(config)


def test_a_dock_of_another_agency_reads_nothing(scene: Scene, tmp_path: Path) -> None:
    create_agency("Other agency", tmp_path / "agency")
    issue_new(SubjectKind.DOCK, "dock7", tmp_path / "agency", tmp_path / "dock")
    no_session(scene, scene.trust(tmp_path / "dock" / "dock-link.pem", tmp_path / "dock" / "dock-link.key"))


def test_a_camera_certificate_reads_nothing(scene: Scene, tmp_path: Path) -> None:
    issue_new(SubjectKind.CAMERA, "cam0043", scene.dock.keys / "agency", tmp_path / "camera")
    no_session(scene, scene.trust(tmp_path / "camera" / "link.pem", tmp_path / "camera" / "link.key"))


def test_a_dock_without_a_certificate_reads_nothing(scene: Scene) -> None:
    no_session(scene, DockEnrolment())


def test_a_dock_that_expired_before_the_time_floor_reads_nothing(scene: Scene, tmp_path: Path) -> None:
    key = new_key()
    long_ago = datetime.now(UTC) - timedelta(days=800)
    chain = issue_leaf(
        Role.DOCK_LINK, "dock7", key.public_key(), load_enrol(scene.dock.keys / "agency"), long_ago
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "old.pem").write_bytes(b"".join(each.public_bytes(pem) for each in chain))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "old.key").write_bytes(private)
    no_session(scene, scene.trust(tmp_path / "old.pem", tmp_path / "old.key"))


def test_a_revoked_dock_reads_nothing(scene: Scene) -> None:
    keys = scene.dock.keys / "dock8"
    no_session(scene, scene.trust(keys / "dock-link.pem", keys / "dock-link.key"))


def test_a_receipt_by_a_revoked_store_deletes_nothing(scene: Scene) -> None:
    signed = scene.dock.signed(scene.receipt(), "dock8", Role.DOCK_RECEIPT)
    refused(scene, 403, lambda: send_receipt(scene, signed), "revoked")


def test_a_replayed_receipt_deletes_nothing(scene: Scene) -> None:
    """Genuine, byte for byte, of the clip that was taken before."""
    refused(scene, 403, lambda: send_receipt(scene, scene.old_receipt), "another clip")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"clip": "notime-cam0042-000099", "number": 99}, id="clip"),
        pytest.param({"clip": "notime-cam0043-000002", "device": "cam0043"}, id="device"),
        pytest.param({"epoch": "ab" * 16}, id="epoch"),
        pytest.param({"generation": 7}, id="generation"),
    ],
)
def test_a_receipt_for_another_place_deletes_nothing(scene: Scene, changes: dict[str, object]) -> None:
    receipt = msgspec.structs.replace(scene.receipt(), **changes)
    signed = scene.dock.signed(receipt, "dock", Role.DOCK_RECEIPT)
    refused(scene, 403, lambda: send_receipt(scene, signed), f"another {next(iter(changes))}")


@pytest.mark.parametrize("name", SEALED_FILES)
def test_a_receipt_for_another_digest_deletes_nothing(scene: Scene, name: str) -> None:
    receipt = scene.receipt()
    files = tuple(
        msgspec.structs.replace(each, sha256="0" * 64) if each.name == name else each for each in receipt.files
    )
    signed = scene.dock.signed(msgspec.structs.replace(receipt, files=files), "dock", Role.DOCK_RECEIPT)
    refused(scene, 403, lambda: send_receipt(scene, signed), f"another {name}")


@pytest.mark.parametrize(
    ("who", "role"), [("dock", Role.DOCK_LINK), ("camera", Role.CAMERA_EVIDENCE), ("config", Role.CONFIG)]
)
def test_a_receipt_by_another_role_deletes_nothing(scene: Scene, who: str, role: Role) -> None:
    signed = scene.dock.signed(scene.receipt(), who, role)
    refused(scene, 403, lambda: send_receipt(scene, signed), str(Role.DOCK_RECEIPT))


@pytest.mark.parametrize("version", [CONFIG_VERSION - 1, CONFIG_VERSION])
def test_a_configuration_that_is_not_newer_changes_nothing(scene: Scene, version: int) -> None:
    config = scene.dock.config(version, revocations=())
    refused(scene, 409, lambda: send_config(scene, config), "not newer")


@pytest.mark.parametrize("role", [Role.DOCK_RECEIPT, Role.DOCK_LINK])
def test_a_configuration_signed_by_a_dock_changes_nothing(scene: Scene, role: Role) -> None:
    document = decode(scene.dock.config(CONFIG_VERSION + 1).document, Config)
    forged = scene.dock.signed(document, "dock", role)
    refused(scene, 403, lambda: send_config(scene, forged), str(Role.CONFIG))


def test_the_same_clip_goes_with_a_good_receipt(tmp_path: Path) -> None:
    """So that what is refused above is refused for its one fault."""
    scene = Scene(tmp_path)
    try:
        send_receipt(scene, scene.dock.signed(scene.receipt(), "dock", Role.DOCK_RECEIPT))
        scene.camera.wait(lambda: not scene.clip(scene.waiting).exists(), "the release")
        assert (scene.camera.vault / "tombstones" / scene.waiting).is_dir()
    finally:
        scene.camera.shut_down()
