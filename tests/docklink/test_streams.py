"""The contract of byte streams, kept by every kind of them, and the faults of the one that has some."""

import threading
from collections.abc import Callable, Iterator

import pytest

from docklink.errors import LinkTimeoutError, StreamClosedError, StreamError
from docklink.faults import Cut, Drop, Fault, FaultyStream, Insert, Stall
from docklink.serialport import PtyPair, SerialStream
from docklink.server import TcpPort
from docklink.streams import ByteStream, connect_tcp, stream_pair

Pair = tuple[ByteStream, ByteStream]


def read_exactly(stream: ByteStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = stream.read(count - len(data), 5)
        assert part, "ended early"
        data += part
    return data


@pytest.fixture
def pty() -> Iterator[PtyPair]:
    pair = PtyPair()
    yield pair
    pair.close()


@pytest.fixture(params=["socket", "serial", "pty", "faulty"])
def pair(request: pytest.FixtureRequest, pty: PtyPair) -> Iterator[Pair]:
    makers: dict[str, Callable[[], Pair]] = {
        "socket": stream_pair,
        "serial": lambda: (pty.near(), pty.far()),
        "pty": lambda: (pty.far(), pty.near()),
        "faulty": lambda: tuple(FaultyStream(each) for each in stream_pair()),  # type: ignore[dict-item,return-value]  # a pair stays one
    }
    streams = makers[request.param]()
    yield streams
    for stream in streams:
        stream.close()


def test_every_byte_value_passes_both_ways(pair: Pair) -> None:
    left, right = pair
    every = bytes(range(256)) * 4
    for giver, taker in ((left, right), (right, left)):
        giver.write(every, 5)
        assert read_exactly(taker, len(every)) == every


def test_a_large_write_arrives_while_the_other_reads(pair: Pair) -> None:
    left, right = pair
    data = bytes(range(251)) * 2000
    writer = threading.Thread(target=left.write, args=(data, 10))
    writer.start()
    assert read_exactly(right, len(data)) == data
    writer.join()


def test_a_read_gives_at_most_its_limit(pair: Pair) -> None:
    left, right = pair
    left.write(b"abcdef", 5)
    assert right.read(2, 5) == b"ab"
    assert read_exactly(right, 4) == b"cdef"


def test_nothing_in_time_is_said(pair: Pair) -> None:
    with pytest.raises(LinkTimeoutError):
        pair[0].read(1, 0.01)
    with pytest.raises(LinkTimeoutError):
        pair[0].read(1, 0)


def test_a_peer_that_does_not_read_is_a_time_out(pair: Pair) -> None:
    with pytest.raises(LinkTimeoutError):
        pair[0].write(bytes(8_000_000), 0.01)


def test_close_wakes_the_reader(pair: Pair) -> None:
    left, _ = pair
    woken: list[Exception] = []

    def read() -> None:
        try:
            left.read(1, 60)
        except StreamClosedError as error:
            woken.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    left.close()
    left.close()
    reader.join(10)
    assert not reader.is_alive()
    assert len(woken) == 1
    with pytest.raises(StreamClosedError):
        left.read(1, 1)
    with pytest.raises(StreamClosedError):
        left.write(b"x", 1)


def test_a_socket_ends_in_order() -> None:
    left, right = stream_pair()
    left.write(b"last", 5)
    left.close()
    assert read_exactly(right, 4) == b"last"
    assert right.read(1, 5) == b""
    with pytest.raises(StreamClosedError):
        right.write(b"x", 5)
    right.close()


def test_a_serial_port_is_exclusive_and_a_missing_one_is_explained(pty: PtyPair) -> None:
    first = pty.near()
    with pytest.raises(StreamError, match="cannot open the serial port"):
        SerialStream(pty.path)
    first.close()
    pty.near().close()
    with pytest.raises(StreamError, match="cannot open the serial port"):
        SerialStream("/dev/no-such-port")


def test_a_pulled_cable_is_an_error() -> None:
    pair = PtyPair()
    near = pair.near()
    pair.close()
    with pytest.raises(StreamError):
        near.write(b"x", 5)
    near.close()


def test_no_camera_at_an_address_is_explained() -> None:
    free = TcpPort("127.0.0.1", 0)
    number = free.port
    free._socket.close()
    with pytest.raises(StreamError, match="no connection"):
        connect_tcp("127.0.0.1", number, 5)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ([Drop(2, 3)], b"abfghij"),
        ([Insert(4, b"--")], b"abcd--efghij"),
        ([Drop(0, 2), Insert(5, b"!"), Drop(8, 1)], b"cde!fghj"),
    ],
)
def test_faults_strike_at_their_place(plan: list[Fault], expected: bytes) -> None:
    left, right = stream_pair()
    faulty = FaultyStream(right, plan)
    left.write(b"abcdefghij", 5)
    assert read_exactly(faulty, len(expected)) == expected
    left.close()
    faulty.close()


def test_a_stall_keeps_the_port_open_and_a_cut_does_not() -> None:
    left, right = stream_pair()
    stalled = FaultyStream(right, [Stall(3)])
    left.write(b"abcdef", 5)
    assert read_exactly(stalled, 3) == b"abc"
    with pytest.raises(LinkTimeoutError):
        stalled.read(1, 0.01)
    stalled.write(b"still", 5)
    assert read_exactly(left, 5) == b"still"
    cut = FaultyStream(left, [Cut(0)])
    with pytest.raises(StreamClosedError):
        cut.read(1, 5)
    with pytest.raises(StreamClosedError):
        cut.write(b"x", 5)
    stalled.close()
