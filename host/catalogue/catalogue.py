"""The catalogue's database: SQLite with a write-ahead log, through SQLAlchemy Core.

SQLite takes one writer at a time; a call that waits longer than `timeout_s` raises `CatalogueLockedError`, and
whoever called goes on without the catalogue (`host.catalogue.index`).
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, create_engine, delete, event, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError

from evidence.errors import EvidenceError
from host.catalogue.migrations import MigrationError, migrate
from host.catalogue.rows import CameraRow, ClipRow, OffloadRow, SessionRow
from host.catalogue.schema import cameras, clips, offloads, sessions

__all__ = ["Catalogue", "CatalogueDamagedError", "CatalogueError", "CatalogueLockedError"]

_READING = "preroll_reading"
_BATCH = 500
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class CatalogueError(EvidenceError):
    """The catalogue cannot be used; nothing is lost by that: it can be deleted and rebuilt."""


class CatalogueLockedError(CatalogueError):
    """Another process holds the catalogue longer than one is ready to wait."""


class CatalogueDamagedError(CatalogueError):
    """What lies in the catalogue's place is no database, or a damaged one."""


class Catalogue:
    """An open catalogue. Thread-safe: each call takes a connection of its own."""

    def __init__(self, path: Path, *, timeout_s: float = 5.0) -> None:
        """Open or make a catalogue, and bring it to this version.

        Raises:
            CatalogueLockedError: another process holds it.
            CatalogueError: it is no database, damaged, of a later version, or storage refuses.
        """
        self._path = path
        self._timeout_s = timeout_s
        self._engine: Engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": timeout_s})
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        try:
            with self._explained():
                migrate(self._engine)
        except MigrationError as error:
            self.close()
            raise CatalogueError(f"cannot use the catalogue {path.name}", found=str(error)) from error
        except CatalogueError:
            self.close()
            raise

    def put_clip(self, row: ClipRow) -> None:
        """Note a clip, in place of what was noted of it."""
        self._put(clips, [row])

    def put_camera(self, row: CameraRow) -> None:
        """Note how far a camera has come."""
        self._put(cameras, [row])

    def put_offload(self, row: OffloadRow) -> None:
        """Note a custody entry about an offload."""
        self._put(offloads, [row])

    def put_session(self, row: SessionRow) -> None:
        """Note a docking."""
        self._put(sessions, [row])

    def end_session(self, session: int, undocked_utc: str) -> None:
        """Note the end of a docking."""
        with self._writing() as connection:
            connection.execute(
                update(sessions).where(sessions.c.session == session).values(undocked_utc=undocked_utc)
            )

    def remove_clip(self, device: str, clip: str) -> None:
        """Forget a clip that was disposed of."""
        with self._writing() as connection:
            connection.execute(delete(clips).where(clips.c.device == device, clips.c.clip == clip))

    def replace_all(
        self,
        *,
        clip_rows: Iterable[ClipRow],
        camera_rows: Iterable[CameraRow],
        offload_rows: Iterable[OffloadRow],
        session_rows: Iterable[SessionRow],
    ) -> None:
        """Replace everything in one transaction; readers see the old or the new, never a part."""
        with self._writing() as connection:
            for table, rows in (
                (clips, clip_rows),
                (cameras, camera_rows),
                (offloads, offload_rows),
                (sessions, session_rows),
            ):
                connection.execute(delete(table))
                _insert(connection, table, rows)

    def clips_of(self, device: str | None = None) -> tuple[ClipRow, ...]:
        """Return clips by device and number."""
        query = select(clips).order_by(clips.c.device, clips.c.number, clips.c.clip)
        return self._rows(query if device is None else query.where(clips.c.device == device), ClipRow)

    def cameras(self) -> tuple[CameraRow, ...]:
        """Return the cameras, by id."""
        return self._rows(select(cameras).order_by(cameras.c.device), CameraRow)

    def offloads_of(self, clip: str) -> tuple[OffloadRow, ...]:
        """Return what was done to take a clip, in order."""
        query = select(offloads).where(offloads.c.clip == clip).order_by(offloads.c.custody_index)
        return self._rows(query, OffloadRow)

    def sessions_of(self, device: str, limit: int = 100) -> tuple[SessionRow, ...]:
        """Return the last dockings of a camera, the latest first."""
        query = select(sessions).where(sessions.c.device == device).order_by(sessions.c.session.desc())
        return self._rows(query.limit(limit), SessionRow)

    def stored_bytes(self) -> int:
        """Return how many bytes the noted clips come to."""
        query = select(func.coalesce(func.sum(clips.c.stored_bytes), 0))
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _put(self, table: Table, rows: list[Any]) -> None:
        with self._writing() as connection:
            _insert(connection, table, rows)

    def _rows(self, query: Any, kind: type[Any]) -> tuple[Any, ...]:
        with self._reading() as connection:
            return tuple(kind(**row) for row in connection.execute(query).mappings())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._explained(), self._engine.connect() as connection:
            yield connection.execution_options(**{_READING: True})

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in our words what the database says in its own."""
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            origin = error.orig if isinstance(error, DBAPIError) else error  # a fresh connection's is bare
            code = getattr(origin, "sqlite_errorcode", 0) & 0xFF
            if code in _LOCKED:
                raise CatalogueLockedError(
                    f"the catalogue {self._path.name} is locked",
                    expected=f"free within {self._timeout_s:g} s",
                    found="another process that holds it",
                    remedy="end that process; clips are stored meanwhile, and noted later",
                ) from error
            kind = CatalogueDamagedError if code in _DAMAGED else CatalogueError
            raise kind(
                f"cannot use the catalogue {self._path.name}",
                found=str(origin),
                remedy="delete it: it is rebuilt from the store",
            ) from error


def _insert(connection: Connection, table: Table, rows: Iterable[Any]) -> None:
    """Insert or replace rows; a pass over many holds no list of them."""
    statement = insert(table).prefix_with("OR REPLACE")
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(msgspec.structs.asdict(row))
        if len(batch) == _BATCH:
            connection.execute(statement, batch)
            batch = []
    if batch:
        connection.execute(statement, batch)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    """Set up a fresh connection; transactions begin where we say, not where the driver guesses."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    """Take the write lock at once: a transaction that has read cannot be refused it half-way then."""
    reading = connection.get_execution_options().get(_READING)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
