"""H.264 in software: libx264 through PyAV, one access unit out for each picture in."""

from fractions import Fraction
from typing import TYPE_CHECKING

from device.capture.annexb import insert_before_slice, is_idr, user_data
from device.capture.source import CaptureError, SourceOptions
from evidence.frames import EncodedFrame, Track

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["SoftwareEncoder"]

_NS_PER_S = 1_000_000_000


class SoftwareEncoder:
    """Encodes pictures as they come: no reordering, no look-ahead; a keyframe is an IDR with SPS and PPS.

    Keyframes come by time, every `options.gop_ns`, and when forced; `options.canary` goes into every access
    unit. Not thread-safe but for `force_keyframe`.

    Raises:
        CaptureError: this libav has no libx264, or it refuses the size.
    """

    def __init__(self, options: SourceOptions) -> None:
        import av  # noqa: PLC0415  # only sources that encode in software pay for it

        self._frame_ns = round(_NS_PER_S / options.rate)
        self._gop_ns = options.gop_ns
        self._units = user_data(options.canary) if options.canary else b""
        self._i_picture = av.video.frame.PictureType.I
        self._no_type = av.video.frame.PictureType.NONE
        self._forced = False
        self._next_key_ns: int | None = None
        self._count = 0
        try:
            context = av.CodecContext.create("libx264", "w")
            context.width, context.height, context.pix_fmt = options.width, options.height, "yuv420p"
            context.framerate = Fraction(options.rate)
            context.time_base = 1 / Fraction(options.rate)
            context.bit_rate = options.bitrate_bps
            context.options = _x264_options(options)
            context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise CaptureError(
                "the software encoder does not open",
                expected="libx264, even width and height",
                found=f"{options.width}x{options.height}: {error}",
            ) from error
        self._context = context

    def force_keyframe(self) -> None:
        """Make the next picture a keyframe; callable from any thread."""
        self._forced = True

    def encode(self, picture: "VideoFrame", pts_ns: int) -> EncodedFrame:
        """Encode one picture (converted and scaled where it has to be) and stamp it with the sensor's time.

        Raises:
            CaptureError: the encoder gave no access unit for this picture.
        """
        key = self._forced or self._next_key_ns is None or pts_ns >= self._next_key_ns
        if key:
            self._forced = False
            self._next_key_ns = pts_ns + self._gop_ns - self._frame_ns // 2
        picture = picture.reformat(self._context.width, self._context.height, "yuv420p")
        picture.pict_type = self._i_picture if key else self._no_type
        picture.time_base = self._context.time_base
        picture.pts = self._count
        self._count += 1
        packets = self._context.encode(picture)
        if len(packets) != 1:
            raise CaptureError(
                "the software encoder held a picture back", expected="1 packet", found=str(len(packets))
            )
        data = bytes(packets[0])
        if self._units:
            data = insert_before_slice(data, self._units)
        return EncodedFrame(Track.VIDEO, data, pts_ns, pts_ns, self._frame_ns, is_idr(data))


def _x264_options(options: SourceOptions) -> dict[str, str]:
    """Hold the bit rate over one second; keyframes come by `pict_type` alone, so by time and not by count."""
    kbit = max(options.bitrate_bps // 1000, 1)
    return {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "forced-idr": "1",
        "g": "1000000",
        "sc_threshold": "0",
        "bf": "0",
        "maxrate": f"{kbit}k",
        "bufsize": f"{kbit}k",
        "threads": "1",
        "x264-params": "repeat-headers=1:annexb=1",
    }
