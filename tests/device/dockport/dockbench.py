"""A vault with sealed clips behind the real dock's port, and docks, good and bad, that talk to it."""

import dataclasses
import hashlib
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from device.config import DockportSection
from device.dockport.camera import DockedCamera
from device.dockport.dockport import DockPort
from device.health.clock import CameraClock
from device.policy import Policy, policy_of
from device.recording.events import DockPresence
from device.recording.machine import State
from device.recording.recorder import RecorderStatus
from device.vault.dockstate import DockMemory
from device.vault.eventlog import LOG_PREFIX, EventLog
from device.vault.layout import VaultLayout, open_layout
from device.vault.logthread import LogThread
from device.vault.vault import Vault
from docklink.client import DockClient, RequestLimit, open_session
from docklink.limits import Timeouts
from docklink.messages import Probe, SetClock, SignedDocument
from docklink.streams import ByteStream, connect_tcp
from docklink.tls import DockTrust
from evidence.agency import SubjectKind, create_agency, issue_new, load_enrol
from evidence.certificates import issue_leaf, new_key
from evidence.clock import ClockSource, UtcMapping
from evidence.cms import sign_cms
from evidence.documents import (
    Config,
    CustodyHead,
    Gestures,
    LogEvent,
    LogLine,
    Manifest,
    NamedBlob,
    Receipt,
    Reread,
    Sound,
    Verdict,
    decode,
    encode,
)
from evidence.lines import LineReader
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import Signer, load_signer
from tests.device.vault_recovery.rig import BOOT, DEVICE, Camera

NS_PER_S = 1_000_000_000
HOUR_NS = 3600 * NS_PER_S
RECEIPT_FILES = ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s")
QUICK = Timeouts(handshake_s=10.0, head_s=5.0, body_s=5.0, progress_s=5.0, answer_s=20.0, idle_s=5.0)


@dataclasses.dataclass(frozen=True)
class Agency:
    """An agency on disk, with a camera, two docks, and its keeper of configurations."""

    directory: Path

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        return load_roots(self.root_file)

    @property
    def root_file(self) -> Path:
        return self.directory / "agency" / "root" / "root.pem"

    @property
    def recipient(self) -> str:
        return (self.directory / "agency" / "identity" / "recipients.txt").read_text().split()[-1]

    def signer(self, who: str, role: Role) -> Signer:
        return load_signer(self.directory / who, role)

    def trust(self, who: str = "dock", **changes: object) -> DockTrust:
        keys = self.directory / who
        stem = "link" if who == "camera" else "dock-link"
        trust = DockTrust(keys / f"{stem}.pem", keys / f"{stem}.key", self.roots, time.time_ns())
        return msgspec.structs.replace(trust, **changes)

    def serial(self, who: str, stem: str) -> str:
        (leaf, *_) = x509.load_pem_x509_certificates((self.directory / who / f"{stem}.pem").read_bytes())
        return f"{leaf.serial_number:x}"


def make_agency(directory: Path, name: str = "Test Trust") -> Agency:
    create_agency(name, directory / "agency", now=datetime.now(UTC))
    for kind, who, subject in (
        ("camera", "camera", DEVICE),
        ("dock", "dock", "dock7"),
        ("dock", "dock8", "dock8"),
        ("config", "config", "policy"),
    ):
        issue_new(SubjectKind(kind), subject, directory / "agency", directory / who)
    enrol = load_enrol(directory / "agency")
    key = new_key()
    long_ago = datetime.now(UTC) - timedelta(days=800)
    chain = issue_leaf(Role.DOCK_LINK, "dock9", key.public_key(), enrol, long_ago)
    old = directory / "olddock"
    old.mkdir()
    (old / "dock-link.pem").write_bytes(
        b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    )
    (old / "dock-link.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return Agency(directory)


class Clocks:
    """Both clocks of a camera, as a test sets them."""

    def __init__(self) -> None:
        self.monotonic_ns = 1000 * NS_PER_S
        self.utc_ns: int | None = None
        self.source = ClockSource.NONE

    def read(self) -> UtcMapping:
        self.monotonic_ns += 1000
        return UtcMapping(monotonic_ns=self.monotonic_ns, utc_ns=self.utc_ns, source=self.source)


class DockBench:
    """One start of a camera: `restart` is the next one, on the same vault."""

    def __init__(self, agency: Agency, root: Path, *, clips: int = 2) -> None:
        self.agency = agency
        self.root = root
        self.clocks = Clocks()
        self.state = State.READY
        self.boot = BOOT
        self.presence: list[bool] = []
        self.applied: list[int] = []
        self.fails_with: Exception | None = None
        self.space_limit_bytes = 0
        self.serial: tuple[str, ...] = ()
        self._sessions: list[DockClient] = []
        maker = Camera(root, agency.directory / "camera")
        self.names = [maker.record().name for _ in range(clips)]
        self.start()

    def start(self) -> None:
        keys = self.agency.directory / "camera"
        self.signer = load_signer(keys, Role.CAMERA_EVIDENCE)
        self.layout: VaultLayout = open_layout(self.root, DEVICE)
        self.vault = Vault(self.layout)
        self.clock = CameraClock(self.clocks.read)
        self.memory = DockMemory(self.layout)
        self.log = LogThread(EventLog(self.layout, self.signer, self.boot, self.clock.read), lambda _: None)
        self.policy = policy_of(encode(self.config(0)), DEVICE)
        camera = DockedCamera(
            vault=self.vault,
            signer=self.signer,
            log=self.log,
            clock=self.clock,
            memory=self.memory,
            boot=self.boot,
            firmware="0.0.0",
            status=self._status,
            policy=lambda: self.policy,
            apply=self._apply,
            try_policy=self._try,
            recovery_state=lambda _: None,
            recovered=lambda: True,
            writing=lambda: False,
            post=self._note,
            space_limit_bytes=self.space_limit_bytes,
        )
        section = DockportSection(listen="127.0.0.1:0", serial=self.serial)
        self.port = DockPort(camera, section, keys=keys, anchors=self.agency.root_file, timeouts=QUICK)
        self.port.look = self.look_when_told  # type: ignore[method-assign]  # tests say when it looks
        self.port.start()

    def look_when_told(self) -> None:
        """The keeper's own turns do nothing."""

    def look(self) -> None:
        """One turn of the keeper."""
        DockPort.look(self.port)

    def stop(self) -> None:
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        self.port.close()
        self.log.close()
        self.layout.close()

    def restart(self, *, boot: str | None = None) -> None:
        self.stop()
        self.boot = boot or self.boot
        self.start()

    def dock(
        self, who: str = "dock", *, trust: DockTrust | None = None, agency: Agency | None = None
    ) -> DockClient:
        """Open a session over TCP."""
        assert self.port.tcp is not None
        return self.session(
            connect_tcp("127.0.0.1", self.port.tcp.number, 5), trust or (agency or self.agency).trust(who)
        )

    def session(self, stream: ByteStream, trust: DockTrust, limit: RequestLimit | None = None) -> DockClient:
        for session in self._sessions:  # one session a port
            session.close()
        self._sessions.clear()
        client = open_session(stream, trust, timeouts=QUICK, limit=limit)
        self._sessions.append(client)
        return client

    def config(self, version: int, **changes: object) -> Config:
        document = Config(
            version=version,
            devices=(DEVICE,),
            recipients=(self.agency.recipient,),
            window_ns=30 * NS_PER_S,
            sound=Sound(recording=True, before_press=False),
            gestures=Gestures(hold_ns=3 * NS_PER_S, confirm_stop=False, confirm_ns=5 * NS_PER_S),
            limit_ns=4 * HOUR_NS,
            reminder_ns=0,
            stealth=False,
            hold_ns=72 * HOUR_NS,
            revocations=(),
        )
        return msgspec.structs.replace(document, **changes)

    def hold(self, hold_ns: int) -> None:
        """Put a policy with another hold time in force."""
        self.policy = policy_of(encode(self.config(self.policy.document.version, hold_ns=hold_ns)), DEVICE)

    def clip(self, number: int = 1) -> Path:
        return self.root / "clips" / self.names[number - 1]

    def receipt(self, name: str, **changes: object) -> Receipt:
        """What a store would sign for, read from the clip or from its tombstone."""
        directory = self.root / "clips" / name
        manifest = decode((directory / "manifest.json").read_bytes(), Manifest)
        receipt = Receipt(
            version=1,
            device=manifest.device,
            epoch=manifest.epoch,
            generation=manifest.generation,
            number=manifest.number,
            clip=manifest.clip,
            files=tuple(_figures(directory / each) for each in RECEIPT_FILES),
            verdict=Verdict.STORED,
            unreadable=(),
            store="dock7-a",
            reread=Reread.DIRECT,
            utc="2026-11-22T04:12:40.000000Z",
            boot=self.boot,
            monotonic_ns=self.clocks.monotonic_ns,
            custody=CustodyHead(entries=3, head="a" * 64),
        )
        return msgspec.structs.replace(receipt, **changes)

    def signed(
        self, document: msgspec.Struct, who: str = "dock", role: Role = Role.DOCK_RECEIPT
    ) -> SignedDocument:
        content = encode(document)
        return SignedDocument(content, sign_cms(content, self.agency.signer(who, role)))

    def give_receipt(self, name: str, client: DockClient | None = None, **changes: object) -> None:
        (client or self.dock()).send_receipt(name, self.signed(self.receipt(name, **changes)))

    def set_clock(self, client: DockClient, utc_ns: int, error_ns: int = 1_000_000) -> None:
        """Make one exchange in which the way there and back takes 4 ms and the camera some microseconds."""
        echo = client.probe_clock(Probe(utc_ns))
        held_ns = echo.sent_ns - echo.received_ns
        client.set_clock(
            SetClock(
                boot=echo.boot,
                dock_sent_utc_ns=utc_ns,
                received_ns=echo.received_ns,
                sent_ns=echo.sent_ns,
                dock_received_utc_ns=utc_ns + held_ns + 4_000_000,
                dock_error_ns=error_ns,
            )
        )

    def events(self) -> list[LogEvent]:
        """All events that are on storage."""
        self.log.post("test_mark", self.clocks.monotonic_ns, urgent=True).result(20)
        found: list[LogEvent] = []
        for path in sorted(self.layout.log.iterdir()):
            with path.open("rb") as file:
                for line in LineReader(file, LOG_PREFIX, self.signer.public_key):
                    found += decode(line.value, LogLine).events
        return found

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events()]

    def bytes_of(self, name: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "clips" / name).iterdir()}

    def _status(self) -> RecorderStatus:
        return RecorderStatus(self.state, None, 0, 0, caught_up=True, free_bytes=None, minutes_left=None)

    def _apply(self, policy: Policy) -> None:
        self.policy = policy
        self.applied.append(policy.document.version)

    def _try(self, policy: Policy) -> None:
        if self.fails_with is not None:
            raise self.fails_with

    def _note(self, presence: DockPresence) -> None:
        self.presence.append(presence.docked)


def _figures(path: Path) -> NamedBlob:
    data = path.read_bytes()
    return NamedBlob(name=path.name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def copy_tree(source: Path, target: Path) -> None:
    """Replace a directory by a copy of another."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event of its own."""
    give_up = time.monotonic() + 20
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        pause.wait(0.01)
