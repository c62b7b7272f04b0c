"""What is in an outbox: its tables, its first facts, its rows."""

import secrets
from collections.abc import Callable

import msgspec

from host.publish.standing import Standing

__all__ = ["SCHEMA_VERSION", "TABLES", "Draft", "StoredEvent", "first_facts"]

SCHEMA_VERSION = 2
TABLES = """
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    utc_ns INTEGER NOT NULL,
    payload BLOB NOT NULL,
    acknowledged_ns INTEGER,
    custody INTEGER
);
CREATE INDEX waiting ON events (number) WHERE acknowledged_ns IS NULL;
CREATE INDEX waiting_custody ON events (custody) WHERE acknowledged_ns IS NULL AND custody IS NOT NULL;
CREATE TABLE retained (topic TEXT PRIMARY KEY, payload BLOB);
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class StoredEvent(msgspec.Struct, frozen=True):
    """An event as it goes over the wire."""

    number: int
    kind: str
    payload: bytes


class Draft(msgspec.Struct, frozen=True):
    """An event without its number; `write` makes its payload of it. `custody`: the entry it is made from."""

    kind: str
    utc_ns: int
    write: Callable[[int], bytes]
    custody: int | None = None


def first_facts(before: Standing) -> dict[str, int | str]:
    """Return what a new outbox begins with, behind another one."""
    facts: dict[str, int | str] = {
        "last": 0,
        "dropped": 0,
        "dropped_announced": 0,
        "session": before.session,
        "series": secrets.token_hex(8),
        "generation": before.generation + 1,
        "follows": before.series,
    }
    for store, entries in before.custody.items():
        facts |= {f"began:{store}": entries, f"followed:{store}": entries}
    return facts
