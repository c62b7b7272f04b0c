"""A stand-in for /dev/video11, the Pi's hardware encoder, as picamera2's V4L2 encoder sees it.

It answers the ioctls of `V4L2Encoder` and its poll, so that picamera2's own code runs: set-up, queueing, the
polling thread, copying out of its sixteen buffers of 512 KiB. What it "encodes" is what the test scripts; a
unit longer than a buffer is split over two, as a V4L2 encoder without room does.
"""

import io
import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import videodev2  # type: ignore[import-untyped]  # a table of constants, no types

BUFFER_BYTES = 512 << 10
PERIOD = 30
KEYFRAME = b"\0\0\0\1\x27\x64\0\x28" + b"\0\0\0\1\x28\xee\x3c" + b"\0\0\0\1\x25" + b"\x88" * 900
PICTURE = b"\0\0\0\1\x21" + b"\x9a" * 300


class Codec:
    """The device; `next_sizes` are sizes in bytes that the next units are to have instead of their own."""

    def __init__(self) -> None:
        self.next_sizes: deque[int] = deque()
        self._changed = threading.Condition()
        self.open()

    def open(self, *_: Any, **__: Any) -> "Codec":
        """Open the device: everything of the run before is forgotten."""
        self.closed = False
        self.controls: dict[int, int] = {}
        self._since_key: int | None = None
        self._free: deque[int] = deque()
        self._sources: deque[int] = deque()
        self._coded: deque[tuple[int, int, bool, Any]] = deque()
        self._memory: dict[int, io.BytesIO] = {}
        return self

    def fileno(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    def map(self, _fd: int, length: int, *_: Any, offset: int) -> io.BytesIO:
        self._memory[offset] = io.BytesIO(bytes(length))
        return self._memory[offset]

    def poller(self) -> Any:
        return SimpleNamespace(register=lambda *_: None, poll=self._poll)

    def _poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        with self._changed:
            self._changed.wait_for(lambda: self._sources or self._coded, timeout_ms / 1000)
            events = (4 if self._sources else 0) | (1 if self._coded else 0)  # POLLOUT, POLLIN
            return [(self.fileno(), events)] if events else []

    def ioctl(self, _fd: Any, request: int, argument: Any) -> int:
        with self._changed:
            if request == videodev2.VIDIOC_S_CTRL:
                self.controls[argument.id] = argument.value
            elif request == videodev2.VIDIOC_S_EXT_CTRLS:
                for index in range(argument.count):
                    self.controls[argument.controls[index].id] = argument.controls[index].value
            elif request == videodev2.VIDIOC_QUERYBUF:
                argument.m.planes[0].length = BUFFER_BYTES
                argument.m.planes[0].m.mem_offset = argument.index
            elif request in {videodev2.VIDIOC_QBUF, videodev2.VIDIOC_DQBUF}:
                self._buffer(request, argument)
            self._changed.notify_all()
        return 0

    def _buffer(self, request: int, buffer: Any) -> None:
        capture = buffer.type == videodev2.V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
        if request == videodev2.VIDIOC_QBUF and capture:
            self._free.append(buffer.index)
        elif request == videodev2.VIDIOC_QBUF:
            self._encode(buffer.timestamp.tv_sec, buffer.timestamp.tv_usec)
            self._sources.append(buffer.index)
        elif capture:
            index, size, keyframe, (seconds, microseconds) = self._coded.popleft()
            buffer.index = index
            buffer.flags = videodev2.V4L2_BUF_FLAG_KEYFRAME if keyframe else 0
            buffer.m.planes[0].bytesused, buffer.m.planes[0].length = size, BUFFER_BYTES
            buffer.timestamp.tv_sec, buffer.timestamp.tv_usec = seconds, microseconds
        else:
            buffer.index = self._sources.popleft()

    def _encode(self, seconds: int, microseconds: int) -> None:
        forced = self.controls.pop(videodev2.V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 0)
        since = self._since_key
        keyframe = bool(forced) or since is None or since + 1 >= PERIOD
        self._since_key = 0 if keyframe or since is None else since + 1
        unit = KEYFRAME if keyframe else PICTURE
        if self.next_sizes:
            unit = unit.ljust(self.next_sizes.popleft(), b"\x77")
        for start in range(0, len(unit), BUFFER_BYTES):
            part = unit[start : start + BUFFER_BYTES]
            index = self._free.popleft()
            self._memory[index].seek(0)
            self._memory[index].write(part)
            self._memory[index].seek(0)
            self._coded.append((index, len(part), keyframe, (seconds, microseconds)))


def put_in_place(patch: Any, codec: Codec) -> None:
    """Put the codec where picamera2's encoder looks for the kernel."""
    from picamera2.encoders import v4l2_encoder

    patch.setattr(v4l2_encoder, "open", codec.open, raising=False)
    patch.setattr(v4l2_encoder, "fcntl", SimpleNamespace(ioctl=codec.ioctl))
    mapper = SimpleNamespace(mmap=codec.map, PROT_READ=1, PROT_WRITE=2, MAP_SHARED=1)
    patch.setattr(v4l2_encoder, "mmap", mapper)
    patch.setattr(v4l2_encoder, "select", SimpleNamespace(poll=codec.poller, POLLIN=1, POLLOUT=4))
