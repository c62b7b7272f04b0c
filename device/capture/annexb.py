"""H.264 access units in Annex B form (ITU-T H.264, Annex B and 7.3.1): finding and adding NAL units."""

from collections.abc import Iterator

__all__ = [
    "SEI_UUID",
    "first_slice",
    "insert_before_slice",
    "is_idr",
    "nal_units",
    "parameter_sets",
    "user_data",
]

SEI_UUID = bytes.fromhex("8f5b3c1ad7e94f62b1c4a9d35e7f2b96")
"""Names the user data of this house in an SEI message (random, RFC 9562 version 4)."""

_START = b"\x00\x00\x01"
_SLICE, _IDR, _SEI, _SPS, _PPS, _DELIMITER = 1, 5, 6, 7, 8, 9
_TYPE_MASK = 0x1F
_USER_DATA_UNREGISTERED = 5


def nal_units(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Give type, offset and end of each NAL unit, start codes and trailing zeros left out."""
    at = data.find(_START)
    while at >= 0:
        begin = at + len(_START)
        at = data.find(_START, begin)
        end = len(data) if at < 0 else at
        while end > begin and data[end - 1] == 0:
            end -= 1
        if end > begin:
            yield data[begin] & _TYPE_MASK, begin, end


def first_slice(data: bytes) -> tuple[int, int] | None:
    """Return type and offset (of its start code) of the first coded slice; what follows it is not looked at."""
    at = data.find(_START)
    while 0 <= at < len(data) - len(_START):
        kind = data[at + len(_START)] & _TYPE_MASK
        if _SLICE <= kind <= _IDR:
            return kind, at - 1 if at > 0 and data[at - 1] == 0 else at
        at = data.find(_START, at + len(_START))
    return None


def is_idr(data: bytes) -> bool:
    """Whether the access unit is an IDR picture, from which decoding can start without anything before it."""
    found = first_slice(data)
    return found is not None and found[0] == _IDR


def parameter_sets(data: bytes) -> bytes:
    """Return the SPS and PPS in front of the first slice (or of extradata), with start codes, in order."""
    head = first_slice(data)
    part = data if head is None else data[: head[1]]
    return b"".join(
        b"\x00" + _START + part[begin:end] for kind, begin, end in nal_units(part) if kind in {_SPS, _PPS}
    )


def insert_before_slice(data: bytes, units: bytes) -> bytes:
    """Put whole NAL units (with start codes) in front of the first slice, behind parameter sets."""
    found = first_slice(data)
    at = len(data) if found is None else found[1]
    return data[:at] + units + data[at:]


def with_parameter_sets(data: bytes, sets: bytes) -> bytes:
    """Put SPS and PPS (with start codes) first, behind an access unit delimiter if there is one."""
    kind, _, end = next(nal_units(data), (0, 0, 0))
    at = end if kind == _DELIMITER else 0
    return data[:at] + sets + data[at:]


def user_data(payload: bytes) -> bytes:
    """Wrap bytes as one SEI message `user_data_unregistered` (ITU-T H.264, D.1.7), start code included.

    Raises:
        ValueError: a zero byte in the payload, which would have to be escaped and could not be searched for.
    """
    if 0 in payload:
        raise ValueError("user data with a zero byte cannot be found again in a stream")
    size = len(SEI_UUID) + len(payload)
    sizes = b"\xff" * (size // 255) + bytes([size % 255])
    return b"\x00" + _START + bytes([_SEI, _USER_DATA_UNREGISTERED]) + sizes + SEI_UUID + payload + b"\x80"
