"""What an ALSA microphone makes of what a driver says; the driver is a stand-in for the module `alsaaudio`."""

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from device.capture.sound.alsa import AlsaMicrophone
from device.capture.sound.microphone import MicrophoneError, PcmBlock

S = 1_000_000_000
MS = 1_000_000
PERIOD = bytes(1_920)


class ALSAAudioError(Exception):
    pass


class Driver:
    """Both the module and its one PCM device. `script` holds the answers to reads, `stamps` to `htimestamp`."""

    ALSAAudioError = ALSAAudioError
    PCM_CAPTURE, PCM_NONBLOCK, PCM_FORMAT_S16_LE = 1, 1, 2
    PCM_TSTAMP_ENABLE, PCM_TSTAMP_TYPE_MONOTONIC, PCM_STATE_DISCONNECTED = 1, 1, 8

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.write(self.writing, b"x")  # always something to read: the answers come from the script
        self.format = {
            "rate": 48_000,
            "channels": 1,
            "format": 2,
            "format_name": "S16_LE",
            "buffer_size": 24_000,
        }
        self.clock_type = 1
        self.script: list[tuple[int, bytes] | Exception] = []
        self.stamp: tuple[int, int, int] | None = None
        self.waiting = 0
        self.running_state = 3
        self.closed = 0

    def PCM(self, **_wanted: object) -> "Driver":  # noqa: N802  # the name in alsaaudio
        return self

    def info(self) -> dict[str, object]:
        return dict(self.format)

    def set_tstamp_mode(self, _mode: int) -> None:
        if self.clock_type < 0:
            raise RuntimeError("Unable to set pcm tstamp mode!")

    def set_tstamp_type(self, _type: int) -> None:
        return

    def get_tstamp_type(self) -> int:
        return self.clock_type

    def polldescriptors(self) -> list[tuple[int, int]]:
        return [(self.reading, 1)]

    def polldescriptors_revents(self, descriptors: list[tuple[int, int]]) -> int:
        assert descriptors == [(self.reading, 1)]
        return 1

    def read(self) -> tuple[int, bytes]:
        answer = self.script.pop(0) if self.script else (0, b"")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def htimestamp(self) -> tuple[int, int, int]:
        return self.stamp or (*divmod(time.monotonic_ns(), S), self.waiting)

    def state(self) -> int:
        return self.running_state

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def driver() -> Iterator[Driver]:
    made = Driver()
    yield made
    os.close(made.reading)
    os.close(made.writing)


def opened(driver: Driver, *answers: tuple[int, bytes] | Exception) -> AlsaMicrophone:
    microphone = AlsaMicrophone("plughw:1,0", alsa=driver)
    microphone.open()
    driver.script = list(answers)
    return microphone


def read(microphone: AlsaMicrophone) -> PcmBlock | None:
    return microphone.read(threading.Event())


def test_the_first_samples_time_counts_back_from_the_drivers_stamp(driver: Driver) -> None:
    driver.stamp = (*divmod(time.monotonic_ns(), S), 480)
    block = read(opened(driver, (960, PERIOD)))
    assert block == PcmBlock(driver.stamp[0] * S + driver.stamp[1] - 30 * MS, PERIOD)


def test_an_overrun_is_a_hole_in_front_of_the_next_block(driver: Driver) -> None:
    microphone = opened(driver, (960, PERIOD), (-errno.EPIPE, b""), (0, b""), (960, PERIOD), (960, PERIOD))
    found = [read(microphone) for _ in range(4)]
    assert [block and block.after_hole for block in found] == [False, None, True, False]
    assert microphone.overruns == 1


@pytest.mark.parametrize("moment", ["read", "restart after an overrun"])
def test_unplugged_is_one_clear_line(driver: Driver, moment: str) -> None:
    gone = ALSAAudioError("No such device [plughw:1,0]")
    microphone = opened(driver, *([gone] if moment == "read" else [(-errno.EPIPE, b""), gone]))
    with pytest.raises(MicrophoneError, match=r"plughw:1,0 lost.*No such device.*plug it in"):
        read(microphone)
    microphone.close()
    assert driver.closed == 1


def test_a_card_that_says_it_is_disconnected_is_lost(driver: Driver) -> None:
    microphone = opened(driver)
    driver.running_state = driver.PCM_STATE_DISCONNECTED
    with pytest.raises(MicrophoneError, match="disconnected"):
        read(microphone)


def test_a_card_that_falls_silent_is_lost(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    microphone = opened(driver)
    assert read(microphone) is None
    late_ns = time.monotonic_ns() + 3 * S
    monkeypatch.setattr(time, "monotonic_ns", lambda: late_ns)
    with pytest.raises(MicrophoneError, match="no sample in 2 s"):
        read(microphone)


@pytest.mark.parametrize(
    "stamp",
    [(0, 0, 0), (1_800_000_000, 0, 0), (2**40, 2**40, 7), "from the future", "longer than the buffer"],
    ids=["zero", "wall clock", "memory", "future", "overlong"],
)
def test_a_stamp_that_cannot_be_true_is_refused(driver: Driver, stamp: tuple[int, int, int] | str) -> None:
    now_ns = time.monotonic_ns()
    if stamp == "from the future":
        stamp = (*divmod(now_ns + 60 * S, S), 0)
    if stamp == "longer than the buffer":
        stamp = (*divmod(now_ns, S), 24_001)
    assert isinstance(stamp, tuple)
    driver.stamp = stamp
    with pytest.raises(MicrophoneError, match=r"no timestamps.*hw:CARD"):
        read(opened(driver, (960, PERIOD)))


@pytest.mark.parametrize("clock_type", [0, -1])
def test_a_device_that_stamps_with_another_clock_is_refused(driver: Driver, clock_type: int) -> None:
    driver.clock_type = clock_type
    with pytest.raises(MicrophoneError, match="no timestamps"):
        opened(driver)
    assert driver.closed == 1


@pytest.mark.parametrize(("field", "value"), [("rate", 44_100), ("channels", 2), ("format", 10)])
def test_a_device_with_another_format_is_refused(driver: Driver, field: str, value: int) -> None:
    driver.format[field] = value
    with pytest.raises(MicrophoneError, match=r"48000 Hz, 1 channel.*plughw"):
        opened(driver)
    assert driver.closed == 1


def test_without_pyalsaaudio_there_is_no_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alsaaudio", None)
    with pytest.raises(MicrophoneError, match="pyalsaaudio"):
        AlsaMicrophone().open()
