"""Reading back beside the fetch: each byte from storage, after its sync; no proof once anything changed."""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from evidence.documents import Receipt, Reread, decode
from host.custody import CustodyLog
from host.store import FileStore, VerificationError
from host.store.direct import BLOCK_BYTES
from host.store.partial import SYNC_EVERY_BYTES, FilePartial

if TYPE_CHECKING:
    from tests.host.store.conftest import ClipFactory, Dock, MadeClip, Pki

NAME = "clip.mp4.age"


class Read(msgspec.Struct, frozen=True):
    """One reading of the ciphertext, whether beside a fetch, and how much of the file was on storage then."""

    start: int
    stop: int
    direct: bool
    durable: int
    beside: bool


class Drive:
    """Watches the readings and syncs of ciphertexts, and can give other bytes than it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: list[Read] = []
        self.refuses_direct = False
        self.spoil: Callable[[int], bool] = lambda _offset: False
        self._durable = 0
        self._opened: dict[int, tuple[Path, int]] = {}
        self._preadv, self._fdatasync = os.preadv, os.fdatasync
        monkeypatch.setattr(os, "preadv", self._read)
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def open(self, path: Path, flags: int) -> int:
        if self.refuses_direct and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "invalid argument")
        fd = os.open(path, flags | os.O_CLOEXEC)
        self._opened[fd] = path, flags
        return fd

    def _sync(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self._fdatasync(fd)
        if Path(f"/proc/self/fd/{fd}").readlink().name == NAME:
            self._durable = max(self._durable, size)  # the follower syncs too, and may end after the writer

    def _read(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        durable = self._durable
        count = self._preadv(fd, buffers, offset)
        path, flags = self._opened[fd]
        if path.name == NAME and (offset or len(buffers[0]) > BLOCK_BYTES):  # else O_DIRECT is tried out
            beside = threading.current_thread().name == "store-follow"
            self.reads.append(Read(offset, offset + count, bool(flags & os.O_DIRECT), durable, beside))
            if self.spoil(offset):
                buffers[0][count // 2] ^= 1
        return count


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Drive:
    return Drive(monkeypatch)


@pytest.fixture
def watched(root: Path, tmp_path: Path, pki: "Pki", clips: "ClipFactory", drive: Drive) -> Iterator["Dock"]:
    """A dock whose store reads through `drive`."""
    from tests.host.store.conftest import Dock

    store = FileStore(root, opener=drive.open)
    custody = CustodyLog(tmp_path / "custody.jsonl", "dock7-a")
    yield Dock.over(store, custody, pki, clips)
    custody.close()
    store.close()


@pytest.fixture(scope="module")
def clip(clips: "ClipFactory") -> "MadeClip":
    """Some 5 MiB: longer than two stretches that are synced, and no whole number of blocks."""
    made = clips.make(points=5, chunks=16)
    assert len(made.files[NAME]) > 2 * SYNC_EVERY_BYTES
    assert len(made.files[NAME]) % BLOCK_BYTES
    return made


def fetched(dock: "Dock", clip: "MadeClip") -> FilePartial:
    partial = dock.fetch(clip)
    assert isinstance(partial, FilePartial)
    return partial


def settle(partial: FilePartial) -> None:
    """Let the thread beside the fetch come to its end."""
    partial.verified(lambda _: None)


def require_whole_beside(drive: Drive, size: int) -> None:
    """Require that the ciphertext was read beside its fetch, each byte once and after its sync."""
    place = 0
    for each in drive.reads:
        if each.beside:
            assert each.start == place, "in order, without a gap"
            assert each.stop <= each.durable, "before it was on storage"
            place = each.stop
    assert place == size


def require_whole_again(drive: Drive, size: int) -> None:
    """Require that the ciphertext was read from start to end since the list was cleared."""
    assert max(each.stop for each in drive.reads) == size


def test_each_byte_is_read_once_from_storage_after_its_sync(
    watched: "Dock", drive: Drive, clip: "MadeClip"
) -> None:
    taken = watched.intake.take(watched.fetch(clip), watched.moment)
    assert taken.receipt
    assert decode(taken.receipt.document, Receipt).reread is Reread.DIRECT
    assert all(each.direct for each in drive.reads)
    require_whole_beside(drive, len(clip.files[NAME]))
    (header,) = (each for each in drive.reads if not each.beside)
    assert header.start == 0, "the age header is looked at last"


def test_reading_begins_before_the_last_byte_has_come(watched: "Dock", drive: Drive, clip: "MadeClip") -> None:
    data = clip.files[NAME]
    partial = watched.fetch(clip, follow=False)
    partial.follow(clip.manifest, watched.pki.camera().public_key)
    begun = threading.Event()

    def note(_offset: int) -> bool:
        begun.set()
        return False

    drive.spoil = note
    writer = partial.writer(NAME, 0)
    writer.append(data[:SYNC_EVERY_BYTES])
    assert begun.wait(60)
    writer.append(data[SYNC_EVERY_BYTES:])
    writer.sync()
    writer.close()
    assert watched.intake.take(partial, watched.moment).receipt


def test_a_resumed_fetch_is_read_from_its_first_byte_on(
    watched: "Dock", drive: Drive, clip: "MadeClip"
) -> None:
    partial = watched.store.open_partial(clip.key, clip.size)
    for name in ("manifest.p7s", "manifest.json", "journal.jsonl"):
        partial.put(name, clip.files[name])
    partial.writer(NAME, 0).append(clip.files[NAME][:2_500_001])
    partial.close()
    drive.reads.clear()
    assert watched.intake.take(watched.fetch(clip), watched.moment).receipt
    require_whole_beside(drive, len(clip.files[NAME]))


@pytest.mark.parametrize("change", ["grown", "flipped", "journal flipped"])
def test_what_changed_after_it_was_read_is_found_out(
    watched: "Dock", drive: Drive, clip: "MadeClip", change: str
) -> None:
    partial = fetched(watched, clip)
    settle(partial)
    path = partial.directory / ("journal.jsonl" if "journal" in change else NAME)
    with path.open("r+b") as file:
        file.seek(0 if "flipped" in change else path.stat().st_size)
        file.write(b"~")
    with pytest.raises(VerificationError):
        watched.intake.take(partial, watched.moment)


def test_another_file_of_that_name_is_read_itself(watched: "Dock", drive: Drive, clip: "MadeClip") -> None:
    partial = fetched(watched, clip)
    settle(partial)
    path = partial.directory / NAME
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.rename(path)
    drive.reads.clear()
    assert watched.intake.take(partial, watched.moment).receipt
    require_whole_again(drive, len(clip.files[NAME]))


def test_bytes_that_storage_alters_are_found_out(watched: "Dock", drive: Drive, clip: "MadeClip") -> None:
    drive.spoil = lambda offset: offset > SYNC_EVERY_BYTES
    with pytest.raises(VerificationError, match="altered"):
        watched.intake.take(watched.fetch(clip), watched.moment)


def test_bytes_that_were_read_wrongly_once_are_read_again(
    watched: "Dock", drive: Drive, clip: "MadeClip", caplog: pytest.LogCaptureFixture
) -> None:
    spoiled: list[int] = []
    drive.spoil = lambda offset: not spoiled and not spoiled.append(offset)  # type: ignore[func-returns-value]  # only the first
    partial = fetched(watched, clip)
    settle(partial)
    drive.reads.clear()
    assert watched.intake.take(partial, watched.moment).receipt
    require_whole_again(drive, len(clip.files[NAME]))
    assert "read back as a whole" in caplog.text


def test_a_writer_that_was_closed_without_a_sync_proves_nothing(
    watched: "Dock", drive: Drive, clip: "MadeClip"
) -> None:
    partial = watched.fetch(clip, follow=False)
    partial.follow(clip.manifest, watched.pki.camera().public_key)
    writer = partial.writer(NAME, 0)
    writer.append(clip.files[NAME])
    writer.close()
    drive.reads.clear()
    assert watched.intake.take(partial, watched.moment).receipt
    require_whole_again(drive, len(clip.files[NAME]))


def test_where_o_direct_is_refused_the_receipt_says_so(watched: "Dock", drive: Drive, clip: "MadeClip") -> None:
    drive.refuses_direct = True
    taken = watched.intake.take(watched.fetch(clip), watched.moment)
    assert taken.receipt
    assert decode(taken.receipt.document, Receipt).reread is Reread.CACHE_DROPPED
    assert not any(each.direct for each in drive.reads)
    require_whole_beside(drive, len(clip.files[NAME]))


def test_a_fetch_that_breaks_off_leaves_no_thread(watched: "Dock", clip: "MadeClip") -> None:
    partial = watched.fetch(clip, follow=False)
    partial.follow(clip.manifest, watched.pki.camera().public_key)
    partial.writer(NAME, 0).append(clip.files[NAME][: SYNC_EVERY_BYTES + 7])
    partial.close()
    for thread in threading.enumerate():
        if thread.name == "store-follow":
            thread.join(60)
            assert not thread.is_alive()
