"""What the custody log of a store says of one clip that lies in it, and which checkpoint attests that.

An entry is the store's own word; its time proves nothing by itself. A checkpoint that somebody else kept fixes
the log up to one entry: so a clip that the log has by then existed at the checkpoint's time.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evidence.attestations import read_signed
from evidence.clock import parse_utc
from evidence.cms import CmsSigner
from evidence.custody.entries import CustodyTamperedError
from evidence.custody.reading import CustodyReader, ReadEntry
from evidence.documents import Checkpoint
from evidence.roles import Role

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Attested", "HeldCheckpoint", "attested_by", "entries_of", "load_checkpoint", "log_beside"]

_TAKEN = ("clip_stored", "clip_quarantined")
_LOG = "custody.jsonl"


class HeldCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint that was kept elsewhere, verified, and who signed it."""

    name: str
    checkpoint: Checkpoint
    signer: CmsSigner


class Attested(msgspec.Struct, frozen=True):
    """Since when a clip is known to exist, nanoseconds since 1970, and by which checkpoint."""

    utc_ns: int
    checkpoint: HeldCheckpoint


def load_checkpoint(path: Path, roots: "Sequence[x509.Certificate]") -> HeldCheckpoint:
    """Read `NAME.json` and `NAME.p7s` (role dock-receipt).

    Raises:
        EvidenceError: it is not good.
        OSError: a file cannot be read.
    """
    checkpoint, signed = read_signed(path, Checkpoint, roots, Role.DOCK_RECEIPT)
    return HeldCheckpoint(path.name, checkpoint, signed.signer)


def log_beside(clip: Path) -> Path | None:
    """Return the custody log of the store in which a clip lies; `None` if it lies in none."""
    parents = clip.resolve().parents
    if len(parents) < 3 or parents[1].name not in ("clips", "quarantine"):  # noqa: PLR2004  # STORE/clips/DEVICE
        return None
    log = parents[2] / _LOG
    return log if log.is_file() else None


def entries_of(log: Path, manifest_sha256: str) -> tuple[tuple[ReadEntry, ...], str]:
    """Return the entries of one clip in their order, and what is wrong with the log, empty if nothing is.

    Entries before the first defect are good.

    Raises:
        OSError: the log cannot be read.
    """
    found: list[ReadEntry] = []
    try:
        with log.open("rb") as file:
            for read in CustodyReader(file):
                if read.entry.manifest_sha256 == manifest_sha256:
                    found.append(read)  # noqa: PERF401  # what came before a defect has to stay
    except CustodyTamperedError as error:
        return tuple(found), str(error)
    return tuple(found), ""


def attested_by(
    log: Path,
    manifest_sha256: str,
    checkpoints: Sequence[HeldCheckpoint],
    counts: Callable[[CmsSigner], bool],
) -> Attested | None:
    """Return the earliest attestation of a clip by checkpoints of its store whose signer counts.

    Raises:
        OSError: the log cannot be read.
    """
    due = sorted(
        (each for each in checkpoints if counts(each.signer)), key=lambda each: each.checkpoint.entries
    )
    store, taken = None, False
    found: list[Attested] = []
    try:
        with log.open("rb") as file:
            for read in CustodyReader(file):
                entry, store = read.entry, read.entry.store
                taken = taken or (entry.manifest_sha256 == manifest_sha256 and entry.kind in _TAKEN)
                while due and due[0].checkpoint.entries <= entry.index:
                    held = due.pop(0)
                    fits = (held.checkpoint.store, held.checkpoint.head) == (store, read.sha256)
                    if taken and fits and held.checkpoint.entries == entry.index:
                        found.append(Attested(parse_utc(held.checkpoint.utc), held))
    except CustodyTamperedError:
        due.clear()  # what a checkpoint fixed before the defect still holds; nothing after it does
    return min(found, key=lambda each: each.utc_ns, default=None)
