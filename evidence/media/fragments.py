"""Reading fragmented MP4 one fragment after the other, without an index that would grow with the file.

Only what Preroll writes is read (docs/formats.md, "Fragmented MP4"; ISO/IEC 14496-12): `ftyp`, `moov`, then
fragments of `moof` and `mdat` with other boxes between them. Media data is skipped, not read. A demuxer that is
given the file as a whole keeps an entry for every frame; given one of `pieces` after the other it does not.
"""

import struct
from collections.abc import Iterator
from typing import Protocol

import msgspec

from evidence.errors import EvidenceError
from evidence.media.boxes import BOX_HEADER_BYTES, children

__all__ = ["Fragment", "Plaintext", "Sample", "fragments", "initialisation", "pieces", "video_samples"]

VIDEO_TRACK_ID = 1
_HEADER = struct.Struct(">I4sQ")
_UINT32, _INT32, _UINT64 = struct.Struct(">I"), struct.Struct(">i"), struct.Struct(">Q")
_BOX_LIMIT_BYTES = 1 << 24
"""Of what is read whole: `moov`, and the `moof` of half a second."""
_NON_SYNC = 0x10000
_FLAGS_MASK = 0xFFFFFF
_TFHD_FIELDS = ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4), (0x20, 4))  # flag, width: up to the default flags
_TFHD_DURATION, _TFHD_FLAGS = 0x8, 0x20
_TRUN_DATA_OFFSET, _TRUN_FIRST_FLAGS = 0x1, 0x4
_TRUN_FIELDS = (0x100, 0x200, 0x400, 0x800)  # duration, size, flags, composition offset
_TRUN_DURATION, _TRUN_FLAGS, _TRUN_OFFSET = 0x100, 0x400, 0x800
_MOST_SAMPLES = 1 << 16
"""In one `moof`: sizes may all be by default, so that its length alone bounds nothing."""
_PIECE_BYTES = 4 * 1024 * 1024
_PIECE_FRAGMENTS = 64


class Plaintext(Protocol):
    """What an opened clip offers; `evidence.age.AgePlaintext` is one."""

    plaintext_bytes: int

    def read_range(self, offset: int, length: int) -> bytes:
        """Return bytes from an offset on, fewer at the end."""
        ...


class Fragment(msgspec.Struct, frozen=True):
    """One whole fragment: where its `moof` starts, its `mdat` ends, and its video frames in decode order."""

    start_bytes: int
    end_bytes: int
    samples: "tuple[Sample, ...]"


class Sample(msgspec.Struct, frozen=True, gc=False):
    """Times of one video frame, in ticks of the track."""

    dts: int
    pts: int
    duration: int
    keyframe: bool


def initialisation(plaintext: Plaintext) -> bytes:
    """Return the start of the file up to the end of its `moov`.

    Raises:
        EvidenceError: it holds none, whole.
    """
    for kind, _, end in _boxes(plaintext, 0):
        if kind == b"moov":
            if end > _BOX_LIMIT_BYTES:
                raise EvidenceError(
                    "an absurd moov", expected=f"at most {_BOX_LIMIT_BYTES} bytes", found=str(end)
                )
            return plaintext.read_range(0, end)
        if kind in (b"moof", b"mdat"):
            break
    raise EvidenceError("no media in the clip", expected="a moov before the first fragment", found="none")


def fragments(plaintext: Plaintext, start_bytes: int) -> Iterator[Fragment]:
    """Yield the fragments that are there whole, from a box's start on.

    Raises:
        EvidenceError: a box is malformed.
    """
    moof: tuple[int, tuple[Sample, ...]] | None = None
    for kind, start, end in _boxes(plaintext, start_bytes):
        if kind == b"moof":
            if end - start > _BOX_LIMIT_BYTES:
                raise EvidenceError("an absurd moof", found=f"{end - start} bytes")
            moof = start, video_samples(memoryview(plaintext.read_range(start, end - start)))
        elif kind == b"mdat" and moof is not None:
            yield Fragment(moof[0], end, moof[1])
            moof = None


def pieces(plaintext: Plaintext, start_bytes: int, *, rest: bool = False) -> Iterator[bytes]:
    """Yield whole fragments from a box's start on, some megabytes at a time.

    Behind `initialisation`, each piece is an MP4. With `rest` the last one goes on to the end of the file, with
    a fragment that is not there whole.

    Raises:
        EvidenceError: a box is malformed.
    """
    begin, count, end = start_bytes, 0, start_bytes
    for fragment in fragments(plaintext, start_bytes):
        count, end = count + 1, fragment.end_bytes
        if end - begin >= _PIECE_BYTES or count == _PIECE_FRAGMENTS:
            yield plaintext.read_range(begin, end - begin)
            begin, count = end, 0
    if rest:
        end = min(plaintext.plaintext_bytes, end + _BOX_LIMIT_BYTES)
    if end > begin:
        yield plaintext.read_range(begin, end - begin)


def video_samples(moof: memoryview) -> tuple[Sample, ...]:
    """Return times and kinds of the video frames that a `moof`, header included, describes.

    Raises:
        EvidenceError: it is malformed.
    """
    samples: tuple[Sample, ...] = ()
    try:
        for kind, traf in children(moof[BOX_HEADER_BYTES:]):
            if kind == b"traf":
                samples += _of_track(traf, _MOST_SAMPLES - len(samples))
    except struct.error as error:
        raise EvidenceError("a malformed moof", expected="as many fields as its flags say") from error
    return samples


def _boxes(plaintext: Plaintext, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the boxes on the top level that are there whole."""
    while len(header := plaintext.read_range(position, _HEADER.size)) >= BOX_HEADER_BYTES:
        size, kind, large = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
        if size == 1:
            size = large
        if size < BOX_HEADER_BYTES:
            raise EvidenceError("a box smaller than its header", expected="8 bytes or more", found=f"{size}")
        if position + size > plaintext.plaintext_bytes:
            return
        yield kind, position, position + size
        position += size


def _of_track(traf: memoryview, most: int) -> tuple[Sample, ...]:
    boxes = list(children(traf))
    headers = [content for kind, content in boxes if kind == b"tfhd"]
    if len(headers) != 1:
        raise EvidenceError("a traf of another form", expected="one tfhd", found=f"{len(headers)}")
    if _UINT32.unpack_from(headers[0], 4)[0] != VIDEO_TRACK_ID:
        return ()
    defaults = _defaults(headers[0])
    dts = sum(_decode_time(content) for kind, content in boxes if kind == b"tfdt")
    samples: list[Sample] = []
    for kind, content in boxes:
        if kind == b"trun":
            samples += _run(content, defaults, dts, most - len(samples))
            dts = samples[-1].dts + samples[-1].duration if samples else dts
    return tuple(samples)


def _decode_time(tfdt: memoryview) -> int:
    (version_and_flags,) = _UINT32.unpack_from(tfdt)
    form = _UINT64 if version_and_flags > _FLAGS_MASK else _UINT32
    return int(form.unpack_from(tfdt, 4)[0])


def _defaults(tfhd: memoryview) -> dict[int, int]:
    flags = _UINT32.unpack_from(tfhd)[0] & _FLAGS_MASK
    position, found = 8, {}
    for flag, width in _TFHD_FIELDS:
        if flags & flag:
            found[flag] = int.from_bytes(tfhd[position : position + width], "big")
            position += width
    return found


def _run(trun: memoryview, defaults: dict[int, int], dts: int, most: int) -> list[Sample]:
    flags = _UINT32.unpack_from(trun)[0] & _FLAGS_MASK
    (count,) = _UINT32.unpack_from(trun, 4)
    if count > most:
        raise EvidenceError("an absurd trun", expected=f"at most {most} samples more", found=f"{count}")
    position = 8 + (4 if flags & _TRUN_DATA_OFFSET else 0)
    first_flags = _UINT32.unpack_from(trun, position)[0] if flags & _TRUN_FIRST_FLAGS else None
    position += 4 if flags & _TRUN_FIRST_FLAGS else 0
    fields = [field for field in _TRUN_FIELDS if flags & field]
    signed = trun[0] > 0  # version 1 has signed composition offsets
    samples = []
    for number in range(count):
        values = {
            field: _UINT32.unpack_from(trun, position + 4 * place)[0] for place, field in enumerate(fields)
        }
        offset = values.get(_TRUN_OFFSET, 0)
        if signed and _TRUN_OFFSET in values:
            offset = _INT32.unpack_from(trun, position + 4 * fields.index(_TRUN_OFFSET))[0]
        kind = values.get(_TRUN_FLAGS, defaults.get(_TFHD_FLAGS, 0))
        if number == 0 and first_flags is not None:
            kind = first_flags
        duration = values.get(_TRUN_DURATION, defaults.get(_TFHD_DURATION, 0))
        samples.append(Sample(dts, dts + offset, duration, not kind & _NON_SYNC))
        dts += duration
        position += 4 * len(fields)
    return samples
