"""What picamera2 finds on a Pi and nowhere else, made of what any Linux has. Test equipment, never on a camera.

| on a Pi | here |
|---|---|
| `/dev/dma_heap`: buffers that camera and program share | memfd, one plane for each plane of NV12 |
| raw modes of the sensor, which tell picamera2 its size | one answer: the virtual camera has no raw role |
| `pykms`, which picamera2's previews import | names only; no preview is ever opened |

Everything else is the real thing: libcamera and its Python binding, picamera2's camera manager, event loop,
requests, encoder and outputs.
"""

import mmap
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["put_in_place"]

_RAW_MODE = {"format": "SBGGR10", "size": (1920, 1080)}


def put_in_place() -> None:
    """Import picamera2 with the stand-ins; before anything else imports it."""
    sys.modules["pykms"] = _pykms()
    import picamera2.picamera2 as module  # noqa: PLC0415  # needs pykms, which is there only now

    module.DmaAllocator = _memory_allocator()
    module.Picamera2._get_raw_modes = lambda _self: [_RAW_MODE]  # noqa: SLF001  # no public way to say it


def _pykms() -> ModuleType:
    names = ("RGB888", "BGR888", "YUV420", "YVU420", "XRGB8888", "XBGR8888", "NV12", "NV21", "YUYV", "YVYU")
    module = ModuleType("pykms")
    vars(module).update(PixelFormat=SimpleNamespace(**dict.fromkeys(names, 0)))
    return module


def _memory_allocator() -> type:
    """Make the class that stands for picamera2's `DmaAllocator`."""
    import libcamera  # noqa: PLC0415  # only in a process that has the cached build on its path
    from picamera2.allocators import Allocator  # noqa: PLC0415  # as `put_in_place`

    class MemoryAllocator(Allocator):  # type: ignore[misc]  # picamera2 ships no types
        """Buffers from memfd; memory that camera and program share already needs no syncing."""

        def __init__(self) -> None:
            super().__init__()
            self.mapped_buffers: dict[Any, mmap.mmap] = {}
            self.sync = _NoSync
            self._buffers: dict[Any, list[Any]] = {}

        def allocate(self, configuration: Any, _use_case: Any) -> None:
            self.close()
            for each in configuration:
                self._buffers[each.stream] = [self._make(each) for _ in range(each.buffer_count)]

        def buffers(self, stream: Any) -> list[Any]:
            return self._buffers[stream]

        def close(self) -> None:
            """Let go of all; a mapping that an array still looks into lives as long as the array."""
            self._buffers, self.mapped_buffers = {}, {}

        def _make(self, stream: Any) -> Any:
            luma = stream.stride * stream.size.height
            fd = os.memfd_create("bench-buffer", os.MFD_CLOEXEC)
            try:
                os.ftruncate(fd, stream.frame_size)
                buffer = libcamera.FrameBuffer(
                    [_plane(fd, 0, luma), _plane(fd, luma, stream.frame_size - luma)]
                )
                self.mapped_buffers[buffer] = mmap.mmap(fd, stream.frame_size)
            finally:
                os.close(fd)  # libcamera and the mapping have their own copies
            return buffer

    def _plane(fd: int, offset: int, length: int) -> Any:
        plane = libcamera.FrameBuffer.Plane()
        plane.fd, plane.offset, plane.length = fd, offset, length
        return plane

    return MemoryAllocator


class _NoSync:
    """In place of the ioctls around every access to a DMA buffer."""

    def __init__(self, allocator: Any, buffer: Any, _write: bool) -> None:
        self._mapped: mmap.mmap | None = allocator.mapped_buffers.get(buffer)

    def __enter__(self) -> mmap.mmap | None:
        return self._mapped

    def __exit__(self, *_: object) -> None:
        """Nothing to flush."""
