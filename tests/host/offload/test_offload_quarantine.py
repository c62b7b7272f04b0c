"""What becomes of a quarantined clip that an operator released; of a fetch whose clip went elsewhere."""

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from docklink.errors import LinkError
from docklink.messages import SignedDocument
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
