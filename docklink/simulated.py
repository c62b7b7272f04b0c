"""A camera without a camera: the service of `docklink.service` over a directory of clips.

It stands in for a real one where a dock, a cable or a port is what matters. It keeps its state in memory and
takes every document that is in its form: who signed a receipt or a configuration, a real camera checks.
"""

# ruff: noqa: ARG002 - the signatures are the service's; this camera needs less

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from docklink.messages import (
    FILES,
    Battery,
    ClipEntry,
    ClipPage,
    ClipState,
    ClockReport,
    ClockStep,
    Device,
    EnrolBegin,
    EnrolStep,
    Probe,
    ProbeEcho,
    RecorderState,
    RenewBegin,
    RenewStep,
    SetClock,
    SignedDocument,
    SigningRequest,
    SigningRequests,
    Storage,
    TombstonePage,
    WearerAssignment,
)
from docklink.peers import Peer
from docklink.service import FileAnswer, Lines, RefusalError
from docklink.timestamps import mapping_of
from evidence.clock import ClockSource, format_utc

__all__ = ["SimulatedCamera"]

_BOOT = "0" * 32
_EPOCH = "1" * 32
_PAGE_CLIPS = 500


class SimulatedCamera:
    """A camera whose clips are the directories of `clips`; what a dock did is in its attributes."""

    def __init__(self, device_id: str, clips: Path, monotonic_ns: Callable[[], int]) -> None:
        self.receipts: dict[str, SignedDocument] = {}
        self.configs: list[SignedDocument] = []
        self.assignments: list[WearerAssignment] = []
        self.states: dict[str, ClipState] = {}
        self.log_lines: list[bytes] = []
        self.signing_request = b""
        self.installed: tuple[bytes, ...] = ()
        self.clock_error_ns: int | None = None
        self._device_id = device_id
        self._clips = clips
        self._monotonic_ns = monotonic_ns
        self._probes: set[tuple[int, int]] = set()
        self._digests: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def device(self, peer: Peer) -> Device:
        """Return a camera in good health."""
        return Device(
            device=None if peer.role is None else self._device_id,
            epoch=_EPOCH,
            generation=1,
            firmware="simulated",
            recorder=RecorderState.READY,
            battery=Battery(80, True),
            storage=Storage(64_000_000_000, 32_000_000_000, len(self._names()) - len(self.receipts)),
            temperature_millicelsius=31_000,
            clock=self._report(None),
            config=None,
            wearer=self.assignments[-1].wearer if self.assignments else None,
            link_not_after_utc=None,
        )

    def head(self, peer: Peer) -> SignedDocument:
        """Refuse: there is no key to sign with."""
        raise RefusalError(503, "a simulated camera signs nothing")

    def clips(self, peer: Peer, after_clip: str | None) -> ClipPage:
        """List the directories."""
        names = self._names()
        if after_clip is not None:
            names = [name for name in names if _number(name) > _number(after_clip)]
        page = names[:_PAGE_CLIPS]
        return ClipPage(tuple(self._entry(name) for name in page), len(names) > len(page))

    def file(self, peer: Peer, clip: str, name: str) -> FileAnswer:
        """Open a file."""
        path = self._clips / clip / name
        if clip not in self._names() or not path.is_file():
            raise RefusalError(404, "no such file")
        if not self.states.get(clip, ClipState.SEALED).readable:
            raise RefusalError(409, "the clip is not sealed")
        return FileAnswer(lambda: path.open("rb"), path.stat().st_size, self._digest(clip, name))

    def receipt(self, peer: Peer, clip: str, receipt: SignedDocument) -> None:
        """Take a receipt."""
        if clip not in self._names():
            raise RefusalError(404, "no such clip")
        self.receipts[clip] = receipt
        self.states[clip] = ClipState.RELEASABLE

    def log(self, peer: Peer, after_index: int) -> Lines:
        """Return `log_lines`, whose first has index 1."""
        return Lines(b"".join(self.log_lines[after_index : after_index + 100]))

    def clock(self, peer: Peer, step: ClockStep) -> ProbeEcho | ClockReport:
        """Echo a probe; take the four time stamps of one that was echoed."""
        if isinstance(step, Probe):
            received_ns = self._monotonic_ns()
            echo = ProbeEcho(_BOOT, received_ns, self._monotonic_ns())
            self._probes.add((echo.received_ns, echo.sent_ns))
            return echo
        if (step.received_ns, step.sent_ns) not in self._probes:
            raise RefusalError(409, "not a probe of this session")
        self._probes.clear()
        return self._report(step)

    def config(self, peer: Peer, config: SignedDocument) -> None:
        """Keep a configuration."""
        self.configs.append(config)

    def wearer(self, peer: Peer, assignment: WearerAssignment) -> None:
        """Keep an assignment."""
        self.assignments.append(assignment)

    def epoch(self, peer: Peer, grant: SignedDocument) -> SignedDocument:
        """Refuse: a simulated camera is never behind."""
        raise RefusalError(409, "not behind")

    def tombstones(self, peer: Peer, after_clip: str | None) -> TombstonePage:
        """Return none: nothing is ever deleted."""
        return TombstonePage((), False)

    def renew(self, peer: Peer, step: RenewStep) -> SigningRequest | None:
        """Return `signing_request`, then keep the chain in `installed`."""
        if isinstance(step, RenewBegin):
            return SigningRequest(self.signing_request)
        self.installed = step.link
        return None

    def enrol(self, peer: Peer, step: EnrolStep) -> SigningRequests | None:
        """Return `signing_request` twice, then keep the link chain in `installed`."""
        if isinstance(step, EnrolBegin):
            return SigningRequests(self.signing_request, self.signing_request)
        self.installed = step.link
        return None

    def _names(self) -> list[str]:
        return sorted((each.name for each in self._clips.iterdir() if each.is_dir()), key=_number)

    def _entry(self, name: str) -> ClipEntry:
        state = self.states.get(name, ClipState.SEALED)
        files = [self._clips / name / each for each in FILES]
        return ClipEntry(
            clip=name,
            epoch=_EPOCH,
            number=_number(name),
            state=state,
            bytes=sum(path.stat().st_size for path in files if path.is_file()),
            manifest_sha256=self._digest(name, "manifest.json") if state.readable else None,
            urgent=False,
        )

    def _digest(self, clip: str, name: str) -> str:
        with self._lock:
            if (clip, name) not in self._digests:
                with (self._clips / clip / name).open("rb") as file:
                    self._digests[clip, name] = hashlib.file_digest(file, "sha256").hexdigest()
            return self._digests[clip, name]

    def _report(self, stamps: SetClock | None) -> ClockReport:
        now_ns = self._monotonic_ns()
        if stamps is None:
            return ClockReport(_BOOT, now_ns, None, ClockSource.NONE, None, None)
        mapping = mapping_of(stamps)
        self.clock_error_ns = mapping.error_ns
        utc_ns = mapping.utc_at(now_ns)
        utc = None if utc_ns is None else format_utc(utc_ns)
        return ClockReport(_BOOT, now_ns, utc, mapping.source, mapping.error_ns, mapping.set_ns)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
