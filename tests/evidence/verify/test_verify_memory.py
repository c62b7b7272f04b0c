"""Memory of verification does not grow with the length of a clip: four times the lines, the same peak."""

import hashlib
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evidence.age import CHUNK_BYTES, AgeWriter, parse_recipient
from evidence.check import Finding, check_sealed_clip
from evidence.documents import Blob, SyncPoint
from evidence.frames import Span
from evidence.journal import JournalBuilder
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.paths import load_roots
from evidence.seal import seal_clip

if TYPE_CHECKING:
    from tests.evidence.verify.conftest import Agency, Camera


def long_clip(camera: "Camera", place: Path, lines: int) -> Path:
    """An interrupted clip with many sync points; only the first of them took bytes."""
    camera.number += 1
    start = camera._start()
    directory = place / start.clip
    directory.mkdir(parents=True)
    ciphertext = bytearray()
    writer = AgeWriter([parse_recipient(camera.recipient)], ciphertext.extend)
    writer.write(bytes(CHUNK_BYTES))
    writer.flush_full()
    builder = JournalBuilder(camera.signer)
    journal = bytearray(builder.line(start))
    summary = JournalSummary(start, builder.previous)
    camera.previous_start = builder.previous
    for line in range(1, lines + 1):
        silence = Span(start.first_pts_ns + line, start.first_pts_ns + line + 1, "policy_off")
        point = SyncPoint(
            line=line,
            previous=builder.previous,
            ciphertext_bytes=len(ciphertext),
            plaintext_bytes=CHUNK_BYTES,
            interval=hashlib.sha256(ciphertext if line == 1 else b"").hexdigest(),
            frames=line,
            last_pts_ns=start.first_pts_ns + line,
            gaps=(),
            silences=(silence,),
            bookmarks=(),
            triggers=(),
            monotonic_ns=start.monotonic_ns + line,
        )
        journal += builder.line(point)
        summary.add(point)
    (directory / "clip.mp4.age").write_bytes(ciphertext)
    (directory / "journal.jsonl").write_bytes(journal)
    header = writer.header_bytes
    present = BytesPresent(
        journal=builder.figures,
        ciphertext=Blob(bytes=len(ciphertext), sha256=hashlib.sha256(ciphertext).hexdigest()),
        header=Blob(bytes=len(header), sha256=hashlib.sha256(header).hexdigest()),
    )
    seal_clip(directory, build_manifest(summary, present), camera.signer)
    return directory


def peak_bytes(clip: Path, agency: "Agency") -> int:
    roots = load_roots(agency.ca)
    tracemalloc.start()
    try:
        assert check_sealed_clip(clip, roots).finding is Finding.INCOMPLETE
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_four_times_the_lines_take_no_more(camera: "Camera", agency: "Agency", tmp_path: Path) -> None:
    short, long = long_clip(camera, tmp_path, 500), long_clip(camera, tmp_path, 2000)
    peak_bytes(short, agency)  # what is imported and cached at the first time
    short_bytes = peak_bytes(short, agency)
    assert peak_bytes(long, agency) < short_bytes + 64 * 1024
    assert msgspec.json.decode((long / "manifest.json").read_bytes())["journal"]["lines"] == 2001
