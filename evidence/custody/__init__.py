"""The custody log of a store as anybody can read it: entries, their chain, and checkpoints held against it."""

from evidence.custody.entries import CustodyEntry, CustodyError, CustodyTamperedError
from evidence.custody.reading import CustodyReader, CustodyReport, ReadEntry, read_checkpoint, verify_custody

__all__ = [
    "CustodyEntry",
    "CustodyError",
    "CustodyReader",
    "CustodyReport",
    "CustodyTamperedError",
    "ReadEntry",
    "read_checkpoint",
    "verify_custody",
]
