"""The one sound format of clips, AAC-LC at 48 kHz mono, made with FFmpeg's encoder through PyAV.

Every part of Preroll that makes sound encodes it here, so that microphone sound and encoded silence share one
AudioSpecificConfig (ISO/IEC 14496-3) and can follow each other within one track.
"""

import functools
from fractions import Fraction

import av
import msgspec
from av.audio.codeccontext import AudioCodecContext

from evidence.errors import EvidenceError

__all__ = ["DELAY_SAMPLES", "FRAME_SAMPLES", "SAMPLE_RATE", "AacEncoder", "Silence", "silence"]

SAMPLE_RATE = 48_000
FRAME_SAMPLES = 1024
DELAY_SAMPLES = 3 * FRAME_SAMPLES
"""Frame k comes out of `AacEncoder.encode` when this many samples from its first one on have been put in."""

_BYTES_PER_SAMPLE = 2
_FRAME_BYTES = FRAME_SAMPLES * _BYTES_PER_SAMPLE
_DEFAULT_BIT_RATE = 64_000
_SETTLED_FRAMES = 4


class AacEncoder:
    """Encodes signed 16-bit little-endian mono samples at 48 kHz into raw AAC-LC frames (no ADTS headers).

    Frame k of all frames returned, counted from 0, starts at input sample 1024 * k: played at the time of that
    sample, it is in sync. The encoder's priming frame, which would start at sample -1024, is dropped here; a
    fragmented MP4 without an edit list has no place for it. Its only effect: the first 1024 samples fade in.

    Attributes:
        config: the AudioSpecificConfig, the same for every encoder of this class.
    """

    def __init__(self, bit_rate: int = _DEFAULT_BIT_RATE) -> None:
        self._context = _open_context(bit_rate)
        config = self._context.extradata
        if not config:
            raise EvidenceError("the AAC encoder gave no configuration", expected="an AudioSpecificConfig")
        self.config = bytes(config)
        self._waiting = bytearray()
        self._put_in = 0
        self._flushed = False

    def encode(self, pcm: bytes) -> list[bytes]:
        """Put samples in, any whole number of them, and return the frames that are now complete.

        Raises:
            EvidenceError: half a sample, or the encoder was flushed.
        """
        if self._flushed:
            raise EvidenceError("the AAC encoder is finished", remedy="make a new one")
        if len(pcm) % _BYTES_PER_SAMPLE:
            raise EvidenceError("half a sample", expected="16-bit samples", found=f"{len(pcm)} bytes")
        self._waiting += pcm
        frames: list[bytes] = []
        while len(self._waiting) >= _FRAME_BYTES:
            block = bytes(memoryview(self._waiting)[:_FRAME_BYTES])
            del self._waiting[:_FRAME_BYTES]
            frames += self._encode_block(block)
        return frames

    def flush(self) -> list[bytes]:
        """Return the last frames, the unfinished one filled up with silence; the encoder is finished then."""
        if self._flushed:
            return []
        frames: list[bytes] = []
        if self._waiting:
            frames += self._encode_block(bytes(self._waiting).ljust(_FRAME_BYTES, b"\0"))
            self._waiting.clear()
        self._flushed = True
        return frames + _starting_in_time(self._context.encode(None)) if self._put_in else frames

    def _encode_block(self, block: bytes) -> list[bytes]:
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.sample_rate = SAMPLE_RATE
        frame.time_base = Fraction(1, SAMPLE_RATE)
        frame.pts = self._put_in
        frame.planes[0].update(block)
        self._put_in += FRAME_SAMPLES
        return _starting_in_time(self._context.encode(frame))


class Silence(msgspec.Struct, frozen=True):
    """Encoded silence: the AudioSpecificConfig and one AAC frame of 1024 silent samples, to be repeated."""

    config: bytes
    frame: bytes


@functools.cache
def silence() -> Silence:
    """Return encoded silence, made once per process."""
    encoder = AacEncoder()
    frames = encoder.encode(bytes(_FRAME_BYTES * _SETTLED_FRAMES)) + encoder.flush()
    # The first frame may still carry the encoder's name; from the second on they are all alike.
    return Silence(config=encoder.config, frame=frames[-1])


def _starting_in_time(packets: "list[av.Packet[av.AudioStream]]") -> list[bytes]:
    return [bytes(packet) for packet in packets if packet.pts is not None and packet.pts >= 0]


def _open_context(bit_rate: int) -> AudioCodecContext:
    context = av.CodecContext.create("aac", "w")
    if not isinstance(context, AudioCodecContext):
        raise EvidenceError("no AAC encoder", expected="FFmpeg with its own AAC encoder")
    context.sample_rate = SAMPLE_RATE
    context.layout = "mono"
    context.format = "fltp"
    context.bit_rate = bit_rate
    context.time_base = Fraction(1, SAMPLE_RATE)
    context.flags |= int(av.codec.context.Flags.global_header)
    # The plain quantiser: half the time of the default one, which counts on a camera.
    context.options = {"aac_coder": "fast"}
    context.open()
    return context
