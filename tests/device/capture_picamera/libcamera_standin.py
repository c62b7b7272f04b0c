"""Stand-ins for what comes with the operating system of a Pi: libcamera's Python binding, pykms, the DMA heap.

Everything above them is picamera2's own: `Picamera2`, its camera manager's and event loop's threads, its
requests, encoders and outputs. The stand-in camera delivers a frame when the test says so, with the sensor's
time that the test says. Like libcamera's virtual pipeline it has one NV12 stream and no raw one.
"""

import enum
import mmap
import os
import sys
import threading
from collections import deque
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

WAIT_S = 5.0


class StreamRole(enum.Enum):
    StillCapture = 0
    Raw = 1
    VideoRecording = 2
    Viewfinder = 3


class ControlType(enum.Enum):
    Integer64 = 0
    Rectangle = 1
    Size = 2


class ControlId:
    def __init__(self, name: str) -> None:
        self.name = name
        self.type = ControlType.Integer64


class Size:
    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height


class Rectangle:
    pass


class _Comparable:
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:  # picamera2 makes it `__repr__` too
        return type(self).__name__


class Transform(_Comparable):
    def __init__(self, hflip: int = 0, vflip: int = 0, transpose: int = 0) -> None:
        self.hflip, self.vflip, self.transpose = hflip, vflip, transpose


class ColorSpace(_Comparable):
    def __init__(self, other: "ColorSpace | None" = None) -> None:
        self.primaries = self.transferFunction = self.ycbcrEncoding = self.range = other

    @staticmethod
    def Sycc() -> "ColorSpace":  # noqa: N802  # libcamera's name
        return ColorSpace()

    Smpte170m = Rec709 = Raw = Sycc


class Orientation(enum.Enum):
    Rotate0 = 0
    Rotate0Mirror = 1
    Rotate180 = 2
    Rotate180Mirror = 3
    Rotate90 = 4
    Rotate90Mirror = 5
    Rotate270 = 6
    Rotate270Mirror = 7


class FrameBuffer:
    class Plane:
        fd = offset = length = 0

    def __init__(self, planes: list["FrameBuffer.Plane"]) -> None:
        self.planes = planes
        self.metadata = SimpleNamespace(status=FrameMetadata.Status.Success)


class FrameMetadata:
    class Status(enum.Enum):
        Success = 0
        Error = 1


class Request:
    class Status(enum.Enum):
        Pending = 0
        Complete = 1
        Cancelled = 2

    def __init__(self, cookie: int) -> None:
        self.cookie = cookie
        self.status = Request.Status.Pending
        self.buffers: dict[Any, FrameBuffer] = {}
        self.metadata: dict[ControlId, int] = {}

    def add_buffer(self, stream: Any, buffer: FrameBuffer) -> None:
        self.buffers[stream] = buffer

    def reuse(self) -> None:
        self.status = Request.Status.Pending

    def set_control(self, control: ControlId, value: Any) -> None:
        pass


class StreamConfiguration:
    def __init__(self, size: Size) -> None:
        self.size, self.pixel_format, self.stride, self.buffer_count = size, "NV12", size.width, 4
        self.color_space: Any = None
        self.stream: Any = None
        self.formats = SimpleNamespace(pixel_formats=["NV12"], sizes=lambda _pixel_format: [size])

    @property
    def frame_size(self) -> int:
        return self.stride * self.size.height * 3 // 2


class CameraConfiguration:
    class Status(enum.Enum):
        Valid = 0
        Adjusted = 1
        Invalid = 2

    def __init__(self, streams: list[StreamConfiguration]) -> None:
        self._streams = streams
        self.orientation = Orientation.Rotate0
        self.sensor_config = None

    def __iter__(self) -> Any:
        return iter(self._streams)

    def at(self, index: int) -> StreamConfiguration:
        return self._streams[index]

    def validate(self) -> "CameraConfiguration.Status":
        for stream in self._streams:
            stream.pixel_format, stream.stride = "NV12", stream.size.width
        return CameraConfiguration.Status.Adjusted


class Camera:
    """The camera that a test holds in its hand."""

    def __init__(self, manager: "CameraManager") -> None:
        self.id = "standin-camera"
        limits = SimpleNamespace(min=1_000, max=1_000_000, default=33_333)
        self.controls = {ControlId("FrameDurationLimits"): limits}
        self.properties = {ControlId("Model"): "stand-in"}
        self.in_use = False
        self.start_error: Exception | None = None
        self.started_with: list[dict[str, Any]] = []
        self.starts = 0
        self.stops = 0
        self._manager = manager
        self._queued: deque[Request] = deque()
        self._changed = threading.Condition()
        self._size = Size(0, 0)
        self._frames = 0

    def acquire(self) -> None:
        if self.in_use:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self.in_use = True

    def release(self) -> None:
        self.in_use = False

    def generate_configuration(self, roles: list[StreamRole]) -> CameraConfiguration:
        return CameraConfiguration([StreamConfiguration(Size(640, 480)) for _ in roles])

    def configure(self, configuration: CameraConfiguration) -> int:
        stream = configuration.at(0)
        self._size = stream.size
        stream.stream = SimpleNamespace(configuration=stream)
        stream.stream = _Stream(stream)
        return 0

    def create_request(self, cookie: int) -> Request:
        return Request(cookie)

    def start(self, controls: dict[ControlId, Any]) -> None:
        if self.start_error is not None:
            raise self.start_error
        self.started_with.append({control.name: value for control, value in controls.items()})
        with self._changed:
            self.starts += 1
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self.stops += 1
            self._queued.clear()

    def queue_request(self, request: Request) -> None:
        with self._changed:
            self._queued.append(request)
            self._changed.notify_all()

    def wait_started(self, starts: int) -> bool:
        """Wait until the camera has been started so many times and has buffers to fill."""
        with self._changed:
            return self._changed.wait_for(lambda: self.starts >= starts and bool(self._queued), WAIT_S)

    def deliver(self, sensor_ns: int) -> None:
        """Complete one request with a moving picture, as exposed at `sensor_ns` of the sensor's clock."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self._queued), WAIT_S), "no buffer came back"
            request = self._queued.popleft()
        (buffer,) = request.buffers.values()
        luma = self._size.width * self._size.height
        picture = np.full(luma * 3 // 2, 128, np.uint8)
        picture[:luma] = (np.arange(luma) // 7 + 5 * self._frames) & 0xFF
        os.pwrite(buffer.planes[0].fd, picture.tobytes(), 0)
        self._frames += 1
        request.metadata = {CONTROLS.SensorTimestamp: sensor_ns}
        request.status = Request.Status.Complete
        self._manager.complete(request)


class _Stream:
    def __init__(self, configuration: StreamConfiguration) -> None:
        self.configuration = configuration


class CameraManager:
    _singleton: "CameraManager | None" = None

    def __init__(self) -> None:
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.cameras = [Camera(self)]
        self._ready: list[Request] = []
        self._lock = threading.Lock()

    @classmethod
    def singleton(cls) -> "CameraManager":
        if cls._singleton is None:
            cls._singleton = CameraManager()
        return cls._singleton

    def complete(self, request: Request) -> None:
        with self._lock:
            self._ready.append(request)
            os.eventfd_write(self.event_fd, 1)

    def get_ready_requests(self) -> list[Request]:
        with self._lock:
            ready, self._ready = self._ready, []
            if ready:
                os.eventfd_read(self.event_fd)
        return ready


class MemoryAllocator:
    """In place of picamera2's `DmaAllocator`: buffers from memfd, which need no syncing."""

    def __init__(self) -> None:
        self.mapped_buffers: dict[FrameBuffer, mmap.mmap] = {}
        self._buffers: dict[Any, list[FrameBuffer]] = {}
        self._fds: list[int] = []

    def allocate(self, configuration: CameraConfiguration, _use_case: str) -> None:
        for stream in configuration:
            self._buffers[stream.stream] = [self._make(stream.frame_size) for _ in range(stream.buffer_count)]

    def _make(self, size: int) -> FrameBuffer:
        plane = FrameBuffer.Plane()
        plane.fd, plane.length = os.memfd_create("standin-buffer"), size
        os.ftruncate(plane.fd, size)
        buffer = FrameBuffer([plane])
        self._fds.append(plane.fd)
        self.mapped_buffers[buffer] = mmap.mmap(plane.fd, size)
        return buffer

    def buffers(self, stream: Any) -> list[FrameBuffer]:
        return self._buffers[stream]

    def acquire(self, buffers: Any) -> None:
        pass

    def release(self, buffers: Any) -> None:
        pass

    def __del__(self) -> None:
        for fd in self._fds:
            os.close(fd)

    class sync:  # noqa: N801  # picamera2's name
        def __init__(self, allocator: "MemoryAllocator", buffer: FrameBuffer, write: bool) -> None:
            self._mapped = allocator.mapped_buffers.get(buffer)

        def __enter__(self) -> mmap.mmap | None:
            return self._mapped

        def __exit__(self, *_: object) -> None:
            pass


CONTROLS = SimpleNamespace(
    **{
        name: ControlId(name)
        for name in (
            "SensorTimestamp",
            "ExposureTime",
            "ExposureTimeMode",
            "AnalogueGain",
            "AnalogueGainMode",
        )
    }
)


def libcamera_module() -> ModuleType:
    module = ModuleType("libcamera")
    for thing in (
        StreamRole,
        ControlType,
        Size,
        Rectangle,
        Transform,
        ColorSpace,
        Orientation,
        FrameBuffer,
        FrameMetadata,
        Request,
        CameraConfiguration,
        Camera,
        CameraManager,
    ):
        setattr(module, thing.__name__, thing)
    vars(module).update(
        controls=CONTROLS,
        PixelFormat=str,
        SensorConfiguration=SimpleNamespace,
        _libcamera=SimpleNamespace(ColorSpace=ColorSpace, Transform=Transform),
    )
    return module


def pykms_module() -> ModuleType:
    module = ModuleType("pykms")
    vars(module).update(
        PixelFormat=SimpleNamespace(
            **dict.fromkeys(
                (
                    "RGB888",
                    "BGR888",
                    "YUV420",
                    "YVU420",
                    "XRGB8888",
                    "XBGR8888",
                    "NV12",
                    "NV21",
                    "YUYV",
                    "YVYU",
                ),
                0,
            )
        )
    )
    return module


def put_in_place() -> None:
    sys.modules.setdefault("libcamera", libcamera_module())
    sys.modules.setdefault("pykms", pykms_module())
