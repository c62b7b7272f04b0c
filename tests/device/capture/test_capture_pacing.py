"""The clocks that pace a source."""

import threading

import pytest

from device.capture.pacing import CaptureClock, ManualClock, MonotonicClock, ScaledClock

S = 1_000_000_000


@pytest.mark.parametrize("clock", [MonotonicClock(), ScaledClock(50), ManualClock()])
def test_an_instant_that_has_come_is_not_waited_for(clock: CaptureClock) -> None:
    assert clock.wait_until(clock.now_ns(), threading.Event())


@pytest.mark.parametrize("clock", [MonotonicClock(), ScaledClock(50), ManualClock()])
def test_a_stop_ends_the_wait(clock: CaptureClock) -> None:
    stop, results = threading.Event(), list[bool]()
    waiter = threading.Thread(target=lambda: results.append(clock.wait_until(clock.now_ns() + 3600 * S, stop)))
    waiter.start()
    stop.set()
    waiter.join(30)
    assert results == [False]
    assert not clock.wait_until(clock.now_ns(), stop)


@pytest.mark.parametrize("clock", [MonotonicClock(), ScaledClock(50)])
def test_a_wait_is_never_too_short(clock: CaptureClock) -> None:
    until = clock.now_ns() + S // 200
    assert clock.wait_until(until, threading.Event())
    assert clock.now_ns() >= until


def test_a_scaled_clock_starts_at_the_real_time_and_runs_faster() -> None:
    real = MonotonicClock()
    before = real.now_ns()
    clock = ScaledClock(1000)
    assert before <= clock.now_ns()
    real.wait_until(real.now_ns() + S // 200, threading.Event())
    assert clock.now_ns() - before >= 5 * S


def test_a_hand_moved_clock_lets_a_thread_run_up_to_the_instant_and_no_further() -> None:
    clock, stop, reached = ManualClock(0), threading.Event(), list[int]()

    def tick() -> None:
        for second in range(1, 100):
            if not clock.wait_until(second * S, stop):
                return
            reached.append(second)

    ticker = threading.Thread(target=tick)
    ticker.start()
    for now in (0, 3, 7):
        clock.advance(now * S - clock.now_ns())
        assert clock.settle()
        assert reached == list(range(1, now + 1))
    stop.set()
    ticker.join(30)
    assert not clock.settle(timeout_s=0)


def test_clocks_never_go_back() -> None:
    with pytest.raises(ValueError, match="never goes back"):
        ManualClock().advance(-1)
    with pytest.raises(ValueError, match="above 0"):
        ScaledClock(0)
