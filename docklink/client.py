"""The dock's end of the link: one session with a camera, a method for each request.

    with open_session(connect_tcp(host, port, 5), trust) as camera:
        for entry in camera.clips(): ...

An error is an `AnswerError` (the camera does not grant that request; the session goes on) or another
`LinkError` (the session is over); both say in `retriable` whether to come again.
"""

import hashlib
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from docklink.api import ROUTES
from docklink.errors import LinkError, ProtocolError
from docklink.httpclient import Download, HttpClient
from docklink.limits import Timeouts
from docklink.line import ask_for_session
from docklink.messages import (
    ClipEntry,
    ClipPage,
    ClockReport,
    Device,
    EnrolBegin,
    EnrolInstall,
    Probe,
    ProbeEcho,
    RenewBegin,
    RenewInstall,
    SetClock,
    SignedDocument,
    SigningRequest,
    SigningRequests,
    TombstoneEntry,
    TombstonePage,
    WearerAssignment,
    decode_message,
)
from docklink.peers import Peer
from docklink.streams import ByteStream
from docklink.tls import DockEnrolment, DockTrust, TlsStream

__all__ = ["DockClient", "RequestLimit", "open_session"]

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)
_ROUTES: Final = {route.name: route for route in ROUTES}
_MOST_BYTES = 1024 * 1024
_LEAST_BYTES = 64 * 1024


class RequestLimit:
    """How much one request over a serial line asks for: less after each session that failed.

    Keep one a bay. A line that loses a byte now and then lets short requests through, so progress is certain.
    """

    def __init__(self) -> None:
        self.bytes = _MOST_BYTES

    @property
    def whole(self) -> bool:
        """Whether no session has failed lately: then the next request goes out ahead of its turn."""
        return self.bytes == _MOST_BYTES

    def failed(self) -> None:
        """Halve it: a session broke."""
        self.bytes = max(_LEAST_BYTES, self.bytes // 2)

    def succeeded(self) -> None:
        """Double it again: a session ended in good order."""
        self.bytes = min(_MOST_BYTES, self.bytes * 2)


def open_session(
    stream: ByteStream,
    trust: DockTrust | DockEnrolment,
    *,
    timeouts: Timeouts | None = None,
    limit: RequestLimit | None = None,
    line_timeout_s: float = 30.0,
) -> "DockClient":
    """Open a session; the stream is the session's from now on, and closed if this fails.

    Args:
        stream: TCP or a serial port.
        trust: who we are and whom we take.
        timeouts: see `Timeouts`.
        limit: given for a serial line, and for nothing else: the line is brought in step first.
        line_timeout_s: how long to ask on a serial line.

    Raises:
        PeerRefusedError: the camera is not one of the agency, or refuses this dock.
        LinkError: no session came about.
    """
    timeouts = timeouts or Timeouts()
    try:
        inner = stream if limit is None else ask_for_session(stream, timeout_s=line_timeout_s)
        tls = TlsStream(inner, trust, handshake_timeout_s=timeouts.handshake_s)
    except LinkError:
        stream.close()
        raise
    return DockClient(tls, tls.peer, timeouts, limit)


class DockClient:
    """A session; `peer` is the camera that it is with."""

    def __init__(
        self, stream: ByteStream, peer: Peer, timeouts: Timeouts, limit: RequestLimit | None = None
    ) -> None:
        self.peer = peer
        self._stream = stream
        self._http = HttpClient(stream, timeouts)
        self._limit = limit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session; from another thread too."""
        self._stream.close()

    def device(self) -> Device:
        """Ask who the camera is and how it is."""
        return self._get("device", Device)

    def head(self) -> SignedDocument:
        """Fetch the signed head."""
        return self._get("head", SignedDocument)

    def clips(self) -> Iterator[ClipEntry]:
        """List all clips, page by page; a clip that comes meanwhile may be missing."""
        after: str | None = None
        more = True
        while more:
            page = self._get("clips", ClipPage, after_clip=after)
            yield from page.clips
            after, more = _next_page(page.more, [each.clip for each in page.clips], after)

    def tombstones(self, after_clip: str | None = None) -> Iterator[TombstoneEntry]:
        """List tombstones, those after one clip, page by page."""
        after = after_clip
        more = True
        while more:
            page = self._get("tombstones", TombstonePage, after_clip=after)
            yield from page.tombstones
            after, more = _next_page(page.more, [each.clip for each in page.tombstones], after)

    def log(self, after_index: int) -> bytes:
        """Fetch a page of event log lines as they are stored; empty when there is none after that index."""
        return self._http.call(_ROUTES["log"], {"after_index": str(after_index)})[1]

    def fetch(
        self, clip: str, name: str, *, sha256: str | None, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes | bytearray]:
        """Yield a file's bytes from `start` to `stop` or its end, in requests of a size that the line bears.

        What was yielded before an error is good as far as TLS can tell: resume after it. Read to the end, or
        close the session.
        """
        while True:
            part = self.request_part(clip, name, sha256=sha256, start=start, stop=stop)
            yield from part
            start = part.stop
            if start >= (part.total_bytes if stop is None else min(stop, part.total_bytes)):
                return

    def request_part(
        self, clip: str, name: str, *, sha256: str | None, start: int = 0, stop: int | None = None
    ) -> Download:
        """Request a part of a file; over a serial line that has failed it may end before `stop`.

        Over a serial line in good order it is several requests, each sent while the one before is answered.
        Without a digest any file is taken; `Download.sha256` is what the camera says of it.
        """
        piece_bytes = None
        if self._limit is not None and self._limit.whole:
            piece_bytes = self._limit.bytes
        elif self._limit is not None:
            most = start + self._limit.bytes
            stop = most if stop is None else min(stop, most)
        parameters = {"clip": clip, "file": name}
        return self._http.download(
            _ROUTES["file"], parameters, start=start, stop=stop, sha256=sha256, piece_bytes=piece_bytes
        )

    def read_file(self, clip: str, name: str, *, limit_bytes: int, sha256: str | None = None) -> bytes:
        """Fetch a small file whole and hold it against its digest, the camera's own if none is given.

        Raises:
            ProtocolError: it has more than `limit_bytes`, or another digest than was said.
        """
        part = self.request_part(clip, name, sha256=sha256)
        if part.total_bytes > limit_bytes:
            self.close()
            raise ProtocolError(
                f"{name} is too large", expected=f"at most {limit_bytes} bytes", found=f"{part.total_bytes}"
            )
        data = b"".join(part)
        if part.stop < part.total_bytes:
            data += b"".join(self.fetch(clip, name, sha256=part.sha256, start=part.stop))
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise ProtocolError(f"{name} has another digest than the camera says", expected=part.sha256)
        return data

    def send_receipt(self, clip: str, receipt: SignedDocument) -> None:
        """Hand over a receipt; when this returns, the clip is releasable, durably."""
        self._http.call(_ROUTES["receipt"], {"clip": clip}, receipt)

    def probe_clock(self, probe: Probe) -> ProbeEcho:
        """Make one exchange of time stamps."""
        return self._post("clock", probe, ProbeEcho)

    def set_clock(self, stamps: SetClock) -> ClockReport:
        """Hand over all four time stamps of the best probe."""
        return self._post("clock", stamps, ClockReport)

    def send_config(self, config: SignedDocument) -> None:
        """Push a configuration."""
        self._http.call(_ROUTES["config"], {}, config)

    def assign_wearer(self, assignment: WearerAssignment) -> None:
        """Say who wears the camera."""
        self._http.call(_ROUTES["wearer"], {}, assignment)

    def open_epoch(self, grant: SignedDocument) -> SignedDocument:
        """Have the camera open a new epoch; returns its new head."""
        return self._post("epoch", grant, SignedDocument)

    def begin_renewal(self) -> bytes:
        """Have the camera make a link key; returns its signing request (DER)."""
        return self._post("renew", RenewBegin(), SigningRequest).link

    def end_renewal(self, chain: tuple[bytes, ...]) -> None:
        """Hand over the certificate for it: leaf, then intermediates, DER."""
        self._http.call(_ROUTES["renew"], {}, RenewInstall(link=chain))

    def begin_enrolment(self, begin: EnrolBegin) -> SigningRequests:
        """Have the camera make its keys."""
        return self._post("enrol", begin, SigningRequests)

    def end_enrolment(self, install: EnrolInstall) -> None:
        """Hand over chains, anchors and the first configuration."""
        self._http.call(_ROUTES["enrol"], {}, install)

    def _get(self, name: str, kind: type[AnswerT], **parameters: str | None) -> AnswerT:
        given = {key: value for key, value in parameters.items() if value is not None}
        return _read(self._http.call(_ROUTES[name], given)[1], kind)

    def _post(self, name: str, body: msgspec.Struct, kind: type[AnswerT]) -> AnswerT:
        return _read(self._http.call(_ROUTES[name], {}, body)[1], kind)


def _read(data: bytes, kind: type[AnswerT]) -> AnswerT:
    try:
        return decode_message(data, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(
            f"an answer that is no {kind.__name__}", found=ascii(str(error)[:200])[1:-1]
        ) from error


def _next_page(more: bool, names: list[str], after: str | None) -> tuple[str | None, bool]:
    """Say where the next page begins; a camera that promises more and gives nothing is not asked for ever."""
    if more and (not names or names[-1] == after):
        raise ProtocolError("the camera promises another page and does not go on")
    return (names[-1] if names else after), more
