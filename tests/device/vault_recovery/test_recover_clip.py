"""What recovery believes, what it sets apart, and what it refuses to sign."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from evidence.cms import sign_cms
from evidence.documents import ClipEnd, Ended, Manifest, decode
from evidence.errors import EvidenceError
from evidence.interrupted import UNATTESTED_LIMIT_BYTES
from evidence.journal import JournalReader
from evidence.lines import TamperedError
from evidence.measure import DamagedClipError
from evidence.recover import Outcome
from evidence.storage import StorageError
from tests.device.vault_recovery.rig import Camera, Death

CLAIMED = 9
MIDWAY = 16
WRITTEN = 24
"""Steps of a clip: after the claim; after some sync points; after its last line."""


def broken(camera: Camera, at: int = MIDWAY) -> Path:
    with Death(at):
        camera.record()
    (clip,) = (camera.root / "clips").iterdir()
    return clip


def digests(clip: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in clip.iterdir()}


def sealed(camera: Camera) -> Manifest:
    (recovered,) = camera.recover()
    assert recovered.outcome is Outcome.SEALED
    assert recovered.manifest is not None
    (clip,) = (camera.root / "clips").iterdir()
    assert decode((clip / "manifest.json").read_bytes(), Manifest) == recovered.manifest
    return recovered.manifest


def refused(camera: Camera, clip: Path) -> EvidenceError:
    """Recovery refuses, says why, and leaves every byte as it was."""
    before = digests(clip)
    with pytest.raises(EvidenceError) as caught:
        camera.recover()
    assert digests(clip) == before
    return caught.value


def test_what_recovery_seals_is_what_the_writer_would_have_sealed(camera: Camera, tmp_path: Path) -> None:
    clip = camera.record()
    whole = (clip / "manifest.json").read_bytes()
    (clip / "manifest.json").unlink()
    (clip / "manifest.p7s").unlink()
    assert sealed(camera).complete
    assert (clip / "manifest.json").read_bytes() == whole


def test_a_sealed_clip_is_left_alone(camera: Camera) -> None:
    clip = camera.record()
    before = digests(clip)
    (recovered,) = camera.recover()
    assert recovered.outcome is Outcome.ALREADY_SEALED
    assert digests(clip) == before


def test_a_signature_without_a_manifest_is_made_anew(camera: Camera) -> None:
    clip = broken(camera)
    (clip / "manifest.p7s").write_bytes(sign_cms(b"something else", camera.signer))
    assert not sealed(camera).complete


@pytest.mark.parametrize("signature", [None, b"", b"garbage"])
def test_a_planted_manifest_is_set_aside_and_never_signed(camera: Camera, signature: bytes | None) -> None:
    clip = broken(camera)
    (clip / "manifest.json").write_bytes(b'{"type":"preroll-manifest-v1","clip":"planted"}')
    if signature is not None:
        (clip / "manifest.p7s").write_bytes(signature)
    (recovered,) = camera.recover()
    assert recovered.rejected[0] == f"{clip.name}.manifest.json"
    assert b"planted" in (camera.root / "rejected" / recovered.rejected[0]).read_bytes()
    assert b"planted" not in (clip / "manifest.json").read_bytes()


def test_a_good_manifest_of_another_clip_is_a_planted_one(camera: Camera) -> None:
    first = camera.record()
    with Death(CLAIMED + 5):
        camera.record()
    second = max((camera.root / "clips").iterdir())
    for name in ("manifest.json", "manifest.p7s"):
        shutil.copy(first / name, second / name)
    recovered = camera.recover()
    assert [clip.outcome for clip in recovered] == [Outcome.ALREADY_SEALED, Outcome.SEALED]
    assert len(recovered[1].rejected) == 2


def test_an_altered_manifest_is_replaced_by_the_one_that_follows_from_the_journal(camera: Camera) -> None:
    clip = camera.record()
    good = (clip / "manifest.json").read_bytes()
    (clip / "manifest.json").write_bytes(good.replace(b'"frames":8', b'"frames":9'))
    assert sealed(camera).complete
    assert (clip / "manifest.json").read_bytes() == good


@pytest.mark.parametrize("held", [0, 10, 150, 200])
def test_a_claim_without_a_byte_of_payload_becomes_nothing_recorded(
    camera: Camera, make_camera: Callable[[str], Camera], held: int
) -> None:
    whole = (make_camera("other").record() / "clip.mp4.age").read_bytes()
    clip = broken(camera, CLAIMED)
    (clip / "clip.mp4.age").write_bytes(whole[:held])
    manifest = sealed(camera)
    assert manifest.ended is Ended.NOTHING_RECORDED
    assert (manifest.ciphertext, manifest.header, manifest.unattested) == (None, None, None)
    assert not (clip / "clip.mp4.age").exists()
    assert manifest.journal.lines == 1


def test_payload_without_a_sync_point_is_kept_as_unattested(camera: Camera) -> None:
    clip = broken(camera, 10)
    with (clip / "clip.mp4.age").open("ab") as file:
        file.write(b"x" * 400)
    size = (clip / "clip.mp4.age").stat().st_size
    manifest = sealed(camera)
    assert manifest.ended is Ended.UNKNOWN
    assert manifest.attested.line == 0
    assert manifest.unattested is not None
    assert (manifest.unattested.start, manifest.unattested.bytes) == (0, size)


def test_a_torn_line_stays_as_it_is(camera: Camera) -> None:
    clip = broken(camera)
    with (clip / "journal.jsonl").open("ab") as file:
        file.write(b'{"l":{"type":"preroll-sy\0\0\0')
    journal = (clip / "journal.jsonl").read_bytes()
    manifest = sealed(camera)
    assert manifest.journal.torn_bytes == 27
    assert manifest.journal.sha256 == hashlib.sha256(journal).hexdigest()
    assert (clip / "journal.jsonl").read_bytes() == journal


def test_a_tampered_journal_is_kept_and_never_sealed(camera: Camera) -> None:
    clip = broken(camera)
    journal = clip / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines, lines[1]]))
    assert isinstance(refused(camera, clip), TamperedError)


def test_bytes_that_a_line_attests_and_that_are_not_there_are_never_signed_away(camera: Camera) -> None:
    clip = broken(camera)
    ciphertext = clip / "clip.mp4.age"
    data = ciphertext.read_bytes()
    ciphertext.write_bytes(data[:-70_000])
    assert "ends inside the interval" in refused(camera, clip).what
    ciphertext.write_bytes(data[:1000] + b"\0" + data[1001:])
    assert "altered in the interval" in refused(camera, clip).what
    ciphertext.unlink()
    assert isinstance(refused(camera, clip), DamagedClipError)


def test_a_journal_of_another_clip_or_none_is_refused(camera: Camera) -> None:
    clip = broken(camera)
    renamed = clip.with_name("notime-cam0042-000009")
    clip.rename(renamed)
    assert "another clip" in refused(camera, renamed).what
    (renamed / "journal.jsonl").unlink()
    assert isinstance(refused(camera, renamed), DamagedClipError)


def test_links_and_devices_in_a_clip_are_not_followed(camera: Camera) -> None:
    clip = broken(camera)
    (clip / "clip.mp4.age").unlink()
    (clip / "clip.mp4.age").symlink_to("/dev/zero")
    with pytest.raises(EvidenceError, match="not a plain file"):
        camera.recover()


def test_a_tail_beyond_the_limit_is_set_apart_at_a_whole_chunk(camera: Camera) -> None:
    clip = broken(camera)
    before = (clip / "clip.mp4.age").read_bytes()
    extra = os.urandom(9 * 1024 * 1024)
    (clip / "clip.mp4.age").write_bytes(before + extra)
    manifest = sealed(camera)
    assert manifest.unattested is not None
    assert manifest.tail is not None
    kept, tail = (clip / "clip.mp4.age").read_bytes(), (clip / "tail.bin").read_bytes()
    assert kept + tail == before + extra
    assert manifest.unattested.bytes <= UNATTESTED_LIMIT_BYTES
    assert manifest.unattested.bytes % (65_536 + 16) == 0
    assert (manifest.tail.bytes, manifest.tail.sha256) == (len(tail), hashlib.sha256(tail).hexdigest())


def test_nothing_may_follow_an_orderly_end(camera: Camera) -> None:
    clip = broken(camera, WRITTEN)
    whole = (clip / "clip.mp4.age").read_bytes()
    (clip / "clip.mp4.age").write_bytes(whole + b"appended")
    manifest = sealed(camera)
    assert manifest.complete
    assert manifest.tail is not None
    assert (clip / "clip.mp4.age").read_bytes() == whole
    assert (clip / "tail.bin").read_bytes() == b"appended"


def test_a_second_tail_does_not_overwrite_the_first(camera: Camera) -> None:
    clip = broken(camera, WRITTEN)
    (clip / "tail.bin").write_bytes(b"set apart")
    with (clip / "clip.mp4.age").open("ab") as file:
        file.write(b"another")
    assert isinstance(refused(camera, clip), DamagedClipError)


def test_a_failing_card_leaves_the_clip_for_the_next_start(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = broken(camera)
    before = digests(clip)

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(StorageError):
            camera.recover()
    assert digests(clip) == before
    assert sealed(camera).journal.lines > 1


def test_the_end_line_survives_a_kill_before_the_manifest(camera: Camera) -> None:
    clip = broken(camera, WRITTEN)
    with (clip / "journal.jsonl").open("rb") as file:
        last = [line.document for line in JournalReader(file, camera.signer.public_key)][-1]
    assert isinstance(last, ClipEnd)
    manifest = sealed(camera)
    assert (manifest.complete, manifest.ended) == (True, Ended.STOPPED)
