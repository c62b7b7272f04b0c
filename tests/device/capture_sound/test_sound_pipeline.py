"""From microphone to sink: frames at the right times, decoded clicks where they belong, a microphone pulled."""

import itertools
import threading
import time
from array import array
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest

from device.capture.pacing import CaptureClock, ManualClock
from device.capture.sound.drift import DriftCorrector, PcmRun
from device.capture.sound.encoder import SoundEncoder
from device.capture.sound.gate import SoundGate
from device.capture.sound.microphone import MicrophoneError, PcmBlock, index_at, time_of
from device.capture.sound.pipeline import SoundPipeline, SoundState, SoundStateKind
from device.capture.sound.synthetic import SyntheticMicrophone, SyntheticSound
from device.capture.source import FrameSink
from evidence.errors import EvidenceError
from evidence.frames import EncodedFrame, Span, Track
from evidence.media.aac import DELAY_SAMPLES, FRAME_SAMPLES, AacEncoder, silence

S = 1_000_000_000
MS = 1_000_000
FindClicks = Callable[[int, bytes], list[int]]


class Collected:
    """A sink that a test can wait on."""

    def __init__(self) -> None:
        self.frames: list[EncodedFrame] = []

    def frame(self, frame: EncodedFrame) -> None:
        self.frames.append(frame)

    def gap(self, gap: Span) -> None:
        raise AssertionError("sound has no gaps of its own")


class States:
    """Remembers states; `reached` waits for one."""

    def __init__(self) -> None:
        self.seen: list[SoundState] = []
        self._changed = threading.Condition()

    def __call__(self, state: SoundState) -> None:
        with self._changed:
            self.seen.append(state)
            self._changed.notify_all()

    def reached(self, *kinds: SoundStateKind) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: [state.kind for state in self.seen] == list(kinds), timeout=30
            )


def decoded(frames: list[EncodedFrame]) -> bytes:
    """What a decoder makes of frames that follow each other: 16-bit samples, the first one at the first pts."""
    context = av.CodecContext.create("aac", "r")
    context.extradata = silence().config
    samples = []
    for frame in frames:
        packet = av.Packet(frame.data)
        packet.time_base = Fraction(1, S)
        samples += [picture.to_ndarray() for picture in context.decode(packet)]
    pcm: bytes = (np.concatenate(samples, axis=1)[0] * 32_767).astype("<i2").tobytes()
    return pcm


def encoded(sound: SyntheticSound, clock: CaptureClock, seconds: int) -> list[EncodedFrame]:
    microphone, corrector, encoder = SyntheticMicrophone(sound, clock=clock), DriftCorrector(), SoundEncoder()
    microphone.open()
    frames: list[EncodedFrame] = []
    end_ns = clock.now_ns() + seconds * S
    while clock.now_ns() < end_ns:
        block = microphone.read(threading.Event())
        run = corrector.push(block) if block else None
        frames += encoder.push(run) if run else []
    return frames + encoder.finish()


@pytest.mark.parametrize("drift_ppm", [0, 100, -100])
def test_a_click_is_decoded_at_its_time(clock: CaptureClock, find_clicks: FindClicks, drift_ppm: int) -> None:
    frames = encoded(SyntheticSound(drift_ppm=drift_ppm), clock, 6)
    assert all(frame.track is Track.AUDIO and frame.keyframe for frame in frames)
    clicks = find_clicks(index_at(frames[0].pts_ns), decoded(frames))
    assert len(clicks) == 6
    assert all(abs((click + S // 2) % S - S // 2) < MS for click in clicks)


def test_frames_lie_on_one_grid_before_and_after_a_hole(clock: CaptureClock, find_clicks: FindClicks) -> None:
    begin_ns = clock.now_ns()
    lost = (begin_ns + 2_100 * MS, begin_ns + 2_600 * MS)
    frames = encoded(SyntheticSound(lost=[lost]), clock, 6)
    assert all(index_at(frame.pts_ns) % FRAME_SAMPLES == 0 for frame in frames)
    ends = [index_at(frame.pts_ns + frame.duration_ns) for frame in frames]
    breaks = [n for n, end in enumerate(ends[:-1], 1) if index_at(frames[n].pts_ns) != end]
    assert len(breaks) == 1
    before, after = frames[: breaks[0]], frames[breaks[0] :]
    assert lost[0] - 20 * MS <= before[-1].pts_ns + before[-1].duration_ns <= lost[0] + 22 * MS
    assert lost[1] - 22 * MS <= after[0].pts_ns <= lost[1] + 20 * MS
    for part in (before, after):
        clicks = find_clicks(index_at(part[0].pts_ns), decoded(part))
        assert clicks
        assert all(abs((click + S // 2) % S - S // 2) < MS for click in clicks)


def test_a_short_hole_is_bridged_with_silence_in_place(find_clicks: FindClicks) -> None:
    encoder = SoundEncoder()
    click = array("h", [28_000] * 24).tobytes()
    frames = encoder.push(PcmRun(48_000, bytes(9_600)))
    frames += encoder.push(PcmRun(48_000 + 4_800 + 1_000, click + bytes(9_600)))
    frames += encoder.finish()
    pcm = decoded(frames)
    clicks = find_clicks(index_at(frames[0].pts_ns), pcm)
    assert len(clicks) == 1
    assert abs(clicks[0] - time_of(48_000 + 5_800)) < MS
    assert all(b.pts_ns - a.pts_ns - a.duration_ns == 0 for a, b in itertools.pairwise(frames))


def test_sound_that_comes_back_within_a_finished_frame_never_overlaps() -> None:
    encoder = SoundEncoder()
    frames = encoder.push(PcmRun(1_024_000, bytes(2 * 1_500))) + encoder.finish()
    frames += encoder.push(PcmRun(1_024_000 + 1_600, bytes(2 * 200)))
    frames += encoder.push(PcmRun(1_024_000 + 1_800, bytes(2 * 4_000))) + encoder.finish()
    indexes = [index_at(frame.pts_ns) for frame in frames]
    assert indexes == list(range(1_024_000, 1_024_000 + 1_024 * len(frames), 1_024))


def test_a_frame_comes_out_in_time() -> None:
    """Not more than two frames and a block behind, so that a fragment need not wait for it."""
    encoder = SoundEncoder()
    for number in range(50):
        for frame in encoder.push(PcmRun(number * 960, bytes(1_920))):
            put_in = (number + 1) * 960
            assert put_in - index_at(frame.pts_ns) <= DELAY_SAMPLES + 960


def test_pulled_and_plugged_in_again(find_clicks: FindClicks) -> None:
    clock, states, sink = ManualClock(500 * S), States(), Collected()
    unplugged = [(0, 501 * S), (504 * S, 507 * S)]
    microphone = SyntheticMicrophone(SyntheticSound(unplugged=unplugged), clock=clock)
    gate = SoundGate(sink, before_press=True)
    pipeline = SoundPipeline(microphone, gate, states, clock=clock, backoff_s=[0.5])
    pipeline.start()
    for _ in range(100):
        assert clock.settle()
        clock.advance(100 * MS)
    assert clock.settle()
    pipeline.stop()
    absent, lost, again = SoundStateKind.ABSENT, SoundStateKind.LOST, SoundStateKind.PRESENT
    assert [state.kind for state in states.seen] == [absent, again, lost, again]
    assert "unplugged" in states.seen[2].detail
    assert 503_900 * MS <= states.seen[2].monotonic_ns <= 504 * S
    assert 507 * S <= states.seen[3].monotonic_ns <= 508 * S
    assert not [frame for frame in sink.frames if 504_022 * MS < frame.pts_ns < 506_978 * MS]
    last = [frame for frame in sink.frames if frame.pts_ns > 506 * S]
    clicks = find_clicks(index_at(last[0].pts_ns), decoded(last))
    assert [round(click / S) for click in clicks] == list(range(round(clicks[0] / S), 510))
    assert pipeline.statistics.losses == 1
    assert pipeline.statistics.frames == len(sink.frames)


def test_without_a_microphone_it_says_so_once_and_stops_at_once() -> None:
    states = States()
    microphone = SyntheticMicrophone(SyntheticSound(unplugged=[(0, 2**62)]))
    pipeline = SoundPipeline(microphone, SoundGate(Collected()), states, backoff_s=[0.001, 3_600])
    pipeline.start()
    assert states.reached(SoundStateKind.ABSENT)
    pipeline.stop()
    pipeline.stop()
    assert len(states.seen) == 1


def test_what_the_gate_holds_is_forgotten_while_the_microphone_is_gone() -> None:
    clock, states, sink = ManualClock(500 * S), States(), Collected()
    microphone = SyntheticMicrophone(SyntheticSound(unplugged=[(503 * S, 2**62)]), clock=clock)
    gate = SoundGate(sink)
    pipeline = SoundPipeline(microphone, gate, states, clock=clock, backoff_s=[60])
    pipeline.start()
    for _ in range(70):
        assert clock.settle()
        clock.advance(100 * MS)
    assert clock.settle()
    gate.open(0)
    pipeline.stop()
    assert pipeline.statistics.frames > 100
    assert sink.frames == []


@pytest.mark.parametrize("step_s", [3_600, -3_600])
def test_setting_the_wall_clock_while_recording_changes_nothing(
    step_s: int, monkeypatch: pytest.MonkeyPatch, find_clicks: FindClicks
) -> None:
    clock, sink = ManualClock(500 * S), Collected()
    microphone = SyntheticMicrophone(SyntheticSound(drift_ppm=100), clock=clock)
    pipeline = SoundPipeline(microphone, SoundGate(sink, before_press=True), States(), clock=clock)
    pipeline.start()
    real = time.time
    for tick in range(80):
        assert clock.settle()
        clock.advance(100 * MS)
        if tick == 40:
            monkeypatch.setattr(time, "time", lambda: real() + step_s)
            monkeypatch.setattr(time, "time_ns", lambda: int((real() + step_s) * S))
    assert clock.settle()
    pipeline.stop()
    clicks = find_clicks(index_at(sink.frames[0].pts_ns), decoded(sink.frames))
    assert len(clicks) >= 7
    assert all(abs((click + S // 2) % S - S // 2) < MS for click in clicks)


def test_an_encoder_that_fails_is_a_lost_microphone_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, states, sink = ManualClock(500 * S), States(), Collected()
    encode = AacEncoder.encode
    calls = []

    def failing_once(encoder: AacEncoder, pcm: bytes) -> list[bytes]:
        calls.append(len(pcm))
        if len(calls) == 20:
            raise EvidenceError("the AAC encoder failed")
        return encode(encoder, pcm)

    monkeypatch.setattr(AacEncoder, "encode", failing_once)
    microphone = SyntheticMicrophone(clock=clock)
    pipeline = SoundPipeline(microphone, SoundGate(sink, before_press=True), states, clock=clock)
    pipeline.start()
    for _ in range(30):
        assert clock.settle()
        clock.advance(100 * MS)
    assert clock.settle()
    pipeline.stop()
    assert [state.kind for state in states.seen] == ["present", "lost", "present"]
    assert pipeline.statistics.encoder_errors == 1
    indexes = [index_at(frame.pts_ns) for frame in sink.frames]
    assert all(after - before >= FRAME_SAMPLES for before, after in itertools.pairwise(indexes))


def test_an_error_of_ours_is_told_before_the_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: caught.append(str(args.exc_value)))

    class Broken(Collected):
        def frame(self, frame: EncodedFrame) -> None:
            raise RuntimeError("broken sink")

    states, broken = States(), Broken()
    sink: FrameSink = broken
    pipeline = SoundPipeline(SyntheticMicrophone(), SoundGate(sink, before_press=True), states)
    pipeline.start()
    assert states.reached(SoundStateKind.PRESENT, SoundStateKind.LOST)
    pipeline.stop()
    assert caught == ["broken sink"]


def test_back_off_grows_and_begins_again_once_sound_came() -> None:
    clock, opened = ManualClock(500 * S), []

    class Flaky(SyntheticMicrophone):
        def open(self) -> None:
            opened.append(clock.now_ns())
            if len(opened) != 4:
                raise MicrophoneError("no microphone")
            super().open()

        def read(self, stop: threading.Event) -> PcmBlock | None:
            if clock.now_ns() >= opened[3] + 200 * MS:
                raise MicrophoneError("microphone lost")
            return super().read(stop)

    pipeline = SoundPipeline(
        Flaky(clock=clock), SoundGate(Collected()), States(), clock=clock, backoff_s=[0.5, 1, 2]
    )
    pipeline.start()
    for _ in range(90):
        assert clock.settle()
        clock.advance(100 * MS)
    pipeline.stop()
    waits = [round((b - a) / (100 * MS)) for a, b in itertools.pairwise(opened)]
    assert waits[:3] == [5, 10, 20]
    assert waits[3] in range(7, 9)  # 200 ms of sound, then the first pause
    assert waits[4] == 10
