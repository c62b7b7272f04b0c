"""One entry of the custody log (docs/formats.md, "Custody log")."""

from typing import Annotated

import msgspec

from evidence.documents.fields import ClipName, DeviceId, Digest, Positive, StoreId, Utc, check_utc
from evidence.errors import EvidenceError

__all__ = ["ENTRY_LIMIT_BYTES", "CustodyEntry", "CustodyError", "CustodyTamperedError", "DetailValue"]

ENTRY_LIMIT_BYTES = 64 * 1024
"""A longer line is refused; it bounds what a reader holds in memory."""

_Word = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
_Text = Annotated[str, msgspec.Meta(max_length=1000)]
DetailValue = _Text | int | bool | None


class CustodyError(EvidenceError):
    """The custody log cannot be opened or written."""


class CustodyTamperedError(CustodyError):
    """An entry is not the one that was written, or not in its place; `entry` counts from 1."""

    def __init__(self, entry: int, reason: str) -> None:
        self.entry = entry
        self.reason = reason
        super().__init__(
            f"entry {entry} of the custody log is tampered with",
            found=reason,
            remedy="compare the log with a checkpoint that was kept elsewhere",
        )


class CustodyEntry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="preroll-custody-v1"
):
    """What was done: `kind`, with which clip or camera, when by the dock's clock, and the details."""

    store: StoreId
    index: Positive
    previous: Digest | None
    utc: Utc
    kind: _Word
    device: DeviceId | None
    clip: ClipName | None
    manifest_sha256: Digest | None
    detail: dict[_Word, DetailValue]

    def __post_init__(self) -> None:
        """Hold fields that depend on each other against each other."""
        check_utc(self.utc)
        if (self.previous is None) != (self.index == 1):
            raise ValueError("`previous` is null exactly for index 1")
        if self.manifest_sha256 is not None and self.clip is None:
            raise ValueError("`manifest_sha256` without `clip`")
