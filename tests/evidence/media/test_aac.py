"""The AAC encoder: frame k starts at input sample 1024 * k, and silence is silent."""

import array
import math
from fractions import Fraction

import av
import pytest
from av.audio.codeccontext import AudioCodecContext

from evidence.errors import EvidenceError
from evidence.media.aac import DELAY_SAMPLES, FRAME_SAMPLES, SAMPLE_RATE, AacEncoder, silence


def tone(samples: int) -> "array.array[int]":
    return array.array("h", [int(8000 * math.sin(position * 0.05)) for position in range(samples)])


def decode(frames: list[bytes], config: bytes) -> list[float]:
    decoder = AudioCodecContext.create("aac", "r")
    decoder.extradata = config
    decoder.sample_rate = SAMPLE_RATE
    decoder.layout = "mono"
    decoded: list[float] = []
    for index, data in enumerate(frames):
        packet = av.Packet(data)
        packet.pts = index * FRAME_SAMPLES
        packet.time_base = Fraction(1, SAMPLE_RATE)
        for frame in decoder.decode(packet):
            values = array.array("f", bytes(frame.planes[0])[: frame.samples * 4])
            decoded.extend(value * 32768 for value in values)
    return decoded


def test_decoded_sound_lies_sample_for_sample_on_what_went_in() -> None:
    encoder = AacEncoder()
    samples = tone(20_000)
    pcm = samples.tobytes()
    frames = []
    for start in range(0, len(pcm), 960):
        frames += encoder.encode(pcm[start : start + 960])
    frames += encoder.flush()
    assert len(frames) == math.ceil(20_000 / FRAME_SAMPLES)
    decoded = decode(frames, encoder.config)
    assert len(decoded) == len(frames) * FRAME_SAMPLES
    settled = range(2 * FRAME_SAMPLES, 18_000)
    error = sum((decoded[position] - samples[position]) ** 2 for position in settled)
    assert error < sum(samples[position] ** 2 for position in settled) / 1000


def test_a_frame_comes_out_after_the_stated_delay() -> None:
    encoder = AacEncoder()
    pcm = tone(SAMPLE_RATE // 2).tobytes()
    block = FRAME_SAMPLES * 2
    returned = 0
    for start in range(0, len(pcm) - block, block):
        returned += len(encoder.encode(pcm[start : start + block]))
        put_in = start // 2 + FRAME_SAMPLES
        assert returned == max(0, (put_in - DELAY_SAMPLES) // FRAME_SAMPLES + 1)


def test_the_size_of_the_pieces_makes_no_difference() -> None:
    pcm = tone(10_000).tobytes()
    whole, pieces = AacEncoder(), AacEncoder()
    expected = whole.encode(pcm) + whole.flush()
    found = [frame for start in range(0, len(pcm), 334) for frame in pieces.encode(pcm[start : start + 334])]
    assert found + pieces.flush() == expected


def test_silence_shares_its_configuration_with_sound_and_decodes_to_nothing() -> None:
    quiet = silence()
    assert quiet.config == AacEncoder(bit_rate=96_000).config
    assert quiet is silence()
    decoded = decode([quiet.frame] * 5, quiet.config)
    assert len(decoded) == 5 * FRAME_SAMPLES
    assert max(map(abs, decoded)) == 0


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(EvidenceError, match="half a sample"):
        AacEncoder().encode(b"\0\0\0")


def test_a_finished_encoder_takes_nothing_more() -> None:
    encoder = AacEncoder()
    assert encoder.flush() == []
    assert encoder.flush() == []
    with pytest.raises(EvidenceError, match="finished"):
        encoder.encode(b"\0\0")
