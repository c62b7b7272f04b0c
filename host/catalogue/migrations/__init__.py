"""Numbered SQL scripts, `NNNN_name.sql`, each applied once and in order, each in a transaction of its own."""

import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from evidence.errors import EvidenceError

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["Migration", "MigrationError", "migrate", "migrations"]

_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")
_TABLE = """CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL)"""


class MigrationError(EvidenceError):
    """The catalogue was made by a later version, or by scripts that have changed since."""


class Migration(msgspec.Struct, frozen=True, order=True):
    """One script."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """What tells whether a script was changed after it was applied."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()

    @property
    def statements(self) -> tuple[str, ...]:
        """Its statements; none holds a semicolon inside."""
        lines = [line for line in self.text.splitlines() if not line.lstrip().startswith("--")]
        return tuple(part.strip() for part in "\n".join(lines).split(";") if part.strip())


def migrations() -> tuple[Migration, ...]:
    """Return the scripts of this version, in order.

    Raises:
        MigrationError: their numbers have a gap.
    """
    found = sorted(
        Migration(int(match[1]), entry.name, entry.read_text("utf-8"))
        for entry in resources.files(__name__).iterdir()
        if (match := _NAME.fullmatch(entry.name))
    )
    numbers = [each.number for each in found]
    if not found or numbers != list(range(1, len(found) + 1)):
        raise MigrationError("the migration scripts are not all there", found=f"{numbers}")
    return tuple(found)


def migrate(engine: "Engine") -> int:
    """Bring a database to this version; returns how many scripts were applied.

    Raises:
        MigrationError: the database is of a later version, or its scripts were others.
    """
    applied = 0
    known = migrations()
    with engine.begin() as connection:
        connection.exec_driver_sql(_TABLE)
        done = connection.exec_driver_sql("SELECT number, name, sha256 FROM migrations ORDER BY number").all()
    if len(done) > len(known):
        raise MigrationError(
            "the catalogue is of a later version",
            expected=f"at most {len(known)} migrations",
            found=f"{len(done)}",
            remedy="delete the catalogue: it is rebuilt from the store",
        )
    for row, migration in zip(done, known, strict=False):
        if tuple(row) != (migration.number, migration.name, migration.sha256):
            raise MigrationError(
                "the catalogue was made by other scripts",
                expected=migration.name,
                found=str(row.name),
                remedy="delete the catalogue: it is rebuilt from the store",
            )
    for migration in known[len(done) :]:
        with engine.begin() as connection:
            for statement in migration.statements:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(
                "INSERT INTO migrations VALUES (?, ?, ?)", (migration.number, migration.name, migration.sha256)
            )
        applied += 1
    return applied
