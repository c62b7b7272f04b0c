"""Sound that stays with the picture: an hour of a card that is too fast or too slow, holes, clocks set."""

import itertools
import threading
import time
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture.pacing import CaptureClock
from device.capture.sound.drift import DriftCorrector, PcmRun
from device.capture.sound.microphone import SAMPLE_RATE, PcmBlock, index_at, time_of
from device.capture.sound.stretch import PIECE_SAMPLES, stretch
from device.capture.sound.synthetic import SyntheticMicrophone, SyntheticSound

S = 1_000_000_000
MS = 1_000_000
FindClicks = Callable[[int, bytes], list[int]]


def corrected(sound: SyntheticSound, clock: CaptureClock, seconds: int) -> tuple[list[PcmRun], DriftCorrector]:
    microphone, corrector, stop = SyntheticMicrophone(sound, clock=clock), DriftCorrector(), threading.Event()
    microphone.open()
    end_ns = clock.now_ns() + seconds * S
    runs = []
    while clock.now_ns() < end_ns:
        block = microphone.read(stop)
        run = corrector.push(block) if block else None
        if run:
            runs.append(run)
    return runs, corrector


def joined(runs: list[PcmRun]) -> list[PcmRun]:
    """One run for each stretch without a hole."""
    stretches: list[list[PcmRun]] = []
    for run in runs:
        if stretches and stretches[-1][-1].end_index == run.first_index:
            stretches[-1].append(run)
        else:
            stretches.append([run])
    return [PcmRun(parts[0].first_index, b"".join(part.pcm_s16le for part in parts)) for parts in stretches]


def click_errors(runs: list[PcmRun], find_clicks: FindClicks) -> list[int]:
    """How far each click lies from its full second, in ns."""
    clicks = [click for run in joined(runs) for click in find_clicks(run.first_index, run.pcm_s16le)]
    return [(click + S // 2) % S - S // 2 for click in clicks]


@pytest.mark.parametrize("drift_ppm", [100, -100])
def test_an_hour_of_drift_leaves_sound_with_the_picture(clock: CaptureClock, drift_ppm: int) -> None:
    sound = SyntheticSound(drift_ppm=drift_ppm, jitter_ns=4 * MS, block_samples=4_320)
    microphone, corrector, stop = SyntheticMicrophone(sound, clock=clock), DriftCorrector(), threading.Event()
    microphone.open()
    start_ns = clock.now_ns()
    expected = None
    worst_ns = clicks = 0
    while clock.now_ns() < start_ns + 3_600 * S:
        block = microphone.read(stop)
        assert block is not None
        run = corrector.push(block)
        assert run is not None
        assert expected in (None, run.first_index)
        expected = run.end_index
        if b"\x60\x6d" * 8 in run.pcm_s16le:  # 28,000: some of a click, wherever it was split
            position = run.pcm_s16le.index(b"\x60\x6d" * 8) // 2
            off_ns = (time_of(run.first_index + position) + S // 2) % S - S // 2
            worst_ns, clicks = max(worst_ns, abs(off_ns)), clicks + 1
    assert clicks >= 3_600
    assert worst_ns < 5 * MS
    assert corrector.drift_ppm == pytest.approx(drift_ppm, abs=2)
    assert corrector.holes == corrector.overlapping_samples == 0


def test_clicks_are_placed_within_a_millisecond(clock: CaptureClock, find_clicks: FindClicks) -> None:
    runs, _ = corrected(SyntheticSound(drift_ppm=80, jitter_ns=2 * MS), clock, 30)
    errors = click_errors(runs, find_clicks)
    assert len(errors) == 30
    assert max(map(abs, errors[3:])) < MS


def test_without_jitter_and_drift_nothing_is_touched(clock: CaptureClock, find_clicks: FindClicks) -> None:
    runs, corrector = corrected(SyntheticSound(), clock, 10)
    assert corrector.added_samples == corrector.removed_samples == 0
    assert max(map(abs, click_errors(runs, find_clicks))) <= S // SAMPLE_RATE


@pytest.mark.parametrize("step_s", [3_600, -3_600])
def test_the_wall_clock_has_no_say(
    clock: CaptureClock, step_s: int, monkeypatch: pytest.MonkeyPatch, find_clicks: FindClicks
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    monkeypatch.setattr(time, "time_ns", lambda: int((real() + step_s) * S))
    sound = SyntheticSound(drift_ppm=100, jitter_ns=2 * MS)
    runs, _ = corrected(sound, clock, 10)
    monkeypatch.undo()
    start_ns = time_of(runs[0].first_index)
    assert abs(start_ns - 7_000_123_456_789) < 3 * MS
    assert max(map(abs, click_errors(runs, find_clicks))) < 3 * MS


def test_lost_samples_are_a_hole_in_time(clock: CaptureClock, find_clicks: FindClicks) -> None:
    begin = clock.now_ns()
    sound = SyntheticSound(lost=[(begin + 3 * S, begin + 3 * S + 300 * MS)], drift_ppm=50)
    runs, corrector = corrected(sound, clock, 8)
    first, second = joined(runs)
    assert corrector.holes == 1
    hole_ns = time_of(second.first_index) - time_of(first.end_index)
    assert 300 * MS <= hole_ns <= 340 * MS
    assert max(map(abs, click_errors(runs, find_clicks))) < MS


def test_a_hole_that_nobody_marked_is_seen_by_its_time() -> None:
    corrector = DriftCorrector()
    first = corrector.push(PcmBlock(10 * S, bytes(1_920)))
    second = corrector.push(PcmBlock(10 * S + 20 * MS + 50 * MS, bytes(1_920)))
    assert first is not None
    assert second is not None
    assert second.first_index - first.end_index == 50 * 48
    assert corrector.holes == 1


def test_time_never_runs_back() -> None:
    corrector = DriftCorrector()
    before = corrector.push(PcmBlock(10 * S, bytes(9_600)))
    assert corrector.push(PcmBlock(10 * S - 500 * MS, bytes(1_920), after_hole=True)) is None
    overlapping = corrector.push(PcmBlock(10 * S + 90 * MS, bytes(1_920)))
    assert before is not None
    assert overlapping is not None
    assert overlapping.first_index == before.end_index
    assert overlapping.end_index == index_at(10 * S + 110 * MS)
    assert corrector.overlapping_samples > 0


def test_after_an_interruption_the_next_block_stands_at_its_own_time() -> None:
    corrector = DriftCorrector()
    corrector.push(PcmBlock(10 * S, bytes(1_920)))
    corrector.interrupt()
    run = corrector.push(PcmBlock(10 * S + 25 * MS, bytes(1_920)))
    assert run is not None
    assert run.first_index == index_at(10 * S + 25 * MS)


@given(st.integers(0, 10**17))
def test_grid_and_time_agree(instant_ns: int) -> None:
    assert abs(time_of(index_at(instant_ns)) - instant_ns) <= S // SAMPLE_RATE // 2 + 1


@given(st.integers(480, 5_000), st.data())
def test_stretch_gives_the_length_and_keeps_the_ends(samples: int, data: st.DataObject) -> None:
    most = samples // PIECE_SAMPLES
    extra = data.draw(st.integers(-most, most))
    pcm = array("h", [index % 120 * 250 - 15_000 for index in range(samples)])
    out = array("h", stretch(pcm.tobytes(), extra))
    assert len(out) == samples + extra
    assert out[0] == pcm[0]
    assert out[-1] == pcm[-1]


def test_stretch_makes_no_step() -> None:
    slope = array("h", range(-12_000, 12_000, 25))  # 25 from one sample to the next
    for extra in (1, -1):
        out = array("h", stretch(slope.tobytes(), extra))
        assert all(20 <= after - before <= 30 for before, after in itertools.pairwise(out))


def test_stretch_refuses_more_than_can_be_hidden() -> None:
    with pytest.raises(ValueError, match="at most one"):
        stretch(bytes(1_000), 2)
