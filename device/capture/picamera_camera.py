"""One run of the Pi's camera through picamera2: opened, encoding into an intake, closed. Public API only.

picamera2 and what it pulls in (numpy, PIL, av, ...) are imported when the first camera is opened and not
before; there is no lighter way in, because importing any of its submodules imports the whole package.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from device.capture.picamera_intake import HARDWARE_BUFFER_BYTES, EncoderFacts, Intake
from device.capture.source import CaptureError, SourceOptions
from evidence.frames import VideoFormat

__all__ = ["CAMERA_ERRORS", "CameraRun", "PicameraRun", "import_picamera2", "open_picamera"]

CAMERA_ERRORS = (ImportError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What picamera2 and libcamera's binding raise: neither has errors of its own, both raise the built-in ones."""

_LOG = logging.getLogger(__name__)
_NS_PER_S = 1_000_000_000
_US_PER_S = 1_000_000
_CODEC_NAME = Path("/sys/class/video4linux/video11/name")
_CODEC_PREFIX = "bcm2835-codec"
_BUFFERS = 6  # picamera2's default for video: what the sensor, the encoder and a late wake-up need
_BUFFERS_SOFTWARE = 12
"""Where the processors encode, they are late more often: what is beyond six bridges 0.2 s more at 30 frames/s.

That is a Pi 5, whose buffers come from all of its memory; the smaller boards, with a reserved area for them,
have the hardware encoder.
"""
_ENCODER_THREADS = 4  # as many as a Pi 5 has cores; each beyond the first holds a frame back


class CameraRun(Protocol):
    """A camera that is running."""

    @property
    def encoder_name(self) -> str:
        """Which encoder makes the frames, in words."""

    @property
    def nominal_format(self) -> VideoFormat:
        """What the camera agreed to deliver."""

    def force_keyframe(self) -> None:
        """Make the next frame a keyframe."""

    def close(self) -> None:
        """Stop camera and encoder, what the encoder still holds being handed over, and let the camera go."""


def import_picamera2() -> Any:
    """Import picamera2 and return it.

    Raises:
        CaptureError: it, libcamera's Python binding or something that they need is not there.
    """
    try:
        import picamera2  # noqa: PLC0415  # a second and more on a Pi Zero; only where this camera is used
    except CAMERA_ERRORS as error:
        raise CaptureError(
            "picamera2 cannot be used",
            expected="picamera2 and libcamera's Python binding",
            found=_describe(error),
            remedy="install python3-picamera2 with the operating system's package manager",
        ) from error
    return picamera2


def open_picamera(options: SourceOptions, intake: Intake) -> "PicameraRun":
    """Open the first camera and let its frames flow into `intake`.

    Raises:
        CaptureError: picamera2 is missing, there is no camera, it is in use, or it refuses the format.
    """
    package = import_picamera2()
    try:
        cameras = package.Picamera2.global_camera_info()
    except CAMERA_ERRORS as error:
        raise CaptureError("libcamera cannot look for cameras", found=_describe(error)) from error
    if not cameras:
        raise CaptureError(
            "no camera found",
            expected="one camera",
            found="none",
            remedy="check the cable and `rpicam-hello --list-cameras`",
        )
    run = PicameraRun(_open_first(package.Picamera2), options)
    try:
        run.start(intake)
    except CAMERA_ERRORS as error:
        run.close()
        raise CaptureError("the camera does not start", found=_describe(error)) from error
    return run


def _open_first(picamera2_class: Any) -> Any:
    """Make a `Picamera2`; one whose constructor fails is taken apart here, because nobody else can.

    It keeps both ends of a pipe then, and a camera in use may be tried for days.
    """
    camera = picamera2_class.__new__(picamera2_class)
    try:
        camera.__init__(0)
    except CAMERA_ERRORS as error:
        if camera.is_open:
            camera.close()
        else:
            camera.notifymeread.close()
            os.close(camera.notifyme_w)
        raise CaptureError(
            "the camera cannot be opened",
            expected="a camera that nobody else uses",
            found=_describe(error),
            remedy="stop the other program",
        ) from error
    return camera


class PicameraRun:
    """A `Picamera2` with its encoder; `start` once, `close` once."""

    def __init__(self, camera: Any, options: SourceOptions) -> None:
        self._camera = camera
        self._options = options
        self._encoder: Any = None
        self._forces = False
        self.encoder_name = "none yet"
        self.nominal_format = VideoFormat(options.width, options.height, options.rate)

    def start(self, intake: Intake) -> None:
        """Configure camera and encoder, and start both.

        Raises one of `CAMERA_ERRORS`.
        """
        hardware = has_hardware_encoder()
        self._configure(_BUFFERS if hardware else _BUFFERS_SOFTWARE)
        self._forces = hardware or _libav_takes_letters()
        self._encoder, self.encoder_name = _make_encoder(self._options, hardware=hardware)
        intake.connect(
            EncoderFacts(
                first_us=lambda: self._encoder.firsttimestamp,
                force_keyframe=self.force_keyframe,
                buffer_bytes=HARDWARE_BUFFER_BYTES if hardware else 0,
                nominal_format=self.nominal_format,
            )
        )
        self._camera.start_recording(self._encoder, _make_output(intake.take))
        _LOG.info("camera runs at %s, encoded by %s", self.nominal_format, self.encoder_name)

    def force_keyframe(self) -> None:
        """Make the next frame that goes into the encoder a keyframe; ignored where that would break it."""
        if self._forces:
            self._encoder.force_key_frame()

    def close(self) -> None:
        """Take everything down, each step also when the one before failed.

        The event loop goes first: it may have died of an exception, and `Picamera2.stop` would wait for it for
        ever. The encoder goes after the camera, so that it can hand over what it still holds, and before
        `Picamera2.close`, which takes the buffers away.
        """
        for step in (self._stop_event_loop, self._camera.stop, self._stop_encoder, self._camera.close):
            try:
                step()
            except CAMERA_ERRORS as error:
                _LOG.warning("closing the camera: %s: %s", getattr(step, "__name__", "step"), _describe(error))

    def _configure(self, buffers: int) -> None:
        options, camera = self._options, self._camera
        frame_us = round(_US_PER_S / options.rate)
        controls = {}
        if "FrameDurationLimits" in camera.camera_controls:
            controls["FrameDurationLimits"] = (
                frame_us,
                frame_us,
            )  # or the exposure control slows it in the dark
        camera.configure(
            camera.create_video_configuration(
                main={"size": (options.width, options.height), "format": "YUV420"},
                controls=controls,
                buffer_count=buffers,
                display=None,
                queue=False,  # no buffer is held back for still pictures
            )
        )
        width, height = camera.camera_configuration()["main"]["size"]
        self.nominal_format = VideoFormat(width, height, options.rate)
        if (width, height) != (options.width, options.height):
            _LOG.warning("camera delivers %dx%d, asked for %dx%d", width, height, options.width, options.height)

    def _stop_event_loop(self) -> None:
        if self._encoder is not None and self._camera.started:
            self._camera.stop_preview()

    def _stop_encoder(self) -> None:
        if self._encoder is not None and self._encoder.running:
            self._camera.stop_encoder()


def has_hardware_encoder() -> bool:
    """Say whether this is a Pi with the VideoCore IV's H.264 encoder (Zero 2 W, 3, 4).

    picamera2's own alias takes every machine that is no Pi 5 for one that has it.
    """
    from picamera2.platform import Platform, get_platform  # noqa: PLC0415  # heavy, see the module's docstring

    if get_platform() != Platform.VC4:
        return False
    try:
        return _CODEC_NAME.read_text(encoding="ascii", errors="replace").startswith(_CODEC_PREFIX)
    except OSError:
        return False


def _libav_takes_letters() -> bool:
    """Say whether picamera2's libav encoder can be asked for a keyframe.

    It marks the frame with the letter `I`. Newer PyAV (18 does) wants a number there and raises, which ends
    picamera2's event loop and with it the camera; the keyframe comes with the GOP then.
    """
    import av  # noqa: PLC0415  # heavy; picamera2 has imported it already

    try:
        av.VideoFrame(16, 16, "yuv420p").pict_type = "I"  # type: ignore[assignment]  # the point of the trial
    except TypeError:
        return False
    return True


def _make_encoder(options: SourceOptions, *, hardware: bool) -> tuple[Any, str]:
    """Make the encoder and say what it is; a keyframe every `gop_ns`, SPS and PPS before each."""
    period = max(1, round(options.gop_ns * options.rate / _NS_PER_S))
    if hardware:
        from picamera2.encoders.h264_encoder import H264Encoder  # noqa: PLC0415  # heavy

        encoder = H264Encoder(
            bitrate=options.bitrate_bps, repeat=True, iperiod=period, framerate=float(options.rate)
        )
        return encoder, "the Pi's hardware encoder"
    from picamera2.encoders.libav_h264_encoder import LibavH264Encoder  # noqa: PLC0415  # heavy

    encoder = LibavH264Encoder(bitrate=options.bitrate_bps, repeat=True, iperiod=period, framerate=options.rate)
    encoder.threads = _ENCODER_THREADS
    return encoder, "libav in software"


def _make_output(take: Callable[[bytes, bool, int | None, Any], None]) -> Any:
    """Make the `Output` through which picamera2's encoders hand on what they made."""
    from picamera2.outputs import Output  # noqa: PLC0415  # heavy

    class IntakeOutput(Output):  # type: ignore[misc]  # picamera2 ships no types
        """Appends and returns."""

        def outputframe(
            self,
            frame: bytes,
            keyframe: bool = True,
            timestamp: int | None = None,
            packet: Any = None,
            audio: bool = False,  # noqa: ARG002  # picamera2's audio is never switched on
        ) -> None:
            take(frame, keyframe, timestamp, packet)

    return IntakeOutput()


def _describe(error: BaseException) -> str:
    """One line about an error and what it came from; picamera2 wraps the telling one."""
    lines = [f"{type(error).__name__}: {error}"]
    if error.__cause__ is not None:
        lines.append(f"{type(error.__cause__).__name__}: {error.__cause__}")
    return " <- ".join(" ".join(line.split()) for line in lines)
