"""The custody log: what is appended stays, what is altered shows, what was shown is looked up."""

import errno
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.custody.reading import read_checkpoint
from evidence.documents import Checkpoint, CustodyHead, decode, encode
from evidence.errors import EvidenceError
from evidence.roles import Role
from evidence.signer import load_signer
from evidence.steps import Operation, set_step_hook
from evidence.storage import StorageError
from host.custody import (
    CustodyEntry,
    CustodyError,
    CustodyLog,
    CustodyTamperedError,
    HeadStanding,
    keep_checkpoint,
    make_checkpoint,
    read_checkpoints,
    verify_custody,
)

if TYPE_CHECKING:
    from tests.host.store.conftest import Pki

NOW_NS = 1_795_000_000_000_000_000
CLIP = "20261122T035453Z-cam0042-000317"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "custody.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[CustodyLog]:
    made = CustodyLog(path, "dock7-a")
    yield made
    made.close()


def fill(log: CustodyLog, count: int) -> list[CustodyHead]:
    return [
        log.append(
            "clip_stored",
            utc_ns=NOW_NS + number,
            device="cam0042",
            clip=CLIP,
            manifest_sha256=f"{number:064x}",
            detail={"bytes": number, "reread": "direct"},
        )
        for number in range(count)
    ]


def test_entries_chain_and_survive(log: CustodyLog, path: Path) -> None:
    heads = fill(log, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    assert [head.head for head in heads] == [hashlib.sha256(line).hexdigest() for line in lines]
    assert [head.entries for head in heads] == [1, 2, 3]
    log.close()
    again = CustodyLog(path, "dock7-a")
    assert again.head == heads[-1]
    assert again.tail is None
    assert again.append("docked", utc_ns=NOW_NS, device="cam0042").entries == 4
    again.close()
    assert verify_custody(path, "dock7-a").head == again.head


def test_the_clock_may_jump_by_hours_either_way(log: CustodyLog, path: Path) -> None:
    for utc_ns in (NOW_NS, NOW_NS - 10**13, NOW_NS + 10**15, 0):
        log.append("docked", utc_ns=utc_ns)
    report = verify_custody(path)
    assert report.head
    assert report.head.entries == 4
    assert [read.entry.index for read in log.entries()] == [1, 2, 3, 4]


def test_every_altered_line_shows(log: CustodyLog, path: Path) -> None:
    fill(log, 12)
    lines = path.read_bytes().splitlines(keepends=True)
    for place, line in enumerate(lines):
        digit = line.index(b'"bytes":') + 8
        altered = line[:digit] + bytes([line[digit] ^ 3]) + line[digit + 1 :]
        forgeries = [
            [*lines[:place], *lines[place + 1 :]],
            [*lines[:place], line, *lines[place:]],
            [*lines[:place], altered, *lines[place + 1 :]],
            [*lines[:place], line.replace(b'{"type"', b'{ "type"', 1), *lines[place + 1 :]],
            [*lines[:place], b"\n", *lines[place:]],
        ]
        last = place == len(lines) - 1
        for number, forgery in enumerate(forgeries):
            path.write_bytes(b"".join(forgery))
            checkpoint = Checkpoint("dock7-a", len(lines), hashlib.sha256(lines[-1]).hexdigest(), UTC)
            with pytest.raises(CustodyError):
                verify_custody(path, "dock7-a", [checkpoint])
            if last and number in (0, 2):
                continue  # the last line has nobody behind it: only a checkpoint or a receipt shows
            with pytest.raises(CustodyTamperedError):
                verify_custody(path, "dock7-a")
            with pytest.raises(CustodyTamperedError):
                CustodyLog(path, "dock7-a")
    path.write_bytes(b"".join(lines))
    assert verify_custody(path, "dock7-a").head == log.head
    with pytest.raises(CustodyTamperedError, match="dock7-a"):
        verify_custody(path, "dock8-b")


UTC = "2026-11-22T05:00:00.000000Z"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flip=st.integers(min_value=0), bit=st.integers(0, 7))
def test_any_flipped_bit_shows_against_a_head_kept_elsewhere(flip: int, bit: int, tmp_path: Path) -> None:
    path = tmp_path / "flipped.jsonl"
    path.unlink(missing_ok=True)
    log = CustodyLog(path, "dock7-a")
    fill(log, 4)
    head = log.head
    log.close()
    assert head
    data = bytearray(path.read_bytes())
    data[flip % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(CustodyError):
        verify_custody(path, "dock7-a", [Checkpoint("dock7-a", head.entries, head.head, UTC)])


@pytest.mark.parametrize("tail", [b'{"type":"preroll-custody-v1","st', b"\0" * 700, b'{"ty' + b"\0" * 200_000])
def test_a_torn_tail_is_cut_off_and_told(tail: bytes, log: CustodyLog, path: Path) -> None:
    heads = fill(log, 3)
    log.close()
    good = path.read_bytes()
    path.write_bytes(good + tail)
    assert verify_custody(path).torn_bytes > 0
    again = CustodyLog(path, "dock7-a")
    assert again.head == heads[-1]
    assert again.tail
    assert (again.tail.bytes, again.tail.sha256) == (len(tail), hashlib.sha256(tail).hexdigest())
    assert path.read_bytes() == good
    again.append("torn_tail", utc_ns=NOW_NS, detail={"bytes": again.tail.bytes})
    again.close()
    assert verify_custody(path).torn_bytes == 0


def test_heads_are_looked_up_far_back_and_forks_seen(log: CustodyLog, path: Path, tmp_path: Path) -> None:
    set_step_hook(None)
    heads = fill(log, 600)
    log.close()
    again = CustodyLog(path, "dock7-a")
    assert len(again._offsets) == 3
    for head in (heads[0], heads[255], heads[256], heads[257], heads[599]):
        assert again.look_up(head) is HeadStanding.KNOWN
        assert again.look_up(CustodyHead(head.entries, "00" * 32)) is HeadStanding.FORK
    assert again.look_up(CustodyHead(601, "00" * 32)) is HeadStanding.AHEAD
    assert [standing.alarm for standing in HeadStanding] == [False, True, True]
    lines = path.read_bytes().splitlines(keepends=True)
    rolled = tmp_path / "rolled.jsonl"
    rolled.write_bytes(b"".join(lines[:300]))
    back = CustodyLog(rolled, "dock7-a")
    assert back.look_up(heads[-1]) is HeadStanding.AHEAD
    fill(back, 300)
    back.append("docked", utc_ns=NOW_NS)
    assert back.look_up(heads[-1]) is HeadStanding.FORK
    assert back.look_up(heads[299]) is HeadStanding.KNOWN
    back.close()
    assert again.find("clip_stored", f"{300:064x}") == heads[300]
    assert again.find("clip_quarantined", f"{300:064x}") is None
    again.close()


def test_manifests_of_a_kind_are_listed_and_the_last_entry_is_held_to_its_form(
    log: CustodyLog, path: Path
) -> None:
    fill(log, 3)
    log.append("docked", utc_ns=NOW_NS, device="cam0042", detail={"about": '"kind":"clip_stored"'})
    found = list(log.manifests("clip_stored"))
    assert found == [read.entry.manifest_sha256 for read in log.entries() if read.entry.kind == "clip_stored"]
    assert len(found) == 3
    assert list(log.manifests("undocked")) == []
    log.close()
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"kind":"docked"', b'"kind":"Docked"'))
    with pytest.raises(CustodyTamperedError, match="entry 4"):
        CustodyLog(path, "dock7-a")
    path.write_bytes(good.replace(b'"bytes":', b'"bytos":', 1))
    with pytest.raises(CustodyTamperedError):
        CustodyLog(path, "dock7-a")


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "long.jsonl"
    log = CustodyLog(path, "dock7-a")
    fill(log, 1)
    log.close()
    _extend(path, 6000)
    tracemalloc.start()
    opened = CustodyLog(path, "dock7-a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert opened.head
    assert opened.head.entries == 6001
    assert path.stat().st_size > 2_000_000
    assert peak < 1_500_000
    opened.close()


def _extend(path: Path, count: int) -> None:
    """Append entries without a sync for each."""
    import msgspec

    line = path.read_bytes()
    entry = decode(line[:-1], CustodyEntry)
    with path.open("ab") as file:
        for _ in range(count):
            previous = hashlib.sha256(line).hexdigest()
            entry = msgspec.structs.replace(entry, index=entry.index + 1, previous=previous)
            line = encode(entry) + b"\n"
            file.write(line)


@pytest.mark.parametrize("operation", [Operation.APPEND, Operation.SYNC])
def test_an_entry_that_storage_refused_never_was(operation: Operation, log: CustodyLog, path: Path) -> None:
    heads = fill(log, 2)

    def refuse(found: Operation, _path: Path) -> None:
        if found is operation:
            raise OSError(errno.ENOSPC, "no space left")

    set_step_hook(refuse)
    try:
        with pytest.raises(StorageError) as caught:
            log.append("docked", utc_ns=NOW_NS)
    finally:
        set_step_hook(None)
    assert caught.value.full
    assert log.head == heads[-1]
    assert log.append("undocked", utc_ns=NOW_NS).entries == 3
    assert [read.entry.kind for read in log.entries()] == ["clip_stored", "clip_stored", "undocked"]
    assert verify_custody(path).head == log.head


def test_a_write_that_stops_half_way_leaves_no_trace(
    log: CustodyLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, 1)
    real = os.pwrite
    calls = 0

    def half(fd: int, data: bytes, offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            return real(fd, data[:40], offset)
        raise OSError(errno.EIO, "drive")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", half)
        with pytest.raises(StorageError, match="drive"):
            log.append("docked", utc_ns=NOW_NS)
    assert log.append("x", utc_ns=NOW_NS).entries == 2
    assert verify_custody(path).torn_bytes == 0


def test_many_bays_append_at_once(log: CustodyLog, path: Path) -> None:
    workers = [threading.Thread(target=fill, args=(log, 10)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    report = verify_custody(path)
    assert report.head == log.head
    assert report.head
    assert report.head.entries == 60


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "Not A Word"},
        {"kind": "x", "device": "../etc"},
        {"kind": "x", "clip": "nothing"},
        {"kind": "x", "manifest_sha256": "ab" * 32},
        {"kind": "x", "detail": {"text": "x" * 1001}},
        {"kind": "x", "detail": {"float": 1.5}},
    ],
)
def test_what_a_reader_would_refuse_is_not_written(
    fields: dict[str, object], log: CustodyLog, path: Path
) -> None:
    with pytest.raises(CustodyError):
        log.append(utc_ns=NOW_NS, **fields)  # type: ignore[arg-type]  # wrong on purpose
    assert path.read_bytes() == b""


def test_checkpoints_are_signed_and_hold_the_log_against_the_word_of_its_keeper(
    log: CustodyLog, path: Path, tmp_path: Path, pki: "Pki"
) -> None:
    with pytest.raises(CustodyError, match="empty"):
        make_checkpoint(log, "dock7-a", pki.dock, NOW_NS)
    fill(log, 5)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    signed = make_checkpoint(log, "dock7-a", pki.dock, NOW_NS)
    assert keep_checkpoint(elsewhere, signed).name == "000000000005.json"
    fill(log, 2)
    keep_checkpoint(elsewhere, make_checkpoint(log, "dock7-a", pki.dock, NOW_NS))
    kept = read_checkpoints(elsewhere, pki.trust.roots, "dock7-a")
    assert verify_custody(path, "dock7-a", kept).checkpoints == 2
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    with pytest.raises(CustodyError, match="ends before a checkpoint"):
        verify_custody(path, "dock7-a", kept)
    forged = CustodyLog(tmp_path / "forged.jsonl", "dock7-a")
    fill(forged, 4)
    forged.append("docked", utc_ns=NOW_NS)
    fill(forged, 2)
    forged.close()
    assert verify_custody(tmp_path / "forged.jsonl").head
    with pytest.raises(CustodyError, match="not the one of the checkpoint at entry 5"):
        verify_custody(tmp_path / "forged.jsonl", "dock7-a", kept)


def test_a_checkpoint_by_anybody_else_is_none(log: CustodyLog, pki: "Pki") -> None:
    fill(log, 1)
    signed = make_checkpoint(log, "dock7-a", pki.dock, NOW_NS)
    with pytest.raises(EvidenceError):
        read_checkpoint(signed.document + b"\n", signed.cms, pki.trust.roots)
    with pytest.raises(EvidenceError, match="another store"):
        read_checkpoint(signed.document, signed.cms, pki.trust.roots, "dock8-b")
    camera = load_signer(pki.directory / "cam0042", Role.CAMERA_EVIDENCE)
    other = make_checkpoint(log, "dock7-a", camera, NOW_NS)
    with pytest.raises(EvidenceError, match="role"):
        read_checkpoint(other.document, other.cms, pki.trust.roots)


def test_the_example_of_the_formats_page_is_an_entry() -> None:
    page = (Path(__file__).parents[3] / "docs" / "formats.md").read_text("utf-8")
    lines = [line.strip() for line in page.splitlines() if line.startswith('    {"type":"preroll-custody-v1"')]
    (entry,) = (decode(line.encode(), CustodyEntry) for line in lines)
    assert (entry.kind, entry.index) == ("clip_stored", 5120)
    fields = re.findall(
        r"^\| `([a-z0-9_`, ]+)` \|", page.partition("## Custody log")[2].partition("## ")[0], re.MULTILINE
    )
    named = [name.strip("` ") for row in fields for name in row.split(",")]
    assert named == ["type", *CustodyEntry.__struct_fields__]
