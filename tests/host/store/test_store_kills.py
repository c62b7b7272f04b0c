"""Killed at each named step of taking a clip, twice in a row: one verified copy, one trail, one receipt."""

import itertools
import os
import random
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.attestations import read_receipt
from evidence.check import Finding, check_sealed_clip
from evidence.documents import CustodyHead, decode
from evidence.documents import Receipt as ReceiptDocument
from evidence.steps import Operation, set_step_hook
from host.custody import CustodyLog, HeadStanding, verify_custody
from host.store import FileStore, VerificationError, format_store
from host.store.memory import MemoryStore
from host.store.steps import FETCH_STEPS, PUBLISH_STEPS, RECEIPT_STEPS, store_step_name

if TYPE_CHECKING:
    from tests.host.store.conftest import ClipFactory, Dock, MadeClip, Pki

_KILLED = 42


def take(root: Path, pki: "Pki", clips: "ClipFactory", clip: "MadeClip") -> None:
    """Take one clip as a dock's worker does after a start: what is present, else fetch the rest."""
    from tests.host.store.conftest import Dock

    store = FileStore(root)
    custody = CustodyLog(root / "custody.jsonl", store.store_id)
    dock = Dock.over(store, custody, pki, clips)
    try:
        if dock.intake.present(clip.key, dock.moment) is None:
            dock.intake.take(dock.fetch(clip), dock.moment)
    finally:
        custody.close()
        store.close()


def in_a_process(work: Callable[[], None], hook: Callable[[Operation, Path], None] | None) -> int:
    """Run work in a process of its own; returns its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            set_step_hook(hook)
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the child ends here; its parent reads what went wrong
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(count: int) -> Callable[[Operation, Path], None]:
    left = count

    def hook(operation: Operation, path: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(_KILLED)

    return hook


def check_taken(root: Path, pki: "Pki", clip: "MadeClip") -> None:
    place = root / "clips" / clip.key.device / clip.key.clip
    report = check_sealed_clip(place, pki.trust.roots)
    assert report.finding is Finding.AUTHENTIC
    files = (clip.files["manifest.json"], clip.files["manifest.p7s"])
    receipt, _ = read_receipt(place / "receipt.json", clip.manifest, files, pki.trust.roots)
    assert [path.name for path in (root / "clips" / clip.key.device).iterdir()] == [clip.key.clip]
    assert list((root / "partial").iterdir()) == []
    assert list((root / "quarantine").iterdir()) == []
    assert verify_custody(root / "custody.jsonl").torn_bytes == 0
    log = CustodyLog(root / "custody.jsonl", "dock7-a")
    kinds = [(read.entry.kind, read.entry.clip) for read in log.entries()]
    assert kinds.count(("clip_stored", clip.key.clip)) == 1
    assert log.look_up(receipt.custody) is HeadStanding.KNOWN
    log.close()


def steps_of_a_take(root: Path, pki: "Pki", clips: "ClipFactory", clip: "MadeClip") -> list[str]:
    names: list[str] = []
    set_step_hook(lambda operation, path: names.append(store_step_name(root, operation, path)))
    try:
        take(root, pki, clips, clip)
    finally:
        set_step_hook(None)
    return names


def test_the_steps_are_those_of_the_registry(root: Path, pki: "Pki", clips: "ClipFactory") -> None:
    names = steps_of_a_take(root, pki, clips, clips.make(points=1))
    expected = ["create custody.jsonl", "sync-directory root", *FETCH_STEPS, *PUBLISH_STEPS, *RECEIPT_STEPS]
    assert [name for name, _ in itertools.groupby(names)] == [name for name, _ in itertools.groupby(expected)]


def test_killed_at_each_step_twice_in_a_row(tmp_path: Path, pki: "Pki", clips: "ClipFactory") -> None:
    """On a file system in memory: what a kill of the process leaves does not depend on the drive."""
    clip = clips.make(points=2)
    base = Path("/dev/shm") / f"{tmp_path.name}-{os.getpid()}"
    try:
        format_store(base / "counted", "dock7-a")
        total = len(steps_of_a_take(base / "counted", pki, clips, clip))
        assert total > 30
        for count in range(total):
            root = base / f"killed-{count}"
            format_store(root, "dock7-a")
            for _ in range(2):
                status = in_a_process(lambda root=root: take(root, pki, clips, clip), kill_at(count))  # type: ignore[misc]  # bound at once
                assert status in (0, _KILLED)
                for place in root.glob("clips/*/*"):
                    assert set(clip.files) <= {path.name for path in place.iterdir()}, "half a clip"
                    if (place / "receipt.json").exists():
                        assert (place / "receipt.p7s").exists()
                        assert (root / "custody.jsonl").stat().st_size > 0
            take(root, pki, clips, clip)
            check_taken(root, pki, clip)
            shutil.rmtree(root)
    finally:
        shutil.rmtree(base)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(
        st.sampled_from(["fetch some", "sync", "undock", "power cut", "take", "take again", "other clip"]),
        max_size=14,
    ),
    seed=st.integers(0, 2**16),
)
def test_any_order_of_fetch_cut_and_take_ends_with_one_copy(
    events: list[str], seed: int, pki: "Pki", clips: "ClipFactory", tmp_path: Path
) -> None:
    from tests.host.store.conftest import Dock

    chance = random.Random(seed)
    store = MemoryStore("dock7-a", total_bytes=1 << 30)
    log_path = tmp_path / f"custody-{chance.random()}.jsonl"
    custody = CustodyLog(log_path, "dock7-a")
    dock = Dock.over(store, custody, pki, clips)
    clip, other = CACHE.setdefault("two", (clips.make(1, points=4), clips.make(2, points=1)))
    whole = clip.files["clip.mp4.age"]
    receipts = set()
    for event in [*events, "undock", "take"]:
        if event == "power cut":
            store.power_cut()
        elif event == "other clip":
            fetched = dock.intake.present(other.key, dock.moment) or dock.intake.take(
                dock.fetch(other), dock.moment
            )
            assert fetched.receipt
        elif event.startswith("take"):
            taken = dock.intake.present(clip.key, dock.moment) or dock.intake.take(
                dock.fetch(clip), dock.moment
            )
            assert taken.receipt
            receipts.add(taken.receipt)
        elif event == "fetch some" and dock.store.find(clip.key) is None:
            partial = store.open_partial(clip.key, clip.size)
            for name in ("manifest.json", "manifest.p7s", "journal.jsonl"):
                partial.put(name, clip.files[name])
            start = partial.resume_point(clip.manifest, pki.camera().public_key)
            writer = partial.writer("clip.mp4.age", start)
            writer.append(whole[start : start + chance.randrange(len(whole))])
            if chance.random() < 0.5:
                writer.sync()
            partial.close()
    assert len(receipts) == 1
    assert store.partials() == ()
    assert store.find(clip.key)
    stored = [read.entry.clip for read in custody.entries() if read.entry.kind == "clip_stored"]
    assert len(set(stored)) == len(stored)
    receipt = decode(receipts.pop().document, ReceiptDocument)
    assert receipt.files[0].sha256 == clip.manifest.ciphertext.sha256  # type: ignore[union-attr]  # it has one
    assert custody.look_up(receipt.custody) is HeadStanding.KNOWN
    custody.close()
    log_path.unlink()


CACHE: dict[str, tuple["MadeClip", "MadeClip"]] = {}


@pytest.mark.parametrize("kind", ["line", "whole"])
def test_no_receipt_without_the_copy_even_if_it_is_damaged_between(
    kind: str, file_dock: "Dock", root: Path
) -> None:
    """After a crash between publishing and receipt the copy is read again, not believed."""
    clip = file_dock.clips.make()
    store = file_dock.store
    verified = store.verify(file_dock.fetch(clip), file_dock.pki.trust)
    store.publish(verified, file_dock.pki.trust, file_dock.moment.utc_ns)
    path = root / "clips" / "cam0042" / clip.key.clip / "clip.mp4.age"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError):
        file_dock.intake.present(clip.key, file_dock.moment)
    assert file_dock.custody.head is None
    taken = file_dock.intake.take(file_dock.fetch(clip), file_dock.moment)
    assert taken.new
    assert taken.receipt
    check_sealed = check_sealed_clip(path.parent, file_dock.pki.trust.roots)
    assert check_sealed.finding is Finding.AUTHENTIC
    (apart,) = store.quarantined()
    assert "damaged in the store" in apart.note.reasons[0]
    assert file_dock.custody.look_up(CustodyHead(9, "00" * 32)) is HeadStanding.AHEAD
