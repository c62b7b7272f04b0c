"""The same camera over a serial line: a pseudo-terminal that the port opens as it opens any other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from docklink.client import RequestLimit
from docklink.messages import ClipState
from docklink.serialport import PtyPair
from evidence.documents import Manifest, decode
from tests.device.dockport.dockbench import Agency, DockBench


@pytest.fixture
def line() -> Iterator[PtyPair]:
    pair = PtyPair()
    yield pair
    pair.close()


@pytest.fixture
def serial_bench(agency: Agency, tmp_path: Path, line: PtyPair) -> Iterator[DockBench]:
    made = DockBench(agency, tmp_path / "vault", clips=1)
    made.stop()
    made.serial = (line.path,)
    made.start()
    yield made
    made.stop()


def test_a_clip_goes_over_a_serial_line_and_is_released(serial_bench: DockBench, line: PtyPair) -> None:
    bench, name = serial_bench, serial_bench.names[0]
    far = line.far()
    far.write(b"login: garbage that lay in the line\xff\x00", 1.0)
    client = bench.session(far, bench.agency.trust(), RequestLimit())
    manifest = decode((bench.clip() / "manifest.json").read_bytes(), Manifest)
    assert manifest.ciphertext is not None
    content = (bench.clip() / "clip.mp4.age").read_bytes()
    assert b"".join(client.fetch(name, "clip.mp4.age", sha256=manifest.ciphertext.sha256)) == content
    bench.give_receipt(name, client)
    bench.hold(0)
    bench.look()
    assert [entry.state for entry in client.clips()] == [ClipState.RELEASED]


def test_both_ports_serve_at_once(serial_bench: DockBench, line: PtyPair) -> None:
    bench = serial_bench
    over_line = bench.session(line.far(), bench.agency.trust(), RequestLimit())
    first = over_line.device()
    bench._sessions.clear()
    over_tcp = bench.dock()
    assert over_tcp.device().device == first.device
    assert over_line.device().device == first.device
    over_line.close()


def test_a_session_that_was_cut_is_followed_by_the_next(serial_bench: DockBench, line: PtyPair) -> None:
    bench = serial_bench
    client = bench.session(line.far(), bench.agency.trust(), RequestLimit())
    client.device()
    client.close()
    assert bench.session(line.far(), bench.agency.trust(), RequestLimit()).device().storage.waiting == 1
