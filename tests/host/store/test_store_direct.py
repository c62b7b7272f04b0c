"""Reading from storage: that O_DIRECT is really used, on a drive and in memory, and reads what is there."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from evidence.documents import Reread
from evidence.storage import StorageError
from host.store.direct import BLOCK_BYTES, BUFFER_BYTES, DirectFile

SIZES = (
    0,
    1,
    BLOCK_BYTES - 1,
    BLOCK_BYTES,
    BLOCK_BYTES + 1,
    BUFFER_BYTES,
    BUFFER_BYTES + BLOCK_BYTES,
    3_000_001,
)


@pytest.fixture(params=["drive", "memory"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "drive":
        yield tmp_path
        return
    place = Path("/dev/shm") / f"{tmp_path.name}-{os.getpid()}"
    place.mkdir()
    yield place
    for path in place.iterdir():
        path.unlink()
    place.rmdir()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [777, 1 << 20, 5_000_000])
def test_reads_what_was_written(directory: Path, size: int, piece: int) -> None:
    data = os.urandom(size)
    path = directory / "file"
    path.write_bytes(data)
    with closing(DirectFile(path)) as file:
        pieces = bytearray()
        buffer = memoryview(bytearray(piece))
        while count := file.readinto(buffer):
            pieces += buffer[:count]
        assert bytes(pieces) == data
    with closing(DirectFile(path)) as file:
        assert file.read(10) + file.read() == data


def test_the_kernel_has_the_descriptor_as_direct(directory: Path) -> None:
    path = directory / "file"
    path.write_bytes(os.urandom(2 * BUFFER_BYTES + 5))
    opened: list[int] = []

    def watch(path: Path, flags: int) -> int:
        opened.append(os.open(path, flags | os.O_CLOEXEC))
        return opened[-1]

    with closing(DirectFile(path, watch)) as file:
        assert file.way is Reread.DIRECT
        assert len(opened) == 1
        assert fcntl.fcntl(opened[0], fcntl.F_GETFL) & os.O_DIRECT
        file.read()
        assert fcntl.fcntl(opened[0], fcntl.F_GETFL) & os.O_DIRECT


def test_where_o_direct_is_refused_the_cache_is_dropped(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = directory / "file"
    path.write_bytes(b"x" * 100_000)
    calls: list[tuple[str, int]] = []

    def refuse(path: Path, flags: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "invalid argument")
        return os.open(path, flags | os.O_CLOEXEC)

    real_sync, real_advise = os.fdatasync, os.posix_fadvise

    def sync(fd: int) -> None:
        calls.append(("sync", 0))
        real_sync(fd)

    def advise(fd: int, start: int, length: int, advice: int) -> None:
        calls.append(("advise", advice))
        real_advise(fd, start, length, advice)

    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr(os, "posix_fadvise", advise)
    with closing(DirectFile(path, refuse)) as file:
        assert file.way is Reread.CACHE_DROPPED
        assert file.read() == b"x" * 100_000
    assert calls == [("sync", 0), ("advise", os.POSIX_FADV_DONTNEED)]


def test_links_and_absent_files_are_no_files_of_a_clip(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(StorageError):
        DirectFile(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        DirectFile(tmp_path / "absent")


def test_an_error_of_the_drive_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    with closing(DirectFile(path)) as file:
        monkeypatch.setattr(os, "preadv", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "drive")))
        with pytest.raises(StorageError, match="drive"):
            file.read()
