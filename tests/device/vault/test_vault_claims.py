"""Claiming numbers: durable before anybody can see them, never twice, and never in the way of recording."""

import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device.vault import vault as vault_module
from device.vault.layout import CLAIM_PREFIX, VaultError, VaultLayout, format_vault, is_blank, open_layout
from device.vault.vault import ClipPlace, Vault, list_clips
from evidence import storage
from evidence.storage import AppendFile, PosixAppendFile, StorageError

if TYPE_CHECKING:
    from tests.device.vault.conftest import Line0


def failing(number: int) -> StorageError:
    return StorageError("the card refuses", OSError(number, os.strerror(number)))


class Noted:
    """Makes line 0, and remembers the places that it was made for."""

    def __init__(self, line0: "Line0") -> None:
        self._line0 = line0
        self.places: list[ClipPlace] = []

    def __call__(self, place: ClipPlace) -> tuple[str, bytes]:
        self.places.append(place)
        return self._line0(place)


class Traced:
    """A file that tells of its steps."""

    def __init__(self, path: Path, steps: list[str]) -> None:
        self._inner = PosixAppendFile(path)
        self._steps = steps

    @property
    def size_bytes(self) -> int:
        return self._inner.size_bytes

    def append(self, data: bytes | memoryview) -> None:
        self._steps.append("append")
        self._inner.append(data)

    def sync(self) -> None:
        self._steps.append("sync")
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


def test_line_0_is_on_storage_before_the_clip_has_its_name(
    layout: VaultLayout, line0: "Line0", monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def sync_directory(path: Path) -> None:
        named = (layout.clips / "notime-cam0042-000001").exists()
        steps.append(f"sync {'clips' if path == layout.clips else 'staging'}, named: {named}")

    monkeypatch.setattr(vault_module, "sync_directory", sync_directory)
    clip = Vault(layout, lambda path: Traced(path, steps)).claim(line0)
    clip.journal.close()
    assert steps == ["append", "sync", "sync staging, named: False", "sync clips, named: True"]


def test_numbers_go_on_over_starts_and_each_names_the_line_0_before(
    layout: VaultLayout, line0: "Line0"
) -> None:
    before: str | None = None
    for number in range(1, 5):
        vault = Vault(layout)  # each time another start of the process
        assert (vault.last_number, vault.damaged) == (number - 1, [])
        noted = Noted(line0)
        clip = vault.claim(noted)
        clip.journal.close()
        assert (clip.number, noted.places[0].previous_start) == (number, before)
        before = hashlib.sha256((clip.directory / "journal.jsonl").read_bytes()).hexdigest()
    seen = [path.name for path in sorted(layout.clips.iterdir())]
    assert seen == [f"notime-cam0042-00000{number}" for number in range(1, 5)]


def test_the_chain_is_the_digest_of_line_0_as_stored(layout: VaultLayout, line0: "Line0") -> None:
    first = Vault(layout).claim(line0)
    first.journal.append(b'{"l":{},"s":"later lines do not count"}\n')
    first.journal.close()
    noted = Noted(line0)
    second = Vault(layout).claim(noted)
    second.journal.close()
    head = (first.directory / "journal.jsonl").read_bytes().splitlines(keepends=True)[0]
    assert noted.places[0].previous_start == hashlib.sha256(head).hexdigest()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_claim_that_storage_refuses_takes_no_number_and_can_be_tried_again(
    number: int, layout: VaultLayout, line0: "Line0"
) -> None:
    refuse = [True]

    class Refusing(PosixAppendFile):
        def sync(self) -> None:
            if refuse[0]:
                raise failing(number)
            super().sync()

    vault = Vault(layout, Refusing)
    for _ in range(2):
        with pytest.raises(StorageError, match="the card refuses"):
            vault.claim(line0)
        assert vault.last_number == 0
        assert [path.name for path in layout.clips.iterdir()] == [f"{CLAIM_PREFIX}000001"]
    refuse[0] = False
    clip = vault.claim(line0)
    clip.journal.close()
    assert clip.number == 1
    assert [path.name for path in layout.clips.iterdir()] == ["notime-cam0042-000001"]


def test_a_number_that_has_its_name_is_spent_even_if_the_last_sync_fails(
    layout: VaultLayout, line0: "Line0", monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.sync_directory
    vault = Vault(layout)

    def sync_directory(path: Path) -> None:
        if path == layout.clips:
            raise failing(errno.EIO)
        real(path)

    monkeypatch.setattr(vault_module, "sync_directory", sync_directory)
    with pytest.raises(StorageError):
        vault.claim(line0)
    monkeypatch.setattr(vault_module, "sync_directory", real)
    noted = Noted(line0)
    clip = vault.claim(noted)
    clip.journal.close()
    spent = (layout.clips / "notime-cam0042-000001" / "journal.jsonl").read_bytes()
    assert clip.number == 2
    assert noted.places[0].previous_start == hashlib.sha256(spent).hexdigest()


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b'{"l":{"type":"pre', b"\xff\xfe\n"])
def test_a_damaged_line_0_keeps_nobody_from_recording(
    damage: bytes, layout: VaultLayout, line0: "Line0"
) -> None:
    vault = Vault(layout)
    for _ in range(2):
        vault.claim(line0).journal.close()
    (layout.clips / "notime-cam0042-000002" / "journal.jsonl").write_bytes(damage)
    again = Vault(layout)
    assert again.last_number == 2
    assert len(again.damaged) == 1
    assert "000002" in again.damaged[0]
    clip = again.claim(line0)
    clip.journal.close()
    assert clip.number == 3


def test_a_clip_of_another_epoch_does_not_count(layout: VaultLayout, line0: "Line0", tmp_path: Path) -> None:
    format_vault(tmp_path / "other", "cam0042")
    other = open_layout(tmp_path / "other", "cam0042")
    for _ in range(5):
        Vault(other).claim(line0).journal.close()
    (other.clips / "notime-cam0042-000005").rename(layout.clips / "notime-cam0042-000005")
    other.close()
    assert Vault(layout).last_number == 0


def test_what_was_released_still_counts(layout: VaultLayout, line0: "Line0") -> None:
    Vault(layout).claim(line0).journal.close()
    (layout.clips / "notime-cam0042-000001").rename(layout.tombstones / "notime-cam0042-000001")
    assert Vault(layout).last_number == 1


def test_unfinished_claims_are_cleared_at_the_next_start(layout: VaultLayout, line0: "Line0") -> None:
    Vault(layout).claim(line0).journal.close()
    for number in (2, 7):
        stale = layout.clips / f"{CLAIM_PREFIX}{number:06d}"
        stale.mkdir()
        (stale / "journal.jsonl").write_bytes(b"half a line")
    layout.close()
    again = open_layout(layout.root, "cam0042")
    assert [path.name for path in again.clips.iterdir()] == ["notime-cam0042-000001"]
    assert Vault(again).last_number == 1
    again.close()


def test_listing_leaves_claims_out_and_tells_what_is_sealed(layout: VaultLayout, line0: "Line0") -> None:
    vault = Vault(layout)
    for _ in range(2):
        vault.claim(line0).journal.close()
    (layout.clips / "notime-cam0042-000001" / "manifest.json").write_bytes(b"{}")
    (layout.clips / "notime-cam0042-000002" / "clip.mp4.age").write_bytes(b"x" * 77)
    stale = layout.clips / f"{CLAIM_PREFIX}000003"
    stale.mkdir()
    (stale / "journal.jsonl").touch()
    listed = [(clip.name[-1], clip.state, clip.bytes) for clip in list_clips(layout.root)]
    assert listed == [("1", "sealed", 0), ("2", "unsealed", 77)]


def test_one_process_at_a_time(layout: VaultLayout) -> None:
    with pytest.raises(VaultError, match="in use"):
        open_layout(layout.root, "cam0042")
    layout.close()
    open_layout(layout.root, "cam0042").close()


def test_the_vault_of_another_camera_is_refused(layout: VaultLayout) -> None:
    layout.close()
    with pytest.raises(VaultError, match="another camera"):
        open_layout(layout.root, "cam0043")


def test_a_vault_is_never_formatted_twice(layout: VaultLayout) -> None:
    with pytest.raises(VaultError, match="cannot format"):
        format_vault(layout.root, "cam0042")


@pytest.mark.parametrize("left", [(), ("clips",), ("clips", "tombstones", "log", ".vault.json.tmp")])
def test_a_formatting_that_lost_power_is_done_again(tmp_path: Path, left: tuple[str, ...]) -> None:
    root = tmp_path / "vault"
    root.mkdir()
    for name in left:
        (root / name).write_bytes(b"{") if name.endswith(".tmp") else (root / name).mkdir()
    assert is_blank(root)
    format_vault(root, "cam0042")
    open_layout(root, "cam0042").close()
    assert not is_blank(root)


def test_what_holds_anything_is_never_formatted(tmp_path: Path) -> None:
    assert is_blank(tmp_path / "none")
    (tmp_path / "clips" / "one").mkdir(parents=True)
    assert not is_blank(tmp_path)
    (tmp_path / "clips" / "one").rmdir()
    assert is_blank(tmp_path)
    (tmp_path / "other").touch()
    assert not is_blank(tmp_path)


def test_files_of_a_clip_come_from_the_cameras_opener(layout: VaultLayout, line0: "Line0") -> None:
    opened: list[str] = []

    def open_file(path: Path) -> AppendFile:
        opened.append(path.name)
        return PosixAppendFile(path)

    clip = Vault(layout, open_file).claim(line0)
    clip.open_file(clip.directory / "clip.mp4.age").close()
    clip.journal.close()
    assert opened == ["journal.jsonl", "clip.mp4.age"]
