"""UTC as the camera has it: the kernel's until a dock has set it."""

from device.health.clock import CameraClock
from evidence.clock import ClockSource, UtcMapping

NS_PER_S = 1_000_000_000
DOCK = UtcMapping(
    monotonic_ns=100 * NS_PER_S,
    utc_ns=5000 * NS_PER_S,
    source=ClockSource.DOCK,
    error_ns=7,
    set_ns=100 * NS_PER_S,
)


def test_a_docks_word_outdoes_the_kernel_and_ages() -> None:
    kernel = [UtcMapping(monotonic_ns=100 * NS_PER_S, utc_ns=None, source=ClockSource.NONE)]
    clock = CameraClock(lambda: kernel[0])
    assert clock.read() == kernel[0]
    clock.set(DOCK)
    kernel[0] = UtcMapping(
        monotonic_ns=3700 * NS_PER_S, utc_ns=9 * NS_PER_S, source=ClockSource.NTP, error_ns=1
    )
    now = clock.read()
    assert (now.source, now.set_ns) == (ClockSource.DOCK, 100 * NS_PER_S)
    assert (now.monotonic_ns, now.utc_ns) == (3700 * NS_PER_S, 8600 * NS_PER_S)
    assert now.error_ns == 7 + 360_000_000  # 100 ppm of an hour


def test_the_kernels_clock_may_jump_without_moving_what_a_dock_set() -> None:
    monotonic_ns = 200 * NS_PER_S
    clock = CameraClock(lambda: UtcMapping(monotonic_ns=monotonic_ns, utc_ns=10**18, source=ClockSource.SYSTEM))
    clock.set(DOCK)
    assert clock.read().utc_ns == 5100 * NS_PER_S
