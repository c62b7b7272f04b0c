"""The custody log of a store: all that was done with its clips, append-only and hash-chained."""

from host.custody.checkpoints import keep_checkpoint, make_checkpoint, read_checkpoints
from host.custody.entries import CustodyEntry, CustodyError, CustodyTamperedError
from host.custody.keeper import CheckpointKeeper, CheckpointStatus, CopyStatus
from host.custody.log import CustodyLog, HeadStanding, OpenedTail
from host.custody.reading import CustodyReader, CustodyReport, verify_custody

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
