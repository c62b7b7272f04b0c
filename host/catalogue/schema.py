"""The tables as SQLAlchemy Core sees them; the migrations make them, a test compares the two."""

from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table

__all__ = ["cameras", "clips", "metadata", "offloads", "sessions"]

metadata = MetaData()

cameras = Table(
    "cameras",
    metadata,
    Column("device", String, primary_key=True),
    Column("epoch", String),
    Column("generation", Integer),
    Column("number", Integer),
    Column("as_of_utc", String),
)

clips = Table(
    "clips",
    metadata,
    Column("device", String, primary_key=True),
    Column("clip", String, primary_key=True),
    Column("manifest_sha256", String, primary_key=True),
    Column("epoch", String, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("stored_bytes", Integer, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("place", String, nullable=False),
    Column("receipted", Boolean, nullable=False),
)

offloads = Table(
    "offloads",
    metadata,
    Column("custody_index", Integer, primary_key=True),
    Column("utc", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("device", String),
    Column("clip", String),
    Column("manifest_sha256", String),
    Column("ciphertext_bytes", Integer),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session", Integer, primary_key=True),
    Column("device", String, nullable=False),
    Column("bay", String, nullable=False),
    Column("docked_utc", String, nullable=False),
    Column("undocked_utc", String),
)
