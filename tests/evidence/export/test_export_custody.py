"""The custody log in a report: what the store's log says of the clip, and that it is damaged."""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evidence.custody import CustodyEntry
from evidence.documents import encode
from evidence.export.page import page
from evidence.export.report import ExportRequest, export_clip

if TYPE_CHECKING:
    from evidence.export.facts import ExportReport
    from tests.evidence.export.conftest import Place


@pytest.fixture
def in_store(filmed: Path, tmp_path: Path) -> Path:
    """The clip in a store, with a log of four entries, two of them its own."""
    clip = Path(shutil.copytree(filmed, tmp_path / "store" / "clips" / "cam0042" / filmed.name))
    digest = hashlib.sha256((clip / "manifest.json").read_bytes()).hexdigest()
    lines: list[bytes] = []
    for kind in ("docked", "clip_stored", "receipt_accepted", "undocked"):
        ours = kind in ("clip_stored", "receipt_accepted")
        entry = CustodyEntry(
            store="dock7-a",
            index=len(lines) + 1,
            previous=hashlib.sha256(lines[-1]).hexdigest() if lines else None,
            utc=f"2026-11-22T04:12:{len(lines):02}.000000Z",
            kind=kind,
            device="cam0042",
            clip=clip.name if ours else None,
            manifest_sha256=digest if ours else None,
            detail={"reread": "direct", "sha256": None} if kind == "clip_stored" else {},
        )
        lines.append(encode(entry) + b"\n")
    (tmp_path / "store" / "custody.jsonl").write_bytes(b"".join(lines))
    return clip


def report_of(place: "Place", clip: Path, out: Path) -> "ExportReport":
    return export_clip(
        ExportRequest(clip, out),
        check=place.check,
        identities=place.identities,
        made_utc="2026-11-23T00:00:00.000000Z",
        software="preroll test",
    ).report


def test_the_entries_of_the_clip_are_listed_in_their_order(
    place: "Place", in_store: Path, tmp_path: Path
) -> None:
    report = report_of(place, in_store, tmp_path / "out.mp4")
    logged = [each for each in report.custody if each.document == "custody.jsonl"]
    assert [(each.what, each.by, each.utc[-10:]) for each in logged] == [
        ("clip stored", "dock7-a", "01.000000Z"),
        ("receipt accepted", "dock7-a", "02.000000Z"),
    ]
    assert logged[0].detail == "entry 2 of the store's log, not signed by itself: reread direct"
    assert "receipt accepted" in page(report)


def test_a_log_that_was_altered_is_said(place: "Place", in_store: Path, tmp_path: Path) -> None:
    log = tmp_path / "store" / "custody.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"direct"', b'"cache_"'))
    report = report_of(place, in_store, tmp_path / "out.mp4")
    assert [each.what for each in report.custody] == ["clip stored", "the log is not good from here on"]
    assert "entry 3" in report.custody[-1].detail
