"""A clip of a revoked key in a store: checkpoints of the custody log, kept by others, attest its age."""

import hashlib
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.clock import format_utc
from evidence.cms import sign_cms
from evidence.custody import CustodyEntry
from evidence.custody.ofclip import entries_of, log_beside
from evidence.documents import Checkpoint, encode
from evidence.revoke import revoke
from evidence.roles import Role

if TYPE_CHECKING:
    from tests.evidence.verify.conftest import Agency, Dock, Verify

NOW = datetime.now(UTC).replace(microsecond=0)
REVOKED = NOW - timedelta(hours=2)


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


class Store:
    """A store with one clip, and its custody log: two entries before the clip's, one behind."""

    def __init__(self, root: Path, clip: Path, agency: "Agency", dock: "Dock") -> None:
        self.root = dock.make_store(root)
        self.clip = Path(shutil.copytree(clip, root / "clips" / "cam0042" / clip.name))
        self.agency = agency
        self.digest = hashlib.sha256((self.clip / "manifest.json").read_bytes()).hexdigest()
        self.heads: list[str] = []
        with (self.root / "custody.jsonl").open("wb") as log:
            for kind in ("docked", "clip_interrupted", "clip_stored", "undocked"):
                log.write(self._line(kind))

    def _line(self, kind: str) -> bytes:
        ours = kind.startswith("clip_")
        entry = CustodyEntry(
            store="dock7-a",
            index=len(self.heads) + 1,
            previous=self.heads[-1] if self.heads else None,
            utc=format_utc(ns(NOW - timedelta(hours=3))),
            kind=kind,
            device="cam0042",
            clip=self.clip.name if ours else None,
            manifest_sha256=self.digest if ours else None,
            detail={"bytes": 7} if ours else {},
        )
        line = encode(entry) + b"\n"
        self.heads.append(hashlib.sha256(line).hexdigest())
        return line

    def checkpoint(self, place: Path, entries: int, utc: datetime, head: str | None = None) -> Path:
        """What somebody else has kept."""
        document = encode(
            Checkpoint(
                store="dock7-a", entries=entries, head=head or self.heads[entries - 1], utc=format_utc(ns(utc))
            )
        )
        path = place / f"kept-{entries}.json"
        path.write_bytes(document)
        path.with_suffix(".p7s").write_bytes(sign_cms(document, self.agency.signer("dock7", Role.DOCK_RECEIPT)))
        return path


@pytest.fixture
def store(tmp_path: Path, clip: Path, agency: "Agency", dock: "Dock") -> Store:
    return Store(tmp_path / "store", clip, agency, dock)


@pytest.fixture
def crl(tmp_path: Path, agency: "Agency") -> Path:
    copy = Path(shutil.copytree(agency.agency, tmp_path / "own" / "agency"))
    return revoke(agency.keys("cam0042") / "evidence.pem", copy, "lost", effective=REVOKED).crl


@pytest.mark.parametrize(
    ("entries", "hours_ago", "status"),
    [(3, 2.5, 0), (4, 2.5, 0), (2, 2.5, 5), (3, 2, 3), (4, 1, 3)],
    ids=["the-clip's-entry", "one-behind", "one-before", "at-the-revocation", "after-it"],
)
def test_a_checkpoint_counts_from_the_clips_entry_on(
    store: Store, crl: Path, tmp_path: Path, verify: "Verify", *, entries: int, hours_ago: float, status: int
) -> None:
    kept = store.checkpoint(tmp_path, entries, NOW - timedelta(hours=hours_ago))
    result = verify(store.clip, "--crl", crl, "--checkpoint", kept)
    assert result.status == status, result.details()["revocation"]
    if status == 0:
        assert f"by the checkpoint {kept.name}" in result.details()["revocation"]
    assert verify(store.clip, "--crl", crl).status == 5


def test_the_earliest_of_receipt_and_checkpoints(
    store: Store, crl: Path, dock: "Dock", tmp_path: Path, verify: "Verify"
) -> None:
    dock.receipt(store.clip, ns(NOW - timedelta(hours=1)))
    assert verify(store.clip, "--crl", crl).status == 3
    late = store.checkpoint(tmp_path, 4, NOW)
    assert verify(store.clip, "--crl", crl, "--checkpoint", late).status == 3
    early = store.checkpoint(tmp_path, 3, NOW - timedelta(hours=2, minutes=1))
    assert verify(store.clip, "--crl", crl, "--checkpoint", late, "--checkpoint", early).status == 0


def test_a_checkpoint_of_another_log_or_a_log_that_was_altered(
    store: Store, crl: Path, tmp_path: Path, verify: "Verify"
) -> None:
    early = NOW - timedelta(hours=3)
    foreign = store.checkpoint(tmp_path, 3, early, head="d" * 64)
    assert verify(store.clip, "--crl", crl, "--checkpoint", foreign).status == 5
    kept = store.checkpoint(tmp_path, 4, early)
    assert verify(store.clip, "--crl", crl, "--checkpoint", kept).status == 0
    log = store.root / "custody.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"kind":"docked"', b'"kind":"dacked"'))
    assert verify(store.clip, "--crl", crl, "--checkpoint", kept).status == 5
    found, trouble = entries_of(log, store.digest)
    assert found == ()
    assert "entry 2" in trouble


def test_a_checkpoint_by_a_revoked_dock_proves_no_time(
    store: Store, crl: Path, agency: "Agency", tmp_path: Path, verify: "Verify"
) -> None:
    kept = store.checkpoint(tmp_path, 3, NOW - timedelta(hours=3))
    revoke(agency.keys("dock7") / "dock-receipt.pem", crl.parents[1], "lost", effective=REVOKED)
    assert verify(store.clip, "--crl", crl, "--checkpoint", kept).status == 5


def test_a_clip_outside_a_store_has_no_log(store: Store, clip: Path) -> None:
    assert log_beside(store.clip) == (store.root / "custody.jsonl").resolve()
    assert log_beside(clip) is None
    found, trouble = entries_of(store.root / "custody.jsonl", store.digest)
    assert ([read.entry.index for read in found], trouble) == ([2, 3], "")
