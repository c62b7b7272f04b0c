"""Full, read-only, unplugged, taken: what a file-system store does when its file system does not."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.documents import Reread
from evidence.holdings import find_holdings
from evidence.steps import Operation, set_step_hook
from evidence.storage import StorageError
from evidence.survey import Circumstances, survey
from host.store import (
    FileStore,
    StoreError,
    StoreGoneError,
    StoreInUseError,
    StoreState,
    format_store,
)
from host.store.steps import PUBLISH_STEPS, RECEIPT_STEPS, store_step_name

if TYPE_CHECKING:
    from tests.host.store.conftest import ClipFactory, Dock, Pki


def test_a_second_agent_is_kept_out_and_told(file_dock: "Dock", root: Path) -> None:
    with pytest.raises(StoreInUseError, match="in use"):
        FileStore(root)
    script = (
        "import sys; from pathlib import Path; from host.store import FileStore, StoreInUseError\n"
        "try:\n    FileStore(Path(sys.argv[1]))\n"
        "except StoreInUseError as error:\n    print(error)\n    sys.exit(7)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
    assert "stop the other agent" in done.stdout
    file_dock.store.close()
    FileStore(root).close()


def test_a_store_is_made_once_and_opened_by_its_name(root: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected no store"):
        format_store(root, "dock7-b")
    with pytest.raises(StoreError, match="another store"):
        FileStore(root, store_id="dock8-a")
    with pytest.raises(StoreError, match="no store"):
        FileStore(tmp_path / "absent")
    with pytest.raises(StoreError, match="a-z"):
        format_store(tmp_path / "new", "Not An Id")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_storage_that_refuses_at_any_step_loses_nothing(number: int, file_dock: "Dock", root: Path) -> None:
    """Each step of publishing and receipt fails once; after mending, the same clip goes on from there."""
    clip = file_dock.clips.make(points=1)
    failing = set(PUBLISH_STEPS + RECEIPT_STEPS)
    seen: set[str] = set()
    errors: set[int] = set()

    def refuse(operation: Operation, path: Path) -> None:
        name = store_step_name(root, operation, path)
        if name in failing and name not in seen:
            seen.add(name)
            raise StorageError(f"refused: {name}", OSError(number, os.strerror(number)))

    set_step_hook(refuse)
    try:
        for _ in range(3 * len(failing)):
            try:
                taken = file_dock.intake.present(clip.key, file_dock.moment)
                if taken is None:
                    partial = file_dock.fetch(clip)
                    try:
                        taken = file_dock.intake.take(partial, file_dock.moment)
                    finally:
                        partial.close()
            except StorageError as error:
                errors.add(error.errno)
                for open_partial in list(getattr(file_dock.store, "_open").values()):  # noqa: B009 - a worker would close its own
                    open_partial.close()
                continue
            break
    finally:
        set_step_hook(None)
    assert taken
    assert taken.receipt
    assert len(seen) > 15
    assert errors == {number}
    assert [read.entry.kind for read in file_dock.custody.entries()] == ["clip_stored"]
    found = survey([find_holdings(root)], Circumstances(roots=file_dock.pki.trust.roots))
    assert [verdict.finding for verdict in found.clips] == ["authentic"]


def test_a_store_that_was_unplugged_is_gone_and_nothing_is_written_in_its_place(
    file_dock: "Dock", root: Path
) -> None:
    clip, other = file_dock.clips.make(1), file_dock.clips.make(2)
    partial = file_dock.fetch(clip)
    verified = file_dock.store.verify(partial, file_dock.pki.trust)
    away = root.rename(root.with_name("unplugged"))
    root.mkdir()
    assert file_dock.store.health().state is StoreState.GONE
    with pytest.raises(StoreGoneError):
        file_dock.store.publish(verified, file_dock.pki.trust, file_dock.moment.utc_ns)
    with pytest.raises(StoreGoneError):
        file_dock.store.open_partial(other.key, other.size)
    with pytest.raises(StoreGoneError):
        file_dock.store.keep_head(file_dock.head(1), file_dock.pki.trust)
    assert list(root.iterdir()) == []
    format_store(root, "dock9-z")
    assert "another store" in file_dock.store.health().detail
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    root.rmdir()
    away.rename(root)
    assert file_dock.store.health().state is StoreState.READY
    assert file_dock.intake.take(partial, file_dock.moment).receipt


def test_full_shows_and_a_reserve_stays_free(root: Path, pki: "Pki", clips: "ClipFactory") -> None:
    free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    store = FileStore(root, reserve_bytes=2 * free)
    assert store.health().state is StoreState.FULL
    with pytest.raises(StoreError, match="no room"):
        store.open_partial(clips.make().key, 1)
    assert list((root / "partial").iterdir()) == []
    store.close()


def test_a_crash_between_the_two_files_of_a_head_is_finished_at_the_next_start(
    file_dock: "Dock", root: Path
) -> None:
    trust = file_dock.pki.trust
    file_dock.store.keep_head(file_dock.head(1), trust)
    steps: list[str] = []
    set_step_hook(lambda operation, path: steps.append(f"{operation} {path.name}"))
    file_dock.store.keep_head(file_dock.head(2), trust)
    set_step_hook(None)
    for count in range(len(steps)):
        left = count

        def stop(operation: Operation, path: Path) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        set_step_hook(stop)
        try:
            with pytest.raises(KeyboardInterrupt):
                file_dock.store.keep_head(file_dock.head(3 + count), trust)
        finally:
            set_step_hook(None)
        file_dock.store.close()
        file_dock.store = FileStore(root)
        found = survey([find_holdings(root)], Circumstances(roots=trust.roots))
        assert [verdict.finding for verdict in found.documents] == ["authentic"]
        assert file_dock.store.heads()[0].number in (2 + count, 3 + count)
        file_dock.store.keep_head(file_dock.head(3 + count), trust)


def test_a_forked_head_is_kept_beside(file_dock: "Dock", root: Path) -> None:
    file_dock.store.keep_head(file_dock.head(5), file_dock.pki.trust)
    file_dock.store.keep_head(file_dock.head(5, "ff" * 32), file_dock.pki.trust)
    assert len(list(root.glob("heads/cam0042/*.json"))) == 1
    assert len(list(root.glob("heads/cam0042/forks/*.json"))) == 1
    assert len(list(root.glob("heads/cam0042/forks/*.p7s"))) == 1


def test_damaged_clips_are_shown_and_stop_nothing(file_dock: "Dock", root: Path) -> None:
    good, bad = file_dock.clips.make(1), file_dock.clips.make(2)
    for clip in (good, bad):
        file_dock.intake.take(file_dock.fetch(clip), file_dock.moment)
    (root / "clips" / "cam0042" / bad.key.clip / "manifest.json").write_bytes(b"{}")
    kinds = [type(each).__name__ for each in file_dock.store.clips()]
    assert kinds == ["StoredClip", "DamagedClip"]
    assert file_dock.store.find(bad.key) is None
    taken = file_dock.intake.take(file_dock.fetch(bad), file_dock.moment)
    assert taken.receipt
    assert len(file_dock.store.quarantined()) == 1


def test_a_dock_whose_file_system_refuses_o_direct_says_so_in_the_receipt(
    root: Path, pki: "Pki", clips: "ClipFactory"
) -> None:
    def no_direct(path: Path, flags: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "not here")
        return os.open(path, flags | os.O_CLOEXEC)

    from host.custody import CustodyLog
    from tests.host.store.conftest import Dock

    store = FileStore(root, opener=no_direct)
    custody = CustodyLog(root / "custody.jsonl", "dock7-a")
    dock = Dock.over(store, custody, pki, clips)
    clip = clips.make()
    verified = store.verify(dock.fetch(clip), pki.trust)
    assert verified.read_back.way is Reread.CACHE_DROPPED
    receipt = dock.intake.take(
        dock.fetch(clip) if clip.key not in store.partials() else verified.partial, dock.moment
    )
    assert receipt.receipt
    assert b'"reread":"cache_dropped"' in receipt.receipt.document
    custody.close()
    store.close()
