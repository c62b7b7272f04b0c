"""A GPIO chip in memory with the calls of libgpiod that the firmware uses, for a machine without a chip.

`make hil` runs the same pins on the kernel's own simulated lines.
"""

import os
import time

import gpiod
from gpiod.line import Bias, Direction, Value
from gpiod.line import Edge as Detection

__all__ = ["SimulatedChip"]


class SimulatedChip:
    """Lines that somebody drives, or nobody. `requests` are those that were made, in order."""

    def __init__(self) -> None:
        self.driven: dict[int, bool] = {}
        self.requests: list[SimulatedRequest] = []
        self.is_open = True

    def request_lines(
        self, config: dict[int, gpiod.LineSettings], consumer: str, event_buffer_size: int | None
    ) -> "SimulatedRequest":
        ((line, settings),) = config.items()
        if any(request.line == line and not request.is_released for request in self.requests):
            raise OSError(16, "Device or resource busy")
        assert consumer
        assert (event_buffer_size is not None) is (settings.edge_detection is not Detection.NONE)
        self.requests.append(SimulatedRequest(self, line, settings))
        return self.requests[-1]

    def drive(self, line: int, *, high: bool, told: bool = True) -> None:
        """Move a line; without `told` no edge comes of it."""
        self.driven[line] = high
        for request in self.requests:
            if request.line == line and not request.is_released and told:
                request.put(high=high)

    def close(self) -> None:
        self.is_open = False


class SimulatedRequest:
    """One line. Its edges wait until they are read; `numbers` counts those that were not told too."""

    def __init__(self, chip: SimulatedChip, line: int, settings: gpiod.LineSettings) -> None:
        self.line = line
        self.settings = settings
        self.is_released = False
        self.error: OSError | None = None
        self.number = 0
        self.output = settings.output_value
        self.fd = os.eventfd(0)
        self._chip = chip
        self._events: list[gpiod.EdgeEvent] = []

    def put(self, *, high: bool, at_ns: int | None = None) -> None:
        self.number += 1
        kind = gpiod.EdgeEvent.Type.RISING_EDGE if high else gpiod.EdgeEvent.Type.FALLING_EDGE
        if self.settings.edge_detection is Detection.NONE:
            return
        stamp_ns = time.monotonic_ns() if at_ns is None else at_ns
        self._events.append(gpiod.EdgeEvent(kind.value, stamp_ns, self.line, self.number, self.number))
        os.eventfd_write(self.fd, 1)

    def fail(self, error: OSError) -> None:
        self.error = error
        os.eventfd_write(self.fd, 1)

    def read_edge_events(self) -> list[gpiod.EdgeEvent]:
        os.eventfd_read(self.fd)
        if self.error:
            raise self.error
        events, self._events = self._events, []
        return events

    def get_value(self, line: int) -> Value:
        assert line == self.line
        if self.is_released:
            raise gpiod.RequestReleasedError
        if self.settings.direction is Direction.OUTPUT:
            return self.output
        high = self._chip.driven.get(line, self.settings.bias is Bias.PULL_UP)
        return Value.ACTIVE if high else Value.INACTIVE

    def set_value(self, line: int, value: Value) -> None:
        assert (line, self.settings.direction) == (self.line, Direction.OUTPUT)
        self.output = value

    def release(self) -> None:
        self.is_released = True
        os.close(self.fd)
