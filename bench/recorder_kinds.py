"""What a maker could use to keep the seconds before a press: each kind with the same calls.

picamera2's outputs are those of the installed package. Its `__init__` alone is left out, because that opens
the camera system; nothing else is replaced.
"""

import abc
import importlib
import importlib.util
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from io import BufferedWriter
from pathlib import Path
from types import ModuleType
from typing import IO, Protocol

import av

from bench.footage import NS_PER_S
from bench.rig import Rig
from device.buffer.ring import Ring
from device.recording.events import ClipEnded, ClipFailed, ClipProgress
from device.recording.writer import ClipThread
from evidence.documents.fields import Ended
from evidence.frames import EncodedFrame, Track

__all__ = ["KINDS", "WINDOW_S", "Recorder", "picamera2_outputs"]

WINDOW_S = 30
_RING_BYTES = 96 * 1024 * 1024
_NS_PER_US = 1000


class Recorder(Protocol):
    """A ring of 30 s in front of a file. Pictures are numbered by their time after `origin_ns`."""

    def frame(self, frame: EncodedFrame) -> None:
        """Take a frame, in the encoder's thread."""

    def press(self, at_ns: int) -> None:
        """Begin to record, from 30 s before that time on; from another thread."""

    def stop(self, at_ns: int) -> None:
        """End the recording, as the peer's documentation says."""

    def span(self) -> tuple[int, int]:
        """Return time of the first picture recorded and end of the last that went to the file (ours: durable).

        Both are 0 while there is none.
        """


def picamera2_outputs() -> ModuleType:
    """Import `picamera2.outputs` of the installed package.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    if "picamera2" not in sys.modules:
        spec = importlib.util.find_spec("picamera2")
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("picamera2 is not installed", name="picamera2")
        package = ModuleType("picamera2")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["picamera2"] = package
    return importlib.import_module("picamera2.outputs")


class Preroll:
    """The camera's own ring and writer."""

    def __init__(self, directory: Path, origin_ns: int, frame_ns: int) -> None:
        del origin_ns
        self._frame_ns = frame_ns
        self._rig = Rig(directory)
        self._ring = Ring(WINDOW_S * NS_PER_S, _RING_BYTES)
        self.frame = self._ring.frame
        self._clip: ClipThread | None = None
        self._first_ns = 0
        self._synced = 0

    def press(self, at_ns: int) -> None:
        """Open a cursor and start a writer."""
        cursor = self._ring.open_cursor(at_ns)
        self._first_ns = cursor.first_pts_ns or 0
        self._clip = self._rig.make_clip(cursor, at_ns)
        self._clip.start()
        threading.Thread(target=self._rig.wait_for, args=(self._seen,), daemon=True).start()

    def stop(self, at_ns: int) -> None:
        """End the clip, and wait until it is sealed."""
        assert self._clip is not None
        self._clip.end(Ended.STOPPED, at_ns)
        self._clip.join()
        self._rig.wait_for(self._seen)

    def span(self) -> tuple[int, int]:
        """Return what the last sync point covers."""
        return self._first_ns, self._first_ns + self._synced * self._frame_ns

    def _seen(self, event: ClipProgress | ClipEnded | ClipFailed) -> bool:
        if not isinstance(event, ClipFailed):
            self._synced = event.frames
        return not isinstance(event, ClipProgress)


class CircularOutput:
    """`picamera2.outputs.CircularOutput`: no sound, a bare stream of H.264."""

    def __init__(self, directory: Path, origin_ns: int, frame_ns: int) -> None:
        self._file = directory / "out.h264"
        self._frame_ns = frame_ns
        self._origin_ns = origin_ns
        self._output = picamera2_outputs().CircularOutput(buffersize=WINDOW_S * round(NS_PER_S / frame_ns))
        self._taken = 0
        self._first = -1

    def frame(self, frame: EncodedFrame) -> None:
        """Call `outputframe`."""
        if frame.track is Track.AUDIO:
            return
        self._taken += 1
        self._output.outputframe(frame.data, frame.keyframe, (frame.pts_ns - self._origin_ns) // _NS_PER_US)
        if self._first < 0 and self._output.recording and not self._output._firstframe:  # noqa: SLF001  # as below
            self._first = self._taken - len(self._output._circular) - 1  # noqa: SLF001  # as below

    def press(self, at_ns: int) -> None:
        """Give it a file."""
        del at_ns
        self._output.fileoutput = str(self._file)
        self._output.start()

    def stop(self, at_ns: int) -> None:
        """Stop it."""
        del at_ns
        self._output.stop()

    def span(self) -> tuple[int, int]:
        """Return what has left its buffer."""
        if self._first < 0:
            return 0, 0
        out = self._taken - len(self._output._circular)  # noqa: SLF001  # nothing public says it
        return self._origin_ns + self._first * self._frame_ns, self._origin_ns + out * self._frame_ns


class CircularOutput2:
    """`picamera2.outputs.CircularOutput2` with `PyavOutput` into an MP4 file, picture and sound."""

    def __init__(self, directory: Path, origin_ns: int, frame_ns: int) -> None:
        self._file = directory / "out.mp4"
        self._frame_ns = frame_ns
        self._origin_ns = origin_ns
        self._outputs = picamera2_outputs()
        self._output = self._outputs.CircularOutput2(buffer_duration_ms=WINDOW_S * 1000)
        self._sounds = av.open(str(directory / "encoder.m4a"), "w")
        self._sound = self._sounds.add_stream("aac", rate=48_000, layout="mono")
        self._output._add_stream("video", "h264", width=1920, height=1080)  # noqa: SLF001  # as its encoder does
        self._output._add_stream(self._sound, "aac", rate=48_000, layout="mono")  # noqa: SLF001  # likewise
        self._output.start()
        self._began = False

    def frame(self, frame: EncodedFrame) -> None:
        """Call `outputframe`; sound is a packet of libav, as the encoder hands it over."""
        time_us = (frame.pts_ns - self._origin_ns) // _NS_PER_US
        if frame.track is Track.VIDEO:
            self._output.outputframe(frame.data, frame.keyframe, time_us)
            return
        packet = av.Packet(frame.data)
        packet.stream, packet.time_base = self._sound, Fraction(1, 1_000_000)
        packet.pts = packet.dts = time_us
        self._output.outputframe(None, True, time_us, packet, True)

    def press(self, at_ns: int) -> None:
        """Open an output."""
        del at_ns
        self._output.open_output(self._outputs.PyavOutput(str(self._file)))

    def stop(self, at_ns: int) -> None:
        """Close the output: what is still in the ring does not get into it."""
        del at_ns
        self._output.close_output()

    def span(self) -> tuple[int, int]:
        """Return what has left its buffer."""
        inner = self._output
        with inner._lock:  # noqa: SLF001  # nothing public says it
            if inner._first_frame:  # noqa: SLF001  # as above
                return 0, 0
            oldest_us = inner._circular[0][2]  # noqa: SLF001  # as above
            first_us = inner._time_offset  # noqa: SLF001  # as above
        return self._origin_ns + first_us * _NS_PER_US, self._origin_ns + oldest_us * _NS_PER_US


class _Deque(abc.ABC):
    """A deque of frames; at the press they go to a file, and from then on each as it comes. Picture alone."""

    def __init__(self, directory: Path, origin_ns: int, frame_ns: int) -> None:
        del origin_ns
        self._directory = directory
        self._frames: deque[EncodedFrame] = deque(maxlen=WINDOW_S * round(NS_PER_S / frame_ns))
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._first_ns = self._end_ns = 0

    def frame(self, frame: EncodedFrame) -> None:
        """Keep it, or write it."""
        if frame.track is Track.AUDIO:
            return
        with self._lock:
            if self._file is None:
                self._frames.append(frame)
            else:
                self._file.write(frame.data)
                self._end_ns = frame.pts_ns + frame.duration_ns

    def press(self, at_ns: int) -> None:
        """Write what is held, under the lock, so that nothing comes in between."""
        del at_ns
        with self._lock:
            frames = list(self._frames)
            while not frames[0].keyframe:
                del frames[0]
            file = self._opened()
            for frame in frames:
                file.write(frame.data)
            self._first_ns, self._end_ns = frames[0].pts_ns, frames[-1].pts_ns + frames[-1].duration_ns
            self._file = file

    def stop(self, at_ns: int) -> None:
        """Close the file."""
        del at_ns
        with self._lock:
            assert self._file is not None
            self._file.close()

    def span(self) -> tuple[int, int]:
        """Return what was written."""
        return self._first_ns, self._end_ns

    @abc.abstractmethod
    def _opened(self) -> IO[bytes]:
        """Return where the frames go."""


class PlainDeque(_Deque):
    """... into a plain file."""

    def _opened(self) -> IO[bytes]:
        return (self._directory / "out.h264").open("wb")


class SegmentDeque(_Deque):
    """... into `ffmpeg -c copy -f segment`."""

    def _opened(self) -> IO[bytes]:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "h264", "-framerate", "30", "-i", "pipe:"]
        command += ["-c", "copy", "-f", "segment", str(self._directory / "%03d.mp4")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert isinstance(self._process.stdin, BufferedWriter)
        return self._process.stdin

    def stop(self, at_ns: int) -> None:
        """Close the pipe, and wait for ffmpeg."""
        super().stop(at_ns)
        self._process.wait()


Make = Callable[[Path, int, int], Recorder]

KINDS: dict[str, Make] = {
    "preroll": Preroll,
    "CircularOutput": CircularOutput,
    "CircularOutput2 + PyavOutput": CircularOutput2,
    "deque + ffmpeg -f segment": SegmentDeque,
    "deque + file": PlainDeque,
}
"""By the name that the tables give them; each takes its directory, the first picture's time, a picture's."""
