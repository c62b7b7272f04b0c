"""A frame that no recording claimed is in no file; a claimed one is in none in plaintext."""

import base64
import itertools
from pathlib import Path

import pytest

from evidence.documents import ClipEnd
from tests.campaign.clipdata import ClipData, decode_stamps
from tests.campaign.judgement import claimed_frames
from tests.campaign.leaks import find_canary, new_files, read_trace, temporary_directory
from tests.campaign.traced import WINDOW_S, MakeLeak, TracedRun


def test_no_plaintext_in_any_file_opened_for_writing(traced_run: TracedRun) -> None:
    assert traced_run.writes.hidden == ()
    assert traced_run.writes.vanished == frozenset()
    assert find_canary(traced_run.writes.files, traced_run.canary) == []


def test_nothing_is_written_outside_the_vault(traced_run: TracedRun) -> None:
    outside = {path for path in traced_run.writes.files if not path.is_relative_to(traced_run.vault)}
    assert outside == {traced_run.told}


def test_every_file_of_the_vault_was_traced(traced_run: TracedRun) -> None:
    there = {path for path in traced_run.vault.rglob("*") if path.is_file()}
    assert there == {path for path in traced_run.writes.files if path.is_relative_to(traced_run.vault)}


def test_no_plaintext_in_vault_and_temporary_files(traced_run: TracedRun) -> None:
    searched = {*new_files(temporary_directory(), traced_run.began_ns), *traced_run.vault.rglob("*.*")}
    assert find_canary((path for path in searched if path.is_file()), traced_run.canary) == []


def test_the_canary_is_in_every_claimed_frame(traced_run: TracedRun, traced_clips: list[ClipData]) -> None:
    for clip in traced_clips:
        assert clip.samples
        assert all(traced_run.canary in sample.data for sample in clip.samples)


def test_clips_hold_what_was_claimed_and_nothing_else(
    traced_run: TracedRun, traced_clips: list[ClipData]
) -> None:
    window_ns = int(WINDOW_S * 1e9)
    stopped = [event["at_ns"] for event in traced_run.events if event["event"] == "stopped"]
    times = [frame.pts_ns for frame in traced_run.tally.offered]
    assert len(traced_clips) == len(stopped) == 3
    spans = []
    for clip, stopped_ns in zip(traced_clips, stopped, strict=True):
        end = clip.attested
        assert isinstance(end, ClipEnd), "the clip was not ended"
        span = claimed_frames(traced_run.tally, clip.start.trigger.edge_ns, window_ns, end.stop_ns)
        held = [stamp.number for stamp in decode_stamps(clip, clip.samples) if stamp]
        assert held == list(range(span.first, held[-1] + 1))
        assert held[-1] >= span.last
        # Until the recorder learns of the stop, some milliseconds after its edge, it records.
        assert all(times[number] <= stopped_ns for number in held)
        spans.append((held[0], held[-1]))
    assert spans[0][0] > 0
    assert spans[-1][1] < len(times) - 1
    for (_, last), (first, _) in itertools.pairwise(spans):
        assert last + 1 < first, "no unclaimed frames between two clips: the test shows nothing"


def test_the_detector_finds_a_frame_in_a_temporary_file(make_leak: MakeLeak) -> None:
    run = make_leak(kept=True)
    assert make_leak.leak in run.writes.files
    assert find_canary(run.writes.files, run.canary) == [make_leak.leak]
    assert make_leak.leak in find_canary(new_files(temporary_directory(), run.began_ns), run.canary)


def test_the_detector_notices_a_file_that_was_removed_again(make_leak: MakeLeak) -> None:
    assert make_leak(kept=False).writes.vanished == {make_leak.leak}


@pytest.mark.parametrize("before", range(3))
@pytest.mark.parametrize("spell", [bytes, lambda data: data.hex().encode(), base64.b64encode])
def test_the_search_knows_other_spellings(tmp_path: Path, before: int, spell: object) -> None:
    assert callable(spell)
    canary = bytes(range(100, 124))
    path = tmp_path / "file"
    path.write_bytes(b"#" * 1000 + spell(b"x" * before + canary + b"yyyyy"))
    assert find_canary([path], canary) == [path]
    assert find_canary([path], canary[::-1]) == []


def test_a_trace_is_read_through_renames(tmp_path: Path) -> None:
    final = tmp_path / "clips" / "name"
    final.mkdir(parents=True)
    (final / "journal").touch()
    (tmp_path / "read").touch()
    trace = [
        f'openat(AT_FDCWD<{tmp_path}>, "{tmp_path}/read", O_RDONLY|O_CLOEXEC) = 3<{tmp_path}/read>',
        f'openat(AT_FDCWD<{tmp_path}>, ".j", O_WRONLY|O_CREAT, 0600) = 3<{tmp_path}/clips/.claim/.j.tmp>',
        f'rename("{tmp_path}/clips/.claim/.j.tmp", "{tmp_path}/clips/.claim/journal") = 0',
        f'renameat2(AT_FDCWD<{tmp_path}>, "clips/.claim", AT_FDCWD<{tmp_path}>, "clips/name", 0) = 0',
        'openat(AT_FDCWD</>, "/gone", O_WRONLY|O_CREAT, 0600) = -1 EACCES (Permission denied)',
        f'openat(AT_FDCWD<{tmp_path}>, "/t", O_RDWR|O_TMPFILE, 0600) = 4</t/#12 (deleted)>',
        'memfd_create("x", MFD_CLOEXEC) = 5</memfd:x>',
    ]
    writes = read_trace(trace, tmp_path)
    assert writes.files == {final / "journal"}
    assert writes.vanished == frozenset()
    assert len(writes.hidden) == 2
