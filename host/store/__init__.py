"""Evidence stores: where clips are kept for good, and what is signed for them."""

from host.store.accounts import accounts, log_disposals
from host.store.errors import (
    StoreError,
    StoreFullError,
    StoreGoneError,
    StoreInUseError,
    VerificationError,
)
from host.store.filestore import FileStore
from host.store.heads import HeadOutcome, HeadVerdict
from host.store.intake import Intake, Taken
from host.store.layout import format_store
from host.store.protocol import DamagedClip, EvidenceStore, Partial, PartialWriter, VerifiedClip
from host.store.readback import Trust, camera_manifest
from host.store.receipts import CameraMoment, issue_quarantine_receipt, issue_receipt
from host.store.values import (
    ClipKey,
    Conflict,
    Held,
    Publication,
    Quarantined,
    SignedBytes,
    Space,
    StoredClip,
    StoreHealth,
    StoreState,
    clip_key,
)

__all__ = [
    "CameraMoment",
    "ClipKey",
    "Conflict",
    "DamagedClip",
    "EvidenceStore",
    "FileStore",
    "HeadOutcome",
    "HeadVerdict",
    "Held",
    "Intake",
    "Partial",
    "PartialWriter",
    "Publication",
    "Quarantined",
    "SignedBytes",
    "Space",
    "StoreError",
    "StoreFullError",
    "StoreGoneError",
    "StoreHealth",
    "StoreInUseError",
    "StoreState",
    "StoredClip",
    "Taken",
    "Trust",
    "VerificationError",
    "VerifiedClip",
    "accounts",
    "camera_manifest",
    "clip_key",
    "format_store",
    "issue_quarantine_receipt",
    "issue_receipt",
    "log_disposals",
]
