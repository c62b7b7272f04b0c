"""The boxes made and read by hand."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.clock import parse_utc
from evidence.errors import EvidenceError
from evidence.media.boxes import PRFT_BYTES, box_at, free_box, ntp_time, prft_box, track_run


@given(st.integers(8, 200_000))
def test_a_free_box_has_exactly_the_size_that_was_asked_for(size: int) -> None:
    box = free_box(size)
    assert len(box) == size
    assert box_at(memoryview(box), 0) == (b"free", 8, size)


@pytest.mark.parametrize("size", [-1, 0, 7])
def test_no_free_box_is_smaller_than_its_header(size: int) -> None:
    with pytest.raises(EvidenceError):
        free_box(size)


def test_ntp_time_of_a_known_instant() -> None:
    # RFC 5905, figure 4: the first day UNIX, and one that the leap seconds have passed.
    assert ntp_time(0) == 2_208_988_800 << 32
    assert ntp_time(parse_utc("1999-12-31T00:00:00.500000Z")) == (3_155_587_200 << 32) + (1 << 31)


def test_prft_is_laid_out_as_the_format_says() -> None:
    box = prft_box(1, 1_500_000_000, 90_000)
    assert len(box) == 32
    size, kind, version, track, ntp, media = struct.unpack(">I4sIIQQ", box)
    assert (size, kind, version, track) == (32, b"prft", 0x01000000, 1)
    assert ntp == (2_208_988_801 << 32) + (1 << 31)
    assert media == 90_000


def test_a_box_is_none_while_it_is_not_whole() -> None:
    box = free_box(20)
    assert all(box_at(memoryview(box)[:length], 0) is None for length in range(20))


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def moof(*trafs: bytes) -> memoryview:
    return memoryview(box(b"moof", box(b"mfhd", bytes(8)) + b"".join(box(b"traf", traf) for traf in trafs)))


def test_sizes_and_durations_come_from_the_run_or_from_its_defaults() -> None:
    defaults = box(b"tfhd", struct.pack(">IIII", 0x020018, 1, 3000, 77))
    own = box(b"trun", struct.pack(">III6I", 0x301, 3, 500, 10, 1, 20, 2, 30, 3))
    assert track_run(moof(defaults + own), 1).sizes_bytes == (1, 2, 3)
    assert track_run(moof(defaults + own), 1).duration_ticks == 60
    bare = box(b"trun", struct.pack(">III", 0x1, 3, 500))
    found = track_run(moof(box(b"tfhd", struct.pack(">II", 0, 2)) + own, defaults + bare), 1)
    assert (found.data_offset_bytes, found.sizes_bytes, found.duration_ticks) == (500, (77, 77, 77), 9000)


def test_a_track_that_is_not_in_the_fragment_has_no_samples() -> None:
    traf = box(b"tfhd", struct.pack(">II", 0, 2)) + box(b"trun", struct.pack(">II", 0, 0))
    assert track_run(moof(traf), 1).sizes_bytes == ()


@pytest.mark.parametrize(
    "traf",
    [
        b"",
        box(b"tfhd", struct.pack(">II", 0, 1)),
        box(b"tfhd", struct.pack(">II", 0, 1)) + box(b"trun", struct.pack(">II", 0x200, 9)),
        box(b"tfhd", struct.pack(">II", 0, 1)) + box(b"trun", struct.pack(">II", 0, 1 << 30)),
        box(b"tfhd", struct.pack(">II", 0, 1)) + 2 * box(b"trun", struct.pack(">II", 0, 0)),
        box(b"tfhd", b"") + box(b"trun", b""),
    ],
)
def test_a_malformed_traf_is_an_error(traf: bytes) -> None:
    with pytest.raises(EvidenceError):
        track_run(moof(traf), 1)


@given(st.binary(max_size=80))
def test_no_bytes_do_worse_than_an_error(content: bytes) -> None:
    with contextlib.suppress(EvidenceError):
        track_run(memoryview(box(b"moof", content)), 1)


@pytest.mark.parametrize(
    ("utc", "era_s"),
    [
        ("2036-02-07T06:28:15.000000Z", 0xFFFF_FFFF),
        ("2036-02-07T06:28:16.000000Z", 0),
        ("2099-01-01T00:00:00.000000Z", 1_984_930_304),
    ],
)
def test_an_ntp_time_goes_on_in_the_next_era(utc: str, era_s: int) -> None:
    stamp = ntp_time(parse_utc(utc))
    assert divmod(stamp, 1 << 32) == (era_s, 0)
    assert len(prft_box(1, parse_utc(utc), 0)) == PRFT_BYTES
