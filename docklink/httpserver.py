"""HTTP/1.1 on a stream, the camera's side: requests of the table in, answers out, one connection.

h11 keeps the protocol; this keeps the limits and the table. A request that is not in `docklink.api` never
reaches the camera's code, and no answer goes out that the table does not know.
"""

import http
import time
from collections.abc import Callable, Sequence
from typing import Final

import h11
import msgspec

from docklink.api import COMMON_REFUSALS, ROUTES, Answer, Match, Route, find_route
from docklink.errors import LinkTimeoutError, StreamClosedError, StreamError
from docklink.limits import BODY_LIMIT_BYTES, HEAD_LIMIT_BYTES, Timeouts
from docklink.messages import Problem, decode_message, encode_message
from docklink.peers import Peer
from docklink.ranges import Selection, entity_tag, select
from docklink.service import HANDLERS, Call, CameraService, FileAnswer, Lines, RefusalError, Result
from docklink.streams import ByteStream
from evidence.errors import ExplainedError

__all__ = ["Fault", "HttpServer"]

_READ_BYTES = 64 * 1024
_FILE_READ_BYTES = 256 * 1024
_JSON = ("Content-Type", "application/json")
_PROBLEM = ("Content-Type", "application/problem+json")
_LINES = ("Content-Type", "application/x-ndjson")
_BYTES = ("Content-Type", "application/octet-stream")
_ALWAYS: Final = (("Cache-Control", "no-store"),)
_NOTHING_THERE, _WRONG_METHOD = 404, 405
_LINGER_LIMIT_BYTES = 4 * 1024 * 1024

Fault = Callable[[str, Exception], None]
"""Told of what went wrong in the camera's own code: the route's name, and the error."""
Header = tuple[str, str]


class HttpServer:
    """One connection; `requests` counts those that were answered."""

    def __init__(
        self, stream: ByteStream, peer: Peer, service: CameraService, timeouts: Timeouts, on_fault: Fault
    ) -> None:
        self.requests = 0
        self._stream = stream
        self._peer = peer
        self._service = service
        self._timeouts = timeouts
        self._on_fault = on_fault
        self._http = h11.Connection(h11.SERVER, HEAD_LIMIT_BYTES)

    def run(self) -> None:
        """Answer requests until the dock closes, or says nothing for `idle_s`.

        Raises:
            LinkError: the stream failed, or the dock was too slow with a request or with taking an answer.
        """
        while True:
            try:
                request = self._next_request()
                if request is None:
                    return
                self._answer(request)
            except h11.RemoteProtocolError as error:
                hint = error.error_status_hint
                self._refuse_and_close(hint if hint in COMMON_REFUSALS else 400, str(error))
                self._linger()
                return
            self.requests += 1
            if self._http.states != {h11.SERVER: h11.DONE, h11.CLIENT: h11.DONE}:
                if self._http.their_state is not h11.MUST_CLOSE:
                    self._linger()
                return
            self._http.start_next_cycle()

    def _next_request(self) -> h11.Request | None:
        """Wait for a whole head; `None` if the dock is done."""
        event = self._http.next_event()
        deadline = None
        while event is h11.NEED_DATA:
            try:
                wait_s = self._timeouts.idle_s if deadline is None else deadline - time.monotonic()
                data = self._stream.read(_READ_BYTES, max(0.0, wait_s))
            except LinkTimeoutError:
                if deadline is None:
                    return None
                raise
            deadline = deadline or time.monotonic() + self._timeouts.head_s
            self._http.receive_data(bytes(data))
            event = self._http.next_event()
        return event if isinstance(event, h11.Request) else None

    def _answer(self, request: h11.Request) -> None:
        match = find_route(request.method.decode("ascii"), request.target.decode("ascii"))
        if isinstance(match, int):
            self._refuse(match, http.HTTPStatus(match).phrase, close=True)
            return
        announced = dict(request.headers).get(b"content-length", b"0")  # h11 has checked that it is a number
        body = self._read_body() if int(announced) <= BODY_LIMIT_BYTES else None
        if body is None:
            self._refuse(413, f"a body has at most {BODY_LIMIT_BYTES} bytes", close=True)
            return
        try:
            result = self._call(match, body)
        except RefusalError as error:
            known = error.status in match.route.statuses
            self._refuse(error.status if known else 500, error.what, field=error.field)
        except (ExplainedError, OSError) as error:
            self._on_fault(match.route.name, error)
            self._refuse(500, "the camera failed")
        else:
            self._send_result(match.route, request, result)

    def _call(self, match: Match, body: bytes) -> Result:
        route = match.route
        enrolment = self._peer.role is None
        if route.name != "device" and route.enrolment != enrolment:
            raise RefusalError(403, "not in this kind of session")
        message = None
        if route.request_type is not None:
            try:
                message = decode_message(body, route.request_type)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise _unreadable(error) from error
        elif body:
            raise RefusalError(422, "this request has no body")
        call = Call(self._peer, match.parameters, message)
        return HANDLERS[route.name](self._service, call)

    def _read_body(self) -> bytes | None:
        """Read a body, `None` if it is too large."""
        deadline = time.monotonic() + self._timeouts.body_s
        parts = bytearray()
        while True:
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = self._stream.read(_READ_BYTES, max(0.0, deadline - time.monotonic()))
                self._http.receive_data(bytes(data))
            elif isinstance(event, h11.Data):
                parts += event.data
                if len(parts) > BODY_LIMIT_BYTES:
                    return None
            else:
                return bytes(parts)

    def _send_result(self, route: Route, request: h11.Request, result: Result) -> None:
        if route.answer is Answer.FILE and isinstance(result, FileAnswer):
            self._send_file(request, result)
        elif route.answer is Answer.LINES and isinstance(result, Lines):
            self._send_whole(200, [_LINES], result.data)
        elif result is None and (route.answer is Answer.NOTHING or route.last_step_silent):
            self._send(h11.Response(status_code=204, headers=list(_ALWAYS)))
            self._send(h11.EndOfMessage())
        elif isinstance(result, route.answer_types):
            self._send_whole(route.answer_status, [_JSON], encode_message(result))
        else:
            error = TypeError(f"{type(result).__name__} is no answer of {route.name}")
            self._on_fault(route.name, error)
            self._refuse(500, "the camera failed")

    def _send_file(self, request: h11.Request, file: FileAnswer) -> None:
        tag = entity_tag(file.sha256)
        fields = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
        selection = select(
            file.size_bytes,
            tag,
            range_=fields.get("range"),
            if_range=fields.get("if-range"),
            if_none_match=fields.get("if-none-match"),
        )
        about = [("ETag", tag), ("Accept-Ranges", "bytes")]
        if selection.status == http.HTTPStatus.NOT_MODIFIED:
            self._send(h11.Response(status_code=304, headers=[*_ALWAYS, *about]))
            self._send(h11.EndOfMessage())
            return
        if selection.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            size = ("Content-Range", f"bytes */{file.size_bytes}")
            self._refuse(416, f"the file has {file.size_bytes} bytes", fields=[size])
            return
        if selection.status == http.HTTPStatus.PARTIAL_CONTENT:
            place = f"bytes {selection.start}-{selection.stop - 1}/{file.size_bytes}"
            about.append(("Content-Range", place))
        self._send_part(selection, [_BYTES, *about], file)

    def _send_part(self, selection: Selection, fields: Sequence[Header], file: FileAnswer) -> None:
        try:
            source = file.open()
        except OSError as error:
            self._on_fault("file", error)
            self._refuse(500, "the camera failed")
            return
        with source:
            length = ("Content-Length", str(selection.stop - selection.start))
            self._send(h11.Response(status_code=selection.status, headers=[*_ALWAYS, *fields, length]))
            buffer = bytearray(_FILE_READ_BYTES)
            rest = selection.stop - selection.start
            try:
                source.seek(selection.start)
                while rest:
                    with memoryview(buffer) as view:
                        got = source.readinto(view[: min(rest, len(buffer))])  # type: ignore[attr-defined]  # files opened in binary have it; BinaryIO forgot it
                        if not got:
                            raise StreamError("a file is shorter than it was", found=f"{rest} bytes fewer")
                        self._send(h11.Data(data=view[:got]))  # type: ignore[arg-type]  # passed through, see h11's send_with_data_passthrough
                    rest -= got
            except OSError as error:
                self._on_fault("file", error)
                raise StreamError("a file cannot be read", found=error.strerror or "") from error
            self._send(h11.EndOfMessage())

    def _refuse(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        fields: Sequence[Header] = (),
        close: bool = False,
    ) -> None:
        problem = Problem(status, http.HTTPStatus(status).phrase, detail, field)
        extra = [*fields, ("Connection", "close")] if close else list(fields)
        if status == _WRONG_METHOD:
            extra.append(("Allow", ", ".join(sorted({route.method for route in ROUTES}))))
        self._send_whole(status, [_PROBLEM, *extra], encode_message(problem))

    def _refuse_and_close(self, status: int, detail: str) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(status, detail, close=True)

    def _linger(self) -> None:
        """Take what the peer is still sending, and drop it, until it closes.

        Closing at once would break the peer's write, or take the refusal away from it before it has read it
        (RFC 9112, section 9.6). Bounded in bytes and in time.
        """
        deadline = time.monotonic() + self._timeouts.progress_s
        dropped_bytes = 0
        while dropped_bytes < _LINGER_LIMIT_BYTES:
            try:
                data = self._stream.read(_READ_BYTES, max(0.0, deadline - time.monotonic()))
            except (LinkTimeoutError, StreamClosedError):
                return
            if not data:
                return
            dropped_bytes += len(data)

    def _send_whole(self, status: int, fields: Sequence[Header], body: bytes) -> None:
        length = ("Content-Length", str(len(body)))
        self._send(h11.Response(status_code=status, headers=[*_ALWAYS, *fields, length]))
        self._send(h11.Data(data=body))
        self._send(h11.EndOfMessage())

    def _send(self, event: h11.Event) -> None:
        for data in self._http.send_with_data_passthrough(event) or ():
            self._stream.write(data, self._timeouts.progress_s)


def _unreadable(error: Exception) -> RefusalError:
    """Name the field: msgspec ends its sentences with its path, as in ` - at `$.version``."""
    sentence = ascii(str(error)[:300])[1:-1]
    _, found, path = sentence.rpartition("`$")
    return RefusalError(422, sentence, field=path.rstrip("`").lstrip(".") or None if found else None)
