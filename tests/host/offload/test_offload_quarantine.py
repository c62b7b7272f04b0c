"""What becomes of a quarantined clip that an operator released; of a fetch whose clip went elsewhere."""

import contextlib
import errno
import io
from typing import TYPE_CHECKING

import msgspec
import pytest

from docklink.errors import LinkError
from docklink.messages import SignedDocument
from docklink.peers import Peer
from docklink.service import FileAnswer
from evidence.cms import sign_cms
from evidence.documents import Receipt, Verdict, decode, encode
from host.store import CameraMoment
from tests.host.offload.fakecamera import FakeCamera, stone_of
from tests.host.store.conftest import BOOT, NOW_NS

if TYPE_CHECKING:
    from tests.host.offload.conftest import OffloadBench
    from tests.host.store.conftest import MadeClip


def released(bench: "OffloadBench", name: str) -> tuple[FakeCamera, int, "MadeClip", SignedDocument]:
    """Set a clip apart whose file differs from its manifest, release it, and hand its receipt over."""
    clip = bench.clips.make(1, chunks=2)
    camera = FakeCamera(bench.pki, [clip])
    data = bytearray(camera.files[clip.key.clip, name])
    data[len(data) // 2] ^= 1
    camera.files[clip.key.clip, name] = bytes(data)
    _, port = bench.serve(camera)
    for _ in range(5):  # a journal that is not the signed one breaks a few sessions first
        with contextlib.suppress(LinkError):
            bench.session(port)
    (apart,) = bench.store.quarantined()
    moment = CameraMoment(NOW_NS, BOOT, 1)
    receipt = bench.station.intake.release(apart, "court order", "j.doe", moment)
    bench.session(port)
    assert camera.receipts[clip.key.clip].verdict is Verdict.QUARANTINED
    return camera, port, clip, SignedDocument(document=receipt.document, cms=receipt.cms)


def alarms(bench: "OffloadBench") -> list[str]:
    return [each.detail for each in bench.station.notices if "tombstone" in each.detail]


@pytest.mark.parametrize("name", ["clip.mp4.age", "journal.jsonl"])
def test_the_tombstone_of_a_released_clip_counts(bench: "OffloadBench", name: str) -> None:
    camera, port, clip, receipt = released(bench, name)
    camera.bury(clip.key.clip)
    camera.stones = [stone_of(camera, clip, receipt)]
    report = bench.session(port)
    assert alarms(bench) == []
    assert [(manifest.clip, store) for manifest, store in bench.store.tombstones()] == [
        (clip.key.clip, "dock7-a")
    ]
    assert bench.kinds(clip) == ["clip_quarantined", "quarantine_released", "receipt_accepted"]
    assert report.outcomes == ()


@pytest.mark.parametrize("changed", ["verdict", "manifest"])
def test_other_digests_count_in_quarantine_alone_and_never_of_the_manifest(
    bench: "OffloadBench", changed: str
) -> None:
    camera, port, clip, signed = released(bench, "clip.mp4.age")
    said = decode(signed.document, Receipt)
    if changed == "verdict":
        forged = msgspec.structs.replace(said, verdict=Verdict.STORED)
    else:
        other = msgspec.structs.replace(said.files[2], sha256="ab" * 32)
        forged = msgspec.structs.replace(said, files=(*said.files[:2], other, said.files[3]))
    document = encode(forged)
    camera.bury(clip.key.clip)
    camera.stones = [stone_of(camera, clip, SignedDocument(document, sign_cms(document, bench.pki.dock)))]
    bench.session(port)
    assert any("other files" in each for each in alarms(bench))
    assert list(bench.store.tombstones()) == []


class BadCard(io.BytesIO):
    """A file with pages that the card does not give."""

    bad: tuple[tuple[int, int], ...] = ()

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # whatever is writable
        place = self.tell()
        ahead = [start for start, end in self.bad if place < end]
        if ahead and place >= ahead[0]:
            raise OSError(errno.EIO, "Input/output error")
        return super().readinto(view[: ahead[0] - place] if ahead else view)


class BadCamera(FakeCamera):
    """A camera whose card has gone bad in two places of the ciphertext."""

    bad = ((40_960, 45_056), (102_400, 110_592))

    def file(self, peer: Peer, clip: str, name: str) -> FileAnswer:
        answer = super().file(peer, clip, name)
        if name != "clip.mp4.age":
            return answer
        file = BadCard(self.files[clip, name])
        file.bad = self.bad
        return msgspec.structs.replace(answer, open=lambda: file)


def test_what_a_bad_card_does_not_give_is_skipped_and_listed(bench: "OffloadBench") -> None:
    clip, other = bench.clips.make(1, points=3), bench.clips.make(2)
    camera = BadCamera(bench.pki, [clip, other])
    camera.bad = BadCamera.bad
    _, port = bench.serve(camera)
    for _ in range(20):
        with contextlib.suppress(LinkError):
            bench.session(port)
        if bench.store.quarantined():
            break
    (apart, *_) = bench.store.quarantined()
    ranges = [(each.name, each.start, each.start + each.bytes) for each in apart.note.unreadable]
    assert ranges == [("clip.mp4.age", *each) for each in BadCamera.bad]
    stored = next(bench.root.glob("quarantine/*/*-000001/clip.mp4.age")).read_bytes()
    whole = bytearray(clip.files["clip.mp4.age"])
    for start, end in BadCamera.bad:
        whole[start:end] = bytes(end - start)
    assert stored == whole
    receipt = bench.station.intake.release(apart, "court order", "j.doe", CameraMoment(NOW_NS, BOOT, 1))
    said = decode(receipt.document, Receipt)
    assert (said.verdict, said.unreadable) == (Verdict.QUARANTINED, apart.note.unreadable)


def test_a_fetch_whose_clip_went_to_another_store_is_deleted(bench: "OffloadBench") -> None:
    camera, port, clip, signed = released(bench, "clip.mp4.age")
    fetch = bench.store.open_partial(clip.key, clip.size)
    fetch.put("manifest.json", clip.files["manifest.json"])
    fetch.close()
    bench.restart()
    bench.session(port)
    assert bench.store.partials() == (clip.key,)
    camera.bury(clip.key.clip)
    elsewhere = encode(msgspec.structs.replace(decode(signed.document, Receipt), store="dock8-a"))
    camera.stones = [stone_of(camera, clip, SignedDocument(elsewhere, sign_cms(elsewhere, bench.pki.dock)))]
    bench.session(port)
    assert bench.store.partials() == ()
