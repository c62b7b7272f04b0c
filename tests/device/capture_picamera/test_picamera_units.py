"""The parts of the source without a camera: H.264 units in either form, and the sensor's clock."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture.picamera_clock import SensorClock, SensorTimebase, measure_suspended_ns
from device.capture.picamera_h264 import UnitFormatter, read_avcc_record, with_start_codes
from device.capture.source import CaptureError

NS_PER_S = 1_000_000_000
START = b"\0\0\0\1"
SPS, PPS, SEI = b"\x67\x64\x00\x28\xac", b"\x68\xee\x3c\x80", b"\x06\x05\x01\xff\x80"
IDR, SLICE = b"\x65\x88\x84\x11", b"\x41\x9a\x02\x22"

nal_units = st.builds(
    lambda header, body: bytes([header]) + body.replace(b"\0", b"\1") + b"\x80",
    st.sampled_from([0x06, 0x09, 0x41, 0x65, 0x67, 0x68]),
    st.binary(max_size=60),
)


def annex_b(*units: bytes) -> bytes:
    return b"".join(START + unit for unit in units)


def lengths(*units: bytes, length_bytes: int = 4) -> bytes:
    return b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)


def avcc(sps: bytes, pps: bytes, length_bytes: int = 4) -> bytes:
    head = bytes([1, 0x64, 0, 0x28, 0xFC | (length_bytes - 1), 0xE1])
    return head + len(sps).to_bytes(2, "big") + sps + b"\1" + len(pps).to_bytes(2, "big") + pps


@given(st.lists(nal_units, min_size=1, max_size=6), st.sampled_from([1, 2, 4]))
def test_lengths_become_start_codes(units: list[bytes], length_bytes: int) -> None:
    assert with_start_codes(lengths(*units, length_bytes=length_bytes), length_bytes) == annex_b(*units)


@given(st.binary(max_size=200))
def test_any_bytes_are_converted_or_refused(data: bytes) -> None:
    try:
        converted = with_start_codes(data)
    except CaptureError:
        return
    assert len(converted) == len(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_keyframe_or_not(data: bytes) -> None:
    unit = UnitFormatter(annex_b(SPS, PPS)).keyframe(START + data)
    assert unit is None or len(unit) >= len(data)


@given(st.binary(max_size=60))
def test_any_record_is_read_or_refused(data: bytes) -> None:
    try:
        length_bytes, _ = read_avcc_record(b"\1" + data)
    except CaptureError:
        return
    assert 1 <= length_bytes <= 4


@given(st.integers(0, 40))
def test_a_record_cut_short_is_refused(left: int) -> None:
    record = avcc(SPS, PPS)
    if left < len(record):
        with pytest.raises(CaptureError):
            read_avcc_record(record[:left])


def test_a_keyframe_with_its_parameter_sets_is_the_same_object() -> None:
    unit = annex_b(SPS, PPS, SEI, IDR)
    assert UnitFormatter().keyframe(unit) is unit
    picture = annex_b(SLICE)
    assert UnitFormatter().picture(picture) is picture


def test_a_keyframe_without_parameter_sets_gets_the_last_ones() -> None:
    formatter = UnitFormatter()
    assert formatter.keyframe(annex_b(IDR)) is None
    formatter.keyframe(annex_b(SPS, PPS, IDR))
    assert formatter.keyframe(annex_b(SEI, IDR)) == annex_b(SPS, PPS, SEI, IDR)


@pytest.mark.parametrize("extradata", [annex_b(SPS, PPS), b"\0\0\1" + SPS + b"\0\0\1" + PPS])
def test_parameter_sets_of_annex_b_extradata(extradata: bytes) -> None:
    assert UnitFormatter(extradata).keyframe(annex_b(IDR)) == annex_b(SPS, PPS, IDR)


@pytest.mark.parametrize("length_bytes", [2, 4])
def test_an_encoder_that_writes_lengths(length_bytes: int) -> None:
    formatter = UnitFormatter(avcc(SPS, PPS, length_bytes))
    assert formatter.keyframe(lengths(SEI, IDR, length_bytes=length_bytes)) == annex_b(SPS, PPS, SEI, IDR)
    assert formatter.picture(lengths(SLICE, SLICE, length_bytes=length_bytes)) == annex_b(SLICE, SLICE)


@pytest.mark.parametrize(
    "unit", [b"\x12\x34" * 200, annex_b(SPS, PPS, SLICE), annex_b(SPS, PPS), annex_b(SPS, IDR), b""]
)
def test_what_only_claims_to_be_a_keyframe_is_none(unit: bytes) -> None:
    assert UnitFormatter().keyframe(unit) is None


@pytest.mark.parametrize(
    ("ahead_ns", "suspended_ns", "timebase"),
    [
        (0, 0, SensorTimebase.MONOTONIC),
        (0, 3_600 * NS_PER_S, SensorTimebase.MONOTONIC),
        (3_600 * NS_PER_S, 3_600 * NS_PER_S, SensorTimebase.BOOTTIME),
        (2 * NS_PER_S, 2 * NS_PER_S, SensorTimebase.BOOTTIME),
    ],
)
def test_the_sensors_clock_is_found_out(ahead_ns: int, suspended_ns: int, timebase: SensorTimebase) -> None:
    now_ns = 50_000 * NS_PER_S
    exposed_ns = now_ns - 40_000_000
    clock = SensorClock(lambda: suspended_ns)
    assert clock.anchor(exposed_ns + ahead_ns, now_ns) is timebase
    assert clock.to_monotonic(exposed_ns + ahead_ns) == exposed_ns


def test_a_sensor_with_a_clock_of_its_own_starts_at_its_first_arrival() -> None:
    clock = SensorClock(lambda: 0)
    assert clock.anchor(123, 50_000 * NS_PER_S) is SensorTimebase.UNKNOWN
    assert clock.to_monotonic(123 + 33) == 50_000 * NS_PER_S + 33


def test_noise_between_two_readings_moves_no_time_stamp() -> None:
    suspended = [5 * NS_PER_S, 5 * NS_PER_S + 900_000, 9 * NS_PER_S]
    clock = SensorClock(lambda: suspended.pop(0))
    clock.anchor(105 * NS_PER_S, 100 * NS_PER_S)
    clock.measure_again()
    assert clock.to_monotonic(105 * NS_PER_S) == 100 * NS_PER_S
    clock.measure_again()
    assert clock.to_monotonic(109 * NS_PER_S) == 100 * NS_PER_S


def test_the_two_clocks_of_this_machine_are_told_apart() -> None:
    measured_ns = measure_suspended_ns()
    read_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    assert abs(measured_ns - read_ns) < NS_PER_S // 10
