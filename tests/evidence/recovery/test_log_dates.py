"""What time it was: from later readings of the same boot, by the best source, with honest bounds."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evidence.clock import ClockSource, format_utc
from evidence.documents import LogEvent, LogLine
from evidence.logdates import DRIFT_PPM, LogDates

BOOT, OTHER = "a" * 32, "b" * 32
UTC_NS = 1_800_000_000_000_000_000
S = 1_000_000_000


def line(at_ns: int, utc_ns: int | None, *events: LogEvent, boot: str = BOOT, index: int = 1) -> LogLine:
    return LogLine(
        device="cam0042",
        epoch="1" * 32,
        generation=1,
        index=index,
        previous=None if index == 1 else "0" * 64,
        boot=boot,
        monotonic_ns=at_ns,
        utc=None if utc_ns is None else format_utc(utc_ns),
        events=events or (LogEvent(kind="press", monotonic_ns=at_ns, detail={}),),
    )


def clock(source: str, error_ns: Any) -> LogEvent:
    return LogEvent(kind="clock", monotonic_ns=0, detail={"source": source, "error_ns": error_ns})


def test_a_boot_that_never_knew_utc_has_no_date() -> None:
    dates = LogDates([line(0, None), line(S, UTC_NS, boot=OTHER)])
    assert dates.date_of(BOOT, S) is None


def test_a_clip_before_the_clock_was_set_is_dated_from_after() -> None:
    dates = LogDates([line(0, None), line(100 * S, UTC_NS, clock("dock", 40_000_000))])
    dated = dates.date_of(BOOT, 40 * S)
    assert dated is not None
    drift_ns = 60 * S * DRIFT_PPM // 1_000_000
    assert dated.source is ClockSource.DOCK
    assert dated.bounded
    assert dated.earliest_utc_ns == UTC_NS - 60 * S - 40_000_000 - drift_ns
    assert dated.latest_utc_ns == UTC_NS - 60 * S + 40_000_000 + drift_ns


def test_the_best_source_of_a_boot_wins() -> None:
    wrong = UTC_NS - 3600 * S
    dates = LogDates(
        [
            line(10 * S, wrong, clock("system", None)),
            line(20 * S, UTC_NS, clock("ntp", 5_000_000)),
            line(30 * S, UTC_NS + 10 * S, clock("rtc", 2 * S)),
        ]
    )
    dated = dates.date_of(BOOT, 10 * S)
    assert dated is not None
    assert dated.source is ClockSource.NTP
    assert dated.earliest_utc_ns < UTC_NS - 10 * S < dated.latest_utc_ns


def test_a_clock_that_nobody_vouches_for_spans_what_it_showed() -> None:
    dates = LogDates([line(10 * S, UTC_NS), line(20 * S, UTC_NS + 3600 * S)])
    dated = dates.date_of(BOOT, 10 * S)
    assert dated is not None
    assert not dated.bounded
    assert dated.earliest_utc_ns <= UTC_NS
    assert dated.latest_utc_ns >= UTC_NS + 3590 * S


def test_a_source_or_bound_that_makes_no_sense_is_no_bound() -> None:
    for event in (clock("oracle", 1), clock("dock", -1), clock("dock", "0"), clock("dock", True)):
        dated = LogDates([line(0, UTC_NS, event)]).date_of(BOOT, 0)
        assert dated is not None
        assert dated.source is ClockSource.SYSTEM or not dated.bounded


@given(
    at_s=st.integers(0, 10**6),
    read_s=st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    error_ms=st.integers(0, 5000),
    drift_ppm=st.integers(-DRIFT_PPM, DRIFT_PPM),
)
def test_the_true_time_lies_within_the_bounds(
    at_s: int, read_s: list[int], error_ms: int, drift_ppm: int
) -> None:
    """For any drift and error within what was promised; format_utc rounds to a microsecond."""

    def true_utc(monotonic_ns: int) -> int:
        return UTC_NS + monotonic_ns + monotonic_ns * drift_ppm // 1_000_000

    lines = [
        line(at * S, true_utc(at * S) + error_ms * 1_000_000, clock("dock", error_ms * 1_000_000))
        for at in read_s
    ]
    dated = LogDates(lines).date_of(BOOT, at_s * S)
    assert dated is not None
    assert dated.earliest_utc_ns - 1000 <= true_utc(at_s * S) <= dated.latest_utc_ns + 1000
