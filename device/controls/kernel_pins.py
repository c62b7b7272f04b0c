"""gpiozero's pins on the kernel's GPIO character device, through the kernel's own library, libgpiod 2.

Why not lgpio, which gpiozero would take by itself (read in the sources of lg 0.2.2, and seen on a board):

- A line claimed just before lgpio's thread of alerts goes to sleep for the first time wakes it no more: its
  signal is sent between the look at the list and the wait. No edge of that line is told from then on.
- That thread wakes every 0.5 ms, and a full pipe to Python drops edges in silence.

Here a thread for each watched line waits in poll(2) for edges and for nothing else. What the kernel itself had
to drop shows in its numbers of the edges, and is counted.

Source: Documentation/userspace-api/gpio/chardev.rst of the kernel, and the documentation of libgpiod 2.
"""

import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gpiod
from gpiod.line import Bias, Clock, Direction, Value
from gpiod.line import Edge as Detection
from gpiozero.exc import PinFixedPull, PinInvalidFunction, PinInvalidPull, PinSetInput
from gpiozero.pins.local import LocalPiFactory, LocalPiPin

__all__ = ["KernelPinFactory", "find_chip"]

_log = logging.getLogger(__name__)

_CONSUMER = "preroll"
"""What the firmware calls itself towards the kernel."""
_LABELS = frozenset({"pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"})
"""The chips that a Raspberry Pi's header hangs on."""
_BIASES = {"up": Bias.PULL_UP, "down": Bias.PULL_DOWN, "floating": Bias.DISABLED}
_DETECTIONS = {"both": Detection.BOTH, "rising": Detection.RISING, "falling": Detection.FALLING}
_BUFFERED_EDGES = 1024
"""How many edges the kernel keeps for a reader that is late; its own default is 16."""
_NS_PER_S = 1_000_000_000


def find_chip(paths: Iterable[Path] = ()) -> str:
    """Return the path of the chip with the header's lines, by its label; else that of the first one.

    Raises:
        OSError: there is no chip, or none may be opened.
    """
    refused: OSError | None = None
    others: list[str] = []
    for path in sorted(paths or Path("/dev").glob("gpiochip*"), key=lambda path: (len(path.name), path.name)):
        try:
            with gpiod.Chip(str(path)) as chip:
                if chip.get_info().label in _LABELS:
                    return str(path)
        except OSError as error:
            refused = error
        else:
            others.append(str(path))
    if others:
        return others[0]
    raise refused or FileNotFoundError("no /dev/gpiochip*")


class KernelPinFactory(LocalPiFactory):  # type: ignore[misc]  # gpiozero ships no types
    """A pin factory on one GPIO chip. Ticks are seconds of CLOCK_MONOTONIC, an edge's those of the kernel.

    Counted: `lost_edges`, which the kernel dropped because nobody read them in time.

    Raises:
        OSError: the chip can't be opened.
        PinUnknownPi: this is no Raspberry Pi; many other machines have GPIO chips, wired to something else.
    """

    def __init__(self, chip: str | None = None) -> None:
        super().__init__()
        self.lost_edges = 0
        self._get_board_info()
        self.chip = gpiod.Chip(chip or find_chip())
        self.pin_class = _KernelPin

    def close(self) -> None:
        """Let go of the lines and of the chip."""
        super().close()
        self.chip.close()


class _KernelPin(LocalPiPin):  # type: ignore[misc]  # gpiozero ships no types
    """One line. It is claimed by its first use, and let go by `close`, after which it may be used again."""

    def __init__(self, factory: KernelPinFactory, info: Any) -> None:
        super().__init__(factory, info)
        self._settings = gpiod.LineSettings(direction=Direction.INPUT)
        self._edges = "both"
        self._request: gpiod.LineRequest | None = None
        self._lock = threading.Lock()  # the library's requests are not safe for more than one thread
        self._reader: _EdgeReader | None = None
        self._next_number = 1  # of the line's next edge, as the kernel counts them

    def close(self) -> None:
        self.when_changed = None
        if self._request is not None:
            if self.function == "output":  # an output that is let go would stay at its level
                self._claim(gpiod.LineSettings(direction=Direction.INPUT))
            self._release()

    def output_with_state(self, state: Any) -> None:
        level = Value.ACTIVE if state else Value.INACTIVE
        self._claim(gpiod.LineSettings(direction=Direction.OUTPUT, output_value=level))

    def input_with_pull(self, pull: str) -> None:
        self._claim(gpiod.LineSettings(direction=Direction.INPUT, bias=self._bias(pull)))

    def _get_function(self) -> str:
        return "output" if self._settings.direction is Direction.OUTPUT else "input"

    def _set_function(self, value: str) -> None:
        directions = {"input": Direction.INPUT, "output": Direction.OUTPUT}
        if value not in directions:
            raise PinInvalidFunction(f'invalid function "{value}" for pin {self!r}')
        self._claim(gpiod.LineSettings(direction=directions[value]))

    def _get_state(self) -> bool:
        request = self._claimed()
        with self._lock:
            return bool(request.get_value(self._number) is Value.ACTIVE)

    def _set_state(self, value: Any) -> None:
        if self.function == "input":
            raise PinSetInput(f"cannot set state of pin {self!r}")
        request = self._claimed()
        with self._lock:
            request.set_value(self._number, Value.ACTIVE if value else Value.INACTIVE)

    def _get_pull(self) -> str:
        return next((pull for pull, bias in _BIASES.items() if bias is self._settings.bias), "floating")

    def _set_pull(self, value: str) -> None:
        if self.function != "input":
            raise PinFixedPull(f"cannot set pull on non-input pin {self!r}")
        self._claim(gpiod.LineSettings(direction=Direction.INPUT, bias=self._bias(value)))

    def _get_edges(self) -> str:
        return self._edges

    def _set_edges(self, value: str) -> None:
        handler, self.when_changed = self.when_changed, None
        self._edges = value
        self.when_changed = handler

    def _enable_event_detect(self) -> None:
        self._settings.edge_detection = _DETECTIONS[self._edges]
        self._claim(self._settings)
        self._next_number = 1
        self._reader = _EdgeReader(self._claimed(), self._lock, self._take, repr(self))

    def _disable_event_detect(self) -> None:
        self._stop_reader()
        self._settings.edge_detection = Detection.NONE
        if self._request is not None:
            self._claim(self._settings)

    def _take(self, event: gpiod.EdgeEvent) -> None:
        lost, self._next_number = event.line_seqno - self._next_number, event.line_seqno + 1
        if lost > 0:
            self.factory.lost_edges += lost
            _log.error("%r: the kernel dropped %d edges, which were read too late", self, lost)
        is_high = event.event_type is gpiod.EdgeEvent.Type.RISING_EDGE
        self._call_when_changed(event.timestamp_ns / _NS_PER_S, is_high)

    def _bias(self, pull: str) -> Bias:
        if self.info.pull not in (pull, ""):
            raise PinFixedPull(f"{self!r} has a physical pull-{self.info.pull} resistor")
        if pull not in _BIASES:
            raise PinInvalidPull(f'invalid pull "{pull}" for pin {self!r}')
        return _BIASES[pull]

    def _claimed(self) -> gpiod.LineRequest:
        if self._request is None:
            self._claim(self._settings)
        assert self._request is not None  # claimed, or OSError was raised
        return self._request

    def _claim(self, settings: gpiod.LineSettings) -> None:
        """Have the line with these settings; its kernel buffer begins anew."""
        settings.event_clock = Clock.MONOTONIC
        self._release()
        buffered = None if settings.edge_detection is Detection.NONE else _BUFFERED_EDGES
        self._request = self.factory.chip.request_lines(
            {self._number: settings}, consumer=_CONSUMER, event_buffer_size=buffered
        )
        self._settings = settings

    def _release(self) -> None:
        self._stop_reader()
        request, self._request = self._request, None
        if request is not None:
            request.release()

    def _stop_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()


class _EdgeReader:
    """The thread that waits for the edges of one line. `hand_out` gets each; `lock` guards the request."""

    def __init__(
        self,
        request: gpiod.LineRequest,
        lock: threading.Lock,
        hand_out: Callable[[gpiod.EdgeEvent], None],
        name: str,
    ) -> None:
        self._request = request
        self._lock = lock
        self._hand_out = hand_out
        self._stopping = False
        self._wake = os.fdopen(os.eventfd(0), "wb", buffering=0)
        self._thread = threading.Thread(target=self._run, name=f"edges of {name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hand out no edge from now on; may be called while one is handed out."""
        self._stopping = True
        if threading.current_thread() is self._thread:
            self._wake.close()  # this thread waits no more
        else:
            self._wake.write((1).to_bytes(8, sys.byteorder))
            self._thread.join()
            self._wake.close()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._request.fd, select.POLLIN)
        while not self._stopping:
            poll.poll()
            if self._stopping:
                return
            try:
                with self._lock:
                    events = self._request.read_edge_events()
            except OSError as error:
                # The check of levels goes on (panel.py), and tells what it finds.
                _log.error("%s can't be read: %s", self._thread.name, error)
                return
            for event in events:
                if not self._stopping:
                    self._hand_out(event)
