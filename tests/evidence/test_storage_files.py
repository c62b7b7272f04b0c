"""Durable files: what each step does, what it leaves when it fails, and what a slow card costs."""

import errno
import os
import stat
from pathlib import Path

import pytest

from evidence.storage import (
    CardBehaviour,
    PosixAppendFile,
    SlowCardFile,
    StorageError,
    create_file,
    publish_file,
    sync_directory,
)


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "full", "read_only"),
    [
        (errno.ENOSPC, True, False),
        (errno.EDQUOT, True, False),
        (errno.EROFS, False, True),
        (errno.EIO, False, False),
    ],
)
def test_an_error_tells_full_from_broken(number: int, full: bool, read_only: bool) -> None:
    error = StorageError("cannot write", refused(number))
    assert (error.full, error.read_only, error.errno) == (full, read_only, number)
    assert os.strerror(number) in str(error)


def test_a_file_is_new_private_and_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    file = PosixAppendFile(path)
    file.append(b"one ")
    file.append(memoryview(b"two"))
    file.sync()
    assert (file.size_bytes, path.read_bytes()) == (7, b"one two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.close()
    file.close()
    with pytest.raises(StorageError, match="cannot create"):
        PosixAppendFile(path)
    assert path.read_bytes() == b"one two"


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    file = PosixAppendFile(tmp_path / "f")
    file.append(b"0123456789")
    file.close()
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_after_a_full_storage_the_size_says_where_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.write, iter(range(10))

    def some(fd: int, data: memoryview) -> int:
        if next(calls) == 1:
            raise refused(errno.ENOSPC)
        return real(fd, data[:4])

    monkeypatch.setattr(os, "write", some)
    file = PosixAppendFile(tmp_path / "f")
    with pytest.raises(StorageError) as caught:
        file.append(b"0123456789")
    assert caught.value.full
    assert file.size_bytes == 4
    file.append(b"0123456789"[file.size_bytes :])
    file.close()
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_a_sync_that_fails_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise refused(errno.EIO)

    monkeypatch.setattr(os, "fdatasync", fail)
    file = PosixAppendFile(tmp_path / "f")
    with pytest.raises(StorageError, match="cannot sync f"):
        file.sync()
    file.close()


def test_publishing_replaces_whole_files_and_overwrites_what_a_crash_left(tmp_path: Path) -> None:
    target = tmp_path / "manifest.json"
    (tmp_path / ".manifest.json.tmp").write_bytes(b"half")
    publish_file(target, b"first")
    publish_file(target, b"second")
    assert target.read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_publication_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "manifest.json"
    publish_file(target, b"old")

    def fail(_fd: int) -> None:
        raise refused(errno.ENOSPC)

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StorageError):
        publish_file(target, b"new")
    assert target.read_bytes() == b"old"
    monkeypatch.undo()
    publish_file(target, b"new")
    assert target.read_bytes() == b"new"


def test_the_data_of_a_publication_is_on_storage_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m"
    steps: list[tuple[str, bool]] = []
    fdatasync, fsync = os.fdatasync, os.fsync

    def sync_data(fd: int) -> None:
        steps.append(("data", target.exists()))
        fdatasync(fd)

    def sync_names(fd: int) -> None:
        steps.append(("names", target.exists()))
        fsync(fd)

    monkeypatch.setattr(os, "fdatasync", sync_data)
    monkeypatch.setattr(os, "fsync", sync_names)
    publish_file(target, b"x")
    assert steps == [("data", False), ("names", True)]


def test_a_file_that_must_not_exist(tmp_path: Path) -> None:
    create_file(tmp_path / "f", b"x")
    with pytest.raises(StorageError):
        create_file(tmp_path / "f", b"y")
    assert (tmp_path / "f").read_bytes() == b"x"


def test_a_directory_that_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot sync the directory gone"):
        sync_directory(tmp_path / "gone")


def test_a_slow_card_takes_its_time_for_the_bytes_and_stalls_now_and_then(tmp_path: Path) -> None:
    slept: list[float] = []
    card = CardBehaviour(rate_bytes_per_s=1000, stall_ns=200_000_000, stall_every_syncs=3)
    file = SlowCardFile(PosixAppendFile(tmp_path / "f"), card, slept.append)
    for size in (500, 0, 100, 1000):
        file.append(b"x" * size)
        assert file.size_bytes == (tmp_path / "f").stat().st_size
        file.sync()
    file.close()
    assert slept == pytest.approx([0.5, 0.0, 0.3, 1.0])
