"""Space left, and the reserve that sealing lives on."""

import errno
import os
from pathlib import Path

import pytest

from device.vault import space
from device.vault.space import Reserve, Space, minutes_left, read_space, storage_rate
from evidence.storage import StorageError

MIB = 1024 * 1024


def test_the_reserve_holds_real_blocks_until_it_is_given_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve.bin", 2 * MIB)
    assert not reserve.held
    reserve.hold()
    assert reserve.held
    assert (tmp_path / "reserve.bin").stat().st_blocks * 512 >= 2 * MIB
    reserve.give_up()
    reserve.give_up()
    assert not reserve.held
    reserve.hold()
    assert reserve.held


def test_a_reserve_that_does_not_fit_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ext4 keeps what it found room for; whoever was sealing a clip with that room must have it back."""

    def partly(fd: int, _offset: int, size: int) -> None:
        os.ftruncate(fd, size // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", partly)
    reserve = Reserve(tmp_path / "reserve.bin", MIB)
    with pytest.raises(StorageError) as caught:
        reserve.hold()
    assert caught.value.full
    assert list(tmp_path.iterdir()) == []


def test_the_reserve_is_not_taken_from_under_a_clip_that_ends_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [MIB + space.SPARE_BYTES - 1]
    monkeypatch.setattr(space, "read_space", lambda _root: Space(left[0], 1 << 40))
    reserve = Reserve(tmp_path / "reserve.bin", MIB)
    with pytest.raises(StorageError) as caught:
        reserve.hold()
    assert caught.value.full
    assert not reserve.held
    left[0] += 1
    reserve.hold()
    assert reserve.held


def test_a_read_only_file_system_is_known_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)
    figures = os.statvfs_result((*tuple(real)[:8], real.f_flag | os.ST_RDONLY, real.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda _path: figures)
    with pytest.raises(StorageError) as caught:
        read_space(tmp_path)
    assert caught.value.read_only


def test_space_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="space left"):
        read_space(tmp_path / "gone")


def test_media_take_whole_chunks_on_storage() -> None:
    assert storage_rate(0) == 0
    assert storage_rate(100) == storage_rate(100_000)
    low, high = 25_000, 1_250_000
    assert storage_rate(low) > 5 * low
    assert high < storage_rate(high) < 1.15 * high


def test_minutes_left() -> None:
    assert minutes_left(75 * MIB, MIB * 1.25) == 1.0
    assert minutes_left(75 * MIB, 0) is None
