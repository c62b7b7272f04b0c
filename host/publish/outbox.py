"""Events on disk, from the moment they happen until 7 days after the broker has acknowledged them.

SQLite with a write-ahead log and `synchronous=FULL`: what `append` returned survives a kill and a power cut. A
number is given in the transaction that writes the event, so that there is none without an event. Also kept
here, because it has to outlive the process: the session's number, which retained topics there are, and how far
the custody log was followed, noted in the transaction that writes the events made from it.

Never waits for a broker; every call waits for the disk alone. Thread-safe: one connection, one lock.
"""

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from host.publish.errors import OutboxDamagedError, OutboxError
from host.publish.outboxfile import SCHEMA_VERSION, TABLES, Draft, StoredEvent, first_facts
from host.publish.payloads import EventsHeld, Session
from host.publish.standing import Standing

__all__ = ["KEEP_NS", "Draft", "Outbox", "StoredEvent"]

KEEP_NS = 7 * 86_400 * 1_000_000_000
"""How long an acknowledged event can be asked for again."""

_TIMEOUT_S = 10.0
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DROP_SHARE = 100


class Outbox:
    """An open outbox. `limit` bounds the events held: acknowledged ones make room first, then the oldest.

    `damaged` is set once the file turns out to be broken; nothing more can be kept in it then.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit: int = 100_000,
        keep_ns: int = KEEP_NS,
        before: Standing | None = None,
    ) -> None:
        """Open or make an outbox; one that is made goes on from how the one `before` it stood.

        Raises:
            OutboxDamagedError: it is no database, or damaged.
            OutboxError: it is of a later version, or storage refuses.
        """
        self.path = path
        self.damaged = False
        self._limit = limit
        self._keep_ns = keep_ns
        self._lock = threading.Lock()
        self._count = self.dropped = self.announced = 0
        try:
            self._db = sqlite3.connect(path, timeout=_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._explained(error) from error
        try:
            self._prepare(before)
            with self._reading():
                self._count = self._one("SELECT count(*) FROM events")
                self.series = str(self._fact("series"))
                self.generation = int(self._fact("generation"))
                self.follows = str(self._fact("follows"))
                self.dropped = int(self._fact("dropped"))
                self.announced = int(self._fact("dropped_announced"))
            self.standing()  # it reads all the rest
        except OutboxError:
            self._db.close()
            raise

    def append(self, kind: str, utc_ns: int, write: Callable[[int], bytes]) -> int:
        """Give the next number and keep the event, durably; `write` makes its payload from the number.

        Raises:
            OutboxError: storage refuses; no number was used up.
        """
        with self._writing() as db:
            return self._add(db, Draft(kind, utc_ns, write))

    def follow(self, store: str, upto: int, drafts: Sequence[Draft]) -> None:
        """Keep events made from a custody log, and that it was followed up to an entry: both or neither.

        Raises:
            OutboxError: storage refuses; nothing was kept.
        """
        with self._writing() as db:
            for draft in drafts:
                self._add(db, draft)
            self._set_fact(f"followed:{store}", upto)

    def begin_at(self, store: str, entries: int) -> None:
        """Note that a store's custody log is followed from behind an entry on.

        Raises:
            OutboxError: storage refuses.
        """
        with self._writing():
            self._set_fact(f"began:{store}", entries)
            self._set_fact(f"followed:{store}", entries)

    def followed(self, store: str) -> int | None:
        """Return the entry up to which a store's custody log was followed; `None`: it never was.

        Raises:
            OutboxError: it cannot be read.
        """
        with self._reading():
            found = self._fact(f"followed:{store}", -1)
            return None if found == -1 else int(found)

    def waiting(self, after: int, count: int) -> tuple[StoredEvent, ...]:
        """Return events that the broker has not acknowledged, in order, from the first behind a number.

        Raises:
            OutboxError: it cannot be read.
        """
        return self._events(
            "SELECT number, kind, payload FROM events WHERE acknowledged_ns IS NULL AND number > ? "
            "ORDER BY number LIMIT ?",
            (after, count),
        )

    def acknowledged(self, first: int, last: int, count: int) -> tuple[StoredEvent, ...]:
        """Return events for a replay: only those that the broker has had.

        Raises:
            OutboxError: it cannot be read.
        """
        return self._events(
            "SELECT number, kind, payload FROM events WHERE acknowledged_ns IS NOT NULL "
            "AND number BETWEEN ? AND ? ORDER BY number LIMIT ?",
            (first, last, count),
        )

    def acknowledge(self, numbers: Iterable[int], utc_ns: int) -> None:
        """Note that the broker has these.

        Raises:
            OutboxError: storage refuses; they are sent once more.
        """
        with self._writing() as db:
            db.executemany(
                "UPDATE events SET acknowledged_ns = ? WHERE number = ? AND acknowledged_ns IS NULL",
                [(utc_ns, number) for number in numbers],
            )

    def expire(self, utc_ns: int) -> int:
        """Forget what was acknowledged longer ago than it is kept; returns how many.

        Raises:
            OutboxError: storage refuses.
        """
        with self._writing() as db:
            gone = db.execute(
                "DELETE FROM events WHERE acknowledged_ns < ?", (utc_ns - self._keep_ns,)
            ).rowcount
            self._count -= gone
        return gone

    def unacknowledged(self) -> int:
        """Count the events that the broker does not have yet.

        Raises:
            OutboxError: it cannot be read.
        """
        with self._reading():
            return self._one("SELECT count(*) FROM events WHERE acknowledged_ns IS NULL")

    def held(self, store: str = "") -> EventsHeld:
        """Say what can be replayed, what was dropped, and how far a store's custody log was followed.

        Raises:
            OutboxError: it cannot be read.
        """
        with self._reading():
            first = self._one("SELECT coalesce(min(number), 0) FROM events")
            return EventsHeld(
                series=self.series,
                first=first,
                last=int(self._fact("last")),
                dropped=int(self._fact("dropped")),
                generation=self.generation,
                custody_after=int(self._fact(f"began:{store}", 0)),
                custody_told=int(self._fact(f"followed:{store}", 0)),
            )

    def standing(self) -> Standing:
        """Say what has to be known if this file is lost; of the custody log what the broker has acknowledged.

        Raises:
            OutboxError: it cannot be read.
        """
        with self._reading() as db:
            first = db.execute(
                "SELECT min(custody) FROM events WHERE acknowledged_ns IS NULL AND custody IS NOT NULL"
            ).fetchone()[0]
            rows = db.execute("SELECT name, value FROM facts WHERE name LIKE 'followed:%'").fetchall()
            followed = {name.partition(":")[2]: int(value) for name, value in rows}
            if first is not None:
                followed = {store: min(upto, first - 1) for store, upto in followed.items()}
            return Standing(
                series=self.series,
                generation=self.generation,
                last=int(self._fact("last")),
                session=int(self._fact("session")),
                custody=followed,
                topics=tuple(row[0] for row in db.execute("SELECT topic FROM retained ORDER BY topic")),
            )

    def take_dropped(self) -> int:
        """Return how many events were dropped since this was asked, so that it can be announced.

        Raises:
            OutboxError: storage refuses.
        """
        with self._writing():
            fresh = self.dropped - self.announced
            if fresh:
                self._set_fact("dropped_announced", self.dropped)
                self.announced = self.dropped
            return fresh

    def open_session(self, above: int = 0) -> Session:
        """Begin a session: its number is greater than any before it, and than `above`.

        Raises:
            OutboxError: storage refuses.
        """
        with self._writing():
            number = max(int(self._fact("session")), above) + 1
            self._set_fact("session", number)
        return Session(number, secrets.token_hex(8))

    def note_session(self, seen: int) -> None:
        """Keep the number of another's session, so that the next one of ours is above it.

        Raises:
            OutboxError: storage refuses.
        """
        with self._writing():
            self._set_fact("session", max(int(self._fact("session")), seen))

    def remember(self, topic: str, payload: bytes | None = None) -> None:
        """Keep that there is a retained topic, and what it said, before it is published.

        Raises:
            OutboxError: storage refuses.
        """
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO retained (topic, payload) VALUES (?, ?)", (topic, payload))

    def forget(self, topic: str) -> None:
        """Drop a retained topic that the broker has cleared.

        Raises:
            OutboxError: storage refuses.
        """
        with self._writing() as db:
            db.execute("DELETE FROM retained WHERE topic = ?", (topic,))

    def retained(self) -> dict[str, bytes | None]:
        """Return all retained topics that were ever published and not cleared.

        Raises:
            OutboxError: it cannot be read.
        """
        with self._reading() as db:
            return dict(db.execute("SELECT topic, payload FROM retained ORDER BY topic").fetchall())

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def _prepare(self, before: Standing | None) -> None:
        with self._reading() as db:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=1000"):
                db.execute(f"PRAGMA {pragma}").close()
            version = self._one("PRAGMA user_version")
            found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
            if found != "ok":
                raise self._broken(found)
        if version > SCHEMA_VERSION:
            raise OutboxError(
                f"the outbox {self.path.name} is of a later version",
                expected=f"{SCHEMA_VERSION}",
                found=f"{version}",
                remedy="run the later agent",
            )
        if 0 < version < SCHEMA_VERSION:
            raise self._broken(f"version {version}, of before the first release")
        if version == 0:
            self._make(before or Standing(series="", generation=0, last=0, session=0))

    def _make(self, before: Standing) -> None:
        with self._writing() as db:
            for statement in TABLES.split(";\n"):
                db.execute(statement)
            for name, value in first_facts(before).items():
                self._set_fact(name, value)
            db.executemany("INSERT INTO retained (topic) VALUES (?)", [(each,) for each in before.topics])
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _add(self, db: sqlite3.Connection, draft: Draft) -> int:
        """Give an event the next number."""
        if self._count >= self._limit:
            self._make_room(db)
        number = int(self._fact("last")) + 1
        db.execute(
            "INSERT INTO events (number, kind, utc_ns, payload, custody) VALUES (?, ?, ?, ?, ?)",
            (number, draft.kind, draft.utc_ns, draft.write(number), draft.custody),
        )
        self._set_fact("last", number)
        self._count += 1
        return number

    def _make_room(self, db: sqlite3.Connection) -> None:
        """Drop the oldest: what the broker has, or else what it never got, which is counted."""
        share = max(1, self._limit // _DROP_SHARE)
        gone = db.execute(
            "DELETE FROM events WHERE number IN (SELECT number FROM events "
            "WHERE acknowledged_ns IS NOT NULL ORDER BY number LIMIT ?)",
            (share,),
        ).rowcount
        if gone == 0:
            gone = db.execute(
                "DELETE FROM events WHERE number IN (SELECT number FROM events ORDER BY number LIMIT ?)",
                (share,),
            ).rowcount
            self.dropped += gone
            self._set_fact("dropped", self.dropped)
        self._count -= gone

    def _events(self, query: str, values: tuple[int, ...]) -> tuple[StoredEvent, ...]:
        with self._reading() as db:
            return tuple(StoredEvent(*row) for row in db.execute(query, values).fetchall())

    def _fact(self, name: str, otherwise: int | None = None) -> int | str:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        value: int | str | None = otherwise if row is None else row[0]
        if value is None:
            raise self._broken(f"no {name}")
        return value

    def _set_fact(self, name: str, value: int | str) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))

    def _one(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise self._explained(error) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as db:
            count, dropped = self._count, self.dropped
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                self._count, self.dropped = count, dropped
                if db.in_transaction:  # SQLite has rolled back by itself where storage was full
                    db.execute("ROLLBACK")
                raise

    def _broken(self, found: str) -> OutboxDamagedError:
        self.damaged = True
        return OutboxDamagedError(f"cannot use the outbox {self.path.name}", found=found)

    def _explained(self, error: sqlite3.Error) -> OutboxError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED or (code == sqlite3.SQLITE_ERROR and "no such" in str(error)):
            return self._broken(str(error))
        return OutboxError(
            f"cannot use the outbox {self.path.name}",
            found=str(error),
            remedy="make space, or move the file away: events then begin a new series",
        )
