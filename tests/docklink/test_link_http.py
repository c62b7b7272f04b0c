"""HTTP between camera and dock: ranges, limits, refusals, and answers that lie."""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docklink.api import ROUTES, Match, find_route, target_of
from docklink.client import RequestLimit
from docklink.errors import LinkError, LinkTimeoutError, ProtocolError, StreamError
from docklink.httpclient import AnswerError, HttpClient
from docklink.httpserver import HttpServer
from docklink.limits import BODY_LIMIT_BYTES, HEAD_LIMIT_BYTES
from docklink.messages import (
    ClipState,
    Probe,
    SetClock,
    SignedDocument,
    WearerAssignment,
    check_clip_id,
    check_file,
)
from docklink.peers import Peer
from docklink.ranges import content_range, select
from docklink.service import FileAnswer, RefusalError
from docklink.simulated import SimulatedCamera
from docklink.streams import ByteStream, stream_pair
from docklink.timestamps import mapping_of, quickest
from evidence.roles import Role
from tests.docklink.linkbench import CLIP, OTHER_CLIP, QUICK, Bench

DOCK = Peer("dock7", Role.DOCK_LINK, "0" * 64)
DOCUMENT = SignedDocument(b'{"type":"x"}', b"\x30\x00")
FILE = f"/v1/clips/{CLIP}/clip.mp4.age"
FILE_ROUTE = next(route for route in ROUTES if route.name == "file")


@pytest.fixture
def plain(camera: SimulatedCamera) -> Iterator[Callable[[bytes], tuple[int, dict[str, str], bytes]]]:
    """Send bytes to a server without TLS; returns status, fields and body of the first answer."""
    ends: list[tuple[ByteStream, threading.Thread]] = []

    def run(far: ByteStream) -> None:
        try:
            HttpServer(far, DOCK, camera, QUICK, lambda *_: None).run()
        except LinkError as error:
            failures.append(error)
        finally:
            far.close()

    failures: list[LinkError] = []

    def ask(request: bytes) -> tuple[int, dict[str, str], bytes]:
        near, far = stream_pair()
        thread = threading.Thread(target=run, args=(far,))
        thread.start()
        ends.append((near, thread))
        near.write(request, 5)
        answer = bytearray()
        while b"\r\n\r\n" not in answer:
            part = near.read(65_536, 5)
            assert part, failures
            answer += part
        head, _, body = bytes(answer).partition(b"\r\n\r\n")
        lines = head.decode("ascii").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        while len(body) < int(fields.get("content-length", "0")):
            body += near.read(65_536, 5)
        return int(lines[0].split()[1]), fields, body

    yield ask
    for near, thread in ends:
        near.close()
        thread.join(10)
        assert not thread.is_alive()


Ask = Callable[[bytes], tuple[int, dict[str, str], bytes]]


def get(target: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: camera", *fields, "", ""]).encode()


@pytest.mark.parametrize(
    ("fields", "status", "part"),
    [
        ([], 200, slice(0, None)),
        (["Range: bytes=0-0"], 206, slice(0, 1)),
        (["Range: bytes=1000000-1000099"], 206, slice(1_000_000, 1_000_100)),
        (["Range: bytes=2621430-"], 206, slice(2_621_430, None)),
        (["Range: bytes=2621430-9999999"], 206, slice(2_621_430, None)),
        (["Range: bytes=-7"], 206, slice(-7, None)),
        (["Range: bytes=5-3"], 200, slice(0, None)),
        (["Range: bytes=0-1,5-6"], 200, slice(0, None)),
        (["Range: lines=0-1"], 200, slice(0, None)),
        (["Range: bytes=0-9", 'If-Range: "other"'], 200, slice(0, None)),
        (["Range: bytes=0-9", "If-Range: TAG"], 206, slice(0, 10)),
        (["If-None-Match: TAG"], 304, slice(0, 0)),
        (['If-None-Match: "other", W/TAG'], 304, slice(0, 0)),
    ],
)
def test_a_file_and_its_parts(plain: Ask, content: bytes, fields: list[str], status: int, part: slice) -> None:
    tag = f'"{hashlib.sha256(content).hexdigest()}"'
    got, answer, body = plain(get(FILE, *(each.replace("TAG", tag) for each in fields)))
    assert got == status
    assert answer["etag"] == tag
    assert body == content[part]
    if status == 206:
        start, stop, _ = part.indices(len(content))
        assert answer["content-range"] == f"bytes {start}-{stop - 1}/{len(content)}"


@pytest.mark.parametrize("value", ["bytes=2621440-", "bytes=9999999-9999999", "bytes=-0"])
def test_a_part_beyond_the_end(plain: Ask, content: bytes, value: str) -> None:
    status, answer, _ = plain(get(FILE, f"Range: {value}"))
    assert status == 416
    assert answer["content-range"] == f"bytes */{len(content)}"


@given(st.integers(0, 50), st.text("bytes=-0123456789, ", max_size=20))
def test_no_range_reaches_beyond_a_file(size: int, header: str) -> None:
    chosen = select(size, '"t"', range_=header, if_range=None, if_none_match=None)
    assert chosen.status in (200, 206, 416)
    assert 0 <= chosen.start <= chosen.stop <= size
    if chosen.status == 206:
        assert chosen.start < chosen.stop
        text = f"bytes {chosen.start}-{chosen.stop - 1}/{size}"
        assert content_range(text) == (chosen.start, chosen.stop, size)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/v1/nothing"), 404),
        (get("/v1/device/"), 404),
        (get(f"/v1/clips/{CLIP}/receipt.json"), 404),
        (get(f"/v1/clips/{CLIP}/..%2f..%2fvault.json"), 404),
        (get(f"/v1/clips/{CLIP}/../../vault.json"), 404),
        (get("/v1/clips/..%2f..%2fetc/passwd"), 404),
        (get("/v1/clips/notime-cam0042-000999/journal.jsonl"), 404),
        (get("/v1/log?after=-1"), 404),
        (get("/v1/log?before=1"), 400),
        (get("/v1/device?after=1"), 400),
        (get("/v1/" + "x" * 600), 400),
        (b"DELETE /v1/device HTTP/1.1\r\nHost: camera\r\n\r\n", 405),
        (b"POST /v1/device HTTP/1.1\r\nHost: camera\r\nContent-Length: 0\r\n\r\n", 405),
        (b"ring ring\r\n\r\n", 400),
        (b"GET /v1/device HTTP/1.1\r\n\r\n", 400),
        (get("/v1/device", "X: " + "y" * 5 * HEAD_LIMIT_BYTES), 431),
        (b"PUT /v1/wearer HTTP/1.1\r\nHost: c\r\nContent-Length: 2000000\r\n\r\n", 413),
        (b"PUT /v1/wearer HTTP/1.1\r\nHost: c\r\nContent-Length: 3\r\n\r\n{}}", 422),
        (b"GET /v1/device HTTP/1.1\r\nHost: c\r\nContent-Length: 3\r\n\r\n{}}", 422),
    ],
)
def test_requests_that_are_none_of_the_table(plain: Ask, request_: bytes, status: int) -> None:
    got, _, body = plain(request_)
    assert got == status
    assert msgspec.json.decode(body)["status"] == status
    assert BODY_LIMIT_BYTES < 2_000_000


def test_a_refusal_is_read_by_a_peer_that_is_still_sending(camera: SimulatedCamera) -> None:
    near, far = stream_pair()
    failures: list[LinkError] = []

    def run() -> None:
        try:
            HttpServer(far, DOCK, camera, QUICK, lambda *_: None).run()
        except LinkError as error:
            failures.append(error)
        finally:
            far.close()

    thread = threading.Thread(target=run)
    thread.start()
    near.write(b"PUT /v1/wearer HTTP/1.1\r\nHost: c\r\nContent-Length: 2000000\r\n\r\n", 5)
    answer = near.read(65_536, 5)
    near.write(bytes(2_000_000), 5)
    near.close()
    thread.join(10)
    assert not thread.is_alive()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert failures == []


def test_a_wrong_field_is_named(plain: Ask) -> None:
    body = b'{"wearer":"a b","start_utc":"2026-11-22T08:00:00.000000Z","end_utc":"2026-11-22T16:00:00.000000Z"}'
    head = b"PUT /v1/wearer HTTP/1.1\r\nHost: c\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    status, _, answer = plain(head + body)
    assert status == 422
    assert msgspec.json.decode(answer)["field"] == "wearer"


def test_states_refuse_as_the_table_says(bench: Bench, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    client = bench.open()
    bench.camera.states[CLIP] = ClipState.RECORDING
    with pytest.raises(AnswerError) as refused:
        client.request_part(CLIP, "clip.mp4.age", sha256=digest)
    assert (refused.value.status, refused.value.retriable) == (409, True)
    with pytest.raises(AnswerError) as missing:
        client.request_part("notime-cam0042-000999", "clip.mp4.age", sha256=digest)
    assert (missing.value.status, missing.value.retriable) == (404, False)
    client.send_receipt(OTHER_CLIP, DOCUMENT)
    assert bench.camera.receipts == {OTHER_CLIP: DOCUMENT}
    states = {entry.clip: entry.state for entry in client.clips()}
    assert states == {CLIP: ClipState.RECORDING, OTHER_CLIP: ClipState.RELEASABLE}
    client.close()
    assert bench.last_end().requests == 4


def test_every_other_request_goes_through(bench: Bench) -> None:
    client = bench.open()
    client.send_config(DOCUMENT)
    client.assign_wearer(
        WearerAssignment("w-7f3a", "2026-11-22T08:00:00.000000Z", "2026-11-22T16:00:00.000000Z")
    )
    bench.camera.log_lines += [b'{"l":1}\n', b'{"l":2}\n']
    bench.camera.signing_request = b"\x30\x01"
    assert client.log(1) == b'{"l":2}\n'
    assert client.log(2) == b""
    assert client.begin_renewal() == b"\x30\x01"
    client.end_renewal((b"\x30\x02",))
    assert bench.camera.installed == (b"\x30\x02",)
    assert client.device().wearer == "w-7f3a"
    assert list(client.tombstones()) == []
    with pytest.raises(AnswerError):
        client.open_epoch(DOCUMENT)
    with pytest.raises(AnswerError):
        client.head()
    assert bench.camera.configs == [DOCUMENT]


def test_the_clock_is_set_from_four_time_stamps(bench: Bench) -> None:
    client = bench.open()
    exchanges = []
    for sent in (1_000_000_000, 2_000_000_000):
        echo = client.probe_clock(Probe(sent))
        received = sent + 40_000_000 + echo.sent_ns - echo.received_ns
        exchanges.append(SetClock(echo.boot, sent, echo.received_ns, echo.sent_ns, received, 5_000_000))
    report = client.set_clock(quickest(exchanges))
    assert (report.source, report.error_ns) == ("dock", 25_000_000)
    with pytest.raises(AnswerError):
        client.set_clock(exchanges[0])


@pytest.mark.parametrize(("held", "received"), [(-1, 10), (20, 10), (0, 20_000_000_000)])
def test_time_stamps_that_cannot_be(held: int, received: int) -> None:
    with pytest.raises(ProtocolError):
        mapping_of(SetClock("0" * 32, 0, 100, 100 + held, received, 0))


def test_a_camera_that_fails_says_so_and_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> object:
        raise StreamError("a secret of the inside")

    def unknown(*args: object) -> object:
        raise RefusalError(418, "not in the table")

    client = bench.open()
    for failure in (broken, unknown, lambda *_: None):
        monkeypatch.setattr(bench.camera, "device", failure)
        with pytest.raises(AnswerError) as failed:
            client.device()
        assert (failed.value.status, failed.value.retriable) == (500, True)
        assert "secret" not in str(failed.value)
    monkeypatch.undo()
    assert client.device().device == "cam0042"
    assert [name for name, _ in bench.faults] == ["device", "device"]


def test_a_file_that_shrank_ends_the_session(bench: Bench, content: bytes, tmp_path: Path) -> None:
    digest = hashlib.sha256(content).hexdigest()
    short = tmp_path / "short"
    short.write_bytes(content[:1000])
    bench.camera.file = lambda *_: FileAnswer(lambda: short.open("rb"), len(content), digest)  # type: ignore[method-assign]  # a test's own fault
    client = bench.open()
    with pytest.raises(StreamError):
        list(client.fetch(CLIP, "clip.mp4.age", sha256=digest))
    assert "shorter" in str(bench.last_end().error)


def test_a_slow_request_is_given_up(bench: Bench) -> None:
    bench.timeouts = msgspec.structs.replace(bench.timeouts, head_s=0.2)
    client = bench.open()
    client._stream.write(b"GET /v1/dev", 5)
    assert isinstance(bench.last_end().error, LinkTimeoutError)


def test_a_silent_dock_is_let_go(bench: Bench) -> None:
    bench.timeouts = msgspec.structs.replace(bench.timeouts, idle_s=0.2)
    bench.open()
    end = bench.last_end()
    assert (end.error, end.requests) == (None, 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nETag: TAG\r\nContent-Length: 4\r\n\r\nabcdefgh",
        b"HTTP/1.1 200 OK\r\nETag: TAG\r\nContent-Length: 40\r\n\r\nabc",
        b'HTTP/1.1 200 OK\r\nETag: "other"\r\nContent-Length: 4\r\n\r\nabcd',
        b"HTTP/1.1 206 OK\r\nETag: TAG\r\nContent-Length: 4\r\nContent-Range: bytes 9-12/20\r\n\r\nabcd",
        b"HTTP/1.1 206 OK\r\nETag: TAG\r\nContent-Length: 9\r\nContent-Range: bytes 0-3/4\r\n\r\nabcdabcda",
        b"HTTP/1.1 204 OK\r\n\r\n",
        b"HTTP/1.1 299 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 404 OK\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000,
        b"220 ready\r\n",
    ],
)
def test_a_lying_camera_ends_its_own_session(answer: bytes) -> None:
    near, far = stream_pair()
    digest = "0" * 64
    far.write(answer.replace(b"TAG", f'"{digest}"'.encode()), 5)
    far.close()
    client = HttpClient(near, QUICK)
    with pytest.raises((ProtocolError, StreamError)):
        list(
            client.download(
                FILE_ROUTE, {"clip": CLIP, "file": "clip.mp4.age"}, start=0, stop=None, sha256=digest
            )
        )
    near.close()


def _piece(start: int, stop: int, total: int) -> bytes:
    head = f'HTTP/1.1 206 Partial Content\r\nETag: "{"0" * 64}"\r\nContent-Length: {stop - start}\r\n'
    return f"{head}Content-Range: bytes {start}-{stop - 1}/{total}\r\n\r\n".encode() + bytes(stop - start)


def test_the_next_piece_is_asked_for_while_one_comes() -> None:
    near, far = stream_pair()
    client = HttpClient(near, QUICK)
    far.write(_piece(10, 14, 21)[:-1], 5)
    part = client.download(
        FILE_ROUTE, {"clip": CLIP, "file": "clip.mp4.age"}, start=10, stop=None, sha256=None, piece_bytes=4
    )
    assert (part.start, part.stop, part.total_bytes) == (10, 21, 21)
    assert b"Range: bytes=10-13" in far.read(65_536, 5)
    chunks = iter(part)
    got = bytes(next(chunks))
    assert got == bytes(3), "the first piece is not whole yet"
    asked = bytes(far.read(65_536, 5))
    assert b"Range: bytes=14-17" in asked
    assert b'If-Range: "000' in asked
    far.write(b"\0" + _piece(14, 18, 21), 5)
    assert len(next(chunks)) + len(next(chunks)) == 5
    far.write(_piece(18, 21, 21), 5)
    assert len(b"".join(chunks)) == 3
    assert far.read(65_536, 5).count(b"GET ") == 1
    near.close()
    far.close()


@pytest.mark.parametrize(
    "second", [_piece(14, 18, 22), _piece(14, 17, 21), _piece(14, 18, 21).replace(b"0" * 64, b"1" * 64)]
)
def test_a_file_that_changes_between_two_pieces_is_noticed(second: bytes) -> None:
    near, far = stream_pair()
    far.write(_piece(10, 14, 21), 5)
    far.write(second, 5)
    client = HttpClient(near, QUICK)
    with pytest.raises(ProtocolError):
        list(
            client.download(
                FILE_ROUTE,
                {"clip": CLIP, "file": "clip.mp4.age"},
                start=10,
                stop=None,
                sha256=None,
                piece_bytes=4,
            )
        )
    near.close()
    far.close()


def test_a_refused_piece_leaves_the_session_as_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    client = bench.open(limit=None)
    client._limit = RequestLimit()
    give = bench.camera.file
    calls = iter((give,))

    def once(*arguments: object) -> FileAnswer:
        found: FileAnswer = next(calls, _gone)(*arguments)  # type: ignore[arg-type]  # as it was called
        return found

    monkeypatch.setattr(bench.camera, "file", once)
    part = client.request_part(CLIP, "clip.mp4.age", sha256=hashlib.sha256(content).hexdigest())
    got: deque[bytes | bytearray] = deque()
    with pytest.raises(AnswerError):
        got.extend(part)
    assert b"".join(got) == content[: 1 << 20]
    assert client.device().device == "cam0042"


def _gone(*_: object) -> FileAnswer:
    raise RefusalError(410, "released")


def test_a_file_that_was_not_read_to_its_end_spoils_the_session(bench: Bench, content: bytes) -> None:
    client = bench.open()
    part = client.request_part(CLIP, "clip.mp4.age", sha256=hashlib.sha256(content).hexdigest())
    assert next(iter(part))
    with pytest.raises(StreamError):
        client.device()


def test_small_files_are_read_whole_without_knowing_their_digest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    client = bench.open()
    assert client.read_file(CLIP, "manifest.p7s", limit_bytes=65_536) == b"\x30\x00"
    client._limit = RequestLimit()
    assert client.read_file(CLIP, "clip.mp4.age", limit_bytes=len(content)) == content
    monkeypatch.setattr(bench.camera, "_digest", lambda *_: "0" * 64)
    with pytest.raises(ProtocolError, match="another digest"):
        client.read_file(CLIP, "manifest.p7s", limit_bytes=65_536)
    with pytest.raises(ProtocolError, match="too large"):
        client.read_file(CLIP, "clip.mp4.age", limit_bytes=len(content) - 1)


def test_a_session_can_be_closed_from_another_thread(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow(*args: object) -> object:
        asked.set()
        answer.wait(20)
        raise RefusalError(503, "too late")

    monkeypatch.setattr(bench.camera, "device", slow)
    client = bench.open()
    outcome: list[LinkError] = []

    def ask() -> None:
        try:
            client.device()
        except LinkError as error:
            outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert asked.wait(10)
    client.close()
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(outcome[0], StreamError)
    answer.set()


def test_requests_shrink_and_grow_with_the_line() -> None:
    limit = RequestLimit()
    for expected in (524_288, 262_144, 131_072, 65_536, 65_536):
        limit.failed()
        assert limit.bytes == expected
    for _ in range(5):
        limit.succeeded()
    assert limit.bytes == 1_048_576


def test_a_limit_cuts_a_fetch_into_requests(bench: Bench, content: bytes) -> None:
    client = bench.open()
    client._limit = RequestLimit()
    digest = hashlib.sha256(content).hexdigest()
    assert b"".join(client.fetch(CLIP, "clip.mp4.age", sha256=digest)) == content
    assert b"".join(client.fetch(CLIP, "clip.mp4.age", sha256=digest, start=5, stop=9)) == content[5:9]
    client.close()
    assert bench.last_end().requests == 4


@given(st.text(max_size=60))
def test_no_other_name_becomes_a_path(text: str) -> None:
    for check in (check_clip_id, check_file):
        try:
            accepted = check(text)
        except ProtocolError:
            continue
        assert "/" not in accepted
        assert not accepted.startswith(".")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_targets_lead_back_to_their_route(route: object) -> None:
    assert isinstance(route, type(FILE_ROUTE))
    values = {"clip": CLIP, "file": "journal.jsonl", "after_clip": OTHER_CLIP, "after_index": "12"}
    names = [name for name in values if "{" + name + "}" in route.template or name in route.query]
    parameters = {name: values[name] for name in names}
    assert find_route(route.method, target_of(route, parameters)) == Match(route, parameters)
    with pytest.raises(ProtocolError):
        target_of(route, {**parameters, "other": "x"})
