"""The camera of the demo: its real firmware in a thread, on pins that a space bar or a script presses."""

import threading
import time

from device.controls.bench_board import BenchBoard
from device.controls.patterns import Line
from device.recording.machine import RECORDING_STATES, State
from device.service import DeviceService, ServiceParts
from preroll.demo.errors import DemoError
from preroll.demo.interrupts import join
from preroll.demo.keyboard import SpaceBar
from preroll.demo.script import Do, Script
from preroll.demo.stage import Stage

__all__ = ["DemoCamera"]

_NS_PER_S = 1_000_000_000
_PATIENCE_NS = 20 * _NS_PER_S
_MARGIN_NS = _NS_PER_S  # the ring shows what has arrived; the encoder still holds the last frames


class DemoCamera:
    """Firmware, pins, and the hand on the button."""

    def __init__(self, stage: Stage, record_s: float, bar: SpaceBar | None) -> None:
        """Start it; it films from now on.

        Raises:
            DeviceError, EvidenceError: a part of it could not be opened.
        """
        self._board = BenchBoard(stage.config.controls)
        try:
            self.service = DeviceService(
                stage.config, stage.directory, ServiceParts(factory=self._board.factory)
            )
        except BaseException:
            self._board.close()
            raise
        policy = stage.config.policy
        self._script = Script(
            window_ns=int(policy.window_s * _NS_PER_S) + _MARGIN_NS,
            record_ns=int(record_s * _NS_PER_S),
            hold_ns=int(policy.hold_s * _NS_PER_S),
            patience_ns=_PATIENCE_NS if bar else 0,
        )
        self._hand = _Hand(self._board, bar)
        self._thread = threading.Thread(target=self.service.run, name="firmware")
        self._thread.start()

    @property
    def sealed(self) -> bool:
        """Whether the clip has been stopped, and all of it is on storage."""
        return self._script.over and self.service.recorder.status.clips_ended > 0

    @property
    def clip(self) -> str:
        """The clip's name.

        Raises:
            DemoError: there is no sealed one.
        """
        ended = self.service.recorder.last_ended
        if ended is None or not ended.sealed:
            raise DemoError("the demo recorded no clip", expected="one sealed clip", found="none")
        return ended.clip

    @property
    def movement(self) -> tuple[object, ...]:
        """What changes as long as the camera does what it is there for."""
        status, stats = self.service.recorder.status, self.service.ring.stats()
        if status.state is State.READY or status.state in RECORDING_STATES:
            return status.state, status.frames, stats.held_ns, stats.held_bytes
        return (status.state,)

    @property
    def lit(self) -> frozenset[Line]:
        """What lights and sounds now."""
        lights = self.service.config.controls.lights
        pins = {
            Line.RED: lights.red_pin,
            Line.GREEN: lights.green_pin,
            Line.BUZZER: lights.buzzer_pin,
            Line.VIBRATION: lights.vibration_pin,
        }
        board = self._board
        return frozenset(
            line for line, pin in pins.items() if pin >= 0 and board.is_high(pin) != lights.active_low
        )

    def act(self) -> float | None:
        """Press or let go what is due; returns how long the hand still waits for somebody, in seconds."""
        now_ns = time.monotonic_ns()
        held_ns = self.service.ring.stats().held_ns
        state = self.service.recorder.status.state
        self._hand.update(self._script.step(now_ns, held_ns=held_ns, state=state, touched=self._hand.touched))
        waits_ns = self._script.waits_ns(now_ns)
        return None if waits_ns is None else waits_ns / _NS_PER_S

    def check(self) -> None:
        """Raise what keeps the camera from going on.

        Raises:
            DemoError: the firmware has ended, or cannot serve a dock.
        """
        if not self._thread.is_alive():
            raise DemoError("the camera's firmware ended by itself", remedy="see what it logged")
        dock = self.service.dock
        if dock is not None and dock.error:
            raise DemoError("the camera cannot serve a dock", found=dock.error)

    def close(self) -> None:
        """Stop it; a clip that is open is sealed. More than once does no harm."""
        if self._thread.is_alive():
            self.service.stop("the demo is over")
            join(self._thread)
        self._board.close()


class _Hand:
    """Puts script and space bar together: the button is down while either presses it."""

    def __init__(self, board: BenchBoard, bar: SpaceBar | None) -> None:
        self._board = board
        self._bar = bar
        self._scripted = False
        self._down = False
        self.touched = False

    def update(self, orders: list[Do]) -> None:
        for order in orders:
            self._scripted = order is Do.PRESS
        self.touched = self._bar.is_down() if self._bar else False
        down = self._scripted or self.touched
        if down and not self._down:
            self._board.press()
        elif self._down and not down:
            self._board.release()
        self._down = down
