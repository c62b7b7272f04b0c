"""What lies in an interrupted clip: journal, ciphertext, media; from the disk alone.

Boxes are walked and packets are placed here and by libavformat, not by the code that wrote them.
"""

import hashlib
import io
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from device.capture.stamp import FrameStamp, read_stamp
from evidence.age import CHUNK_BYTES, AgeHeaderError, Identity, salvage_file
from evidence.documents import ClipEnd, ClipStart, SyncPoint
from evidence.journal import JournalReader

__all__ = ["ClipData", "Prft", "VideoSample", "decode_stamps", "read_clip"]

_NS_PER_S = 1_000_000_000
_BOX = struct.Struct(">I4s")
_PRFT = struct.Struct(">IIQQ")
_NTP_TO_UNIX_S = 2_208_988_800
_VIDEO_TIME_SCALE = 90_000
_SHORTEST_HEADER_BYTES = 200  # one X25519 recipient, and the nonce would follow


class VideoSample(msgspec.Struct, frozen=True):
    """One video sample that is there whole: times after the clip's first frame, place in the file."""

    pts_ns: Fraction
    dts_ns: Fraction
    duration_ns: Fraction
    start: int
    end: int
    keyframe: bool
    data: bytes


class Prft(msgspec.Struct, frozen=True):
    """One producer reference time box: where, UTC, media time."""

    start: int
    utc_ns: Fraction
    media_ns: Fraction


class ClipData(msgspec.Struct, frozen=True):
    """A clip as it was found. `plaintext` ends with the last whole authenticated chunk."""

    directory: Path
    start: ClipStart
    lines: tuple[SyncPoint | ClipEnd, ...]
    torn_bytes: int
    line0_sha256: str
    plaintext: bytes
    avcc: bytes
    samples: tuple[VideoSample, ...]
    prfts: tuple[Prft, ...]

    @property
    def attested(self) -> SyncPoint | ClipEnd | None:
        """The last good line behind line 0."""
        return self.lines[-1] if self.lines else None

    @property
    def ended(self) -> bool:
        """Whether it has its last line."""
        return isinstance(self.attested, ClipEnd)

    def samples_within(self, plaintext_bytes: int) -> tuple[VideoSample, ...]:
        """Return the samples that the first bytes hold whole."""
        return tuple(sample for sample in self.samples if sample.end <= plaintext_bytes)


def read_clip(
    directory: Path, public_key: ec.EllipticCurvePublicKey, identities: Sequence[Identity]
) -> ClipData:
    """Read a clip, and hold its journal against its bytes.

    Raises:
        AssertionError: they do not agree.
        EvidenceError: the journal is not what its camera signed, or a chunk does not authenticate.
    """
    with (directory / "journal.jsonl").open("rb") as file:
        reader = JournalReader(file, public_key)
        documents = list(reader)
        torn_bytes = reader.torn_bytes
    start = documents[0].document
    assert isinstance(start, ClipStart)
    assert start.clip == directory.name
    lines = [line.document for line in documents[1:]]
    points = tuple(line for line in lines if not isinstance(line, ClipStart))
    media = directory / "clip.mp4.age"
    ciphertext = media.read_bytes() if media.exists() else b""
    _check_intervals(points, ciphertext)
    plaintext = _open(ciphertext, identities)
    assert not points or len(plaintext) >= points[-1].plaintext_bytes, "an attested chunk does not open"
    whole = _whole_boxes(plaintext)
    avcc, samples = _samples(whole)
    return ClipData(
        directory=directory,
        start=start,
        lines=points,
        torn_bytes=torn_bytes,
        line0_sha256=documents[0].sha256,
        plaintext=plaintext,
        avcc=avcc,
        samples=samples,
        prfts=_prfts(whole),
    )


def decode_stamps(clip: ClipData, samples: Sequence[VideoSample]) -> list[FrameStamp | None]:
    """Decode samples of a clip and read what is drawn into each picture."""
    if not samples:
        return []
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = clip.avcc
    decoder.thread_count = 1
    pictures = [picture for sample in samples for picture in decoder.decode(av.Packet(sample.data))]
    return [read_stamp(picture) for picture in [*pictures, *decoder.decode(None)]]


def _check_intervals(points: Sequence[SyncPoint | ClipEnd], ciphertext: bytes) -> None:
    position = 0
    for point in points:
        assert point.ciphertext_bytes <= len(ciphertext), f"line {point.line} says more than there is"
        digest = hashlib.sha256(ciphertext[position : point.ciphertext_bytes]).hexdigest()
        assert digest == point.interval, f"other bytes than line {point.line} says"
        position = point.ciphertext_bytes
        if not isinstance(point, ClipEnd):
            assert point.plaintext_bytes % CHUNK_BYTES == 0


def _open(ciphertext: bytes, identities: Sequence[Identity]) -> bytes:
    plaintext = io.BytesIO()
    try:
        salvage_file(io.BytesIO(ciphertext), plaintext, identities)
    except AgeHeaderError:
        if len(ciphertext) >= _SHORTEST_HEADER_BYTES:
            raise
        return b""  # killed within the write of the header
    return plaintext.getvalue()


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give type, start and end of every top-level box; the last may end behind the data."""
    position = 0
    while position + _BOX.size <= len(data):
        size, kind = _BOX.unpack_from(data, position)
        assert size >= _BOX.size, f"a box of {size} bytes at {position}"
        yield kind, position, position + size
        position += size


def _whole_boxes(plaintext: bytes) -> bytes:
    """Cut behind the last box that is whole, or holds part of the samples whose `moof` is whole."""
    end = 0
    for kind, _, box_end in _boxes(plaintext):
        if box_end > len(plaintext) and kind != b"mdat":
            break
        end = min(box_end, len(plaintext))
    return plaintext[:end]


def _samples(media: bytes) -> tuple[bytes, tuple[VideoSample, ...]]:
    if not any(kind == b"mdat" for kind, _, _ in _boxes(media)):
        return b"", ()
    samples = []
    with av.open(io.BytesIO(media), "r", format="mp4") as container:
        base = container.streams.video[0].time_base
        assert base is not None
        tick_ns = base * _NS_PER_S
        for packet in container.demux(video=0):
            if not packet.size or packet.is_corrupt:
                continue  # the end, or a sample of which only a part is there
            assert packet.pts is not None
            assert packet.dts is not None
            assert packet.pos is not None
            assert packet.duration is not None
            samples.append(
                VideoSample(
                    pts_ns=packet.pts * tick_ns,
                    dts_ns=packet.dts * tick_ns,
                    duration_ns=packet.duration * tick_ns,
                    start=packet.pos,
                    end=packet.pos + packet.size,
                    keyframe=packet.is_keyframe,
                    data=bytes(packet),
                )
            )
        extradata = container.streams.video[0].codec_context.extradata
    assert extradata is not None
    return extradata, tuple(samples)


def _prfts(media: bytes) -> tuple[Prft, ...]:
    found = []
    for kind, start, _ in _boxes(media):
        if kind == b"prft":
            flags, track, ntp, media_ticks = _PRFT.unpack_from(media, start + _BOX.size)
            assert (flags, track) == (1 << 24, 1)
            utc_ns = (Fraction(ntp, 1 << 32) - _NTP_TO_UNIX_S) * _NS_PER_S
            found.append(Prft(start, utc_ns, Fraction(media_ticks * _NS_PER_S, _VIDEO_TIME_SCALE)))
    return tuple(found)
