"""The recorders that are compared keep what they say they keep; speed is not judged."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import recorders
from bench.footage import FrameStream, Scene, load_sound
from bench.plain_core import MASKS
from bench.recorder_kinds import KINDS, WINDOW_S, picamera2_outputs
from bench.recorder_probe import CALLS, Slot, Tally
from bench.recorders import OURS, PEER, Outcome, Rate, recovered_frames, run_batch
from bench.report import text
from evidence.frames import Track

NS_PER_S = 1_000_000_000
FRAME_NS = NS_PER_S // 30
FED_S = WINDOW_S + 6


@pytest.fixture(autouse=True)
def _no_bare_picamera2_is_left() -> Iterator[None]:
    """The bench leaves picamera2's `__init__` out; tests of the camera in this process need all of it."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "picamera2"]:
        del sys.modules[name]


@pytest.fixture
def stream(footage: Path, units: list[tuple[bytes, bool]]) -> FrameStream:
    return FrameStream(units, FRAME_NS, load_sound(footage))


def test_sound_goes_on_without_a_hole(stream: FrameStream) -> None:
    frames = [frame for number in range(300) for frame in stream.frames(number, 5 + number * FRAME_NS)]
    sound = [frame for frame in frames if frame.track is Track.AUDIO]
    assert len(sound) == pytest.approx(10 * 48_000 / 1024, abs=1)
    assert sound[0].pts_ns == 5
    for one, following in itertools.pairwise(sound):
        assert one.pts_ns + one.duration_ns == following.pts_ns


def test_the_outputs_are_those_of_the_installed_package() -> None:
    outputs = picamera2_outputs()
    assert outputs.CircularOutput2.__module__ == "picamera2.outputs.circularoutput2"
    assert "libcamera" not in sys.modules


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != OURS])
def test_a_peer_gives_what_its_file_holds(tmp_path: Path, stream: FrameStream, kind: str) -> None:
    recorder = KINDS[kind](tmp_path, 0, FRAME_NS)
    count = FED_S * 30
    press = (WINDOW_S + 1) * 30
    for number in range(count):
        if number == press:
            recorder.press(number * FRAME_NS)
        for frame in stream.frames(number, number * FRAME_NS):
            recorder.frame(frame)
    first_ns, written_ns = recorder.span()
    assert 0 < press * FRAME_NS - first_ns <= WINDOW_S * NS_PER_S + FRAME_NS
    recorder.stop(count * FRAME_NS)
    kept = recovered_frames(kind, tmp_path)
    taken = (count * FRAME_NS - first_ns) // FRAME_NS
    if kind == PEER:
        assert abs(kept - (written_ns - first_ns) // FRAME_NS) <= 1  # closed without what its ring still held
        assert kept < taken
    else:
        assert kept == taken


def test_a_tally_outlives_its_writer(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "tally", create=True)
    tally[Slot.PRESS] = 7
    tally.note_call(11)
    tally.note_call(12)
    again = Tally(tmp_path / "tally")
    assert again[Slot.PRESS] == 7
    assert again.calls_ns() == [11, 12]
    again[Slot.COUNT] = CALLS
    again.note_call(13)
    assert again[Slot.COUNT] == CALLS


def test_a_kill_costs_ours_less_than_a_second(
    tmp_path: Path, footage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorders, "kept_footage", lambda _: footage)
    (killed,) = run_batch([OURS], Rate("small", Scene(seconds=2)), tmp_path / "kill", kill_s=2.0)
    assert killed.preevent_s >= WINDOW_S
    assert killed.taken_s > WINDOW_S + 1
    assert 0 <= killed.lost_s < killed.taken_s
    assert killed.calls_ms


def test_the_tables_say_who_loses_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def batch(kinds: list[str], rate: Rate, directory: Path, *, kill_s: float | None = None) -> list[Outcome]:
        del rate, directory
        return [_outcome(kind, lost_s=0.2 if kind == OURS else 50.0 if kill_s else 30.0) for kind in kinds]

    monkeypatch.setattr(recorders, "run_batch", batch)
    section = recorders.recorder_bench(seconds=60)
    assert "all of it" in text(section)
    found = {goal.what: goal.met for goal in section.goals}
    assert found["lost at a kill, most"]
    assert not found["lost at a clean stop"]
    assert all(len(row) == len(table.columns) for table in section.tables for row in table.rows)


def test_masks_hide_more_and_more() -> None:
    assert [mask.startswith("~") for mask in MASKS.values()] == [False, True, True]


def _outcome(kind: str, lost_s: float) -> Outcome:
    return Outcome(
        kind=kind,
        written_s=0.3 if kind == OURS else 30.0,
        preevent_s=30.4,
        taken_s=50.0,
        lost_s=lost_s,
        cpu_s=1.0,
        calls_ms=(0.1, 0.2),
    )
