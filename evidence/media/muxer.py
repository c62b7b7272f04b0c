"""FFmpeg's mov muxer (PyAV), set up for one H.264 and one AAC track as fragmented MP4 that begins or goes on.

One that goes on writes the same header once more, which its caller leaves out, and then numbers its fragments
(`fragment_index`) and times its samples (`frag_discont`) as if it had written all that came before.
"""

from fractions import Fraction
from typing import Any

import av
from av.packet import PacketSideData, packet_sidedata_type_from_literal

from evidence.frames import AudioFormat, VideoFormat

__all__ = ["AUDIO_TIME_SCALE", "VIDEO_TIME_SCALE", "Muxer"]

VIDEO_TIME_SCALE = 90_000
AUDIO_TIME_SCALE = 48_000

_BUFFER_BYTES = 1 << 20  # a fragment at 10 Mbit/s fits, so that it comes in one piece
_NEW_EXTRADATA = packet_sidedata_type_from_literal("new_extradata")


class Muxer:
    """One run of the muxer; `fragments` is how many there are from runs before it.

    Attributes:
        pieces: what it has written and nobody has taken yet.
        video: the stream of pictures, time base 1/90000.
        audio: the stream of sound, time base 1/48000.
    """

    def __init__(
        self,
        video: VideoFormat,
        audio: AudioFormat,
        audio_config: bytes,
        *,
        limit_us: int,
        fragments: int = 0,
        parameter_sets: bytes = b"",
    ) -> None:
        """Open it; one that goes on begins with no keyframe, so it is told `parameter_sets` (Annex B)."""
        self._spout = _Spout()
        self.pieces = self._spout.pieces
        self._container: Any = av.open(
            self._spout,
            "w",
            format="mp4",
            buffer_size=_BUFFER_BYTES,
            container_options=_options(limit_us, fragments),
        )
        self.video: Any = self._container.add_mux_stream(
            "h264",
            rate=video.rate,
            width=video.width,
            height=video.height,
            time_base=Fraction(1, VIDEO_TIME_SCALE),
        )
        self.audio = self._add_audio(audio, audio_config)
        self.mux = self._container.mux_one
        if parameter_sets:
            self._tell(parameter_sets)

    def close(self) -> None:
        """Let it write what it holds as its last fragment."""
        self._container.close()
        self._spout.closed = True

    def _add_audio(self, audio: AudioFormat, config: bytes) -> Any:
        stream = self._container.add_stream("aac", rate=audio.sample_rate, layout="mono")
        # The stream's encoder is never used. PyAV opens it to write the header, so it is opened before its
        # configuration is replaced by that of the encoder that made the sound.
        stream.codec_context.open()
        stream.codec_context.extradata = config
        stream.time_base = Fraction(1, AUDIO_TIME_SCALE)
        return stream

    def _tell(self, parameter_sets: bytes) -> None:
        """Hand over SPS and PPS with an empty packet, from which PyAV takes them and which the muxer drops."""
        side_data: Any = PacketSideData
        told = side_data(_NEW_EXTRADATA, len(parameter_sets))
        told.update(parameter_sets)
        packet: Any = av.Packet()
        packet.set_sidedata(told)
        packet.stream = self.video
        packet.pts = packet.dts = packet.duration = 0
        self.mux(packet)


class _Spout:
    """What PyAV writes to. It only collects, so that no error of the sink passes through libavformat."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> int:
        self.pieces.append(data)
        return len(data)


def _options(limit_us: int, fragments: int) -> dict[str, str]:
    return {
        "movflags": "empty_moov+default_base_moof+skip_trailer" + ("+frag_discont" if fragments else ""),
        "frag_duration": str(limit_us),
        "fragment_index": str(fragments + 1),
        "max_interleave_delta": "1",
        "avoid_negative_ts": "disabled",
        "use_editlist": "0",
        "video_track_timescale": str(VIDEO_TIME_SCALE),
    }
