"""What passes the gate in front of the ring, and what it forgets."""

import threading
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from device.capture.sound.gate import SoundGate
from evidence.frames import EncodedFrame, Span, Track

MS = 1_000_000
FRAME_NS = 21 * MS
HELD_NS = 2_000 * MS


@dataclass
class Passed:
    frames: list[int] = field(default_factory=list)
    gaps: list[Span] = field(default_factory=list)

    def frame(self, frame: EncodedFrame) -> None:
        self.frames.append(frame.pts_ns)

    def gap(self, gap: Span) -> None:
        self.gaps.append(gap)


def sound(pts_ns: int) -> EncodedFrame:
    return EncodedFrame(Track.AUDIO, b"\x21", pts_ns, pts_ns, FRAME_NS, keyframe=True)


def test_closed_it_passes_nothing_and_open_it_passes_all() -> None:
    passed = Passed()
    gate = SoundGate(passed, held_ns=HELD_NS)
    gate.frame(sound(0))
    assert passed.frames == []
    assert not gate.is_open
    gate.open(0)
    gate.frame(sound(FRAME_NS))
    assert passed.frames == [0, FRAME_NS]
    gate.close()
    gate.frame(sound(2 * FRAME_NS))
    assert passed.frames == [0, FRAME_NS]


def test_no_sound_from_before_the_press_passes() -> None:
    passed = Passed()
    gate = SoundGate(passed, held_ns=HELD_NS)
    for number in range(50):
        gate.frame(sound(number * FRAME_NS))
    press_ns = 40 * FRAME_NS + 1
    gate.open(press_ns)
    assert passed.frames == [number * FRAME_NS for number in range(41, 50)]


def test_a_press_in_the_future_of_the_sound_lets_pass_from_there_on() -> None:
    passed = Passed()
    gate = SoundGate(passed, held_ns=HELD_NS)
    gate.open(3 * FRAME_NS)
    for number in range(6):
        gate.frame(sound(number * FRAME_NS))
    assert passed.frames == [3 * FRAME_NS, 4 * FRAME_NS, 5 * FRAME_NS]


def test_with_sound_before_the_press_it_is_always_open() -> None:
    passed = Passed()
    gate = SoundGate(passed, before_press=True)
    gate.frame(sound(0))
    gate.close()
    gate.frame(sound(FRAME_NS))
    assert gate.is_open
    assert passed.frames == [0, FRAME_NS]


def test_old_sound_is_forgotten_even_if_none_follows() -> None:
    passed = Passed()
    gate = SoundGate(passed, held_ns=HELD_NS)
    gate.frame(sound(0))
    gate.expire(FRAME_NS + HELD_NS + 1)
    gate.open(0)
    assert passed.frames == []


def test_gaps_pass_a_closed_gate() -> None:
    passed = Passed()
    gap = Span(0, 5, "camera_stalled")
    SoundGate(passed).gap(gap)
    assert passed.gaps == [gap]


def test_opening_amid_a_stream_neither_loses_nor_doubles_nor_disorders() -> None:
    passed = Passed()
    gate = SoundGate(passed, held_ns=HELD_NS)
    begun = threading.Event()

    def stream() -> None:
        for number in range(20_000):
            gate.frame(sound(number * FRAME_NS))
            if number == 50:
                begun.set()

    thread = threading.Thread(target=stream)
    thread.start()
    begun.wait()
    gate.open(0)
    thread.join()
    assert passed.frames[-1] == 19_999 * FRAME_NS
    assert passed.frames == list(range(passed.frames[0], 20_000 * FRAME_NS, FRAME_NS))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.integers(1, 40)),
        st.tuples(st.just("open"), st.integers(-60, 60)),
        st.tuples(st.just("close"), st.just(0)),
    ),
    max_size=80,
)


@given(steps)
def test_it_keeps_to_its_policy_whatever_happens(script: list[tuple[str, int]]) -> None:
    """Against a model: what passes starts at or after the open start, and was held or came while open."""
    passed = Passed()
    gate = SoundGate(passed, held_ns=HELD_NS)
    now = 0
    held: list[int] = []
    expected: list[int] = []
    start: int | None = None
    for action, number in script:
        if action == "frame":
            for _ in range(number):
                pts, now = now, now + FRAME_NS
                gate.frame(sound(pts))
                if start is None:
                    held.append(pts)
                elif pts >= start:
                    expected.append(pts)
            held = [pts for pts in held if pts + FRAME_NS >= now - HELD_NS]
        elif action == "open":
            from_ns = now + number * FRAME_NS
            start = from_ns if start is None else min(start, from_ns)
            expected += [pts for pts in held if pts >= start]
            held = []
            gate.open(from_ns)
        else:
            start = None
            gate.close()
    assert passed.frames == expected
    assert len(gate._held) == len(held)
