"""The few boxes of ISO base media files (ISO/IEC 14496-12) that are written or read by hand.

Muxing is FFmpeg's business; `prft` and `free` are ours (docs/formats.md, "Fragmented MP4"), and `trun` is
read back to know which frame ends at which byte.
"""

import struct
from collections.abc import Iterator

import msgspec

from evidence.errors import EvidenceError

__all__ = [
    "BOX_HEADER_BYTES",
    "PRFT_BYTES",
    "TrackRun",
    "box_at",
    "children",
    "free_box",
    "ntp_time",
    "prft_box",
    "track_run",
]

BOX_HEADER_BYTES = 8
PRFT_BYTES = 32

_HEADER = struct.Struct(">I4s")
_LARGE_SIZE = struct.Struct(">Q")
_PRFT = struct.Struct(">I4sIIQQ")
_PRFT_VERSION_1 = 1 << 24
_UINT32 = struct.Struct(">I")
_TFHD_DURATION, _TFHD_SIZE = 0x8, 0x10
_TFHD_DEFAULTS = ((0x1, 8), (0x2, 4), (_TFHD_DURATION, 4), (_TFHD_SIZE, 4))  # flag, width in bytes
_TRUN_DATA_OFFSET, _TRUN_FIRST_FLAGS, _TRUN_DURATION, _TRUN_SIZE = 0x1, 0x4, 0x100, 0x200
_TRUN_PER_SAMPLE = (_TRUN_DURATION, _TRUN_SIZE, 0x400, 0x800)
_FLAGS_MASK = 0xFFFFFF
_MOST_SAMPLES = 1 << 16  # in one fragment of half a second
_UNIX_EPOCH_IN_NTP_S = 2_208_988_800
_NS_PER_S = 1_000_000_000
_ZEROS = bytes(64 * 1024)


class TrackRun(msgspec.Struct, frozen=True):
    """One track's samples in one fragment: where their data starts (from the `moof`), and their sizes."""

    data_offset_bytes: int
    sizes_bytes: tuple[int, ...]
    duration_ticks: int


def free_box(size_bytes: int) -> bytes:
    """Return a filler box of exactly that many bytes.

    Raises:
        EvidenceError: fewer bytes than a box header takes.
    """
    if size_bytes < BOX_HEADER_BYTES:
        raise EvidenceError("no box is that small", expected="8 bytes or more", found=f"{size_bytes}")
    padding = size_bytes - BOX_HEADER_BYTES
    return _HEADER.pack(size_bytes, b"free") + (_ZEROS[:padding] if padding <= len(_ZEROS) else bytes(padding))


def ntp_time(utc_ns: int) -> int:
    """Return nanoseconds since 1970 as a 64-bit NTP time stamp (RFC 5905: since 1900, 32.32 fixed point).

    From 2036 on it counts from the beginning of the next era, as RFC 5905, section 6, has it.
    """
    seconds, rest_ns = divmod(utc_ns, _NS_PER_S)
    era_s = (seconds + _UNIX_EPOCH_IN_NTP_S) & 0xFFFF_FFFF
    return (era_s << 32) + (rest_ns << 32) // _NS_PER_S


def prft_box(track_id: int, utc_ns: int, media_ticks: int) -> bytes:
    """Return a producer reference time box: UTC at a media time of a track, in the track's time scale."""
    return _PRFT.pack(PRFT_BYTES, b"prft", _PRFT_VERSION_1, track_id, ntp_time(utc_ns), media_ticks)


def box_at(data: memoryview, start: int) -> tuple[bytes, int, int] | None:
    """Return type, start of content and end of the box at `start`, or `None` while it is not there whole."""
    if start + BOX_HEADER_BYTES > len(data):
        return None
    size, kind = _HEADER.unpack_from(data, start)
    content = start + BOX_HEADER_BYTES
    if size == 1:
        if content + _LARGE_SIZE.size > len(data):
            return None
        (size,) = _LARGE_SIZE.unpack_from(data, content)
        content += _LARGE_SIZE.size
    end = start + size
    if end < content:
        raise EvidenceError("a box smaller than its header", expected="8 bytes or more", found=f"{size}")
    return (kind, content, end) if end <= len(data) else None


def track_run(moof: memoryview, track_id: int) -> TrackRun:
    """Read the samples of one track from a `moof`, header included; no samples if the track has none in it.

    Raises:
        EvidenceError: the box is malformed, or the samples of the track don't lie in one piece.
    """
    for kind, traf in children(moof[BOX_HEADER_BYTES:]):
        if kind != b"traf":
            continue
        headers, runs = _split_traf(traf)
        if len(headers) != 1 or len(runs) != 1:
            raise EvidenceError(
                "a traf of another form", expected="one tfhd, one trun", found=f"{len(headers)}, {len(runs)}"
            )
        try:
            if _UINT32.unpack_from(headers[0], 4)[0] == track_id:
                return _read_run(headers[0], runs[0])
        except struct.error as error:
            raise EvidenceError("a malformed traf", expected="as many fields as its flags say") from error
    return TrackRun(0, (), 0)


def _split_traf(traf: memoryview) -> tuple[list[memoryview], list[memoryview]]:
    headers, runs = [], []
    for kind, content in children(traf):
        if kind == b"tfhd":
            headers.append(content)
        elif kind == b"trun":
            runs.append(content)
    return headers, runs


def children(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of each box inside another one's content.

    Raises:
        EvidenceError: they do not fill it exactly.
    """
    start = 0
    while found := box_at(content, start):
        kind, inside, end = found
        yield kind, content[inside:end]
        start = end
    if start != len(content):
        raise EvidenceError(
            "a box that is longer than the one around it", found=f"{len(content) - start} bytes over"
        )


def _read_run(tfhd: memoryview, trun: memoryview) -> TrackRun:
    default = _tfhd_defaults(tfhd)
    flags = _UINT32.unpack_from(trun)[0] & _FLAGS_MASK
    (count,) = _UINT32.unpack_from(trun, 4)
    if count > _MOST_SAMPLES:
        raise EvidenceError("an absurd trun", expected=f"at most {_MOST_SAMPLES} samples", found=f"{count}")
    position = 8
    data_offset = 0
    if flags & _TRUN_DATA_OFFSET:
        (data_offset,) = _UINT32.unpack_from(trun, position)
        position += 4
    if flags & _TRUN_FIRST_FLAGS:
        position += 4
    fields = [field for field in _TRUN_PER_SAMPLE if flags & field]
    values = struct.unpack_from(f">{count * len(fields)}I", trun, position)

    def column(field: int, otherwise: int) -> tuple[int, ...]:
        return values[fields.index(field) :: len(fields)] if field in fields else (otherwise,) * count

    durations = column(_TRUN_DURATION, default.get(_TFHD_DURATION, 0))
    return TrackRun(data_offset, column(_TRUN_SIZE, default.get(_TFHD_SIZE, 0)), sum(durations))


def _tfhd_defaults(tfhd: memoryview) -> dict[int, int]:
    """Read the optional fields of a `tfhd` by their flag."""
    flags = _UINT32.unpack_from(tfhd)[0] & _FLAGS_MASK
    position = 8
    found: dict[int, int] = {}
    for flag, width in _TFHD_DEFAULTS:
        if flags & flag:
            found[flag] = int.from_bytes(tfhd[position : position + width], "big")
            position += width
    return found
