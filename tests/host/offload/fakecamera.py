"""A vault behind docklink's server, scripted: what it lists, serves, signs and refuses is in its attributes."""

import hashlib
import io
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from docklink.errors import LinkError
from docklink.limits import Timeouts
from docklink.messages import (
    Battery,
    ClipEntry,
    ClipPage,
    ClipState,
    ClockReport,
    ClockStep,
    Device,
    EnrolStep,
    HealthEntry,
    Probe,
    ProbeEcho,
    RecorderState,
    RenewStep,
    SignedDocument,
    SigningRequest,
    SigningRequests,
    Storage,
    TombstoneEntry,
    TombstonePage,
    WearerAssignment,
)
from docklink.peers import Peer
from docklink.server import LinkServer, SessionEnd, TcpPort, serve_line
from docklink.service import FileAnswer, Lines, RefusalError
from docklink.streams import ByteStream
from docklink.tls import CameraTrust
from evidence.clock import ClockSource
from evidence.cms import sign_cms
from evidence.documents import Head, Receipt, decode, encode
from evidence.paths import verify_signed
from evidence.roles import Role
from tests.host.store.conftest import BOOT, EPOCH

if TYPE_CHECKING:
    from tests.host.store.conftest import MadeClip, Pki

QUICK = Timeouts(handshake_s=2.0, head_s=2.0, body_s=2.0, progress_s=1.0, answer_s=2.0, idle_s=5.0)


class FakeCamera:
    """A camera with clips in memory. A receipt is held against agency, clip and digests, as a camera does."""

    def __init__(self, pki: "Pki", clips: "list[MadeClip]", device: str = "cam0042") -> None:
        self.pki = pki
        self.device_id = device
        self.says_it_is = device
        self.clips_here = {clip.key.clip: clip for clip in clips}
        self.files: dict[tuple[str, str], bytes] = {
            (clip.key.clip, name): data for clip in clips for name, data in clip.files.items()
        }
        self.states = {clip.key.clip: ClipState.SEALED for clip in clips}
        self.urgent: set[str] = set()
        self.announced_bytes: dict[str, int] = {}
        self.receipts: dict[str, Receipt] = {}
        self.wearers: list[WearerAssignment] = []
        self.stones: list[TombstoneEntry] = []
        self.head_fields: dict[str, object] = {}
        self.grants: list[SignedDocument] = []
        self.battery = Battery(100, True)
        self.health: tuple[HealthEntry, ...] = ()
        self.recording = False
        self.served_bytes: dict[tuple[str, str], int] = {}
        self.requests: list[str] = []
        self._digests: dict[int, str] = {}
        self.before: Callable[[str], None] = lambda _name: None

    def device(self, peer: Peer) -> Device:
        self._note("device")
        return Device(
            device=self.says_it_is,
            epoch=EPOCH,
            generation=1,
            firmware="fake",
            recorder=RecorderState.RECORDING if self.recording else RecorderState.READY,
            battery=self.battery,
            storage=Storage(1 << 40, 1 << 39, max(0, len(self.clips_here) - len(self.receipts))),
            temperature_millicelsius=None,
            clock=ClockReport(BOOT, time.monotonic_ns(), None, ClockSource.NONE, None, None),
            config=None,
            wearer=self.wearers[-1].wearer if self.wearers else None,
            link_not_after_utc=None,
            health=self.health,
        )

    def head(self, peer: Peer) -> SignedDocument:
        self._note("head")
        last = max(
            (clip.manifest for clip in self.clips_here.values()), key=lambda each: each.number, default=None
        )
        fields: dict[str, object] = {
            "device": self.device_id,
            "epoch": EPOCH,
            "generation": 1,
            "number": last.number if last else 0,
            "start_sha256": last.start_sha256 if last else None,
            "log": None,
            "boot": BOOT,
            "monotonic_ns": 1,
            "utc": None,
        } | self.head_fields
        document = encode(Head(**fields))  # type: ignore[arg-type]  # fields by name
        return SignedDocument(document=document, cms=sign_cms(document, self.pki.camera(self.device_id)))

    def clips(self, peer: Peer, after_clip: str | None) -> ClipPage:
        self._note("clips")
        made = sorted(self.clips_here.values(), key=lambda each: each.manifest.number)
        entries = [
            ClipEntry(
                clip=clip.key.clip,
                epoch=EPOCH,
                number=clip.manifest.number,
                state=self.states[clip.key.clip],
                bytes=self.announced_bytes.get(clip.key.clip, clip.size),
                manifest_sha256=clip.key.manifest_sha256 if self.states[clip.key.clip].readable else None,
                urgent=clip.key.clip in self.urgent,
            )
            for clip in made
        ]
        names = [entry.clip for entry in entries]
        start = names.index(after_clip) + 1 if after_clip in names else 0
        return ClipPage(tuple(entries[start : start + 2]), len(entries) > start + 2)

    def file(self, peer: Peer, clip: str, name: str) -> FileAnswer:
        self._note(f"file {name}")
        if not self.states.get(clip, ClipState.RELEASED).readable:
            raise RefusalError(410, "released")
        data = self.files.get((clip, name))
        if data is None:
            raise RefusalError(404, "no such file")

        def opened() -> BinaryIO:
            return _Counted(data, lambda count: self._served(clip, name, count))

        digest = self._digests.get(id(data)) or hashlib.sha256(data).hexdigest()
        self._digests[id(data)] = digest
        return FileAnswer(opened, len(data), digest)

    def receipt(self, peer: Peer, clip: str, receipt: SignedDocument) -> None:
        self._note("receipt")
        identity = verify_signed(receipt.document, receipt.cms, self.pki.trust.roots, Role.DOCK_RECEIPT, None)
        said = decode(receipt.document, Receipt)
        made = self.clips_here[clip]
        figures = {file.name: file.sha256 for file in said.files}
        ours = {name: hashlib.sha256(self.files[clip, name]).hexdigest() for name in figures}
        if said.clip != clip or said.device != self.device_id or figures != ours or not identity.subject_id:
            raise RefusalError(403, "the receipt is not for this clip")
        assert made.manifest.number == said.number
        self.receipts[clip] = said
        self.states[clip] = ClipState.RELEASABLE

    def log(self, peer: Peer, after_index: int) -> Lines:
        return Lines(b"")

    def clock(self, peer: Peer, step: ClockStep) -> ProbeEcho | ClockReport:
        if isinstance(step, Probe):
            return ProbeEcho(BOOT, time.monotonic_ns(), time.monotonic_ns())
        self._note("clock")
        if self.recording:
            raise RefusalError(409, "recording")
        return ClockReport(BOOT, time.monotonic_ns(), None, ClockSource.DOCK, 1, 1)

    def config(self, peer: Peer, config: SignedDocument) -> None:
        raise RefusalError(409, "not newer")

    def wearer(self, peer: Peer, assignment: WearerAssignment) -> None:
        if self.recording:
            raise RefusalError(409, "recording")
        self.wearers.append(assignment)

    def epoch(self, peer: Peer, grant: SignedDocument) -> SignedDocument:
        self.grants.append(grant)
        self.head_fields = {"epoch": "ab" * 16, "generation": 2, "number": 0, "start_sha256": None}
        return self.head(peer)

    def tombstones(self, peer: Peer, after_clip: str | None) -> TombstonePage:
        return TombstonePage(tuple(self.stones), False)

    def renew(self, peer: Peer, step: RenewStep) -> SigningRequest | None:
        raise RefusalError(503, "no")

    def enrol(self, peer: Peer, step: EnrolStep) -> SigningRequests | None:
        raise RefusalError(409, "has an identity")

    def bury(self, clip: str) -> None:
        """Delete a clip as a camera does: what is left is its tombstone, with the receipt that it got."""
        del self.clips_here[clip]
        self.states[clip] = ClipState.RELEASED

    def _note(self, name: str) -> None:
        self.requests.append(name)
        self.before(name)

    def _served(self, clip: str, name: str, count: int) -> None:
        self.served_bytes[clip, name] = self.served_bytes.get((clip, name), 0) + count


class _Counted(io.BytesIO):
    def __init__(self, data: bytes, noted: Callable[[int], None]) -> None:
        super().__init__(data)
        self._noted = noted

    def readinto(self, buffer: object, /) -> int:
        count = super().readinto(buffer)  # type: ignore[arg-type]  # whatever is writable
        self._noted(count)
        return count


class CameraServer:
    """Serves a camera on TCP ports, lines or single streams, until `close`."""

    def __init__(
        self, camera: FakeCamera, wrap: Callable[[ByteStream], ByteStream] = lambda each: each
    ) -> None:
        self.camera = camera
        self.ends: list[SessionEnd] = []
        self._ended = threading.Condition()
        self.faults: list[object] = []
        self.wrap = wrap
        keys = camera.pki.directory / camera.device_id
        self.trust = CameraTrust(keys / "link.pem", keys / "link.key", camera.pki.trust.roots, 0)
        self._undo: list[Callable[[], None]] = []

    @property
    def server(self) -> LinkServer:
        made = LinkServer(
            self.camera,
            lambda: self.trust,
            on_end=self._note_end,
            on_fault=lambda name, error: self.faults.append((name, error)),
            timeouts=QUICK,
        )
        plain = made.serve
        made.serve = lambda stream: plain(self.wrap(stream))  # type: ignore[method-assign]  # faults by plan
        return made

    def listen(self, port: int = 0) -> int:
        """Serve a TCP port; returns its number."""
        listening = TcpPort("127.0.0.1", port)
        number, server = listening.port, self.server
        self._start(lambda: listening.run(server), listening.close)
        return number

    def serve_line(self, stream: ByteStream) -> None:
        """Serve a serial line."""
        server, stop = self.server, threading.Event()

        def run() -> None:
            try:
                serve_line(server, stream, stop)
            except LinkError as error:
                self.faults.append(error)

        def end() -> None:
            stop.set()
            stream.close()

        self._start(run, end)

    def wait_ends(self, count: int) -> None:
        """Wait until so many sessions have ended here: this end may still send when the other has gone."""
        with self._ended:
            assert self._ended.wait_for(lambda: len(self.ends) >= count, 60)

    def close(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _note_end(self, end: SessionEnd) -> None:
        with self._ended:
            self.ends.append(end)
            self._ended.notify_all()

    def _start(self, run: Callable[[], object], end: Callable[[], object]) -> None:
        thread = threading.Thread(target=run)
        thread.start()

        def finish() -> None:
            end()
            thread.join(20)
            assert not thread.is_alive()

        self._undo.append(finish)


def stone_of(camera: FakeCamera, clip: "MadeClip", receipt: SignedDocument) -> TombstoneEntry:
    """Make the tombstone of a clip whose receipt is given."""
    return TombstoneEntry(
        clip=clip.key.clip,
        start=clip.files["journal.jsonl"].split(b"\n", 1)[0] + b"\n",
        manifest=SignedDocument(document=clip.files["manifest.json"], cms=clip.files["manifest.p7s"]),
        receipt=receipt,
    )


def with_manifest(clip: "MadeClip", **changes: object) -> bytes:
    """Return the clip's manifest with fields changed, unsigned."""
    return encode(msgspec.structs.replace(clip.manifest, **changes))
