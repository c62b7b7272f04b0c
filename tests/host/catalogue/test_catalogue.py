"""The catalogue: migrations, rows, locks, and that it can be lost."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import create_engine, inspect

from host.catalogue import (
    CameraRow,
    Catalogue,
    CatalogueError,
    CatalogueIndex,
    CatalogueLockedError,
    OffloadRow,
    SessionRow,
    rebuild,
)
from host.catalogue.migrations import migrations
from host.catalogue.rows import clip_row
from host.catalogue.schema import metadata
from host.store import StoredClip

if TYPE_CHECKING:
    from tests.host.store.conftest import Dock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.sqlite"


@pytest.fixture
def catalogue(path: Path) -> Iterator[Catalogue]:
    made = Catalogue(path, timeout_s=0.05)
    yield made
    made.close()


def take(dock: "Dock", *numbers: int) -> StoredClip:
    for number in numbers:
        taken = dock.intake.take(dock.fetch(dock.clips.make(number)), dock.moment)
    assert taken.stored
    return taken.stored


def test_migrations_make_the_tables_that_the_code_uses(catalogue: Catalogue, path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    found = inspect(engine)
    assert set(found.get_table_names()) == {*metadata.tables, "migrations"}
    for name, table in metadata.tables.items():
        columns = {column["name"]: column for column in found.get_columns(name)}
        assert set(columns) == {column.name for column in table.columns}
        keys = {column.name for column in table.primary_key}
        assert set(found.get_pk_constraint(name)["constrained_columns"]) == keys
        for column in table.columns:
            if column.name not in keys:
                assert columns[column.name]["nullable"] == column.nullable, (name, column.name)
    engine.dispose()


def test_opening_twice_migrates_once_and_keeps_what_is_there(catalogue: Catalogue, path: Path) -> None:
    catalogue.put_camera(CameraRow("cam0042", number=3))
    again = Catalogue(path)
    assert again.cameras() == (CameraRow("cam0042", number=3),)
    again.close()
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT number, sha256 FROM migrations").fetchall()
        assert rows == [(each.number, each.sha256) for each in migrations()]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_older_catalogue_is_brought_up_and_keeps_its_rows(path: Path) -> None:
    first = migrations()[0]
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT, sha256 TEXT)")
        database.executescript(first.text)
        database.execute("INSERT INTO migrations VALUES (1, ?, ?)", (first.name, first.sha256))
        database.execute("INSERT INTO cameras (device, number) VALUES ('cam0042', 7)")
        database.commit()
    made = Catalogue(path)
    assert made.cameras() == (CameraRow("cam0042", number=7),)
    made.put_session(SessionRow(1, "cam0042", "3", "2026-11-22T03:55:23.524000Z"))
    made.close()


@pytest.mark.parametrize(
    "change", ["INSERT INTO migrations VALUES (9999, 'later', '')", "UPDATE migrations SET sha256 = 'other'"]
)
def test_a_catalogue_of_another_version_is_refused(catalogue: Catalogue, path: Path, change: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(change)
        database.commit()
    with pytest.raises(CatalogueError, match="rebuilt"):
        Catalogue(path)


def test_what_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but as long as a header of one would have to be" * 20)
    with pytest.raises(CatalogueError, match="delete it"):
        Catalogue(path)


def test_rows_come_back_as_they_went_in(catalogue: Catalogue) -> None:
    offload = OffloadRow(4, "2026-11-22T03:55:23.524000Z", "clip_stored", "cam0042", "c", "ab", 12)
    session = SessionRow(5, "cam0042", "3", "2026-11-22T03:55:23.524000Z")
    catalogue.put_offload(offload)
    catalogue.put_session(session)
    catalogue.end_session(5, "2026-11-22T04:00:00.000000Z")
    assert catalogue.offloads_of("c") == (offload,)
    (found,) = catalogue.sessions_of("cam0042")
    assert found == msgspec.structs.replace(session, undocked_utc="2026-11-22T04:00:00.000000Z")


def test_a_lost_catalogue_is_made_anew_from_store_and_log(catalogue: Catalogue, file_dock: "Dock") -> None:
    moment = file_dock.moment
    for kind in ("docked", "undocked"):
        file_dock.custody.append(kind, utc_ns=moment.utc_ns, device="cam0042", detail={"bay": "3"})
    take(file_dock, 1, 2)
    file_dock.custody.append("docked", utc_ns=moment.utc_ns, device="cam0042", detail={"bay": "4"})
    file_dock.store.keep_head(file_dock.head(2), file_dock.pki.trust)
    broken = file_dock.clips.make(3)
    partial = file_dock.store.open_partial(broken.key, broken.size)
    file_dock.intake.set_apart(partial, ("nothing came",), moment)
    catalogue.put_camera(CameraRow("gone"))
    for _ in range(2):
        rebuild(catalogue, file_dock.store, file_dock.custody)
        assert [(row.number, row.place, row.receipted) for row in catalogue.clips_of("cam0042")] == [
            (1, "clips", True),
            (2, "clips", True),
            (3, "quarantine", False),
        ]
        assert [(row.device, row.number) for row in catalogue.cameras()] == [("cam0042", 2)]
        assert [row.bay for row in catalogue.sessions_of("cam0042")] == ["4", "3"]
        assert [row.undocked_utc is None for row in catalogue.sessions_of("cam0042")] == [True, False]
        first = file_dock.clips.make(1)
        assert [row.kind for row in catalogue.offloads_of(first.key.clip)] == ["clip_stored"]
        assert catalogue.stored_bytes() > 0
    catalogue.remove_clip("cam0042", first.key.clip)
    assert len(catalogue.clips_of()) == 2


def test_a_lock_by_another_process_is_a_clear_error_after_the_timeout(catalogue: Catalogue, path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CatalogueLockedError, match="locked"):
            catalogue.put_camera(CameraRow("cam0042"))
        assert catalogue.cameras() == ()  # reading goes on beside a writer
    catalogue.put_camera(CameraRow("cam0042"))
    assert len(catalogue.cameras()) == 1


def test_the_agent_goes_on_without_its_catalogue_and_catches_up(path: Path, file_dock: "Dock") -> None:
    index = CatalogueIndex(lambda: Catalogue(path, timeout_s=0.05), file_dock.store, file_dock.custody)
    assert index.catch_up()
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        stored = take(file_dock, 1)
        assert not index.note(lambda catalogue: catalogue.put_clip(clip_row(stored)))
        assert "locked" in index.reason
        assert not index.catch_up()
    take(file_dock, 2)
    assert not index.note(lambda catalogue: catalogue.put_camera(CameraRow("cam0042")))
    assert index.missed == 3
    assert index.catch_up()
    assert (index.missed, index.reason) == (0, "")
    assert index.note(lambda catalogue: catalogue.put_camera(CameraRow("cam0043")))
    index.close()
    made = Catalogue(path)
    assert [row.number for row in made.clips_of()] == [1, 2]
    made.close()


def test_an_unusable_place_for_the_catalogue_stops_nothing(tmp_path: Path, file_dock: "Dock") -> None:
    nowhere = tmp_path / "absent" / "catalogue.sqlite"
    index = CatalogueIndex(lambda: Catalogue(nowhere), file_dock.store, file_dock.custody)
    assert not index.catch_up()
    assert not index.note(lambda catalogue: catalogue.put_camera(CameraRow("cam0042")))
    nowhere.parent.mkdir()
    assert index.catch_up()
    index.close()
