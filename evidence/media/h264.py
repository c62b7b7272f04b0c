"""What the muxer must know of H.264: NAL units, parameter sets and IDR pictures of Annex B access units.

Source: ITU-T H.264, 7.3.1 (NAL unit), table 7-1 (types) and annex B (byte stream). Only what stands before
the first slice is looked at, so the cost doesn't grow with the size of the picture.
"""

from collections.abc import Iterator

from evidence.errors import EvidenceError

__all__ = ["ANNEX_B_START_CODE", "is_idr", "leading_nal_units", "parameter_sets", "picture_size"]

ANNEX_B_START_CODE = b"\0\0\0\1"
"""The start code that `parameter_sets` puts before each NAL unit."""

_START_CODE = b"\0\0\1"  # what all of them end in
_TYPE_MASK = 0x1F
_SLICE, _IDR, _SPS, _PPS = 1, 5, 7, 8
_VCL = range(_SLICE, _IDR + 1)


def leading_nal_units(access_unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and bytes (no start code) of each NAL unit before the first slice, then its type and `b""`."""
    start = access_unit.find(_START_CODE)
    while start != -1:
        start += len(_START_CODE)
        if start >= len(access_unit):
            return
        kind = access_unit[start] & _TYPE_MASK
        if kind in _VCL:
            yield kind, b""
            return
        end = access_unit.find(_START_CODE, start)
        # A NAL unit never ends in a zero byte: those belong to the next start code or are padding.
        yield kind, access_unit[start : end if end != -1 else len(access_unit)].rstrip(b"\0")
        start = end


def is_idr(access_unit: bytes) -> bool:
    """Tell whether the first slice of an access unit belongs to an IDR picture."""
    return any(kind == _IDR for kind, _ in leading_nal_units(access_unit))


def parameter_sets(keyframe: bytes) -> bytes:
    """Return the SPS and PPS in front of a keyframe, in Annex B form with four-byte start codes.

    Raises:
        EvidenceError: one of the two is not there.
    """
    found = {_SPS: b"", _PPS: b""}
    for kind, unit in leading_nal_units(keyframe):
        if kind in found:
            found[kind] += ANNEX_B_START_CODE + unit
    if not all(found.values()):
        there = [name for name, kind in (("SPS", _SPS), ("PPS", _PPS)) if found[kind]]
        raise EvidenceError(
            "a keyframe without its parameter sets",
            expected="SPS and PPS in front of every keyframe",
            found=" and ".join(there) or "neither",
            remedy="let the encoder repeat its headers at every keyframe",
        )
    return found[_SPS] + found[_PPS]


def picture_size(keyframe: bytes) -> tuple[int, int]:
    """Return width and height of the picture in pixels, cropping applied, as FFmpeg's parser reads the SPS.

    Raises:
        EvidenceError: no SPS that FFmpeg understands.
    """
    import av  # noqa: PLC0415 - the rest of this module does without, and importing av is slow

    context = av.CodecContext.create("h264", "r")
    assert isinstance(context, av.VideoCodecContext)
    context.parse(keyframe)
    context.parse(b"")
    if context.width <= 0 or context.height <= 0:
        raise EvidenceError(
            "no picture size", expected="a keyframe with SPS and PPS", found=f"{len(keyframe)} bytes"
        )
    return context.width, context.height
