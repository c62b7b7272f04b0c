"""Rate of `preroll clip verify` without a key beside Debian's `sha256sum` on the same file, in one call.

    python -m bench.verify_rate [--mebibytes 256] [--seconds 15]

A clip of that size is made with the real journal (an interval is 640 KiB), then both read it, round robin, from
the page cache, and the median of each side counts. Rows: in-process verification on all cores, the same held to
one core, and `sha256sum` on one core. Wall time; ratios hold on a processor of the same kind.
"""

import argparse
import hashlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.report import Goal, Section, Table, spread, text
from evidence.age import AgeWriter, parse_recipient
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.check import Finding, check_sealed_clip
from evidence.documents import Blob, ClipEnd, ClipStart, Ended, SyncPoint, decode
from evidence.journal import JournalBuilder
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.seal import seal_clip
from evidence.signer import SoftwareSigner, load_signer

__all__ = ["make_clip", "verify_bench"]

PointT = TypeVar("PointT", SyncPoint, ClipEnd)
DocumentT = TypeVar("DocumentT", bound=msgspec.Struct)
_MIB = 1 << 20
_ROUNDS = 3
_GOAL = 2
_PEER, _ONE_CORE = "sha256sum", "verify, 1 core"
_INTERVAL_BYTES = 10 * 64 * 1024
_FORMATS = Path(__file__).parents[1] / "docs" / "formats.md"


def verify_bench(*, seconds: float = 30, mebibytes: int = 256) -> Section:
    """Measure for about that long, three rounds at least."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        agency = create_agency("Bench", place / "agency")
        issue_new(SubjectKind.CAMERA, "cam0042", place / "agency", place / "camera")
        signer = load_signer(place / "camera", Role.CAMERA_EVIDENCE)
        clip = make_clip(place, signer, agency.recipient, mebibytes)
        roots = load_roots(agency.root_certificate)

        def verify() -> None:
            if check_sealed_clip(clip, roots).finding is not Finding.AUTHENTIC:
                sys.exit("the clip of the bench is not authentic")

        one = {min(os.sched_getaffinity(0))}
        runs: dict[str, Callable[[], object]] = {
            f"verify, {len(os.sched_getaffinity(0))} cores": verify,
            _ONE_CORE: lambda: _on(one, verify),
        }
        if shutil.which("sha256sum"):
            runs[_PEER] = lambda: _on(one, lambda: _sha256sum(clip / "clip.mp4.age"))
        found = _rounds(runs, seconds)
        size = (clip / "clip.mp4.age").stat().st_size
    return _section(found, size)


def _rounds(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in runs}
    begin, count = time.monotonic(), 0
    while count < _ROUNDS or time.monotonic() - begin < seconds:
        for name, run in runs.items():
            found[name].append(_seconds(run))
        count += 1
    return found


def _section(found: dict[str, list[float]], size_bytes: int) -> Section:
    peer = statistics.median(found[_PEER]) if _PEER in found else None
    rows = []
    for name, seconds in found.items():
        ratio = "" if peer is None else f"{peer / statistics.median(seconds):.2f}"
        rows.append((name, spread([size_bytes / each / 1e6 for each in seconds], 0), ratio))
    goals = []
    if peer is not None:
        times = peer / statistics.median(found[_ONE_CORE])
        goals.append(
            Goal("verify without a key", "twice the rate of sha256sum", f"{times:.2f} times", times >= _GOAL)
        )
    return Section(
        name="verify",
        title="Verification beside `sha256sum`",
        method="A clip with its journal, without a key, from the page cache; sha256sum has one core.",
        tables=(Table(f"A clip of {size_bytes >> 20} MiB", ("", "MB/s", "rate of sha256sum"), tuple(rows)),),
        goals=tuple(goals),
        notes=() if goals else ("sha256sum is not installed",),
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=15)
    arguments = parser.parse_args()
    print(text(verify_bench(seconds=arguments.seconds, mebibytes=arguments.mebibytes)))


def make_clip(place: Path, signer: SoftwareSigner, recipient: str, mebibytes: int) -> Path:
    """Make a clip of random bytes in `place`, sealed as the camera cam0042; returns its directory."""
    start = _example(ClipStart)
    start = msgspec.structs.replace(start, recipients=(recipient,))
    builder = JournalBuilder(signer)
    directory = place / start.clip
    directory.mkdir()
    journal = bytearray(builder.line(start))
    summary = JournalSummary(start, builder.previous)
    whole, plaintext, interval = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    written = 0
    with (directory / "clip.mp4.age").open("wb") as file:

        def store(data: memoryview) -> None:
            nonlocal written
            written += file.write(data)
            whole.update(data)
            interval.update(data)

        writer = AgeWriter([parse_recipient(recipient)], store)
        template = _example(SyncPoint)
        block = os.urandom(_INTERVAL_BYTES)
        count = max(1, mebibytes * _MIB // _INTERVAL_BYTES)
        for _ in range(count):
            writer.write(block)
            plaintext.update(block)
            writer.flush_full()
            point = _point(
                template,
                builder,
                ciphertext_bytes=written,
                plaintext_bytes=writer.plaintext_sealed,
                interval=interval.hexdigest(),
            )
            journal += builder.line(point)
            summary.add(point)
            interval = hashlib.sha256()
        writer.write(b"end")
        plaintext.update(b"end")
        writer.close()
    header = Blob(bytes=len(writer.header_bytes), sha256=hashlib.sha256(writer.header_bytes).hexdigest())
    ciphertext = Blob(bytes=written, sha256=whole.hexdigest())
    end = _point(
        _example(ClipEnd),
        builder,
        ciphertext_bytes=written,
        plaintext_bytes=writer.plaintext_sealed,
        interval=interval.hexdigest(),
        ended=Ended.STOPPED,
        ciphertext=ciphertext,
        plaintext=Blob(bytes=writer.plaintext_sealed, sha256=plaintext.hexdigest()),
        header=header,
    )
    journal += builder.line(end)
    summary.add(end)
    (directory / "journal.jsonl").write_bytes(journal)
    present = BytesPresent(journal=builder.figures, ciphertext=ciphertext, header=header)
    seal_clip(directory, build_manifest(summary, present), signer)
    return directory


def _point(
    template: PointT,
    builder: JournalBuilder,
    *,
    ciphertext_bytes: int,
    plaintext_bytes: int,
    interval: str,
    **fields: object,
) -> PointT:
    line = builder.next_line
    return msgspec.structs.replace(
        template,
        line=line,
        previous=builder.previous,
        ciphertext_bytes=ciphertext_bytes,
        plaintext_bytes=plaintext_bytes,
        interval=interval,
        frames=15 * line,
        last_pts_ns=9_089_888_000_000 + 500_000_000 * line,
        silences=(),
        monotonic_ns=9_120_412_000_000 + 500_000_000 * line,
        **fields,
    )


def _example(kind: type[DocumentT]) -> DocumentT:
    """Return the documentation's example of a type."""
    name = str(kind.__struct_config__.tag)
    found = re.search(rf'```json\n(\{{"type":"{name}".*?)\n```', _FORMATS.read_text("utf-8"))
    assert found  # tests require an example of each
    return decode(found[1].encode(), kind)


def _sha256sum(path: Path) -> None:
    subprocess.run(["sha256sum", path], check=True, stdout=subprocess.DEVNULL)


def _on(cores: set[int], run: Callable[[], object]) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        run()
    finally:
        os.sched_setaffinity(0, before)


def _seconds(run: Callable[[], object]) -> float:
    before = time.perf_counter()
    run()
    return time.perf_counter() - before


if __name__ == "__main__":
    main()
