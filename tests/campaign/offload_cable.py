"""A cable between a camera and a dock, over TCP or between two pseudo-terminals, with one fault at one byte."""

import contextlib
import enum
import os
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from docklink.errors import LinkTimeoutError, StreamError
from docklink.serialport import PtyPair
from docklink.streams import ByteStream, TcpStream, connect_tcp

__all__ = ["Cable", "Direction", "Fault", "Kind", "LineCable", "NetCable"]

_READ_BYTES = 65_536
_PATIENCE_S = 0.2
_BLOCKED_S = 30.0


class Direction(enum.StrEnum):
    """Which way bytes go."""

    TO_DOCK = "to the dock"
    TO_CAMERA = "to the camera"


class Kind(enum.StrEnum):
    """What happens at the byte."""

    CLOSED = "port closed"
    CAMERA_KILLED = "camera killed"
    AGENT_KILLED = "agent killed"
    POWER_CUT = "agent killed, unsynced bytes lost"
    GARBAGE = "garbage injected"
    DROPPED = "bytes dropped"
    STALE = "stale bytes left in the line"


class Fault(msgspec.Struct, frozen=True):
    """At byte `at` of one direction, counted from `arm` on; `count` bytes are lost, stale, or garbage."""

    kind: Kind
    direction: Direction
    at: int
    count: int = 0


class Cable(Protocol):
    """Carries bytes until it is closed."""

    struck: threading.Event

    @property
    def passed(self) -> dict[Direction, int]:
        """How many bytes have passed since then."""

    def arm(self, fault: Fault | None) -> None:
        """Count from 0 again, with this fault to come."""

    def close(self) -> None:
        """Pull it."""


class _Faults:
    """Applies the fault to what passes. `strike` is called at its byte, before anything behind it passes."""

    def __init__(self, strike: Callable[[Fault], None]) -> None:
        self._strike = strike
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._dropping = dict.fromkeys(Direction, 0)
        self._random = random.Random(0)
        self.stale = dict.fromkeys(Direction, b"")
        self.passed = dict.fromkeys(Direction, 0)
        self.struck = threading.Event()

    def arm(self, fault: Fault | None) -> None:
        with self._lock:
            self._fault = fault
            self.passed = dict.fromkeys(Direction, 0)
            self.struck.clear()

    def apply(self, direction: Direction, data: bytes) -> tuple[bytes, bool]:
        """Return what passes, and whether the cable breaks behind it."""
        with self._lock:
            lost = min(self._dropping[direction], len(data))
            self._dropping[direction] -= lost
            data = data[lost:]
            start = self.passed[direction]
            self.passed[direction] = start + len(data)
            fault = self._fault
            if fault is None or fault.direction is not direction or not start <= fault.at < start + len(data):
                return data, False
            self._fault = None
            before, behind = data[: fault.at - start], data[fault.at - start :]
            if fault.kind is Kind.GARBAGE:
                behind = self._random.randbytes(fault.count) + behind
            elif fault.kind is Kind.DROPPED:
                self._dropping[direction] = max(0, fault.count - len(behind))
                behind = behind[fault.count :]
            elif fault.kind is Kind.STALE:
                self.stale[direction] = behind[: fault.count]
        self._strike(fault)
        self.struck.set()
        breaks = fault.kind in (Kind.CLOSED, Kind.STALE)
        return before if breaks else before + behind, breaks

    def take_stale(self, direction: Direction) -> bytes:
        with self._lock:
            found, self.stale[direction] = self.stale[direction], b""
        return found


class _Wire:
    """Two streams and the threads that carry bytes between them; both are closed when one fails or breaks."""

    def __init__(self, dock: ByteStream, camera: ByteStream, faults: _Faults) -> None:
        self._streams = (dock, camera)
        self._faults = faults
        self.broken = threading.Event()
        self._threads = [
            threading.Thread(target=self._carry, args=each)
            for each in ((camera, dock, Direction.TO_DOCK), (dock, camera, Direction.TO_CAMERA))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self.broken.set()
        for stream in self._streams:
            stream.close()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(_BLOCKED_S)
            assert not thread.is_alive()

    def _carry(self, source: ByteStream, target: ByteStream, direction: Direction) -> None:
        try:
            if stale := self._faults.take_stale(direction):
                target.write(stale, _BLOCKED_S)
            while True:
                try:
                    data = bytes(source.read(_READ_BYTES, _PATIENCE_S))
                except LinkTimeoutError:
                    continue
                if not data:
                    break
                data, breaks = self._faults.apply(direction, data)
                if data:
                    target.write(data, _BLOCKED_S)
                if breaks:
                    break
        except StreamError:
            pass  # the other side of a break; whoever uses the cable connects again
        self.close()


class NetCable:
    """A relay: `port` is for the dock; the camera's own number is asked for at each connection."""

    def __init__(self, camera_port: Callable[[], int], strike: Callable[[Fault], None]) -> None:
        self._camera_port = camera_port
        self._faults = _Faults(strike)
        self.struck = self._faults.struck
        self.arm = self._faults.arm
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._wires: list[_Wire] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def passed(self) -> dict[Direction, int]:
        return self._faults.passed

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):  # nobody is there to be woken
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._thread.join()
        self._listening.close()
        for wire in self._wires:
            wire.close()
            wire.join()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            dock = TcpStream(connection, "dock")
            try:
                if self._closed.is_set():
                    dock.close()
                    return
                camera = connect_tcp("127.0.0.1", self._camera_port(), 2)
            except (StreamError, FileNotFoundError):  # the camera is down
                dock.close()
                continue
            self._wires = [wire for wire in self._wires if not wire.broken.is_set()]
            self._wires.append(_Wire(dock, camera, self._faults))


class LineCable:
    """Two pseudo-terminals whose paths stay the same when they are unplugged and come back as others."""

    def __init__(self, directory: Path, strike: Callable[[Fault], None]) -> None:
        self.dock_path = directory / "tty-dock"
        self.camera_path = directory / "tty-camera"
        self._faults = _Faults(strike)
        self.struck = self._faults.struck
        self.arm = self._faults.arm
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def passed(self) -> dict[Direction, int]:
        return self._faults.passed

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            pairs = {path: PtyPair() for path in (self.dock_path, self.camera_path)}
            wire = _Wire(pairs[self.dock_path].far(), pairs[self.camera_path].far(), self._faults)
            for path, pair in pairs.items():
                draft = path.with_suffix(".new")
                draft.symlink_to(pair.path)
                os.replace(draft, path)  # noqa: PTH105 - `Path.replace` would do the same
            while not self._closed.is_set() and not wire.broken.wait(_PATIENCE_S):
                pass
            wire.close()
            wire.join()
            for pair in pairs.values():
                pair.close()
