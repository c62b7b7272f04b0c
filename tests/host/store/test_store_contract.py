"""What every evidence store does, whatever it is made of."""

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from evidence.documents import Receipt, Verdict, decode
from evidence.errors import EvidenceError
from evidence.paths import verify_signed
from evidence.roles import Role
from host.custody import HeadStanding
from host.store import (
    HeadOutcome,
    SignedBytes,
    StoredClip,
    StoreError,
    StoreFullError,
    StoreState,
    VerificationError,
    clip_key,
)

if TYPE_CHECKING:
    from tests.host.store.conftest import Dock

CHUNK_END = 65_536 + 16
TAIL_BYTES = 17 + 16


def stored_clips(dock: "Dock") -> list[StoredClip]:
    return [stored for stored in dock.store.clips() if isinstance(stored, StoredClip)]


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"ended": False},
        {"ended": False, "beyond": b"half a chunk"},
        {"empty": True},
        {"first_utc_ns": None},
    ],
    ids=["whole", "interrupted", "unattested end", "nothing recorded", "notime"],
)
def test_a_clip_goes_in_and_gets_one_receipt_for_its_bytes(dock: "Dock", shape: dict[str, Any]) -> None:
    clip = dock.clips.make(**shape)
    taken = dock.intake.take(dock.fetch(clip), dock.moment)
    assert taken.receipt
    assert taken.new
    assert not taken.conflicts
    identity = verify_signed(
        taken.receipt.document, taken.receipt.cms, dock.pki.trust.roots, Role.DOCK_RECEIPT, None
    )
    receipt = decode(taken.receipt.document, Receipt)
    assert identity.subject_id == "dock7"
    assert {file.name: (file.bytes, file.sha256) for file in receipt.files} == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in clip.files.items()
    }
    assert (receipt.verdict, receipt.store, receipt.number) == (Verdict.STORED, "dock7-a", 1)
    assert dock.custody.look_up(receipt.custody) is HeadStanding.KNOWN
    assert dock.store.partials() == ()
    (stored,) = dock.store.clips()
    assert isinstance(stored, StoredClip)
    assert stored.receipted
    assert dock.store.find(clip.key) == stored


def test_the_same_clip_again_is_one_clip_one_entry_one_receipt(dock: "Dock") -> None:
    clip = dock.clips.make()
    first = dock.intake.take(dock.fetch(clip), dock.moment)
    again = dock.intake.take(dock.fetch(clip), dock.moment)
    assert (again.new, again.receipt) == (False, first.receipt)
    there = dock.intake.present(clip.key, dock.moment)
    assert there
    assert there.receipt == first.receipt
    assert [read.entry.kind for read in dock.custody.entries()] == ["clip_stored"]
    assert len(list(dock.store.clips())) == 1


def test_a_clip_is_not_there_before_it_is_published(dock: "Dock") -> None:
    clip = dock.clips.make()
    partial = dock.fetch(clip)
    dock.store.verify(partial, dock.pki.trust)
    assert dock.store.find(clip.key) is None
    assert list(dock.store.clips()) == []
    assert dock.store.partials() == (clip.key,)


@pytest.mark.parametrize("name", ["clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "grown", "zeros", "absent"])
def test_a_clip_that_is_not_what_was_signed_never_becomes_one(dock: "Dock", name: str, damage: str) -> None:
    clip = dock.clips.make()
    data = clip.files[name]
    middle = len(data) // 2
    altered = {
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "cut": data[:-1],
        "grown": data + b"\0",
        "zeros": bytes(len(data)),
        "absent": b"",
    }[damage]
    partial = dock.store.open_partial(clip.key, clip.size)
    for each, content in (clip.files | {name: altered}).items():
        if each == name and damage == "absent":
            continue
        if each == "clip.mp4.age":
            partial.writer(each, 0).append(content)
        else:
            partial.put(each, content)
    with pytest.raises(VerificationError):
        dock.intake.take(partial, dock.moment)
    assert dock.store.find(clip.key) is None
    apart = dock.intake.set_apart(partial, ("altered",), dock.moment)
    assert dock.store.partials() == ()
    assert dock.store.quarantined() == (apart,)


def test_a_clip_of_another_camera_is_not_taken_for_this_one(dock: "Dock") -> None:
    clip = dock.clips.make(signer=dock.pki.camera("cam0043"))
    with pytest.raises(VerificationError, match="another device"):
        dock.intake.take(dock.fetch(clip), dock.moment)


def test_a_fetch_resumes_where_the_bytes_are_good(dock: "Dock") -> None:
    clip = dock.clips.make(points=4)
    whole = clip.files["clip.mp4.age"]
    ends = [CHUNK_END * number + len(whole) - 4 * CHUNK_END - TAIL_BYTES for number in range(1, 5)]
    partial = dock.store.open_partial(clip.key, clip.size)
    for name in ("manifest.p7s", "manifest.json", "journal.jsonl"):
        partial.put(name, clip.files[name])
    key = dock.pki.camera().public_key
    assert partial.resume_point(clip.manifest, key) == 0
    writer = partial.writer("clip.mp4.age", 0)
    writer.append(whole[: ends[1] + 1000])
    writer.sync()
    assert partial.resume_point(clip.manifest, key) == ends[1]
    partial.close()
    again = dock.store.open_partial(clip.key, clip.size)
    assert again.resume_point(clip.manifest, key) == ends[1]
    writer = again.writer("clip.mp4.age", ends[1])
    assert writer.size_bytes == ends[1]
    writer.append(whole[ends[1] :])
    assert again.resume_point(clip.manifest, key) == len(whole)
    assert dock.store.verify(again, dock.pki.trust).read_back.manifest == clip.manifest


def test_a_length_that_lies_is_found_out(dock: "Dock") -> None:
    clip = dock.clips.make(points=4)
    whole = clip.files["clip.mp4.age"]
    key = dock.pki.camera().public_key
    partial = dock.store.open_partial(clip.key, clip.size)
    for name in ("manifest.p7s", "manifest.json", "journal.jsonl"):
        partial.put(name, clip.files[name])
    first = len(whole) - TAIL_BYTES - 3 * CHUNK_END
    for lie in (bytes(len(whole) - first), whole[: len(whole) - first], b"stale"):
        writer = partial.writer("clip.mp4.age", 0)
        writer.append(whole[:first])
        writer.append(lie)
        writer.sync()
        assert partial.resume_point(clip.manifest, key) == first
    writer = partial.writer("clip.mp4.age", 0)
    writer.append(bytes(len(whole)))
    assert partial.resume_point(clip.manifest, key) == 0


def test_only_one_fetches_a_clip(dock: "Dock") -> None:
    clip = dock.clips.make()
    partial = dock.store.open_partial(clip.key, clip.size)
    with pytest.raises(StoreError, match="being fetched"):
        dock.store.open_partial(clip.key, clip.size)
    partial.close()
    with pytest.raises(StoreError, match="closed"):
        partial.put("manifest.json", b"")
    dock.store.open_partial(clip.key, clip.size).discard()
    assert dock.store.partials() == ()


def test_a_fetch_that_does_not_fit_is_refused_before_it_begins(dock: "Dock") -> None:
    clip = dock.clips.make()
    space = dock.store.space()
    with pytest.raises(StoreFullError, match="no room"):
        dock.store.open_partial(clip.key, space.available_bytes + (1 << 40))
    # Together a quarter more than there is: others on this disk make room and take it meanwhile.
    most = dock.store.open_partial(clip.key, space.available_bytes * 3 // 4)
    other = dock.clips.make(2)
    assert dock.store.space().promised_bytes > 0
    with pytest.raises(StoreFullError):
        dock.store.open_partial(other.key, space.available_bytes // 2)
    most.close()
    assert dock.store.space().promised_bytes == 0
    assert dock.store.partials() == (clip.key,)


def test_two_line_0_for_one_number_are_a_fork_and_both_are_kept(dock: "Dock") -> None:
    one = dock.clips.make(3)
    other = dock.clips.make(3, first_utc_ns=None)
    dock.intake.take(dock.fetch(one), dock.moment)
    taken = dock.intake.take(dock.fetch(other), dock.moment)
    assert [(conflict.what, conflict.other) for conflict in taken.conflicts] == [("line 0", one.key)]
    assert taken.receipt is not None
    assert {stored.key for stored in stored_clips(dock)} == {one.key, other.key}
    assert [read.entry.kind for read in dock.custody.entries()] == ["clip_stored", "fork", "clip_stored"]


def test_another_clip_of_the_same_name_goes_to_quarantine(dock: "Dock") -> None:
    one, other = dock.clips.make(3), dock.clips.make(3, points=2)
    dock.intake.take(dock.fetch(one), dock.moment)
    taken = dock.intake.take(dock.fetch(other), dock.moment)
    assert (taken.stored, taken.receipt) == (None, None)
    assert [conflict.other for conflict in taken.conflicts] == [one.key]
    assert [stored.key for stored in stored_clips(dock)] == [one.key]
    (apart,) = dock.store.quarantined()
    assert apart == taken.quarantined
    assert dock.store.partials() == ()
    signed = dock.intake.release(apart, "seen, and a fork", "j.doe", dock.moment)
    receipt = decode(signed.document, Receipt)
    assert receipt.verdict is Verdict.QUARANTINED
    assert receipt.clip == other.key.clip


def test_release_from_quarantine_gives_one_receipt_for_the_bytes_that_are_there(dock: "Dock") -> None:
    clip = dock.clips.make()
    partial = dock.store.open_partial(clip.key, clip.size)
    broken = clip.files["clip.mp4.age"][:-5]
    for name, data in clip.files.items():
        if name == "clip.mp4.age":
            partial.writer(name, 0).append(broken)
        else:
            partial.put(name, data)
    apart = dock.intake.set_apart(partial, ("ends early",), dock.moment)
    assert apart.note.reasons == ("ends early",)
    first = dock.intake.release(apart, "the card is worn out", "j.doe", dock.moment)
    assert dock.intake.release(apart, "again", "j.doe", dock.moment) == first
    receipt = decode(first.document, Receipt)
    assert (receipt.files[0].bytes, receipt.files[0].sha256) == (
        len(broken),
        hashlib.sha256(broken).hexdigest(),
    )
    assert [read.entry.kind for read in dock.custody.entries()] == ["clip_quarantined", "quarantine_released"]
    assert dock.store.quarantined()[0].receipted


def test_quarantine_again_takes_the_place_of_an_earlier_try(dock: "Dock") -> None:
    clip = dock.clips.make()
    for reason in ("first", "second"):
        partial = dock.store.open_partial(clip.key, clip.size)
        partial.put("manifest.json", reason.encode())
        dock.store.quarantine(partial, (reason,), dock.moment.utc_ns)
    (apart,) = dock.store.quarantined()
    assert apart.note.reasons == ("second",)
    with pytest.raises(StoreError, match="manifest"):
        dock.store.read_quarantined(apart)


def test_what_lacks_a_file_gets_no_receipt_and_no_entry_that_says_so(dock: "Dock") -> None:
    clip = dock.clips.make()
    partial = dock.store.open_partial(clip.key, clip.size)
    partial.put("manifest.json", clip.files["manifest.json"])
    apart = dock.intake.set_apart(partial, ("no journal",), dock.moment)
    with pytest.raises(StoreError, match="not all files"):
        dock.intake.release(apart, "why not", "j.doe", dock.moment)
    assert [read.entry.kind for read in dock.custody.entries()] == ["clip_quarantined"]


def test_heads_only_rise_and_the_highest_stays(dock: "Dock") -> None:
    outcomes = [
        dock.store.keep_head(signed, dock.pki.trust).outcome
        for signed in (
            dock.head(3),
            dock.head(3),
            dock.head(5),
            dock.head(4),
            dock.head(5, "ff" * 32),
            dock.head(6),
        )
    ]
    assert outcomes == ["new", "same", "advanced", "behind", "fork", "advanced"]
    assert [kept.number for kept in dock.store.heads("cam0042")] == [6]
    assert dock.store.heads("cam0043") == ()


def test_a_formatted_camera_is_behind_until_it_opens_a_new_epoch(dock: "Dock") -> None:
    dock.store.keep_head(dock.head(317), dock.pki.trust)
    formatted = dock.store.keep_head(dock.head(0, epoch="aa" * 16), dock.pki.trust)
    assert (formatted.outcome, formatted.highest.number) == (HeadOutcome.BEHIND, 317)
    risen = dock.store.keep_head(dock.head(1, epoch="bb" * 16, generation=2), dock.pki.trust)
    assert risen.outcome is HeadOutcome.NEW
    old = dock.store.keep_head(dock.head(318), dock.pki.trust)
    assert (old.outcome, old.highest.generation) == (HeadOutcome.BEHIND, 2)


def test_a_head_of_somebody_else_is_refused(dock: "Dock") -> None:
    good = dock.head(3)
    with pytest.raises(EvidenceError):
        dock.store.keep_head(SignedBytes(good.document + b" ", good.cms), dock.pki.trust)
    other = dock.head(3, device="cam0043")
    with pytest.raises(EvidenceError):
        dock.store.keep_head(SignedBytes(good.document, other.cms), dock.pki.trust)
    assert dock.store.heads() == ()


def test_tombstones_are_kept_once(dock: "Dock") -> None:
    clip = dock.clips.make()
    taken = dock.intake.take(dock.fetch(clip), dock.moment)
    assert taken.receipt
    files = {
        "journal.jsonl": clip.files["journal.jsonl"].split(b"\n")[0] + b"\n",
        "manifest.json": clip.files["manifest.json"],
        "manifest.p7s": clip.files["manifest.p7s"],
        "receipt.json": taken.receipt.document,
        "receipt.p7s": taken.receipt.cms,
    }
    for _ in range(2):
        stone, conflict = dock.store.keep_tombstone(files, dock.pki.trust)
        assert (stone.manifest.clip, conflict) == (clip.key.clip, None)
    assert [(manifest.number, where) for manifest, where in dock.store.tombstones()] == [(1, "dock7-a")]
    with pytest.raises(EvidenceError):
        dock.store.keep_tombstone(files | {"receipt.json": taken.receipt.document + b" "}, dock.pki.trust)


def test_keys_are_held_against_their_grammar() -> None:
    with pytest.raises(StoreError):
        clip_key("cam0042", "../../etc/passwd", "ab" * 32)
    with pytest.raises(StoreError):
        clip_key("cam0043", "notime-cam0042-000001", "ab" * 32)
    with pytest.raises(StoreError):
        clip_key("cam0042", "notime-cam0042-000001", "AB" * 32)


def test_health_says_ready(dock: "Dock") -> None:
    assert dock.store.health().state is StoreState.READY
