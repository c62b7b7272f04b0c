"""The controls of one camera put together: lines in, gestures and triggers out, lights and sounds played.

`PanelCore` holds all that happens and no thread; `ControlPanel` is the thread around it.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from device.controls.config import BUTTON, ControlsConfig, LightsConfig
from device.controls.edges import Edge, EdgeInput
from device.controls.gestures import ButtonRecogniser, Gesture
from device.controls.indicators import IndicatorPolicy, Indicators
from device.controls.outputs import GpioOutputs, MemoryLines, OutputLines, set_levels
from device.controls.patterns import FAULT_LEVELS, IndicatorState, Signal
from device.controls.triggers import Trigger, TriggerLine, TriggerPortState
from device.errors import DeviceError
from device.inbox import Inbox

__all__ = ["ControlEvent", "ControlPanel", "PanelCore", "PanelPolicy", "indicator_policy"]

_log = logging.getLogger(__name__)

ControlEvent = Gesture | Trigger | TriggerPortState
"""What a panel posts."""

_LEVEL_CHECK_NS = 250_000_000
_OPENING_PATIENCE_NS = 1_000_000_000
_HOLD_DOUBT_NS = 20_000_000
"""How long to wait before a hold is looked at again whose contact reads open."""


class LevelSource(Protocol):
    """A line whose level can be read."""

    name: str

    def is_active(self) -> bool:
        """Read the level now; raises `DeviceError` if that fails."""
        ...


class PanelPolicy(msgspec.Struct, frozen=True):
    """What the policy says about the controls; the pins and their electrics are the configuration's."""

    hold_ns: int = 3_000_000_000
    stealth: bool = False
    reminder_ns: int | None = 120_000_000_000
    """Time between two reminders while recording, `None` for no reminder."""


def indicator_policy(lights: LightsConfig, policy: PanelPolicy) -> IndicatorPolicy:
    """Return what may be seen, heard and felt under a configuration and a policy."""
    return IndicatorPolicy(
        sound=lights.sound,
        vibration=lights.vibration,
        stealth=policy.stealth,
        stealth_vibration=lights.stealth_vibration,
        reminder_ns=policy.reminder_ns,
    )


class _LevelWatch:
    """Notices an edge that never came: twice in a row, with no edge between, the level is not as expected.

    A back end can drop edges, and a chip can fail to interrupt; a crew's press must not go with them. Nobody
    waits for the end of a press: an opening is given a second to come with its own time.
    """

    def __init__(self) -> None:
        self.active = False
        self._doubt_ns: int | None = None

    def edge(self, *, active: bool) -> None:
        self.active, self._doubt_ns = active, None

    def check(self, *, active: bool, now_ns: int) -> int | None:
        """Return since when the line has been at another level unnoticed, or `None`."""
        if active is self.active:
            self._doubt_ns = None
        elif self._doubt_ns is None:
            self._doubt_ns = now_ns
        elif active or now_ns - self._doubt_ns >= _OPENING_PATIENCE_NS:
            return self._doubt_ns
        return None


class PanelCore:
    """Edges and time in; events posted, lines switched. Not safe for more than one thread.

    Counted: `recovered` edges that the back end lost, `doubted` looks at a hold whose contact read open, and
    `output_errors`, `level_errors` of lines that fail.
    """

    def __init__(
        self,
        config: ControlsConfig,
        outputs: OutputLines,
        post: Callable[[ControlEvent], None],
        now_ns: int,
        policy: PanelPolicy = PanelPolicy(),  # noqa: B008  # frozen
    ) -> None:
        self.recovered = 0
        self.doubted = 0
        self.output_errors = 0
        self.level_errors = 0
        self.button = ButtonRecogniser(config.button.timing(policy.hold_ns))
        self.indicators = Indicators(now_ns, indicator_policy(config.lights, policy))
        self._outputs = outputs
        self._post = post
        self._triggers = {
            line.name: TriggerLine(line.name, line.settle_ns, at_start=line.at_start)
            for line in config.triggers
        }
        self._lines: Sequence[LevelSource] = ()
        self._watches = {name: _LevelWatch() for name in (BUTTON, *self._triggers)}
        self._check_ns = now_ns + _LEVEL_CHECK_NS
        self._doubt_until_ns = now_ns

    def watch_levels(self, lines: Sequence[LevelSource]) -> None:
        """Compare these lines' levels with the edges that came, four times a second."""
        self._lines = lines

    def edge(self, edge: Edge) -> None:
        """Take one edge of the button or of a trigger line."""
        self._watches[edge.line].edge(active=edge.active)
        if edge.line == BUTTON:
            self._post_all(self.button.edge(edge.at_ns, active=edge.active))
            return
        trigger = self._triggers[edge.line].edge(edge)
        if trigger is not None:
            self._post(trigger)

    def advance(self, now_ns: int) -> bool:
        """Do all that is due by now; returns whether lines were switched, which `switched` wants to hear of.

        Edges that have come must have been taken before.
        """
        if now_ns >= self._check_ns:
            self._check_ns = now_ns + _LEVEL_CHECK_NS
            self._check_levels(now_ns)
        self._tick_button(now_ns)
        changes = self.indicators.tick(now_ns)
        for change in changes:
            try:
                self._outputs.set(change.line, on=change.on)
            except DeviceError as error:
                self.output_errors += 1
                if self.output_errors == 1:
                    _log.error("%s", error)
        return bool(changes)

    def switched(self, now_ns: int) -> None:
        """Hear when the lines had been switched: a pulse has its length even where that took a while."""
        self.indicators.switched(now_ns)

    def next_deadline_ns(self) -> int:
        """Return when to call `advance` at the latest."""
        button_ns = self.button.next_deadline_ns()
        times = [self.indicators.next_deadline_ns()]
        if button_ns is not None:
            times.append(max(button_ns, self._doubt_until_ns))
        if self._lines:
            times.append(self._check_ns)
        return min(times)

    def _tick_button(self, now_ns: int) -> None:
        """Let the button's timers run; a hold counts only while its contact reads closed.

        Where it reads open, the edge that opened it is still on its way: a machine under load hands edges over
        late, and a short press must not stop a recording. That edge will tell, or the check of levels.
        """
        if self.button.hold_is_due(now_ns) and self._reads_open():
            self.doubted += 1
            self._doubt_until_ns = now_ns + _HOLD_DOUBT_NS
            return
        self._post_all(self.button.tick(now_ns))

    def _reads_open(self) -> bool:
        """Whether the button's line can be read, and reads open."""
        return any(line.name == BUTTON and self._level(line) is False for line in self._lines)

    def _level(self, line: LevelSource) -> bool | None:
        try:
            return line.is_active()
        except DeviceError as error:
            self.level_errors += 1
            if self.level_errors == 1:
                _log.error("%s", error)
            return None

    def _check_levels(self, now_ns: int) -> None:
        for line in self._lines:
            active = self._level(line)
            if active is None:
                continue
            since_ns = self._watches[line.name].check(active=active, now_ns=now_ns)
            if since_ns is not None:
                self.recovered += 1
                _log.warning("line %s: an edge was lost; going by its level", line.name)
                self._guess(line.name, since_ns, active=active)

    def _guess(self, line: str, seen_ns: int, *, active: bool) -> None:
        if line != BUTTON:
            self.edge(Edge(line, seen_ns, active=active))
            return
        self._watches[line].edge(active=active)
        self._post_all(self.button.guess(seen_ns, active=active))

    def _post_all(self, events: Sequence[ControlEvent]) -> None:
        for event in events:
            self._post(event)


class ControlPanel:
    """The thread of the controls.

    The constructor claims the lines: a press counts from then on, even before `start`. What can't be claimed is
    in `faults`, and the rest works without it. `post` is called from the panel's thread and from the threads of
    serial ports; it must not block. Should the thread die, the lights go to steady amber and `is_alive` tells.
    """

    def __init__(
        self,
        config: ControlsConfig,
        factory: Any,
        post: Callable[[ControlEvent], None],
        *,
        policy: PanelPolicy = PanelPolicy(),  # noqa: B008  # frozen
        outputs: OutputLines | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.faults: list[DeviceError] = []
        self._now_ns = now_ns
        self._post = post
        self._inbox: Inbox[Edge | Callable[[], None]] = Inbox()
        self._outputs = self._claim_outputs(factory, config.lights) if outputs is None else outputs
        self.core = PanelCore(config, self._outputs, post, now_ns(), policy)
        self._inputs = self._claim_inputs(factory, config)
        self.core.watch_levels(self._inputs)
        self._ports = _serial_ports(config, post)
        self.last_turn_ns = now_ns()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="controls", daemon=True)

    def start(self) -> None:
        """Start the thread, and those of the serial ports."""
        self._thread.start()
        for port in self._ports:
            port.start()

    def is_alive(self) -> bool:
        """Whether the thread runs. A watchdog wants more: `last_turn_ns` moves at least every half second."""
        return self._thread.is_alive()

    def show(self, state: IndicatorState) -> None:
        """Show a recorder state. From any thread."""
        now_ns = self._now_ns()
        self._inbox.put(lambda: self.core.indicators.show(state, now_ns))

    def signal(self, kind: Signal) -> None:
        """Play a signal once. From any thread."""
        now_ns = self._now_ns()
        self._inbox.put(lambda: self.core.indicators.signal(kind, now_ns))

    def renew(self, until_ns: int) -> None:
        """Keep the recording light alive until then, at most 2 s from this call. From any thread."""
        now_ns = self._now_ns()
        self._inbox.put(lambda: self.core.indicators.renew(now_ns, until_ns))

    def set_policy(self, policy: IndicatorPolicy) -> None:
        """Change what may be seen, heard and felt, such as stealth. From any thread."""
        now_ns = self._now_ns()
        self._inbox.put(lambda: self.core.indicators.set_policy(policy, now_ns))

    def set_hold(self, hold_ns: int) -> None:
        """Change how long a hold is; a press that is down is measured by the new time. From any thread."""
        timing = msgspec.structs.replace(self.core.button.timing, hold_ns=hold_ns)
        self._inbox.put(lambda: setattr(self.core.button, "timing", timing))

    def close(self, *, fault: bool = False) -> None:
        """Stop, with everything off, or steady amber on if `fault`. Lines are let go; the unit sets them after.

        Raises:
            DeviceError: a line can't be switched or let go.
        """
        self._stopping = True
        self._inbox.put(lambda: None)
        if self._thread.ident is not None:
            self._thread.join()
        with contextlib.ExitStack() as last_first:
            if not fault:
                last_first.callback(self._outputs.close)
            last_first.callback(set_levels, self._outputs, FAULT_LEVELS if fault else ())
            for line in self._inputs:
                last_first.callback(line.close)
            for port in self._ports:
                last_first.callback(port.close)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._take(self._wait())
                self.last_turn_ns = self._now_ns()
                if self.core.advance(self.last_turn_ns):
                    self.core.switched(self._now_ns())
        finally:
            if not self._stopping:
                set_levels(self._outputs, FAULT_LEVELS)

    def _wait(self) -> Edge | Callable[[], None] | None:
        wait_s = max(0, self.core.next_deadline_ns() - self._now_ns()) / 1e9
        try:
            return self._inbox.get(wait_s)
        except queue.Empty:
            return None

    def _take(self, item: Edge | Callable[[], None] | None) -> None:
        """Take this and all that has come, so that no timer runs ahead of an edge that lies waiting."""
        while item is not None:
            if isinstance(item, Edge):
                self.core.edge(item)
            else:
                item()
            item = None if self._inbox.empty() else self._inbox.get()

    def _claim_outputs(self, factory: Any, lights: LightsConfig) -> OutputLines:
        try:
            return GpioOutputs(factory, lights)
        except DeviceError as error:
            self._fault(error)
            return MemoryLines()

    def _claim_inputs(self, factory: Any, config: ControlsConfig) -> list[EdgeInput]:
        button = config.button
        wanted = [(button.pin, BUTTON, button.active_low, button.pull)]
        wanted += [(line.pin, line.name, line.edge == "falling", line.pull) for line in config.triggers]
        inputs = []
        for pin, name, active_low, pull in wanted:
            try:
                inputs.append(
                    EdgeInput(
                        factory,
                        pin,
                        name,
                        self._inbox.put,
                        active_low=active_low,
                        pull=pull,
                        now_ns=self._now_ns,
                    )
                )
            except DeviceError as error:
                self._fault(error)
        return inputs

    def _fault(self, error: DeviceError) -> None:
        self.faults.append(error)
        _log.error("%s", error)


def _serial_ports(config: ControlsConfig, post: Callable[[ControlEvent], None]) -> list[Any]:
    if not config.serial_triggers:
        return []
    from device.controls.serial_ports import SerialTriggers  # noqa: PLC0415 - pyserial only where a port is

    return [SerialTriggers(port, post) for port in config.serial_triggers]
