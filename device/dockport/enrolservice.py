"""What a camera without identity answers: who it is not yet, and its enrolment. There is nothing else."""

# ruff: noqa: ARG002 - the signatures are the service's; this camera has nothing to look at

import os
from pathlib import Path

import device as firmware
from device.dockport.enroldesk import EnrolDesk
from device.health.clock import read_boot_id, read_mapping
from docklink.messages import (
    Battery,
    ClipPage,
    ClockReport,
    ClockStep,
    Device,
    EnrolBegin,
    EnrolStep,
    ProbeEcho,
    RecorderState,
    RenewStep,
    SignedDocument,
    SigningRequest,
    SigningRequests,
    Storage,
    TombstonePage,
    WearerAssignment,
)
from docklink.peers import Peer
from docklink.service import FileAnswer, Lines, RefusalError
from evidence.clock import format_utc

__all__ = ["EnrolService"]


class EnrolService:
    """Implements `docklink.service.CameraService` for a camera that belongs to nobody.

    The server keeps every request but `device` and `enrol` from it in such a session; the others refuse again.
    """

    def __init__(self, desk: EnrolDesk, storage: Path) -> None:
        """Take the desk, and a directory on the storage where the vault will be."""
        self._desk = desk
        self._storage = storage
        self._boot = read_boot_id()

    def device(self, peer: Peer) -> Device:
        """Return the board's number, and that there is no identity."""
        space = os.statvfs(self._storage)
        mapping = read_mapping()
        clock = ClockReport(
            boot=self._boot,
            monotonic_ns=mapping.monotonic_ns,
            utc=None if mapping.utc_ns is None else format_utc(mapping.utc_ns),
            source=mapping.source,
            error_ns=mapping.error_ns,
            set_ns=mapping.set_ns,
        )
        return Device(
            device=None,
            epoch=None,
            generation=None,
            firmware=firmware.__version__,
            recorder=RecorderState.FAULT,  # it cannot record: there is nobody to encrypt to
            battery=Battery(None, None),
            storage=Storage(space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize, 0),
            temperature_millicelsius=None,
            clock=clock,
            config=None,
            wearer=None,
            link_not_after_utc=None,
            serial=self._desk.serial,
        )

    def enrol(self, peer: Peer, step: EnrolStep) -> SigningRequests | None:
        """Begin or end an enrolment."""
        if isinstance(step, EnrolBegin):
            return self._desk.begin(step)
        self._desk.install(step)
        return None

    def head(self, peer: Peer) -> SignedDocument:
        """Refuse."""
        raise _nobody()

    def clips(self, peer: Peer, after_clip: str | None) -> ClipPage:
        """Refuse."""
        raise _nobody()

    def file(self, peer: Peer, clip: str, name: str) -> FileAnswer:
        """Refuse."""
        raise _nobody()

    def receipt(self, peer: Peer, clip: str, receipt: SignedDocument) -> None:
        """Refuse."""
        raise _nobody()

    def log(self, peer: Peer, after_index: int) -> Lines:
        """Refuse."""
        raise _nobody()

    def clock(self, peer: Peer, step: ClockStep) -> ProbeEcho | ClockReport:
        """Refuse."""
        raise _nobody()

    def config(self, peer: Peer, config: SignedDocument) -> None:
        """Refuse."""
        raise _nobody()

    def wearer(self, peer: Peer, assignment: WearerAssignment) -> None:
        """Refuse."""
        raise _nobody()

    def epoch(self, peer: Peer, grant: SignedDocument) -> SignedDocument:
        """Refuse."""
        raise _nobody()

    def tombstones(self, peer: Peer, after_clip: str | None) -> TombstonePage:
        """Refuse."""
        raise _nobody()

    def renew(self, peer: Peer, step: RenewStep) -> SigningRequest | None:
        """Refuse."""
        raise _nobody()


def _nobody() -> RefusalError:
    return RefusalError(403, "this camera has no identity yet")
