"""H.264 access units as encoders hand them out, and as the ring wants them: Annex B, keyframes self-contained.

Annex B puts a start code before each NAL unit (ITU-T H.264, annex B); MP4 and some encoders of libav put its
length there instead and keep SPS and PPS apart in an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 5.3.3).
"""

from device.capture.annexb import is_idr, nal_units, parameter_sets, with_parameter_sets
from device.capture.source import CaptureError

__all__ = ["UnitFormatter", "read_avcc_record", "with_start_codes"]

_START = b"\x00\x00\x00\x01"
_SHORT_START = b"\x00\x00\x01"
_COUNT_OF_SPS = 0x1F
_SPS, _PPS = 7, 8
_AVCC_HEADER_BYTES = 6


def with_start_codes(data: bytes, length_bytes: int = 4) -> bytes:
    """Turn lengths before NAL units into start codes.

    Raises:
        CaptureError: the lengths don't add up to the access unit.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + length_bytes
        at = start + int.from_bytes(data[at:start], "big")
        if start >= len(data) or at > len(data) or at == start:
            raise CaptureError(
                "no H.264 access unit", expected="lengths that add up", found=f"{len(data)} bytes"
            )
        parts += (_START, data[start:at])
    return b"".join(parts)


def read_avcc_record(record: bytes) -> tuple[int, bytes]:
    """Read an `AVCDecoderConfigurationRecord`: bytes a length takes, and SPS and PPS with start codes.

    Raises:
        CaptureError: the record is cut short.
    """
    if len(record) <= _AVCC_HEADER_BYTES or record[0] != 1:
        raise CaptureError("not an avcC record", expected="version 1", found=f"{len(record)} bytes")
    parts: list[bytes] = []
    at = _AVCC_HEADER_BYTES - 1
    for mask in (_COUNT_OF_SPS, 0xFF):  # count of SPS in the low 5 bits, then count of PPS
        count, at = record[at] & mask, at + 1
        for _ in range(count):
            start = at + 2
            at = start + int.from_bytes(record[at:start], "big")
            if at > len(record) - (mask == _COUNT_OF_SPS):
                raise CaptureError("avcC cut short", expected=f"{at} bytes", found=f"{len(record)} bytes")
            parts += (_START, record[start:at])
    return (record[4] & 3) + 1, b"".join(parts)


class UnitFormatter:
    """Makes every access unit of one encoder Annex B, and every keyframe carry SPS and PPS.

    `extradata` is what libav keeps apart from the stream: an avcC record, SPS and PPS in Annex B, or nothing.
    """

    def __init__(self, extradata: bytes = b"") -> None:
        self._length_bytes = 0
        self._parameter_sets = b""
        if extradata.startswith(b"\x01"):
            self._length_bytes, self._parameter_sets = read_avcc_record(extradata)
        else:
            self._parameter_sets = parameter_sets(extradata)

    def picture(self, data: bytes) -> bytes:
        """Return an access unit that is no keyframe in Annex B; the same object where it is already.

        Raises:
            CaptureError: its lengths don't add up.
        """
        return with_start_codes(data, self._length_bytes) if self._length_bytes else data

    def keyframe(self, data: bytes) -> bytes | None:
        """Return a keyframe with SPS and PPS in front; `None` if it is no IDR picture or they never came.

        Raises:
            CaptureError: its lengths don't add up.
        """
        unit = self.picture(data)
        if not unit.startswith((_START, _SHORT_START)) or not is_idr(unit):
            return None  # such as the rest of a unit that the encoder split
        sets = parameter_sets(unit)
        if {kind for kind, _, _ in nal_units(sets)} == {_SPS, _PPS}:
            self._parameter_sets = sets
            return unit
        return with_parameter_sets(unit, self._parameter_sets) if self._parameter_sets else None
