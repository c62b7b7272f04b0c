"""A camera without identity behind its real desk and server, and an agency that can enrol it, or try."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from device.dockport.enrolcheck import load_trusted
from device.dockport.enroldesk import EnrolDesk
from device.dockport.enrolmode import open_scratch
from device.dockport.enrolservice import EnrolService
from docklink.client import DockClient, open_session
from docklink.messages import EnrolBegin, EnrolInstall, SignedDocument, SigningRequests
from docklink.server import LinkServer, SessionEnd
from docklink.streams import ByteStream, stream_pair
from docklink.tls import CameraEnrolment, CameraTrust, DockEnrolment
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.cms import sign_cms
from evidence.der import certificate_der
from evidence.documents import Config, Gestures, Sound, encode
from evidence.roles import Role
from evidence.signer import load_signer
from host.enrol import AgencyDesk

S = 1_000_000_000
DEVICE = "cam0042"
SERIAL = "100000003d1d2c4f"


def make_agency(directory: Path, name: str = "Test Trust") -> Path:
    """Make an agency with a keeper of configurations and a dock; returns its directory."""
    agency = directory / "agency"
    create_agency(name, agency, now=datetime.now(UTC))
    issue_new(SubjectKind.CONFIG, "policy", agency, directory / "config")
    issue_new(SubjectKind.DOCK, "dock7", agency, directory / "dock")
    return agency


class EnrolBench:
    """One camera, nobody's. Its button and its clock are the test's."""

    def __init__(self, place: Path, agency: Path, *, device: str = "") -> None:
        self.keys, self.vault = place / "keys", place / "vault"
        self.vault.mkdir(parents=True)
        self.agency = agency
        self.now_ns = 1000 * S
        self.lights: list[bool] = []
        self.faults: list[tuple[str, Exception]] = []
        self.on_end: Callable[[SessionEnd], object] = lambda _: None
        self.trust: CameraEnrolment | CameraTrust
        self.trust, self.fingerprint = open_scratch(self.keys)
        self.desk = EnrolDesk(
            device=device,
            serial=SERIAL,
            fingerprint=self.fingerprint,
            keys=self.keys,
            vault=self.vault,
            trusted=load_trusted(self.keys / "anchors.pem"),
            changed=self.lights.append,
            now_ns=lambda: self.now_ns,
        )
        self._threads: list[tuple[ByteStream, threading.Thread]] = []

    def server(self) -> LinkServer:
        return LinkServer(
            EnrolService(self.desk, self.vault),
            lambda: self.trust,
            on_end=self._ended,
            on_fault=lambda route, error: self.faults.append((route, error)),
        )

    def stream(self) -> ByteStream:
        """Return the dock's end of a line whose other end is served."""
        near, far = stream_pair()
        thread = threading.Thread(target=self.server().serve, args=(far,), daemon=True)
        thread.start()
        self._threads.append((near, thread))
        return near

    def dock(self) -> DockClient:
        return open_session(self.stream(), DockEnrolment())

    def begin(self, client: DockClient, **changes: object) -> SigningRequests:
        step = EnrolBegin(DEVICE, self.fingerprint, AgencyDesk(self.agency).fingerprint)
        return client.begin_enrolment(msgspec.structs.replace(step, **changes))

    def offer(
        self, requests: SigningRequests, *, agency: Path | None = None, device: str = DEVICE
    ) -> EnrolInstall:
        desk = AgencyDesk(agency or self.agency)
        issued = desk.issue(device, requests)
        return EnrolInstall(
            evidence=tuple(certificate_der(each) for each in issued.evidence),
            link=tuple(certificate_der(each) for each in issued.link),
            anchors=(desk.root_der,),
            config=None,
            recipients=desk.recipients(),
        )

    def config(self, version: int = 1, who: Path | None = None, **changes: object) -> SignedDocument:
        document = Config(
            version=version,
            devices=(DEVICE,),
            recipients=AgencyDesk(self.agency).recipients(),
            window_ns=30 * S,
            sound=Sound(recording=True, before_press=False),
            gestures=Gestures(hold_ns=3 * S, confirm_stop=False, confirm_ns=5 * S),
            limit_ns=3600 * S,
            reminder_ns=0,
            stealth=False,
            hold_ns=0,
            revocations=(),
        )
        content = encode(msgspec.structs.replace(document, **changes))
        signer = load_signer((who or self.agency.parent) / "config", Role.CONFIG)
        return SignedDocument(content, sign_cms(content, signer))

    def files(self) -> dict[str, bytes]:
        """Everything that lies with the keys and in the vault, but the key for TLS."""
        places = [path for root in (self.keys, self.vault) for path in root.rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in places if path.parent.name != "enrolment"}

    def close(self) -> None:
        for stream, thread in self._threads:
            stream.close()
            thread.join(20)
            assert not thread.is_alive()

    def _ended(self, end: SessionEnd) -> None:
        self.desk.end_session()
        self.on_end(end)
