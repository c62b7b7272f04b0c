"""A stream with faults by plan: what lines, cables and power do to bytes, at places that a test names.

Without a plan it is the stream inside, byte for byte. Places count the bytes that were read from it, as they
would have come without faults.
"""

import threading
from collections.abc import Iterable

import msgspec

from docklink.errors import LinkTimeoutError, StreamClosedError
from docklink.streams import ByteStream

__all__ = ["Cut", "Drop", "Fault", "FaultyStream", "Insert", "Stall"]


class Drop(msgspec.Struct, frozen=True, tag=True):
    """From byte `at` on, `count` bytes are lost."""

    at: int
    count: int


class Insert(msgspec.Struct, frozen=True, tag=True):
    """Before byte `at` there are bytes that nobody sent."""

    at: int
    data: bytes


class Cut(msgspec.Struct, frozen=True, tag=True):
    """At byte `at` the port is gone, for both directions."""

    at: int


class Stall(msgspec.Struct, frozen=True, tag=True):
    """From byte `at` on nothing comes any more, and the port stays open."""

    at: int


Fault = Drop | Insert | Cut | Stall


class FaultyStream:
    """Reads of another stream with faults in them; writes go through until a `Cut` has struck."""

    def __init__(self, inner: ByteStream, plan: Iterable[Fault] = ()) -> None:
        self.name = "faulty stream"
        self._inner = inner
        self._plan = sorted(plan, key=lambda fault: fault.at)
        self._position = 0
        self._dropping = 0
        self._ready = bytearray()
        self._stalled = False
        self._cut = False
        self._closed = threading.Event()

    @property
    def position(self) -> int:
        """How many bytes of the stream inside have been read."""
        return self._position

    def read(self, limit: int, timeout_s: float) -> bytes:
        """Read with faults; see `ByteStream`."""
        while True:
            self._strike()
            if self._ready:
                data = bytes(self._ready[:limit])
                del self._ready[:limit]
                return data
            if self._cut:
                raise StreamClosedError("the port is gone")
            if self._stalled:
                if self._closed.wait(timeout_s):
                    raise StreamClosedError("the stream was closed")
                raise LinkTimeoutError("nothing to read in time")
            reach = self._dropping or limit
            if self._plan:
                reach = min(reach, self._plan[0].at - self._position)
            data = bytes(self._inner.read(min(limit, max(1, reach)), timeout_s))
            if not data:
                return data
            self._position += len(data)
            lost = min(self._dropping, len(data))
            self._dropping -= lost
            self._ready += data[lost:]

    def write(self, data: bytes | bytearray | memoryview, timeout_s: float) -> None:
        """Write through; see `ByteStream`."""
        if self._cut:
            raise StreamClosedError("the port is gone")
        self._inner.write(data, timeout_s)

    def close(self) -> None:
        """Close the stream inside."""
        self._closed.set()
        self._inner.close()

    def _strike(self) -> None:
        while self._plan and self._plan[0].at <= self._position and not self._stalled and not self._cut:
            fault = self._plan.pop(0)
            if isinstance(fault, Drop):
                self._dropping += fault.count
            elif isinstance(fault, Insert):
                self._ready += fault.data
            elif isinstance(fault, Cut):
                self._cut = True
                self._inner.close()
            else:
                self._stalled = True
