"""Trigger lines and the two serial protocols, without a port."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controls.edges import Edge
from device.controls.triggers import ModemReading, ModemTriggers, TextTriggers, Trigger, TriggerLine

MS = 1_000_000
SETTLE = 100 * MS


def edges(*times_ms: int) -> list[Edge]:
    """Alternating edges, active first."""
    return [Edge("holster", ms * MS, active=n % 2 == 0) for n, ms in enumerate(times_ms)]


@pytest.mark.parametrize(
    ("times_ms", "fired_ms"),
    [
        ((1000,), [1000]),
        ((1000, 1001, 1002, 1003), [1000]),
        ((1000, 2000, 2099), [1000]),
        ((1000, 2000, 2100), [1000, 2100]),
        ((1000, 5000, 5050, 5051, 5150), [1000]),
        ((1000, 5000, 9000, 9500), [1000, 9000]),
    ],
)
def test_a_line_fires_at_its_first_edge_and_again_only_after_rest(
    times_ms: tuple[int, ...], fired_ms: list[int]
) -> None:
    line = TriggerLine("holster", SETTLE)
    fired = [trigger.at_ns // MS for edge in edges(*times_ms) if (trigger := line.edge(edge))]
    assert fired == fired_ms


@pytest.mark.parametrize("at_start", [False, True])
def test_a_line_that_is_active_when_claimed_fires_only_if_configured(*, at_start: bool) -> None:
    line = TriggerLine("holster", SETTLE, at_start=at_start)
    assert (line.edge(Edge("holster", 5, active=True, initial=True)) is not None) is at_start
    assert line.edge(Edge("holster", 6, active=True)) is None


def test_text_lines_fire_when_they_become_one() -> None:
    text = TextTriggers(("holster", "vehicle_door"), SETTLE)
    assert text.feed(b"holster 0\nvehicle_door 1\r\nhols", 7) == [Trigger("vehicle_door", 7)]
    assert text.feed(b"ter 1\nholster 1\n", 8) == [Trigger("holster", 8)]
    assert text.garbage == 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"holster",
        b"holster 2",
        b"holster  1",
        b" holster 1",
        b"holster 1 ",
        b"HOLSTER 1",
        b"holster\t1",
        b"radar 1",
        b"holster 1\x00",
        b"holster \xb9",
        "hölster 1".encode(),
        b"holster 1\r\r",
        b"x" * 500,
    ],
)
def test_garbage_is_counted_and_what_follows_is_understood(line: bytes) -> None:
    text = TextTriggers(("holster",), SETTLE)
    assert text.feed(line + b"\nholster 1\n", 9) == [Trigger("holster", 9)]
    assert text.garbage == 1


def test_an_endless_line_takes_no_memory_and_counts_once() -> None:
    text = TextTriggers(("holster",), SETTLE)
    for n in range(1_000):
        assert text.feed(b"z" * 63, n) == []
        assert len(text._rest) <= 64 + 63
    assert text.feed(b"\nholster 1\n", 5) == [Trigger("holster", 5)]
    assert text.garbage == 1


def test_a_state_known_before_the_cable_was_pulled_does_not_fire_again() -> None:
    text = TextTriggers(("holster",), SETTLE)
    assert text.feed(b"holster 1\nhol", 1) == [Trigger("holster", 1)]
    text.reset()
    assert text.garbage == 1
    assert text.feed(b"holster 1\n", 2) == []
    assert text.feed(b"holster 0\n", 3) == []
    assert text.feed(b"holster 1\n", 3 + SETTLE) == [Trigger("holster", 3 + SETTLE)]


@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_text_does_not_depend_on_how_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    data = data.replace(b"\x01", b"holster 1\n").replace(b"\x02", b"holster 0\n")
    whole, pieces = TextTriggers(("holster",), SETTLE), TextTriggers(("holster",), SETTLE)
    ends = sorted({*cuts, len(data)})
    fired = []
    for start, end in zip([0, *ends], ends, strict=False):
        fired += pieces.feed(data[start:end], 1)
    # An unfinished line may be known to be too long sooner or later; it counts once either way.
    assert fired == whole.feed(data, 1)
    fired += pieces.feed(b"\n", 1)
    whole.feed(b"\n", 1)
    assert pieces.garbage == whole.garbage


def reading(*on: str, **changes: int) -> ModemReading:
    return ModemReading(frozenset(on), changes)


def test_modem_lines_fire_when_they_go_on() -> None:
    modem = ModemTriggers({"cts": "holster", "ri": "vehicle_door"}, SETTLE)
    assert modem.reading(reading("ri"), 1) == []
    assert modem.reading(reading("ri", "cts"), 2) == [Trigger("holster", 2)]
    assert modem.reading(reading("cts", "dsr"), 3) == []
    assert modem.reading(reading("cts", "ri"), 3 + SETTLE) == [Trigger("vehicle_door", 3 + SETTLE)]


def test_a_pulse_between_two_readings_shows_in_the_count() -> None:
    modem = ModemTriggers({"cts": "holster"}, SETTLE)
    assert modem.reading(reading(cts=4), 1) == []
    assert modem.reading(reading(cts=6), 2) == [Trigger("holster", 2)]
    assert modem.reading(reading(cts=6), 3) == []
    modem.reset()
    assert modem.reading(reading(cts=0), 4 + SETTLE) == []
