"""A whole camera in its dock: offload, clock, configuration and wearer, while presses go on counting."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from device.controls.patterns import IndicatorState
from device.dockport.dockport import DockPort
from device.recording.machine import State
from docklink.client import DockClient, open_session
from docklink.httpclient import AnswerError
from docklink.messages import ClipState, Probe, SetClock, SignedDocument, WearerAssignment
from docklink.streams import connect_tcp
from docklink.tls import DockTrust
from evidence.agency import SubjectKind, issue_new
from evidence.attestations import read_tombstone
from evidence.clock import ClockSource, format_utc
from evidence.cms import sign_cms
from evidence.documents import (
    Config,
    CustodyHead,
    Gestures,
    Manifest,
    NamedBlob,
    Receipt,
    Reread,
    Sound,
    Verdict,
    decode,
    encode,
)
from evidence.findings import Finding
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import load_signer

if TYPE_CHECKING:
    from tests.system.conftest import Camera, MakeCamera

NS_PER_S = 1_000_000_000
DOCKPORT = '\n[dockport]\nlisten = "127.0.0.1:0"\nanchors = "keys/agency/root/root.pem"\n'


class Dock:
    """A dock of the camera's agency."""

    def __init__(self, place: Path) -> None:
        self.keys = place / "keys"
        issue_new(SubjectKind.DOCK, "dock7", self.keys / "agency", self.keys / "dock")
        issue_new(SubjectKind.CONFIG, "policy", self.keys / "agency", self.keys / "config")
        self.roots = load_roots(self.keys / "agency" / "root" / "root.pem")

    def open(self, camera: "Camera") -> DockClient:
        late = camera.service.dock
        assert late is not None
        assert late.opened.wait(30), "the dock's port never opened"
        assert isinstance(late.port, DockPort), late.error
        assert late.port.tcp is not None
        stem = self.keys / "dock" / "dock-link"
        trust = DockTrust(stem.with_suffix(".pem"), stem.with_suffix(".key"), self.roots, time.time_ns())
        return open_session(connect_tcp("127.0.0.1", late.port.tcp.number, 5), trust)

    def signed(self, document: msgspec.Struct, who: str, role: Role) -> SignedDocument:
        content = encode(document)
        return SignedDocument(content, sign_cms(content, load_signer(self.keys / who, role)))

    def config(self, version: int, **changes: object) -> SignedDocument:
        recipients = (self.keys / "agency" / "identity" / "recipients.txt").read_text().split()
        document = Config(
            version=version,
            devices=("cam0042",),
            recipients=(recipients[-1],),
            window_ns=2 * NS_PER_S,
            sound=Sound(recording=True, before_press=False),
            gestures=Gestures(hold_ns=NS_PER_S // 2, confirm_stop=False, confirm_ns=5 * NS_PER_S),
            limit_ns=3600 * NS_PER_S,
            reminder_ns=0,
            stealth=False,
            hold_ns=0,
            revocations=(),
        )
        return self.signed(msgspec.structs.replace(document, **changes), "config", Role.CONFIG)

    def offload(self, client: DockClient, clip: str) -> SignedDocument:
        """Fetch a clip whole, compare it with its manifest, and sign for it."""
        entry = next(each for each in client.clips() if each.clip == clip)
        assert entry.manifest_sha256 is not None
        document = b"".join(client.fetch(clip, "manifest.json", sha256=entry.manifest_sha256))
        manifest = decode(document, Manifest)
        assert manifest.ciphertext is not None
        expected = {
            "clip.mp4.age": manifest.ciphertext.sha256,
            "journal.jsonl": manifest.journal.sha256,
            "manifest.json": entry.manifest_sha256,
        }
        files = []
        for name, digest in expected.items():
            data = b"".join(client.fetch(clip, name, sha256=digest))
            files.append(_figures(name, data))
            assert files[-1].sha256 == digest
        part = client.request_part(clip, "manifest.p7s", sha256=None)
        files.append(_figures("manifest.p7s", b"".join(part)))
        device = client.device()
        return self.signed(
            Receipt(
                version=1,
                device=manifest.device,
                epoch=manifest.epoch,
                generation=manifest.generation,
                number=manifest.number,
                clip=clip,
                files=tuple(files),
                verdict=Verdict.STORED,
                unreadable=(),
                store="dock7-a",
                reread=Reread.DIRECT,
                utc=format_utc(time.time_ns()),
                boot=device.clock.boot,
                monotonic_ns=device.clock.monotonic_ns,
                custody=CustodyHead(entries=1, head="a" * 64),
            ),
            "dock",
            Role.DOCK_RECEIPT,
        )


def _figures(name: str, data: bytes) -> NamedBlob:
    return NamedBlob(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def dock(camera_place: Path) -> Dock:
    return Dock(camera_place)


@pytest.fixture
def docked(make_camera: "MakeCamera", dock: Dock) -> "Iterator[tuple[Camera, DockClient]]":
    camera = make_camera(policy=DOCKPORT)
    client = dock.open(camera)
    yield camera, client
    client.close()


def test_a_docked_camera_is_emptied_set_and_configured(docked: "tuple[Camera, DockClient]", dock: Dock) -> None:
    camera, client = docked
    camera.wait_filled(1)
    camera.start()
    camera.run_for(0.5)
    camera.stop()
    first = camera.clips()[0].directory.name
    client.device()
    camera.wait(lambda: IndicatorState.DOCKED in camera.witness.states, "the light of a docked camera")
    utc_ns = time.time_ns() + 7200 * NS_PER_S  # nobody could mistake this for the kernel's clock
    echo = client.probe_clock(Probe(utc_ns))
    arrived_ns = utc_ns + (echo.sent_ns - echo.received_ns) + 2_000_000
    client.set_clock(SetClock(echo.boot, utc_ns, echo.received_ns, echo.sent_ns, arrived_ns, 5_000_000))
    now = client.device().clock
    assert now.source is ClockSource.DOCK
    client.assign_wearer(
        WearerAssignment("w-7f3a", format_utc(utc_ns - NS_PER_S), format_utc(utc_ns + 60 * NS_PER_S))
    )
    client.send_config(dock.config(7, window_ns=NS_PER_S, reminder_ns=0))
    client.send_receipt(first, dock.offload(client, first))
    camera.wait(lambda: not (camera.vault / "clips" / first).exists(), "the release")
    read_tombstone(camera.vault / "tombstones" / first, dock.roots)
    assert [(each.clip, each.state) for each in client.clips()] == [(first, ClipState.RELEASED)]
    camera.wait_filled(0.9)
    camera.start()
    camera.run_for(0.3)
    with pytest.raises(AnswerError) as error:
        client.send_config(dock.config(8))
    assert error.value.status == 409
    assert [each.state for each in client.clips()][-1] is ClipState.RECORDING
    camera.stop()
    start = camera.clips()[0].manifest.start
    assert start.number == 2
    assert (start.wearer, start.config.version) == ("w-7f3a", 7)
    assert (start.clock.source, start.preevent.requested_ns) == (ClockSource.DOCK, NS_PER_S)
    assert start.clock.error_ns is not None
    assert start.clock.error_ns >= 6_000_000
    assert start.utc is not None
    assert format_utc(utc_ns)[:13] <= start.utc[:13]
    assert camera.clips()[0].check().finding is Finding.AUTHENTIC
    camera.shut_down()
    kinds = {event.kind for line in camera.log_lines() for event in line.events}
    assert {"docked", "clock_set", "wearer", "config", "receipt", "released"} <= kinds


def test_the_pushed_configuration_is_in_force_after_a_restart(
    make_camera: "MakeCamera", docked: "tuple[Camera, DockClient]", dock: Dock
) -> None:
    camera, client = docked
    camera.wait_filled(0.5)
    client.send_config(dock.config(7, window_ns=NS_PER_S))
    client.close()
    camera.shut_down()
    again = make_camera(policy=DOCKPORT)
    assert again.service.policy.current.document.version == 7
    assert again.ring.window_ns == NS_PER_S


def test_a_press_while_a_clip_is_fetched_records_at_once(docked: "tuple[Camera, DockClient]") -> None:
    camera, client = docked
    camera.wait_filled(1)
    camera.start()
    camera.run_for(0.5)
    camera.stop()
    clip = camera.clips()[0]
    big = camera.vault / "clips" / clip.directory.name / "clip.mp4.age"
    with big.open("ab") as file:  # longer than any buffer on the way, so that the download lasts
        file.truncate(256 * 1024 * 1024)
    manifest = clip.manifest
    assert manifest.ciphertext is not None
    digest = manifest.ciphertext.sha256
    fetched = [0]
    done = threading.Event()

    def fetch() -> None:
        for part in client.request_part(clip.directory.name, "clip.mp4.age", sha256=digest):
            fetched[0] += len(part)
            if done.is_set():
                break
        client.close()

    thread = threading.Thread(target=fetch)
    thread.start()
    camera.wait(lambda: fetched[0] > 0, "the download")
    camera.tap()
    camera.wait_state(State.RECORDING)
    camera.run_for(0.5)
    during = fetched[0]
    assert 0 < during < 256 * 1024 * 1024, "the download was over before the press"
    camera.stop()
    done.set()
    thread.join()
    second = camera.clips()[1]
    assert second.manifest.complete
    assert second.manifest.gaps == ()
    assert second.manifest.preevent.delivered_ns >= NS_PER_S
    assert second.check().finding is Finding.AUTHENTIC


def test_a_dock_port_that_cannot_be_opened_keeps_nothing_from_being_recorded(
    make_camera: "MakeCamera",
) -> None:
    camera = make_camera(policy='\n[dockport]\nlisten = "127.0.0.1:0"\nanchors = "nowhere.pem"\n')
    camera.wait_filled(0.5)
    assert camera.service.dock is not None
    assert camera.service.dock.opened.wait(30)
    assert "nowhere.pem" in camera.service.dock.error
    camera.start()
    camera.run_for(0.3)
    camera.stop()
    assert camera.clips()[0].sealed
