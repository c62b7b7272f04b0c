"""Sessions over a pseudo-terminal through pyserial: stale bytes, garbage, losses, stalls, cuts; and speed."""

import hashlib
import os
import random
import time

import msgspec
import pytest

from docklink.client import RequestLimit
from docklink.errors import LinkError, LinkTimeoutError
from docklink.faults import Cut, Drop, Fault, FaultyStream, Insert, Stall
from docklink.line import ask_for_session
from docklink.resync import ANSWER_MAGIC, ASK_MAGIC, frame
from docklink.serialport import PtyPair
from docklink.streams import ByteStream
from tests.docklink.linkbench import CLIP, Bench

NAME = "clip.mp4.age"


@pytest.fixture
def cable(bench: Bench) -> PtyPair:
    """A served line: the camera holds the end without a path, the dock opens the other through pyserial."""
    bench.timeouts = msgspec.structs.replace(bench.timeouts, progress_s=2.0)  # a busy machine stalls for tenths
    pair = PtyPair()
    bench._undo.append(pair.close)
    bench.serve_line(pair.far())
    return pair


def fetch_all(bench: Bench, cable: PtyPair, content: bytes, faults: list[list[Fault]]) -> tuple[int, int]:
    """Fetch until all is there, each session with faults of its own; returns sessions and bytes fetched."""
    digest = hashlib.sha256(content).hexdigest()
    limit = RequestLimit()
    got = bytearray()
    fetched = sessions = 0
    while len(got) < len(content):
        assert sessions < len(faults) + 2, "a session without faults has failed"
        plan = faults[sessions] if sessions < len(faults) else []
        sessions += 1
        stream: ByteStream = FaultyStream(cable.near(), plan)
        try:
            client = bench.open(stream, limit=limit)
            for chunk in client.fetch(CLIP, NAME, sha256=digest, start=len(got)):
                got += chunk
                fetched += len(chunk)
            client.close()
            limit.succeeded()
        except LinkError as error:
            if not error.retriable:
                raise
            stream.close()
            limit.failed()
    assert bytes(got) == content
    return sessions, fetched


def test_a_file_over_a_line(bench: Bench, cable: PtyPair, content: bytes) -> None:
    started = time.monotonic()
    cpu_started = time.process_time()
    assert fetch_all(bench, cable, content, []) == (1, len(content))
    wall, cpu = time.monotonic() - started, time.process_time() - cpu_started
    rate = len(content) / wall / 1e6
    cost = cpu / len(content) * 2**30
    print(f"pseudo-terminal: {rate:.0f} MB/s, {cost:.1f} CPU s a GiB")  # noqa: T201 - shown, not judged


def test_stale_bytes_and_garbage_before_a_session(bench: Bench, cable: PtyPair) -> None:
    stale = [
        os.urandom(3000),
        frame(ASK_MAGIC, bytes(16)),
        frame(ANSWER_MAGIC, bytes(16)),
        b"\r\nlogin: ",
        b"AT+GCAP\r",
        ASK_MAGIC,
    ]
    for rubbish in stale:
        port = cable.near()
        port.write(rubbish, 5)
        port.close()
        client = bench.open(cable.near(), limit=RequestLimit())
        assert client.device().device == "cam0042"
        client.close()


def test_a_dock_that_vanishes_in_the_middle_is_followed_by_the_next(bench: Bench, cable: PtyPair) -> None:
    """The camera is told nothing; the next ask, between or inside its records, ends the old session."""
    first = bench.open(cable.near(), limit=RequestLimit())
    first.device()
    first._stream._inner.close()  # type: ignore[attr-defined]  # as a killed process does: without a word
    client = bench.open(cable.near(), limit=RequestLimit())
    assert client.device().device == "cam0042"
    assert bench.last_end().peer is not None


def test_a_record_that_lost_its_end_runs_into_the_time_out(bench: Bench, cable: PtyPair) -> None:
    port = cable.near()
    session = ask_for_session(port, timeout_s=10)
    session.write(b"\x16\x03\x01\x40\x00" + b"half a record", 5)
    port.close()
    client = bench.open(cable.near(), limit=RequestLimit())
    assert client.device().device == "cam0042"
    assert bench.last_end().error is not None


@pytest.mark.parametrize(
    "fault",
    [
        Drop(700_000, 1),
        Drop(700_000, 4096),
        Insert(700_000, b"\x00"),
        Insert(700_000, bytes(20_000)),
        Insert(700_000, frame(ANSWER_MAGIC, bytes(16))),
        Cut(700_000),
        Stall(700_000),
        Drop(20, 3),
        Insert(10, b"\x17\x03\x03"),
        Drop(400, 10),
    ],
    ids=str,
)
def test_one_fault_costs_one_session_at_most(
    bench: Bench, cable: PtyPair, content: bytes, fault: Fault
) -> None:
    sessions, fetched = fetch_all(bench, cable, content, [[fault]])
    assert sessions <= 2
    assert fetched == len(content), "nothing is fetched twice"


def test_a_line_with_many_faults_makes_progress(bench: Bench, cable: PtyPair, content: bytes) -> None:
    chance = random.Random(20261122)
    faults: list[list[Fault]] = []
    for _ in range(8):
        at = chance.randrange(900_000)
        kind = chance.choice((Drop(at, chance.randrange(1, 500)), Insert(at, chance.randbytes(300)), Cut(at)))
        faults.append([kind])
    sessions, fetched = fetch_all(bench, cable, content, faults)
    assert sessions <= len(faults) + 1
    assert fetched == len(content)


def test_garbage_from_the_dock_inside_a_session_ends_it_and_no_more(bench: Bench, cable: PtyPair) -> None:
    port = cable.near()
    client = bench.open(port, limit=RequestLimit())
    client.device()
    port.write(b"not TLS", 5)
    with pytest.raises(LinkError):
        client.device()
    client.close()
    again = bench.open(cable.near(), limit=RequestLimit())
    assert again.device().device == "cam0042"


def test_nobody_on_the_line_is_said() -> None:
    pair = PtyPair()
    with pytest.raises(LinkTimeoutError, match="no camera answers"):
        ask_for_session(pair.near(), timeout_s=0.2, first_patience_s=0.05)
    pair.close()


def test_a_file_over_tcp(bench: Bench, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    client = bench.open(bench.connect(bench.listen()))
    started, cpu_started = time.monotonic(), time.process_time()
    for _ in range(8):
        assert sum(map(len, client.fetch(CLIP, NAME, sha256=digest))) == len(content)
    wall, cpu = time.monotonic() - started, time.process_time() - cpu_started
    rate, cost = 8 * len(content) / wall / 1e6, cpu / 8 / len(content) * 2**30
    print(f"TCP: {rate:.0f} MB/s, {cost:.1f} CPU s a GiB")  # noqa: T201 - shown, not judged


@pytest.mark.parametrize("at", [10, 40, 100, 400, 1000, 2000])
@pytest.mark.parametrize("kind", ["lost", "added"])
def test_a_fault_on_the_way_to_the_camera_costs_one_session_at_most(
    bench: Bench, content: bytes, at: int, kind: str
) -> None:
    bench.timeouts = msgspec.structs.replace(
        bench.timeouts, progress_s=0.8, handshake_s=3.0, answer_s=3.0, head_s=1.6
    )
    pair = PtyPair()
    bench._undo.append(pair.close)
    fault = Drop(at, 2) if kind == "lost" else Insert(at, b"\x16\x03\x01")
    bench.serve_line(FaultyStream(pair.far(), [fault]))
    sessions, fetched = fetch_all(bench, pair, content, [[]])
    assert sessions <= 2
    assert fetched == len(content)
