"""One boot of a camera, led through a recording's life up to where its power is cut, and copied on the way.

Each part of a life is dwelt in for a random time if power is to be cut there, and for all of it if not. Copies
are made at instants drawn from the same times, so that a copy and a cut fall alike.
"""

import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence

from evidence.steps import RECEIPT_STEPS, RELEASE_STEPS, SEAL_STEPS
from hil_tests.board.protocol import BoardError
from hil_tests.powercut.board import CutBoard, Firmware
from hil_tests.powercut.copies import Copier, Copy
from hil_tests.powercut.record import Kind as Told
from hil_tests.powercut.record import Told as Event
from hil_tests.powercut.results import Aim, ChainPlan, Kind
from hil_tests.powercut.stage import RATE

__all__ = ["PATIENCE_S", "Life", "wait_until"]

PATIENCE_S = 180.0
_NS_PER_S = 1_000_000_000
_LOOK_S = 0.0005
_TAP_S = 0.1
_HOLD_S = 0.5
_START_S, _RECOVERY_S, _PRESS_S, _LIVE_S, _SEALED_S = 4.0, 0.6, 0.1, 2.5, 0.3
_UNENDED_S = 0.008
_LAST = 20  # of all that was told: enough to hold a frame
_SEAL_S = 0.005
_FLUSH_S = {"0.2": 0.15, "2": 0.25, "10": 0.5}
_ROOM_BYTES = {"0.2": 400_000, "2": 2_000_000, "10": 8_000_000}
_DELIVERY_S = 4.0
_STEP_S = 0.1
_STEP_PATIENCE_S = 20.0
_FULL_PATIENCE_S = 5.0
_GOING = RELEASE_STEPS.index("rename clip")
_SEALED = SEAL_STEPS.index("rename .manifest.json.tmp")
_SEAL_NAMES = tuple(step for step in SEAL_STEPS[:_SEALED] if step.endswith(".tmp"))
_DELIVERY_NAMES = (RECEIPT_STEPS, RELEASE_STEPS[:_GOING], RELEASE_STEPS[_GOING:])
_OF_EACH = 3  # steps of a receipt, of a release, of a deletion, at which a card is copied
_AT_ANY = 0.3  # of deliveries: cut at any instant instead
_COPIES = {
    Aim.START: 1.0,
    Aim.RECOVERY: 1.0,
    Aim.IDLE: 0.3,
    Aim.PRESS: 1.0,
    Aim.FLUSH: 2.0,
    Aim.LIVE: 5.0,
    Aim.STOP: 2.5,
    Aim.SEAL: 3.0,
    Aim.SEALED: 0.4,
}
_LONG_COPIES = {**_COPIES, Aim.FLUSH: 4.0, Aim.LIVE: 1.0}
_OFFLOAD_COPIES: Mapping[Aim, float] = {Aim.RECOVERY: 0.5, Aim.SEALED: 1.0, Aim.OFFLOAD: 2.0}
_FILL = """\
rm -f /mnt/card/filler
set -- $(stat -f -c '%a %S' /mnt/card)
fallocate -l $(($1 * $2 - {})) /mnt/card/filler
"""


class _ThereError(Exception):
    """Power is to be cut now."""


class Life:
    """One boot; its card is in its slot and mounted."""

    def __init__(
        self,
        board: CutBoard,
        plan: ChainPlan,
        chosen: random.Random,
        *,
        copier: Copier | None = None,
        refused: Callable[[], bool] | None = None,
    ) -> None:
        """Take what the life needs.

        `copier` makes copies on the way; without, there are none. With `refused`, which tells whether the dock
        has refused a clip, power is cut during offload once it has, or once the camera lets go of the clip.
        """
        self._refused = refused
        self._board = board
        self._plan = plan
        self._random = chosen
        self._copier = copier
        self._numbers = {Kind.LONG: _LONG_COPIES, Kind.OFFLOAD: _OFFLOAD_COPIES}.get(plan.kind, _COPIES)
        self._lift_s: float | None = None
        self.copies: list[Copy] = []
        self.pressed_ns = self.stopped_ns = 0

    def lead(self, aim: Aim) -> None:
        """Start the camera and return at the instant at which power is to be cut."""
        self._aim = aim
        count = self._number(Aim.SEAL) + (aim is Aim.SEAL)
        self._seal_steps = self._places(_SEAL_NAMES, count)
        self._delivery_steps = [name for names in _DELIVERY_NAMES for name in self._places(names, _OF_EACH)]
        pauses = self._seal_steps + (self._delivery_steps if aim is Aim.OFFLOAD else [])
        self._service = self._board.start_camera(pauses=pauses if self._copier or aim is Aim.SEAL else ())
        with contextlib.suppress(_ThereError):
            self._begin()
            self._press()
            self._stop()
            self._deliver()
            raise AssertionError(f"a life has no {aim}")

    def _begin(self) -> None:
        record = self._board.record
        self._dwell(Aim.START, _START_S)
        self._wait(lambda: any(record.of(Told.RECOVERY)))
        self._dwell(Aim.RECOVERY, _RECOVERY_S)
        held_s = self._plan.held_s or self._random.uniform(0.3, self._plan.window_s + 1.5)
        self._dwell(Aim.IDLE, held_s)
        self._wait(lambda: self._frames() >= held_s * RATE)
        if self._plan.kind is Kind.FULL:
            room = int(self._random.uniform(0, _ROOM_BYTES[self._plan.mbit]))
            done = self._board.run("sh", "-c", _FILL.format(room))
            if done.status != 0:
                raise BoardError(f"the card can't be filled: {done.errors}")

    def _press(self) -> None:
        self.pressed_ns = self._board.button_down()
        self._lift_s = time.monotonic() + _TAP_S
        self._dwell(Aim.PRESS, _PRESS_S)
        self._reach(lambda: self._begun("create clip.mp4.age"))
        self._dwell(Aim.FLUSH, _FLUSH_S[self._plan.mbit] * self._plan.window_s / 2)
        self._reach(self._caught_up)
        self._dwell(Aim.LIVE, _LIVE_S)
        self._sleep(self._random.uniform(0.1, 0.6))

    def _stop(self) -> None:
        """Hold the button until the clip is sealed; copies are made before its last line, or behind it."""
        self._lift_s = None
        self._board.button_up()
        self.stopped_ns = self._board.button_down() + int(_HOLD_S * _NS_PER_S)
        if self._aim is Aim.STOP or (self._aim is not Aim.SEAL and self._random.random() < 0.5):
            self._unended()
        else:
            self._seal()
        self._reach(self._ended)
        self._board.button_up()
        self._dwell(Aim.SEALED, _SEALED_S)

    def _seal(self) -> None:
        """Copy right after named steps of the seal have begun, or cut after the last of them."""
        name = self._clip()
        for step in self._seal_steps:
            self._reach(lambda step=step: self._begun(step, name) or self._ended())  # type: ignore[misc]  # bound now
            if self._aim is Aim.SEAL and step == self._seal_steps[-1]:
                time.sleep(self._random.uniform(0, _SEAL_S))
                raise _ThereError
            if not self._ended():
                self._copy(Aim.SEAL)

    def _unended(self) -> None:
        """Copy once a frame has come that is behind the stop, until the last line is there; or cut."""
        self._reach(lambda: self._ended() or any(e.at_ns > self.stopped_ns for e in self._last_frames()))
        for _ in range(self._number(Aim.STOP)):
            if not self._ended():
                self._copy(Aim.STOP)
                time.sleep(self._random.uniform(0, _UNENDED_S))
        if self._aim is Aim.STOP:
            time.sleep(self._random.uniform(0, _UNENDED_S))
            raise _ThereError

    def _deliver(self) -> None:
        """Let the dock take clips: any instant of that, or one after a step of a delivery has begun."""
        refused = self._refused
        if refused is not None:
            self._wait(lambda: refused() or self._delivers("rename clip"))
            raise _ThereError
        if self._random.random() < _AT_ANY:
            self._dwell(Aim.OFFLOAD, _DELIVERY_S)
        chosen = self._delivery_steps
        last = self._random.choice((self._random.randrange(len(chosen)), len(chosen)))
        for step in chosen[:last]:
            self._await_delivery(step)
            if self._copier is not None:
                self._copy(Aim.OFFLOAD)
        if last < len(chosen):
            self._await_delivery(chosen[last])
        time.sleep(self._random.uniform(0, _STEP_S))
        raise _ThereError

    def _await_delivery(self, step: str) -> None:
        with contextlib.suppress(TimeoutError):  # so late is as good an instant as any
            self._wait(lambda: self._delivers(step), _STEP_PATIENCE_S)

    def _places(self, steps: Sequence[str], count: int) -> list[str]:
        """Choose some of these, in order."""
        return [steps[index] for index in sorted(self._random.sample(range(len(steps)), count))]

    def _dwell(self, aim: Aim, longest_s: float) -> None:
        """Be in a part of life for so long: copy at random instants of it; or cut at one, if it is there."""
        now_s = time.monotonic()
        here = self._aim is aim
        until_s = now_s + self._random.uniform(0, longest_s)
        times = sorted(now_s + self._random.uniform(0, longest_s) for _ in range(self._number(aim)))
        for time_s in times:
            if here and time_s > until_s:
                break
            self._sleep(time_s - time.monotonic())
            self._copy(aim)
        if here:
            self._sleep(until_s - time.monotonic())
            raise _ThereError

    def _number(self, aim: Aim) -> int:
        """Return how many copies to make there."""
        if self._copier is None:
            return 0
        number = self._numbers.get(aim, 0.0)
        return int(number) + (self._random.random() < number % 1)

    def _copy(self, aim: Aim) -> None:
        assert self._copier is not None
        self.copies.append(
            self._copier.take(self._board.record, aim, pressed_ns=self.pressed_ns, stopped_ns=self.stopped_ns)
        )

    def _sleep(self, duration_s: float) -> None:
        """Sleep; the finger leaves the button when its time has come."""
        until_s = time.monotonic() + duration_s
        while self._lift_s is not None and time.monotonic() < until_s:
            self._lift()
            time.sleep(_LOOK_S)
        time.sleep(max(0.0, until_s - time.monotonic()))

    def _lift(self) -> None:
        """Let the button go, if it is time and the board has seen it."""
        if self._lift_s is None or time.monotonic() < self._lift_s:
            return
        if self._board.has_seen(self.pressed_ns):
            self._lift_s = None
            self._board.button_up()

    def _reach(self, condition: Callable[[], bool]) -> None:
        """Wait until the firmware is there; on a full card it may never be, and life goes on all the same."""
        if self._plan.kind is not Kind.FULL:
            self._wait(condition)
            return
        with contextlib.suppress(TimeoutError):
            self._wait(condition, _FULL_PATIENCE_S)

    def _wait(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        def lifted() -> bool:
            self._lift()
            return condition()

        wait_until(self._board, self._service, lifted, patience_s)

    def _begun(self, step: str, clip: str = "") -> bool:
        return any(each.detail == step and clip in {"", each.clip} for each in self._board.record.of(Told.STEP))

    def _delivers(self, step: str) -> bool:
        """Whether a step has begun since the clip of this life was sealed."""
        ended = False
        for event in self._board.record.events:
            ended = ended or event.kind is Told.ENDED
            if ended and event.kind is Told.STEP and event.detail == step:
                return True
        return False

    def _ended(self) -> bool:
        return any(self._board.record.of(Told.ENDED))

    def _clip(self) -> str:
        """Name the clip that is being written; nothing if there is none."""
        return next((event.clip for event in self._board.record.of(Told.PROGRESS)), "none")

    def _last_frames(self) -> Sequence[Event]:
        return [event for event in self._board.record.events[-_LAST:] if event.kind is Told.FRAME]

    def _frames(self) -> int:
        return sum(1 for _ in self._board.record.of(Told.FRAME))

    def _caught_up(self) -> bool:
        return any(event.flag for event in self._board.record.of(Told.PROGRESS))


def wait_until(
    board: CutBoard, service: Firmware, condition: Callable[[], bool], patience_s: float = PATIENCE_S
) -> None:
    """Read the record until something holds of it.

    Raises:
        BoardError: the camera has ended.
        TimeoutError: it does not get there.
    """
    give_up_s = time.monotonic() + patience_s
    while not condition():
        board.record.read()
        if service.ended:
            raise BoardError(f"the camera ended by itself: {service.log[-2000:]}")
        if time.monotonic() > give_up_s:
            last = [event.detail or event.kind for event in board.record.events[-5:]]
            raise TimeoutError(f"the camera did not get there; last {last}: {service.log[-2000:]}")
        time.sleep(_LOOK_S)
