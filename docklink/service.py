"""What a camera offers to a dock: one method for each request of `docklink.api`.

The implementation is the camera's; it sees requests that are complete, in their grammar, and of a peer that was
judged. It refuses by raising `RefusalError`.
"""

from collections.abc import Callable, Mapping
from typing import BinaryIO, Final, Protocol

import msgspec

from docklink.errors import LinkError
from docklink.messages import (
    ClipPage,
    ClockReport,
    ClockStep,
    Device,
    EnrolStep,
    ProbeEcho,
    RenewStep,
    SignedDocument,
    SigningRequest,
    SigningRequests,
    TombstonePage,
    WearerAssignment,
)
from docklink.peers import Peer

__all__ = ["HANDLERS", "Call", "CameraService", "FileAnswer", "Lines", "RefusalError", "Result"]


class RefusalError(LinkError):
    """A request is not granted; `status` is one of its route, `field` names what is wrong in the body."""

    retriable = False

    def __init__(self, status: int, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.field = field


class FileAnswer(msgspec.Struct, frozen=True):
    """A file that does not change any more: how to open it, its size, its SHA-256 in lower-case hexadecimal."""

    open: Callable[[], BinaryIO]
    size_bytes: int
    sha256: str


class Lines(msgspec.Struct, frozen=True):
    """Whole lines as they are stored, newlines included; empty if there are none after the index."""

    data: bytes


Result = msgspec.Struct | None
"""A message of the route, a `FileAnswer`, `Lines`, or `None` for 204."""


class Call(msgspec.Struct, frozen=True):
    """A request that was checked."""

    peer: Peer
    parameters: Mapping[str, str]
    body: msgspec.Struct | None


class CameraService(Protocol):
    """The camera behind the server; each method may raise `RefusalError`, with the statuses of its route.

    All run in the session's thread, one at a time for each session.
    """

    def device(self, peer: Peer) -> Device:
        """Return identity and state."""

    def head(self, peer: Peer) -> SignedDocument:
        """Return the head, signed now."""

    def clips(self, peer: Peer, after_clip: str | None) -> ClipPage:
        """List clips, those after `after_clip` by number, up to `docklink.api.PAGE_LIMIT_BYTES`."""

    def file(self, peer: Peer, clip: str, name: str) -> FileAnswer:
        """Open a file of a clip. 404 if there is none, 409 if the clip is not sealed, 410 if it is released."""

    def receipt(self, peer: Peer, clip: str, receipt: SignedDocument) -> None:
        """Take a receipt; return only when the clip is releasable, durably. 403 if it is not good."""

    def log(self, peer: Peer, after_index: int) -> Lines:
        """Return lines after an index, up to `docklink.api.PAGE_LIMIT_BYTES` and at least one."""

    def clock(self, peer: Peer, step: ClockStep) -> ProbeEcho | ClockReport:
        """Echo a probe, or set the clock. 409 while recording."""

    def config(self, peer: Peer, config: SignedDocument) -> None:
        """Take a configuration. 409 if it is not newer, 422 with the field that is wrong."""

    def wearer(self, peer: Peer, assignment: WearerAssignment) -> None:
        """Take an assignment. 409 while recording."""

    def epoch(self, peer: Peer, grant: SignedDocument) -> SignedDocument:
        """Open a new epoch; return the new head."""

    def tombstones(self, peer: Peer, after_clip: str | None) -> TombstonePage:
        """List tombstones as `clips` does."""

    def renew(self, peer: Peer, step: RenewStep) -> SigningRequest | None:
        """Begin or end the renewal of the link certificate."""

    def enrol(self, peer: Peer, step: EnrolStep) -> SigningRequests | None:
        """Begin or end an enrolment."""


def _clock(service: CameraService, call: Call) -> Result:
    assert isinstance(call.body, ClockStep)
    return service.clock(call.peer, call.body)


def _wearer(service: CameraService, call: Call) -> Result:
    assert isinstance(call.body, WearerAssignment)
    service.wearer(call.peer, call.body)
    return None


def _renew(service: CameraService, call: Call) -> Result:
    assert isinstance(call.body, RenewStep)
    return service.renew(call.peer, call.body)


def _enrol(service: CameraService, call: Call) -> Result:
    assert isinstance(call.body, EnrolStep)
    return service.enrol(call.peer, call.body)


def _receipt(service: CameraService, call: Call) -> Result:
    service.receipt(call.peer, call.parameters["clip"], _document(call))
    return None


def _config(service: CameraService, call: Call) -> Result:
    service.config(call.peer, _document(call))
    return None


def _document(call: Call) -> SignedDocument:
    assert isinstance(call.body, SignedDocument)  # the route says so, and the body was read as it says
    return call.body


HANDLERS: Final[Mapping[str, Callable[[CameraService, Call], Result]]] = {
    "device": lambda service, call: service.device(call.peer),
    "head": lambda service, call: service.head(call.peer),
    "clips": lambda service, call: service.clips(call.peer, call.parameters.get("after_clip")),
    "file": lambda service, call: service.file(call.peer, call.parameters["clip"], call.parameters["file"]),
    "receipt": _receipt,
    "log": lambda service, call: service.log(call.peer, int(call.parameters.get("after_index", "0"))),
    "clock": _clock,
    "config": _config,
    "wearer": _wearer,
    "epoch": lambda service, call: service.epoch(call.peer, _document(call)),
    "tombstones": lambda service, call: service.tombstones(call.peer, call.parameters.get("after_clip")),
    "renew": _renew,
    "enrol": _enrol,
}
"""How each route of `docklink.api` is called."""
