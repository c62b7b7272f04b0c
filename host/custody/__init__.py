"""The custody log of a store: all that was done with its clips, append-only and hash-chained."""

from evidence.custody.entries import CustodyEntry, CustodyError, CustodyTamperedError
from evidence.custody.reading import CustodyReader, CustodyReport, verify_custody
from host.custody.checkpoints import keep_checkpoint, make_checkpoint, read_checkpoints
from host.custody.keeper import CheckpointKeeper, CheckpointStatus, CopyStatus
from host.custody.log import CustodyLog, HeadStanding, OpenedTail

__all__ = [
    "CheckpointKeeper",
    "CheckpointStatus",
    "CopyStatus",
    "CustodyEntry",
    "CustodyError",
    "CustodyLog",
    "CustodyReader",
    "CustodyReport",
    "CustodyTamperedError",
    "HeadStanding",
    "OpenedTail",
    "keep_checkpoint",
    "make_checkpoint",
    "read_checkpoints",
    "verify_custody",
]
