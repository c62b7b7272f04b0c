"""What is remembered of a store never differs from what lies in it."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.steps import set_step_hook
from host.store import StoredClip
from host.store import remembered as module
from host.store.remembered import ClipMemory
from host.store.shelves import load_stored, walk

if TYPE_CHECKING:
    from tests.host.store.conftest import Dock


class Bench:
    """A store with clips that are older than a moment, and a memory of it."""

    def __init__(self, dock: "Dock", root: Path, memory: Path) -> None:
        self.dock = dock
        self.top = root / "clips"
        self.path = memory
        self.memory = ClipMemory(memory)
        self.loads: list[str] = []

    def take(self, *numbers: int) -> None:
        for number in numbers:
            self.dock.intake.take(self.dock.fetch(self.dock.clips.make(number)), self.dock.moment)

    def age(self) -> None:
        """Let the directories be as old as those of a store that has been there for a while."""
        for place in self.top.glob("*/*"):
            found = place.stat()
            os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns - 10**10))

    def walk(self) -> int:
        """Walk, and return how many manifests were read; what comes is what lies there."""
        self.loads.clear()
        found = list(self.memory.walk(self.top))
        read = len(self.loads)
        assert found == list(walk(self.top))
        return read


@pytest.fixture
def bench(file_dock: "Dock", root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    set_step_hook(None)
    made = Bench(file_dock, root, tmp_path / "remembered.db")
    load: Callable[[Path], StoredClip] = load_stored

    def counted(directory: Path) -> StoredClip:
        made.loads.append(directory.name)
        return load(directory)

    monkeypatch.setattr(module, "load_stored", counted)
    made.take(1, 2, 3)
    return made


def test_each_manifest_is_read_once(bench: Bench) -> None:
    assert bench.walk() == 3
    assert bench.walk() == 3  # too fresh to be sure
    bench.age()
    assert bench.walk() == 3
    assert bench.walk() == 0
    bench.take(4)
    assert bench.walk() == 1
    bench.memory = ClipMemory(bench.path)  # the next start
    assert bench.walk() == 1


def test_what_changes_is_read_again(bench: Bench) -> None:
    bench.age()
    bench.walk()
    first, second, third = sorted(bench.top.glob("*/*"))
    content = (first / "manifest.json").read_bytes()
    (first / "manifest.json").write_bytes(content[:-1])
    (second / "receipt.json").unlink()
    for path in third.iterdir():
        path.unlink()
    third.rmdir()
    assert bench.walk() == 2
    bench.age()
    bench.walk()
    assert bench.walk() == 1  # a damaged one is looked at each time
    with closing(sqlite3.connect(bench.path)) as database:
        assert database.execute("SELECT clip FROM clips_1").fetchall() == [(second.name,)]
    (first / "manifest.json").write_bytes(content)
    assert bench.walk() == 1


def test_another_clip_in_its_place_is_read(bench: Bench) -> None:
    bench.age()
    bench.walk()
    first, second, _ = sorted(bench.top.glob("*/*"))
    times = first.stat()
    away = first.rename(bench.top / ".away")
    second.rename(first)
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert bench.walk() == 1
    away.rename(second)


@pytest.mark.parametrize("trouble", ["rubbish", "locked", "other rows", "nowhere"])
def test_a_memory_that_fails_costs_time_and_nothing_else(
    bench: Bench, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
    bench.age()
    bench.walk()
    holder = sqlite3.connect(bench.path)
    if trouble == "rubbish":
        bench.path.write_bytes(b"not a database, but as long as a header of one would have to be" * 20)
    elif trouble == "locked":
        holder.execute("BEGIN EXCLUSIVE")
    elif trouble == "other rows":
        holder.execute("UPDATE clips_1 SET row = x'01'")
        holder.commit()
    else:
        bench.memory = ClipMemory(bench.path.parent / "absent" / "remembered.db")
    assert bench.walk() == 3
    holder.close()
    if trouble == "nowhere":
        return
    bench.walk()
    assert bench.walk() == 0
