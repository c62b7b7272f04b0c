"""What cameras, lines and stores do wrong, and what comes of it."""

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docklink.client import RequestLimit
from docklink.errors import LinkError, PeerRefusedError
from docklink.faults import Cut, Drop, Fault, FaultyStream, Insert, Stall
from docklink.messages import ClipState, SignedDocument
from docklink.serialport import PtyPair
from docklink.streams import ByteStream
from evidence.check import Finding, check_sealed_clip
from evidence.documents import Verdict
from host.offload import SessionReport, Settings, Step, Watch, run_session
from host.store import CameraMoment, StoreInUseError
from tests.host.offload.fakecamera import CameraServer, FakeCamera, stone_of
from tests.host.store.conftest import BOOT, NOW_NS

if TYPE_CHECKING:
    from tests.host.offload.conftest import OffloadBench
    from tests.host.store.conftest import MadeClip

MIB = 1 << 20


class Plans:
    """Gives each session of a camera's port its faults; after the last plan there are none."""

    def __init__(self, plans: list[list[Fault]]) -> None:
        self.left = plans

    def __call__(self, stream: ByteStream) -> ByteStream:
        return FaultyStream(stream, self.left.pop(0)) if self.left else stream


def check_stored(bench: "OffloadBench", camera: FakeCamera, clip: "MadeClip") -> None:
    checked = check_sealed_clip(bench.place(clip), bench.pki.trust.roots)
    assert checked.finding is Finding.AUTHENTIC
    assert bench.kinds(clip) == ["clip_stored", "receipt_accepted"]
    assert camera.receipts[clip.key.clip].verdict is Verdict.STORED


def sessions_until_done(
    bench: "OffloadBench", camera: FakeCamera, port: int, faults: list[list[Fault]], clip: "MadeClip"
) -> list[SessionReport]:
    """Run sessions, the dock's reads with these faults, until the camera has its receipt."""
    from docklink.client import open_session
    from docklink.streams import connect_tcp
    from tests.host.offload.fakecamera import QUICK

    reports = []
    for _ in range(len(faults) + 2):
        plan = faults.pop(0) if faults else []
        try:
            stream = FaultyStream(connect_tcp("127.0.0.1", port, 5), plan)
            with open_session(stream, bench.trust, timeouts=QUICK) as client:
                reports.append(run_session(client, bench.station, bench.docking, Settings(), Watch()))
        except LinkError:
            continue
        if clip.key.clip in camera.receipts:
            return reports
    pytest.fail("never done")


def cut_somewhere(bench: "OffloadBench", seed: int) -> None:
    rng = random.Random(seed)
    clip = bench.clips.make(seed + 1, points=8, chunks=4)
    camera = FakeCamera(bench.pki, [clip])
    _, port = bench.serve(camera)
    size = len(clip.files["clip.mp4.age"]) + 30_000
    kinds = (Cut, lambda at: Drop(at, rng.randint(1, 100)), lambda at: Insert(at, rng.randbytes(20)))
    plan: list[Fault] = [rng.choice(kinds)(rng.randrange(size))]
    reports = sessions_until_done(bench, camera, port, [plan], clip)
    check_stored(bench, camera, clip)
    served = camera.served_bytes[clip.key.clip, "clip.mp4.age"]
    interval = max(each - before for before, each in zip([0, *ends(clip)], ends(clip), strict=False))
    assert served - len(clip.files["clip.mp4.age"]) <= interval + 4 * MIB
    assert len(reports) <= 2


def ends(clip: "MadeClip") -> list[int]:
    import msgspec

    lines = clip.files["journal.jsonl"].splitlines()[1:]
    return [msgspec.json.decode(line)["l"]["ciphertext_bytes"] for line in lines]


@pytest.mark.parametrize("seed", range(12))
def test_cut_at_a_random_byte(bench: "OffloadBench", seed: int) -> None:
    cut_somewhere(bench, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 200))
def test_cut_at_a_hundred_random_bytes(bench: "OffloadBench", seed: int) -> None:
    cut_somewhere(bench, seed)


class Killed(BaseException):
    """The process is gone."""


def fetched_and_killed(bench: "OffloadBench", port: int) -> Path:
    """Fetch everything, die before it is read back; return the partial ciphertext."""

    def hook(step: Step, _clip: str) -> None:
        if step is Step.TAKE:
            raise Killed

    with pytest.raises(Killed):
        bench.session(port, step=hook)
    bench.restart()
    return next(bench.root.glob("partial/*/clip.mp4.age"))


@pytest.mark.parametrize("what", ["zeros", "stale", "longer", "shorter", "all zeros"])
def test_a_partial_file_that_lies_is_found_out(bench: "OffloadBench", what: str) -> None:
    clip = bench.clips.make(1, points=6, chunks=2)
    camera = FakeCamera(bench.pki, [clip])
    _, port = bench.serve(camera)
    path = fetched_and_killed(bench, port)
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(
        {
            "zeros": data[:half] + bytes(len(data) - half),
            "stale": data[:half] + data[: len(data) - half],
            "longer": data + b"more",
            "shorter": data[:half],
            "all zeros": bytes(len(data)),
        }[what]
    )
    camera.served_bytes.clear()
    report = bench.session(port)
    check_stored(bench, camera, clip)
    assert report.outcomes[0].resumed_at in (0, *ends(clip))
    again = camera.served_bytes.get((clip.key.clip, "clip.mp4.age"), 0)
    assert again == len(data) - report.outcomes[0].resumed_at
    if what in ("zeros", "stale", "shorter"):
        assert 0 < again <= len(data) - half + 2 * 65_552 + 200


def test_over_a_pseudo_terminal_with_a_line_that_loses_bytes(bench: "OffloadBench") -> None:
    clip = bench.clips.make(1, points=20, chunks=2)
    camera = FakeCamera(bench.pki, [clip])
    pair, server, limit = PtyPair(), CameraServer(camera), RequestLimit()
    server.serve_line(pair.far())
    plans: list[list[Fault]] = [[Drop(900_000, 7)], [Insert(300_000, b"\xf5\xa7garbage")], [], []]
    while clip.key.clip not in camera.receipts:
        try:
            with bench.on_line(FaultyStream(pair.near(), plans.pop(0)), limit) as client:
                report = run_session(client, bench.station, bench.docking, Settings(), Watch())
        except LinkError:
            limit.failed()
            continue
        if report.error is not None:
            limit.failed()
    server.close()
    pair.close()
    assert limit.bytes < MIB
    check_stored(bench, camera, clip)


def test_a_long_journal_is_gone_on_with_where_the_line_broke(bench: "OffloadBench") -> None:
    from docklink.client import open_session
    from docklink.streams import connect_tcp
    from tests.host.offload.fakecamera import QUICK

    clip = bench.clips.make(1, points=400)
    size = len(clip.files["journal.jsonl"])
    assert size > 150_000
    camera = FakeCamera(bench.pki, [clip])
    server, port = bench.serve(camera)
    manifest = len(clip.files["manifest.json"]) + len(clip.files["manifest.p7s"])
    for part in (1, 2):
        stream = FaultyStream(connect_tcp("127.0.0.1", port, 5), [Cut(manifest + 16_000 + part * size // 4)])
        with open_session(stream, bench.trust, timeouts=QUICK) as client:
            report = run_session(client, bench.station, bench.docking, Settings(), Watch())
        assert report.outcomes[0].ending is Step.INTERRUPTED
    begun = len(bench.docking.begun_journal(clip.key))
    assert begun > size * 5 // 8, "the second session went on from the first"
    server.wait_ends(2)
    camera.served_bytes.clear()
    assert bench.session(port).outcomes[0].ending is Step.STORED
    assert camera.served_bytes[clip.key.clip, "journal.jsonl"] == size - begun
    check_stored(bench, camera, clip)


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
def test_a_tail_is_gone_on_with_where_the_line_broke(bench: "OffloadBench", lost: bool) -> None:
    """What storage lost of it meanwhile is found out, and it is fetched anew."""
    from docklink.client import open_session
    from docklink.streams import connect_tcp
    from tests.host.offload.fakecamera import QUICK

    tail = random.Random(7).randbytes(600_000)
    clip = bench.clips.make(1, points=1, ended=False, tail=tail)
    camera = FakeCamera(bench.pki, [clip])
    server, port = bench.serve(camera)
    before = sum(len(data) for name, data in clip.files.items() if name != "tail.bin")
    stream = FaultyStream(connect_tcp("127.0.0.1", port, 5), [Cut(before + 400_000)])
    with open_session(stream, bench.trust, timeouts=QUICK) as client:
        report = run_session(client, bench.station, bench.docking, Settings(), Watch())
    assert report.outcomes[0].ending is Step.INTERRUPTED
    (path,) = (bench.root / "partial").glob("*/tail.bin")
    begun = path.stat().st_size
    assert begun > 300_000
    if lost:
        path.write_bytes(bytes(begun))
    server.wait_ends(1)
    camera.served_bytes.clear()
    assert bench.session(port).outcomes[0].ending is Step.STORED
    served = camera.served_bytes[clip.key.clip, "tail.bin"]
    assert served == (len(tail) - begun) + (len(tail) if lost else 0)
    assert (bench.place(clip) / "tail.bin").read_bytes() == tail


@pytest.mark.parametrize("how", ["announced small", "announced large", "shorter file", "longer file"])
def test_a_camera_that_lies_about_sizes(bench: "OffloadBench", how: str) -> None:
    liar, honest = bench.clips.make(1, chunks=4), bench.clips.make(2)
    camera = FakeCamera(bench.pki, [liar, honest])
    place = (liar.key.clip, "clip.mp4.age")
    if how == "announced small":
        camera.announced_bytes[liar.key.clip] = 1
    elif how == "announced large":
        camera.announced_bytes[liar.key.clip] = 1 << 60
    elif how == "shorter file":
        camera.files[place] = camera.files[place][:-70_000]
    else:
        camera.files[place] += bytes(70_000)
        camera.announced_bytes[liar.key.clip] = liar.size + 70_000
    _, port = bench.serve(camera)
    for _ in range(3):
        bench.session(port)
    check_stored(bench, camera, honest)
    if how.startswith("announced"):
        check_stored(bench, camera, liar)
    else:
        assert not bench.place(liar).exists()
        assert camera.states[liar.key.clip] is ClipState.SEALED
        assert bench.kinds(liar) == ["clip_quarantined"]


def altered(bench: "OffloadBench", name: str) -> tuple[FakeCamera, "MadeClip"]:
    clip = bench.clips.make(1, chunks=4)
    camera = FakeCamera(bench.pki, [clip])
    data = bytearray(camera.files[clip.key.clip, name])
    data[len(data) // 2] ^= 1
    camera.files[clip.key.clip, name] = bytes(data)
    return camera, clip


@pytest.mark.parametrize("name", ["clip.mp4.age", "journal.jsonl", "manifest.p7s"])
def test_what_does_not_verify_is_set_apart_and_stays_on_the_camera(bench: "OffloadBench", name: str) -> None:
    camera, clip = altered(bench, name)
    _, port = bench.serve(camera)
    for _ in range(5):
        try:
            report = bench.session(port)
        except LinkError:
            continue
    assert report.outcomes[-1].ending is Step.QUARANTINED
    (apart,) = bench.store.quarantined()
    assert apart.key == clip.key
    assert (camera.receipts, camera.states[clip.key.clip]) == ({}, ClipState.SEALED)
    assert bench.kinds(clip) == ["clip_quarantined"]
    assert any(each.kind == "clip_quarantined" for each in bench.station.notices)
    assert not bench.place(clip).exists()


def test_a_quarantined_clip_is_not_fetched_again_and_can_be_released(bench: "OffloadBench") -> None:
    camera, clip = altered(bench, "clip.mp4.age")
    _, port = bench.serve(camera)
    for _ in range(4):
        bench.session(port)
    served = dict(camera.served_bytes)
    bench.restart()
    bench.session(port)
    assert {name: count for name, count in camera.served_bytes.items() if "age" in name[1]} == {
        name: count for name, count in served.items() if "age" in name[1]
    }
    (apart,) = bench.store.quarantined()
    bench.station.intake.release(apart, "court order", "j.doe", CameraMoment(NOW_NS, BOOT, 1))
    report = bench.session(port)
    assert report.outcomes[0].ending is Step.STORED
    assert camera.receipts[clip.key.clip].verdict is Verdict.QUARANTINED
    assert bench.kinds(clip) == ["clip_quarantined", "quarantine_released", "receipt_accepted"]


def test_a_camera_that_says_it_is_another(bench: "OffloadBench") -> None:
    camera = FakeCamera(bench.pki, [bench.clips.make(1)])
    camera.says_it_is = "cam0043"
    _, port = bench.serve(camera)
    with pytest.raises(PeerRefusedError, match="another"):
        bench.session(port)
    assert list(bench.store.clips()) == []


def test_clips_of_another_device_are_not_taken(bench: "OffloadBench") -> None:
    ours, theirs = bench.clips.make(2), bench.clips.make(1, device="cam0043")
    camera = FakeCamera(bench.pki, [theirs, ours])
    _, port = bench.serve(camera)
    report = bench.session(port)
    assert [each.clip for each in report.outcomes] == [ours.key.clip]
    assert any("of another" in each.detail for each in bench.station.notices)
    assert not bench.place(theirs).exists()


def test_a_clip_that_another_device_signed_is_set_apart(bench: "OffloadBench") -> None:
    forged = bench.clips.make(1, signer=bench.pki.camera("cam0043"))
    camera = FakeCamera(bench.pki, [forged])
    _, port = bench.serve(camera)
    report = bench.session(port)
    assert report.outcomes[0].ending is Step.QUARANTINED
    assert camera.receipts == {}


def test_a_flood_of_clips_ends(bench: "OffloadBench", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.offload.queue._MOST_CLIPS", 5)
    camera = FakeCamera(bench.pki, [bench.clips.make(number) for number in range(1, 10)])
    _, port = bench.serve(camera)
    with pytest.raises(LinkError, match="without end"):
        bench.session(port)


def test_a_camera_that_hangs_is_given_up_and_goes_on_later(bench: "OffloadBench") -> None:
    clip = bench.clips.make(1, points=8, chunks=4)
    camera = FakeCamera(bench.pki, [clip])
    _, port = bench.serve(camera)
    reports = sessions_until_done(bench, camera, port, [[Stall(900_000)]], clip)
    assert reports[0].error is not None
    check_stored(bench, camera, clip)


def test_a_full_store_takes_what_fits_and_the_rest_later(
    bench: "OffloadBench", monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = bench.clips.make(1, points=8, chunks=4), bench.clips.make(2)
    camera = FakeCamera(bench.pki, [large, small])
    _, port = bench.serve(camera)
    found = os.statvfs(bench.root)  # who else writes to this disk must not count
    monkeypatch.setattr("host.store.filestore.os.statvfs", lambda _path: found)
    free = bench.store.space().free_bytes
    bench.reserve_bytes = free - small.size - large.size // 4
    bench.restart()
    report = bench.session(port)
    assert [each.ending for each in report.outcomes] == [Step.NO_ROOM, Step.STORED]
    assert report.waiting == 1
    assert large.key.clip not in camera.receipts
    bench.reserve_bytes = 0
    bench.restart()
    assert bench.session(port).outcomes[0].ending is Step.STORED
    check_stored(bench, camera, large)


def test_a_store_that_refuses_stops_and_goes_on_when_mended(
    bench: "OffloadBench", monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    clip = bench.clips.make(1)
    camera = FakeCamera(bench.pki, [clip])
    _, port = bench.serve(camera)

    def read_only(*_args: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr("host.store.partial.os.pwrite", read_only)
        report = bench.session(port)
    assert report.outcomes[0].ending is Step.STOPPED
    assert camera.receipts == {}
    assert any(each.kind == "fault" for each in bench.station.notices)
    assert bench.session(port).outcomes[0].ending is Step.STORED
    check_stored(bench, camera, clip)


def test_a_store_that_was_unplugged(bench: "OffloadBench") -> None:
    from evidence.errors import EvidenceError

    clip = bench.clips.make(1)
    camera = FakeCamera(bench.pki, [clip])
    _, port = bench.serve(camera)
    bench.root.rename(bench.root.with_name("unplugged"))
    with pytest.raises(EvidenceError, match="gone"):
        bench.session(port)
    bench.root.with_name("unplugged").rename(bench.root)
    assert bench.session(port).outcomes[0].ending is Step.STORED
    check_stored(bench, camera, clip)


def test_a_second_agent_on_one_store(bench: "OffloadBench") -> None:
    from host.store import FileStore

    with pytest.raises(StoreInUseError, match="in use"):
        FileStore(bench.root)


def test_a_camera_that_fell_back_is_given_a_new_epoch(bench: "OffloadBench") -> None:
    made = [bench.clips.make(number) for number in (1, 2)]
    camera = FakeCamera(bench.pki, made)
    _, port = bench.serve(camera)
    bench.session(port)
    camera.clips_here.pop(made[1].key.clip)
    bench.session(port)
    assert len(camera.grants) == 1
    assert any(each.kind == "integrity_alarm" for each in bench.station.notices)


def test_a_number_that_is_nowhere_is_missing_until_its_tombstone_comes(bench: "OffloadBench") -> None:
    import shutil

    first = bench.clips.make(1)
    made = [first, bench.clips.make(2, previous_start=first.start_sha256)]
    camera = FakeCamera(bench.pki, made)
    _, port = bench.serve(camera)
    bench.session(port)
    receipt = bench.store.receipt_of(next(iter(bench.store.clips())))  # type: ignore[arg-type]  # it is no damaged one
    assert receipt is not None
    camera.bury(made[0].key.clip)
    shutil.rmtree(bench.place(made[0]))
    bench.restart()
    report = bench.session(port)
    assert report.completeness is not None
    assert report.completeness.missing == ((1, 1),)
    stone = SignedDocument(document=receipt.document, cms=receipt.cms)
    camera.stones = [stone_of(camera, made[0], stone)]
    bench.session(port)
    assert [manifest.number for manifest, _ in bench.store.tombstones()] == [1]
