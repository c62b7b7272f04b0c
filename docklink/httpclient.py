"""HTTP/1.1 on a stream, the dock's side: calls built from the table, answers held against it.

Every answer is bounded in bytes and in time; a camera that sends more, slower or something else ends the
session and nothing more.
"""

import http
import re
import time
from collections.abc import Iterator, Mapping

import h11
import msgspec

from docklink.api import Route, target_of
from docklink.errors import LinkError, LinkTimeoutError, ProtocolError, StreamClosedError
from docklink.limits import HEAD_LIMIT_BYTES, Timeouts
from docklink.messages import Problem, decode_message, encode_message
from docklink.ranges import content_range, entity_tag
from docklink.streams import ByteStream

__all__ = ["AnswerError", "Download", "HttpClient"]

_READ_BYTES = 512 * 1024
_TAG = re.compile(r'"([0-9a-f]{64})"')
_PROBLEM_LIMIT_BYTES = 64 * 1024
_LATER = frozenset((409, 500, 503))
_SLOWEST_BYTES_PER_S = 256
_WINDOW_S = 30.0


class AnswerError(LinkError):
    """The camera did not grant a request; the session goes on. `retriable`: later it may."""

    def __init__(self, route: Route, problem: Problem) -> None:
        super().__init__(
            f"the camera refuses {route.method} {route.template}",
            expected=str(route.answer_status),
            found=f"{problem.status} ({ascii(problem.detail[:200])[1:-1]})",
        )
        self.status = problem.status
        self.problem = problem
        self.retriable = problem.status in _LATER


class _Answer(msgspec.Struct, frozen=True):
    """Status and fields, names in lower case."""

    status: int
    fields: Mapping[str, str]


class _Part(msgspec.Struct, frozen=True):
    """What the head of an answer says: bytes from `start` to `stop`, of so many, of the file of that digest.

    `closes`: there is no further answer on this connection.
    """

    start: int
    stop: int
    total_bytes: int
    sha256: str
    closes: bool


class Download:
    """A part of a file on its way; iterate to read it, once.

    `total_bytes` and `sha256` are of the whole, as the camera says.
    """

    def __init__(
        self, place: tuple[int, int], total_bytes: int, sha256: str, chunks: Iterator[bytes | bytearray]
    ) -> None:
        self.start, self.stop = place
        self.total_bytes = total_bytes
        self.sha256 = sha256
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes | bytearray]:
        return self._chunks


class _Pace:
    """Holds a body against the slowest rate that counts as progress."""

    def __init__(self, now_s: float) -> None:
        self._window_end_s = now_s + _WINDOW_S
        self._got = 0

    def check(self, now_s: float, got: int) -> None:
        self._got += got
        if now_s > self._window_end_s:
            if self._got < _SLOWEST_BYTES_PER_S * _WINDOW_S:
                raise LinkTimeoutError("the camera sends too slowly", found=f"{self._got} bytes in 30 s")
            self._window_end_s, self._got = now_s + _WINDOW_S, 0


class HttpClient:
    """One connection, one request at a time. After any error but `AnswerError` it is of no further use."""

    def __init__(self, stream: ByteStream, timeouts: Timeouts) -> None:
        self._stream = stream
        self._timeouts = timeouts
        self._http = h11.Connection(h11.CLIENT, HEAD_LIMIT_BYTES)
        self._taking = False

    def call(
        self, route: Route, parameters: Mapping[str, str], body: msgspec.Struct | None = None
    ) -> tuple[int, bytes]:
        """Make a request and return status and body of the answer that grants it.

        Raises:
            AnswerError: it was not granted.
            LinkError: the session has failed.
        """
        answer = self._ask(route, parameters, body, {})
        data = self._read_whole(route.answer_limit_bytes)
        return answer.status, data

    def download(
        self,
        route: Route,
        parameters: Mapping[str, str],
        *,
        start: int,
        stop: int | None,
        sha256: str | None,
        piece_bytes: int | None = None,
    ) -> Download:
        """Fetch a file from `start` up to, and without, `stop`; the one with that digest, if it is given.

        With `piece_bytes` it is asked for in pieces of that size, each as soon as the one before it begins to
        come, so that the line never waits for a request (RFC 9112, section 9.3.2).

        Raises:
            AnswerError: it was not granted; 416 if it has no byte there.
            ProtocolError: the camera has another file, or answers with another part.
            LinkError: the session has failed.
        """
        last = stop
        if piece_bytes is not None and (stop is None or stop - start > piece_bytes):
            last = start + piece_bytes
        self._ask_part(route, parameters, (start, last), sha256)
        first = self._part_answer(route, (start, last), sha256)
        wanted = first.total_bytes if stop is None else min(stop, first.total_bytes)
        if piece_bytes is None or first.stop == wanted:
            chunks = self._file_chunks(first)
        else:
            chunks = self._pieces(route, parameters, first, wanted, piece_bytes)
        return Download((first.start, wanted), first.total_bytes, first.sha256, chunks)

    def _pieces(
        self, route: Route, parameters: Mapping[str, str], part: _Part, wanted: int, piece_bytes: int
    ) -> Iterator[bytes | bytearray]:
        """Yield one piece after the other; while one comes, the next has been asked for."""
        while True:
            start, stop = part.stop, min(part.stop + piece_bytes, wanted)
            ahead = None
            if start < wanted and not part.closes:
                ahead = h11.Connection(h11.CLIENT, HEAD_LIMIT_BYTES)
                self._ask_part(route, parameters, (start, stop), part.sha256, ahead)
            yield from self._file_chunks(part, ahead)
            if ahead is None:
                if start < wanted:
                    raise StreamClosedError("the camera has ended the session before the end of a file")
                return
            part = self._part_answer(route, (start, stop), part.sha256, part.total_bytes)

    def _ask_part(
        self,
        route: Route,
        parameters: Mapping[str, str],
        place: tuple[int, int | None],
        sha256: str | None,
        ahead: h11.Connection | None = None,
    ) -> None:
        start, stop = place
        fields = {}
        if sha256 is not None:
            fields["If-Range"] = entity_tag(sha256)
        if start or stop is not None:
            fields["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if ahead is None:
            self._begin()
        self._send_request(ahead or self._http, route, parameters, None, fields)

    def _part_answer(
        self, route: Route, place: tuple[int, int | None], sha256: str | None, total_bytes: int | None = None
    ) -> _Part:
        """Read the head of an answer that brings a file, and hold it against what was asked."""
        start, stop = place
        answer = self._judge(route, self._read_head())
        length = answer.fields.get("content-length", "")
        tag = _TAG.fullmatch(answer.fields.get("etag", ""))
        if tag is None or sha256 not in (None, tag[1]) or not length.isdecimal():
            raise ProtocolError("the camera has another file", expected="its entity tag and its length")
        first, end, total = 0, int(length), int(length)
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
            first, end, total = content_range(answer.fields.get("content-range", "")) or (first, end, total)
        fits = first == start and end == min(total, total if stop is None else stop)
        if not fits or end - first != int(length) or total_bytes not in (None, total):
            raise ProtocolError("the camera sends another part of the file", expected=f"from byte {start} on")
        closes = "close" in answer.fields.get("connection", "")
        return _Part(first, end, total, tag[1], closes)

    def _ask(
        self,
        route: Route,
        parameters: Mapping[str, str],
        body: msgspec.Struct | None,
        fields: Mapping[str, str],
    ) -> _Answer:
        self._begin()
        self._send_request(self._http, route, parameters, body, fields)
        return self._judge(route, self._read_head())

    def _begin(self) -> None:
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        if self._taking or self._http.our_state is not h11.IDLE:
            raise StreamClosedError("the camera has ended the session, or a file was not read to its end")

    def _send_request(
        self,
        connection: h11.Connection,
        route: Route,
        parameters: Mapping[str, str],
        body: msgspec.Struct | None,
        fields: Mapping[str, str],
    ) -> None:
        data = b"" if body is None else encode_message(body)
        headers = [("Host", "camera"), *fields.items()]
        if body is not None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        target = target_of(route, parameters)
        events: list[h11.Event] = [h11.Request(method=route.method, target=target, headers=headers)]
        if data:
            events.append(h11.Data(data=data))
        for event in (*events, h11.EndOfMessage()):
            for piece in connection.send_with_data_passthrough(event) or ():
                self._stream.write(piece, self._timeouts.progress_s)

    def _judge(self, route: Route, answer: _Answer) -> _Answer:
        if answer.status not in route.statuses:
            raise ProtocolError(
                f"an answer to {route.name} that the table does not know", found=str(answer.status)
            )
        if answer.status < http.HTTPStatus.MULTIPLE_CHOICES:
            return answer
        data = self._read_whole(_PROBLEM_LIMIT_BYTES)
        try:
            problem = decode_message(data, Problem) if data else Problem(answer.status, "", "no reason given")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError("a refusal that cannot be read", found=str(answer.status)) from error
        raise AnswerError(route, msgspec.structs.replace(problem, status=answer.status))

    def _read_head(self) -> _Answer:
        deadline = time.monotonic() + self._timeouts.answer_s
        while True:
            event = self._next_event()
            if event is h11.NEED_DATA:
                self._receive(deadline - time.monotonic())
            elif isinstance(event, h11.Response):
                fields = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
                return _Answer(event.status_code, fields)
            elif not isinstance(event, h11.InformationalResponse):
                raise StreamClosedError("the camera closed instead of an answer")

    def _read_whole(self, limit_bytes: int) -> bytes:
        parts = bytearray()
        for chunk in self._chunks():
            parts += chunk
            if len(parts) > limit_bytes:
                raise ProtocolError("the answer is too large", expected=f"at most {limit_bytes} bytes")
        return bytes(parts)

    def _chunks(self) -> Iterator[bytes]:
        """Yield a body; a trickle is given up as a standstill is."""
        pace = _Pace(time.monotonic())
        while True:
            event = self._next_event()
            if event is h11.NEED_DATA:
                self._receive(self._timeouts.progress_s)
                pace.check(time.monotonic(), 0)
            elif isinstance(event, h11.Data):
                pace.check(time.monotonic(), len(event.data))
                yield event.data
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise StreamClosedError("the camera closed in the middle of an answer")

    def _file_chunks(self, part: _Part, ahead: h11.Connection | None = None) -> Iterator[bytes | bytearray]:
        """Yield a body whose length is known, past h11: three copies of each byte fewer.

        The connection is good for another request only once all of it has been taken. `ahead` has sent the
        next request already.
        """
        length = part.stop - part.start
        data: bytes | bytearray = self._http.trailing_data[0]
        self._taking = True
        pace = _Pace(time.monotonic())
        rest = length
        while True:
            if len(data) > rest:
                raise ProtocolError("the camera sends more than it said", expected=f"{length} bytes")
            rest -= len(data)
            if data:
                yield data
            if not rest:
                break
            data = self._stream.read(min(rest, _READ_BYTES), self._timeouts.progress_s)
            if not data:
                raise StreamClosedError("the camera closed in the middle of a file")
            pace.check(time.monotonic(), len(data))
        if not part.closes:
            self._taking = False
            self._http = ahead or h11.Connection(h11.CLIENT, HEAD_LIMIT_BYTES)

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise ProtocolError("the camera does not speak HTTP/1.1", found=str(error)) from error

    def _receive(self, timeout_s: float) -> None:
        data = self._stream.read(_READ_BYTES, max(0.0, timeout_s))
        self._http.receive_data(data)  # type: ignore[arg-type]  # it appends to a buffer: a bytearray does, uncopied
