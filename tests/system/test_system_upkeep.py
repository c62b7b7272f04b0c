"""What docks do for a camera beside taking clips: clock, certificates, epochs, configurations, revocations."""

import dataclasses
import shutil
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from device.dockport.dockport import DockPort
from evidence.agency import SubjectKind, create_agency, issue_new, load_enrol
from evidence.certificates import issue_leaf, new_key
from evidence.check import Finding, check_sealed_clip
from evidence.clock import ClockSource, format_utc, parse_utc
from evidence.cms import sign_cms
from evidence.documents import Config, Gestures, Revocation, Sound, encode
from evidence.paths import load_roots
from evidence.revoke import revoke
from evidence.roles import Role
from evidence.signer import load_signer
from host.agent import DockAgent
from host.bays import BayState
from host.config import load_config
from host.offload import Completeness

if TYPE_CHECKING:
    from tests.system.conftest import Camera, MakeCamera

NS_PER_S = 1_000_000_000
PORT = '\n[dockport]\nlisten = "127.0.0.1:0"\nanchors = "keys/agency/root/root.pem"\n'
KEEPS_NOTHING = "keep_released_hours = 0\n"
_PATIENCE_S = 60.0  # only how long a test that has failed takes to say so


@dataclasses.dataclass
class Dock:
    """A dock of the agency, with a store of its own; it runs as long as `at` lasts."""

    place: Path
    name: str = "dock7"
    more: str = ""

    def __post_init__(self) -> None:
        issue_new(SubjectKind.DOCK, self.name, self.place / "keys" / "agency", self.keys)

    @property
    def keys(self) -> Path:
        return self.place / "keys" / self.name

    @property
    def store(self) -> Path:
        return self.place / f"store-{self.name}"

    @contextmanager
    def at(self, camera: "Camera") -> Iterator[DockAgent]:
        late = camera.service.dock
        assert late is not None
        assert late.opened.wait(_PATIENCE_S), "the dock's port never opened"
        assert isinstance(late.port, DockPort), late.error
        assert late.port.tcp is not None
        path = self.place / f"{self.name}.toml"
        path.write_text(
            f'[dock]\nid = "{self.name}"\nkeys = "{self.keys}"\nroot = "keys/agency/root/root.pem"\n'
            f'state = "state-{self.name}"\n{self.more}\n'
            f'[store]\npath = "{self.store}"\nid = "{self.name}-a"\nreserve_mib = 0\n'
            f"[timeouts]\nlook_s = 0.1\nretry_s = 0.2\n"
            f'[[bay]]\nname = "1"\ntcp = "127.0.0.1:{late.port.tcp.number}"\n'
        )
        agent = DockAgent(load_config(path))
        thread = threading.Thread(target=agent.run)
        thread.start()
        try:
            yield agent
        finally:
            agent.stop()
            thread.join()

    def takes_all_of(self, camera: "Camera") -> Completeness:
        """Dock the camera until nothing waits; return what the dock can account for."""
        with self.at(camera) as agent:
            wait(lambda: stored(agent, self, camera), agent.status)
            shown = agent.status().bays[0].camera
            assert shown is not None
            assert shown.completeness is not None
            return shown.completeness

    def log_kinds(self) -> list[str]:
        lines = (self.store / "custody.jsonl").read_bytes().splitlines()
        return [msgspec.json.decode(line)["kind"] for line in lines]


def stored(agent: DockAgent, dock: Dock, camera: "Camera") -> bool:
    """Whether a session has ended after which no sealed clip waits and all that are here are accounted for."""
    bay = agent.bays[0].status
    if bay.state not in (BayState.READY, BayState.CHARGING) or bay.camera is None or bay.camera.waiting:
        return False
    found = bay.camera.completeness
    return found is not None and found.last == camera.service.vault.numbering().number


def wait(condition: Callable[[], object], what: Callable[[], object]) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, what()
        threading.Event().wait(0.02)


def told(agent: DockAgent, kind: str) -> list[str]:
    return [each.detail for each in agent.status().notices if each.kind == kind]


def record(camera: "Camera") -> Path:
    """Record one clip; returns where it lies."""
    camera.wait_filled(0.5)
    before = {clip.directory for clip in camera.clips()}
    camera.start()
    camera.run_for(0.3)
    camera.stop()
    (new,) = {clip.directory for clip in camera.clips()} - before
    return new


def config(place: Path, version: int, **changes: object) -> Config:
    recipients = (place / "keys" / "agency" / "identity" / "recipients.txt").read_text().split()
    document = Config(
        version=version,
        devices=("cam0042",),
        recipients=(recipients[-1],),
        window_ns=NS_PER_S,
        sound=Sound(recording=True, before_press=False),
        gestures=Gestures(hold_ns=NS_PER_S // 2, confirm_stop=False, confirm_ns=5 * NS_PER_S),
        limit_ns=3600 * NS_PER_S,
        reminder_ns=0,
        stealth=False,
        hold_ns=3600 * NS_PER_S,
        revocations=(),
    )
    return msgspec.structs.replace(document, **changes)


def shelve(place: Path, document: Config, keys: Path | None = None, role: Role = Role.CONFIG) -> Path:
    """Sign a configuration and put it where the dock looks; by the agency's key for that, if none is given."""
    shelf = place / "configs"
    shelf.mkdir(exist_ok=True)
    own = place / "keys" / "config"
    if not own.exists():
        issue_new(SubjectKind.CONFIG, "policy", place / "keys" / "agency", own)
    content = encode(document)
    path = shelf / f"v{document.version}.json"
    path.with_suffix(".p7s").write_bytes(sign_cms(content, load_signer(keys or own, role)))
    path.write_bytes(content)
    return path


CONFIGURES = '[config]\ndirectory = "configs"'


@pytest.mark.parametrize("utc", ["1970-01-01T00:01:00.000000Z", "2099-01-01T00:00:00.000000Z"])
def test_a_camera_that_wakes_in_the_wrong_century_gets_its_clock_and_is_emptied(
    make_camera: "MakeCamera", monkeypatch: pytest.MonkeyPatch, utc: str
) -> None:
    woke_ns = parse_utc(utc) - time.monotonic_ns()
    clock = types.SimpleNamespace(time_ns=lambda: woke_ns + time.monotonic_ns(), monotonic_ns=time.monotonic_ns)
    monkeypatch.setattr("device.health.clock.time", clock)
    camera = make_camera(1.0, policy=PORT)
    first = record(camera)
    assert first.name.startswith("notime" if utc < "2000" else "2099")
    dock = Dock(camera.place)
    found = dock.takes_all_of(camera)
    assert (found.held, found.missing) == (1, ())
    now = camera.service.clock.read()
    assert now.source is ClockSource.DOCK
    assert now.utc_ns is not None
    assert abs(now.utc_ns - time.time_ns()) < 5 * NS_PER_S
    floor_ns = camera.service.memory.time_floor_utc_ns
    assert time.time_ns() - 600 * NS_PER_S < floor_ns <= time.time_ns()
    second = record(camera)
    assert second.name[:4] == format_utc(time.time_ns())[:4]
    found = dock.takes_all_of(camera)
    assert (found.held, found.missing) == (2, ())
    roots = load_roots(camera.place / "keys" / "agency" / "root" / "root.pem")
    for name in (first.name, second.name):
        report = check_sealed_clip(dock.store / "clips" / "cam0042" / name, roots)
        assert report.finding is Finding.AUTHENTIC
    camera.shut_down()
    assert camera.log_events("clock_set")


def test_a_link_certificate_that_expired_a_year_ago_is_renewed_with_an_alarm(
    make_camera: "MakeCamera", camera_place: Path
) -> None:
    keys, key = camera_place / "keys" / "camera", new_key()
    issued = datetime.now(UTC) - timedelta(days=455)
    chain = issue_leaf(
        Role.CAMERA_LINK, "cam0042", key.public_key(), load_enrol(camera_place / "keys" / "agency"), issued
    )
    (keys / "link.pem").write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain))
    (keys / "link.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    camera = make_camera(1.0, policy=PORT)
    record(camera)
    dock = Dock(camera_place)
    with dock.at(camera) as agent:
        wait(lambda: stored(agent, dock, camera), agent.status)
        assert told(agent, "certificate_expired")
        shown = agent.status().bays[0].camera
        assert shown is not None
        assert shown.link_not_after_utc is not None
        left_ns = parse_utc(shown.link_not_after_utc) - time.time_ns()
        assert 89 * 86_400 * NS_PER_S < left_ns <= 90 * 86_400 * NS_PER_S
    assert dock.log_kinds().count("link_renewed") == 1
    (leaf, *_) = x509.load_pem_x509_certificates((camera.vault / "link.pem").read_bytes())
    assert leaf.issuer.rfc4514_string() == "CN=dock7 link-ca"
    camera.shut_down()
    assert camera.log_events("renewed")
    again = make_camera(1.0, policy=PORT)
    other = Dock(camera_place, "dock8")
    with other.at(again) as agent:  # a dock that did not issue it takes it too
        wait(lambda: agent.bays[0].status.camera, agent.status)
        assert told(agent, "certificate_expired") == []
    assert "link_renewed" not in other.log_kinds()


def test_a_camera_restored_from_an_old_card_image_begins_a_new_epoch(
    make_camera: "MakeCamera", camera_place: Path
) -> None:
    dock = Dock(camera_place)
    camera = make_camera(1.0, policy=PORT)
    record(camera)
    assert dock.takes_all_of(camera).held == 1
    camera.shut_down()
    shutil.copytree(camera.vault, camera_place / "image")
    camera = make_camera(1.0, policy=PORT)
    record(camera)
    found = dock.takes_all_of(camera)
    assert (found.generation, found.last, found.held) == (1, 2, 2)
    camera.shut_down()
    shutil.rmtree(camera.vault)
    shutil.copytree(camera_place / "image", camera.vault)
    camera = make_camera(1.0, policy=PORT)
    with dock.at(camera) as agent:
        wait(lambda: camera.service.vault.numbering().facts.generation == 2, agent.status)
        wait(lambda: "behind" in " ".join(told(agent, "integrity_alarm")), agent.status)
    record(camera)
    found = dock.takes_all_of(camera)
    assert (found.generation, found.last, found.held, found.missing, found.forks) == (2, 1, 1, (), ())
    names = sorted(path.name[-6:] for path in (dock.store / "clips" / "cam0042").iterdir())
    assert names == ["000001", "000001", "000002"]
    camera.shut_down()
    (event,) = camera.log_events("epoch")
    assert (event.detail["seen_number"], event.detail["generation"]) == (2, 2)


def test_a_camera_that_roams_among_three_docks_is_complete_in_the_eyes_of_each(
    make_camera: "MakeCamera", camera_place: Path
) -> None:
    docks = [Dock(camera_place, name) for name in ("dock7", "dock8", "dock9")]
    camera = make_camera(1.0, policy=KEEPS_NOTHING + PORT)
    for dock in docks:
        clip = record(camera)
        dock.takes_all_of(camera)
        camera.wait((camera.vault / "tombstones" / clip.name).is_dir, "the release")
    for dock in docks:
        with dock.at(camera) as agent:
            wait(lambda: stored(agent, dock, camera), agent.status)  # noqa: B023  # used within the turn
            shown = agent.status().bays[0].camera
            assert shown is not None
            found = shown.completeness
            assert found is not None
            assert (found.last, found.held, found.waiting, found.missing) == (3, 1, (), ())
        assert len(list((dock.store / "clips" / "cam0042").iterdir())) == 1
        assert len(list((dock.store / "tombstones" / "cam0042").iterdir())) == 3


def test_a_newer_configuration_goes_by_the_dock_into_force_and_an_older_one_does_not(
    make_camera: "MakeCamera", camera_place: Path
) -> None:
    shelve(camera_place, config(camera_place, 7))
    dock = Dock(camera_place, more=CONFIGURES)
    camera = make_camera(2.0, policy=PORT)
    camera.wait_filled(0.5)
    with dock.at(camera) as agent:
        wait(lambda: camera.service.policy.current.document.version == 7, agent.status)
        wait(lambda: (shown := agent.bays[0].status.camera) and shown.config_version == 7, agent.status)
        (camera_place / "configs" / "v7.json").unlink()
        shelve(camera_place, config(camera_place, 5, stealth=True))
        record(camera)
        wait(lambda: stored(agent, dock, camera), agent.status)
        assert told(agent, "config_refused") == []
        path = shelve(camera_place, config(camera_place, 8), dock.keys, Role.DOCK_RECEIPT)
        wait(lambda: any(path.name in each for each in told(agent, "fault")), agent.status)
    assert camera.clips()[0].manifest.start.config.version == 7
    assert camera.service.policy.current.document.version == 7
    camera.shut_down()
    again = make_camera(2.0, policy=PORT)
    assert again.service.policy.current.document.version == 7
    assert again.service.policy.current.pushed
    assert dock.log_kinds().count("config_accepted") == 1


def test_a_configuration_that_the_camera_fails_with_is_rolled_back_and_said(
    make_camera: "MakeCamera", camera_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.policyswitch._PICTURE_PATIENCE_S", 0.3)
    shelve(camera_place, config(camera_place, 7, window_ns=3 * NS_PER_S))
    dock = Dock(camera_place, more=CONFIGURES)
    camera = make_camera(1.0, policy=PORT)
    clip = record(camera)
    camera.service.source.stop()  # no picture comes with the new one, so it is to blame
    with dock.at(camera) as agent:
        wait(lambda: told(agent, "config_refused"), agent.status)
        assert "rolled back" in told(agent, "config_refused")[0]
        wait((dock.store / "clips" / "cam0042" / clip.name).is_dir, agent.status)
        wait(lambda: (shown := agent.bays[0].status.camera) and "422" in shown.config, agent.status)
    assert camera.service.policy.current.document.version == 0
    assert camera.ring.window_ns == NS_PER_S
    assert not (camera.vault / "config.json").exists()
    camera.shut_down()
    assert len(camera.log_events("config_rolled_back")) == 1
    assert "config_accepted" not in dock.log_kinds()


@pytest.mark.parametrize("who", ["dock", "another agency"])
def test_a_configuration_put_onto_the_card_gets_no_clip(
    make_camera: "MakeCamera", camera_place: Path, who: str
) -> None:
    """Somebody takes the card out and puts own recipients on it; the first press is at once."""
    others = camera_place / "others"
    create_agency("Others", others / "agency")
    theirs = (others / "agency" / "identity" / "recipients.txt").read_text().split()[-1]
    if who == "dock":
        keys, role = Dock(camera_place).keys, Role.DOCK_RECEIPT
    else:
        issue_new(SubjectKind.CONFIG, "policy", others / "agency", others / "config")
        keys, role = others / "config", Role.CONFIG
    camera = make_camera(1.0, policy=PORT)
    camera.wait_filled(0.3)
    camera.shut_down()
    path = shelve(camera_place, config(camera_place, 9, recipients=(theirs,), window_ns=0), keys, role)
    shutil.copy(path, camera.vault / "config.json")
    shutil.copy(path.with_suffix(".p7s"), camera.vault / "config.p7s")
    camera = make_camera(1.0, policy=PORT)
    camera.tap()
    camera.wait(camera.clips, "a clip")
    camera.run_for(0.3)
    camera.stop()
    start = camera.clips()[0].manifest.start
    assert start.config.version == 0
    assert theirs not in start.recipients
    assert camera.ring.window_ns == NS_PER_S
    camera.shut_down()
    (event,) = camera.log_events("integrity")
    assert event.detail["what"] == "config"


def test_a_dock_that_the_configuration_revokes_gets_nothing(
    make_camera: "MakeCamera", camera_place: Path
) -> None:
    dock, rogue = Dock(camera_place, more=CONFIGURES), Dock(camera_place, "dock8")
    stolen = tuple(
        Revocation(
            serial=f"{x509.load_pem_x509_certificates(path.read_bytes())[0].serial_number:x}",
            utc="2026-11-01T00:00:00.000000Z",
        )
        for path in sorted(rogue.keys.glob("*.pem"))
    )
    shelve(camera_place, config(camera_place, 7, revocations=stolen))
    camera = make_camera(1.0, policy=PORT)
    camera.wait_filled(0.5)
    dock.takes_all_of(camera)
    assert camera.service.policy.current.document.version == 7
    clip = record(camera)
    with rogue.at(camera) as agent:
        wait(lambda: agent.bays[0].status.state is BayState.FAULT, agent.status)
    assert not (rogue.store / "clips" / "cam0042").exists()
    assert not list((camera.vault / "tombstones").iterdir())
    assert clip.is_dir()
    assert dock.takes_all_of(camera).held == 1
    camera.shut_down()
    assert camera.log_events("dock_refused")


def test_a_camera_that_was_reported_lost_is_read_into_quarantine_and_gets_nothing(
    make_camera: "MakeCamera", camera_place: Path
) -> None:
    crl = revoke(
        camera_place / "keys" / "camera" / "evidence.pem", camera_place / "keys" / "agency", "lost"
    ).crl
    shelve(camera_place, config(camera_place, 7))
    dock = Dock(camera_place, more=f'crls = ["{crl}"]\n{CONFIGURES}')
    camera = make_camera(1.0, policy=PORT)
    clip = record(camera)
    with dock.at(camera) as agent:
        wait(lambda: agent.status().quarantine, agent.status)
        assert any("keep the camera" in each for each in told(agent, "integrity_alarm"))
    assert not (dock.store / "clips" / "cam0042").exists()
    assert camera.service.policy.current.document.version == 0
    assert not (clip / "receipt.json").exists()
    assert {"config_accepted", "link_renewed"}.isdisjoint(dock.log_kinds())
