"""Numbers over starts and epochs: no number twice, each line 0 names the one before, an epoch begins at 1."""

import hashlib
import shutil
from pathlib import Path

import pytest

from device.vault.layout import VaultError, open_layout
from device.vault.vault import Vault
from evidence.documents import Manifest, decode
from evidence.storage import StorageError, sync_directory
from tests.device.vault_recovery.rig import DEVICE, Camera, Death

UTC_NS = 1_800_000_000_000_000_000


def manifest(clip: Path) -> Manifest:
    return decode((clip / "manifest.json").read_bytes(), Manifest)


def line0_sha256(clip: Path) -> str:
    return hashlib.sha256((clip / "journal.jsonl").read_bytes().splitlines(keepends=True)[0]).hexdigest()


def test_starts_are_chained_past_a_clip_that_is_not_recovered_yet(camera: Camera) -> None:
    with Death(9):
        camera.record()
    (first,) = (camera.root / "clips").iterdir()
    second = camera.record()
    assert manifest(second).number == 2
    assert manifest(second).start.previous_start == line0_sha256(first)


def test_a_new_epoch_is_above_all_that_were_seen_and_numbers_from_one(camera: Camera) -> None:
    old = manifest(camera.record())
    layout = open_layout(camera.root, DEVICE)
    facts = Vault(layout).begin_epoch(seen_generation=7)
    assert facts.generation == 8
    assert facts.epoch != old.epoch
    with pytest.raises(VaultError, match="in use"):
        open_layout(camera.root, DEVICE)
    layout.close()
    new = manifest(camera.record(utc_ns=UTC_NS))
    assert (new.epoch, new.generation, new.number) == (facts.epoch, 8, 1)
    assert new.start.previous_start is None
    assert manifest(camera.record(utc_ns=UTC_NS)).number == 2


def test_an_epoch_that_cannot_be_written_does_not_begin(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    layout = open_layout(camera.root, DEVICE)
    vault = Vault(layout)
    before = layout.facts
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", fail)
        with pytest.raises(StorageError):
            vault.begin_epoch(seen_generation=1)
    assert layout.facts == before
    layout.close()


def test_clips_of_an_earlier_epoch_are_recovered_too(camera: Camera) -> None:
    with Death(16):
        camera.record()
    layout = open_layout(camera.root, DEVICE)
    Vault(layout).begin_epoch(seen_generation=1)
    layout.close()
    (recovered,) = camera.recover()
    assert recovered.manifest is not None
    assert recovered.manifest.generation == 1


def test_a_rolled_back_card_gives_a_number_twice_and_shows_it(camera: Camera) -> None:
    """No device without a secure element can prevent it; two different line 0 with one number prove it."""
    camera.record()
    shutil.copytree(camera.root, camera.root.with_name("image"))
    lost = manifest(camera.record())
    shutil.rmtree(camera.root)
    camera.root.with_name("image").rename(camera.root)
    again = manifest(camera.record(utc_ns=UTC_NS))
    assert (lost.epoch, lost.number) == (again.epoch, again.number)
    assert lost.start_sha256 != again.start_sha256


def test_a_claim_that_was_published_and_not_synced_keeps_its_number(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given again it would be a fork; so the number is spent, and recovery says that it holds nothing."""

    def sync(path: Path) -> None:
        if path.name == "clips":
            raise StorageError("cannot sync", OSError(5, "Input/output error"))
        sync_directory(path)

    with monkeypatch.context() as patch:
        patch.setattr("device.vault.vault.sync_directory", sync)
        layout = open_layout(camera.root, DEVICE)
        vault = Vault(layout)
        with pytest.raises(StorageError):
            vault.claim(lambda place: (f"notime-cam0042-{place.number:06d}", b"line 0\n"))
        assert vault.last_number == 1
        layout.close()
