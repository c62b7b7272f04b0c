"""The recorder: the one thread that owns the state, takes events from a queue, and does what the core says.

Nothing here waits for storage: clips are written by threads of their own (writer.py), the event log by another.
What this thread does at a press is to open a cursor in the ring, which pins the seconds before it, and to start
a writer.
"""

import logging
import queue
import threading
from collections.abc import Callable

import msgspec

from device.buffer.ring import Ring
from device.capture.source import SourceState, StateKind
from device.controls.gestures import Held, PressBegan, ReleasedLong, ReleasedShort, Stuck, Unstuck
from device.controls.panel import ControlEvent
from device.controls.patterns import IndicatorState, Signal
from device.controls.triggers import Trigger
from device.inbox import Inbox
from device.recording import core as commands
from device.recording.core import Command, RecorderCore, RecorderPolicy
from device.recording.events import (
    BatteryLevel,
    ClipEnded,
    ClipFailed,
    ClipProgress,
    DockPresence,
    HealthLevel,
    HealthNote,
    LogTrouble,
    PolicyChange,
    RecorderEvent,
    ShutdownRequest,
    StorageLevel,
)
from device.recording.machine import RECORDING_STATES, Event, State
from device.recording.parts import ClipHandle, Gate, Panel, StartClip
from device.recording.wearer import battery_state, indicator, refusal_reason
from device.vault.logthread import Detail, LogThread
from device.vault.space import storage_rate
from evidence.documents.fields import Ended

__all__ = ["ClipHandle", "Panel", "Recorder", "RecorderStatus"]

_log = logging.getLogger(__name__)

_RENEW_NS = 2_000_000_000
_TURN_S = 0.5  # the loop turns at least so often: a watchdog goes by that
_BROKEN = frozenset({StateKind.FAILED, StateKind.STALLED, StateKind.RESTARTING})
"""A camera that was in one of these states last gives no picture."""
_REFUSAL_WAIT_S = 1.0
"""How long a refusal may wait for the log: a storage that is broken must not keep the wearer in the dark."""

RecorderInbox = Inbox[RecorderEvent | ControlEvent | SourceState]
"""What happens waits here; it may hold presses before there is a recorder."""


class RecorderStatus(msgspec.Struct, frozen=True):
    """A snapshot for views and tests."""

    state: State
    clip: str | None
    clips_ended: int
    frames: int
    caught_up: bool
    free_bytes: int | None
    minutes_left: float | None


class Recorder:
    """Runs until `ShutdownRequest`; `post` takes events from any thread."""

    def __init__(
        self,
        policy: RecorderPolicy,
        *,
        inbox: RecorderInbox,
        ring: Ring,
        panel: Panel,
        log: LogThread,
        gate: Gate,
        start_clip: StartClip,
        now_ns: Callable[[], int],
        low_minutes: float = 10.0,
    ) -> None:
        self._core = RecorderCore(policy)
        self._ring = ring
        self._panel = panel
        self._log = log
        self._gate = gate
        self._start_clip = start_clip
        self._now_ns = now_ns
        self._low_minutes = low_minutes
        self._events = inbox
        self._clip: ClipHandle | None = None  # the clip that gestures mean
        self._edge_ns = 0  # of the trigger that opened it
        self._unfinished: list[ClipHandle] = []
        self._progress: ClipProgress | None = None  # of the clip opened last
        self._log_reason = ""
        self._trouble = ""  # what the last writer that failed said
        self._begun: set[str] = set()  # clips whose start is in the event log
        self._storage: StorageLevel | None = None
        self._battery: BatteryLevel | None = None
        self._camera: StateKind | None = None
        self._clips_ended = 0
        self._docked = False
        self._alarms: set[str] = set()  # parts of the camera that somebody has to look at
        self.last_turn_ns = now_ns()
        self._status_lock = threading.Lock()
        self._status = self._snapshot()
        self.last_ended: ClipEnded | None = None

    @property
    def status(self) -> RecorderStatus:
        """The last snapshot; from any thread."""
        with self._status_lock:
            return self._status

    def post(self, event: RecorderEvent | ControlEvent | SourceState) -> None:
        """Hand over an event; from any thread, never blocks."""
        self._events.put(event)

    def run(self, *, join_timeout_s: float = 60.0) -> None:
        """Handle events until shut down, then wait for open clips to be sealed."""
        self._panel.show(IndicatorState.STARTING)
        while self._core.state is not State.CLOSED:
            self._step()
        for clip in self._unfinished:
            if not clip.join(join_timeout_s):
                _log.error("a clip is not sealed after %.0f s; the next start recovers it", join_timeout_s)
        while not self._events.empty():
            self._take(self._events.get())

    def _step(self) -> None:
        deadline_ns = self._core.next_deadline_ns
        self.last_turn_ns = now_ns = self._now_ns()
        timeout_s = _TURN_S if deadline_ns is None else min(_TURN_S, max(0, deadline_ns - now_ns) / 1e9)
        try:
            self._take(self._events.get(timeout_s))
        except queue.Empty:
            self._obey(self._core.tick(self._now_ns()))
        self._publish()

    def _take(self, event: RecorderEvent | ControlEvent | SourceState) -> None:
        if isinstance(event, SourceState):
            self._take_source(event)
        elif isinstance(event, ClipProgress | ClipEnded | ClipFailed):
            self._take_writer(event)
        elif isinstance(event, StorageLevel | LogTrouble | BatteryLevel | ShutdownRequest):
            self._take_condition(event)
        elif isinstance(event, PolicyChange):
            self._core.set_policy(event.policy)
        elif isinstance(event, DockPresence):
            self._docked = event.docked
            self._show()
        elif isinstance(event, HealthNote):
            self._take_health(event)
        else:
            self._take_control(event)

    def _take_control(self, event: ControlEvent) -> None:
        core = self._core
        match event:
            case PressBegan():
                self._obey(core.press(event.press_id, event.at_ns, footage=self._footage(event.at_ns)))
            case Trigger():
                self._obey(core.trigger(event.source_name, event.at_ns, footage=self._footage(event.at_ns)))
            case Held():
                self._obey(core.hold(event.press_id, event.at_ns))
            case ReleasedShort():
                self._obey(core.release(event.press_id, event.began_ns, short=True))
            case ReleasedLong():
                core.release(event.press_id, event.began_ns, short=False)
            case Stuck() | Unstuck():
                self._log.post("button_stuck", event.at_ns, {"stuck": isinstance(event, Stuck)})
                if isinstance(event, Stuck):
                    _log.warning("the button has been down for a long time: it may be stuck")
            case _:
                self._log.post("trigger_port", self._now_ns(), {"state": str(event)[:200]})

    def _take_source(self, state: SourceState) -> None:
        if state.kind is not StateKind.ENDED:
            self._log.post(
                "camera", state.monotonic_ns, {"state": str(state.kind), "detail": state.detail[:200]}
            )
        self._camera = state.kind
        if state.kind is StateKind.RUNNING:
            self._condition(Event.KEYFRAME, state.monotonic_ns)
        elif state.kind is StateKind.FAILED:
            _log.error("camera: %s", state.detail)
            self._condition(Event.CAMERA_FAILED, state.monotonic_ns)
        elif state.kind is not StateKind.ENDED:
            _log.warning("camera %s: %s", state.kind, state.detail)

    def _take_writer(self, event: ClipProgress | ClipEnded | ClipFailed) -> None:
        if isinstance(event, ClipProgress):
            self._take_progress(event)
            return
        self._log_start(event)  # a short clip ends before any progress was told
        self._begun.discard(event.clip)
        now_ns = self._now_ns()
        # Trouble with an earlier clip that is still being ended must not end the one that is open now.
        meant = self._clip is None or event.edge_ns == self._edge_ns
        if isinstance(event, ClipFailed):
            self._take_failure(event, now_ns, meant=meant)
        else:
            facts: Detail = {"clip": event.clip, "ended": str(event.ended), "sealed": event.sealed}
            self._log.post("stop", now_ns, facts, urgent=True)
            self._clips_ended += 1
            self.last_ended = event
            if meant and event.ended is Ended.STORAGE_FULL:
                self._trouble = "storage is full"
                self._condition(Event.WRITER_FULL, now_ns)
            if event.ended is not Ended.SHUTDOWN:
                self._panel.signal(Signal.STOPPED)
        self._unfinished = [clip for clip in self._unfinished if not clip.join(0)]
        if self._clip is None and not self._unfinished:
            self._gate.close()  # not at the stop itself: its sound was still on its way through the encoder

    def _take_failure(self, event: ClipFailed, now_ns: int, *, meant: bool) -> None:
        _log.error("clip %s: %s", event.clip or "(unnamed)", event.reason)
        if event.empty:
            self._log.post("camera", now_ns, {"state": "no_picture", "detail": event.reason}, urgent=True)
            self._panel.signal(Signal.REFUSED)
            return
        self._log.post("storage", now_ns, {"state": "error", "detail": event.reason[:200]}, urgent=True)
        self._trouble = event.reason
        if meant:
            self._condition(Event.WRITER_FULL if event.full else Event.WRITER_FAILED, now_ns)

    def _take_progress(self, event: ClipProgress) -> None:
        first = self._log_start(event)
        if event.edge_ns != self._edge_ns:
            return  # an earlier clip, still on its way to storage, says nothing about this one
        self._progress = event
        if self._core.state not in RECORDING_STATES:
            return
        self._panel.renew(self._now_ns() + _RENEW_NS)
        if first:
            self._panel.signal(Signal.STARTED)
        self._show()

    def _log_start(self, event: ClipProgress | ClipEnded | ClipFailed) -> bool:
        """Log that a clip was begun, once; whether this was the time. One without a name was not."""
        if not event.clip or event.clip in self._begun:
            return False
        self._begun.add(event.clip)
        self._log.post("start", event.edge_ns, {"clip": event.clip}, urgent=True)
        return True

    def _take_condition(self, event: StorageLevel | LogTrouble | BatteryLevel | ShutdownRequest) -> None:
        now_ns = self._now_ns()
        match event:
            case StorageLevel():
                self._take_storage(event, now_ns)
            case BatteryLevel():
                self._take_battery(event, now_ns)
            case LogTrouble():
                if event.reason != self._log_reason:
                    self._log_reason = event.reason
                    _log.error("event log: %s", event.reason or "well again")
            case ShutdownRequest():
                self._log.post("shutdown", now_ns, {"reason": event.reason}, urgent=True)
                self._condition(Event.SHUTDOWN, now_ns)

    def _take_storage(self, level: StorageLevel, now_ns: int) -> None:
        was, self._storage = self._storage, level
        if was is None or was.blocked != level.blocked:
            state = {"state": "blocked" if level.blocked else "ok", "reason": level.reason or None}
            self._log.post("storage", now_ns, state)
        if level.blocked:
            self._condition(Event.STORAGE_BLOCKED, now_ns)
        elif self._core.state is State.BLOCKED and not (self._battery and self._battery.critical):
            self._unblock(now_ns)
        self._show()

    def _take_battery(self, level: BatteryLevel, now_ns: int) -> None:
        was, self._battery = battery_state(self._battery), level
        state = battery_state(level)
        if state != was:  # at once: recovery calls a cut-off clip `power_loss` only if this is on storage
            self._log.post("battery", now_ns, {"state": state, "percent": level.percent}, urgent=True)
        if level.critical:
            self._condition(Event.BATTERY_CRITICAL, now_ns)
        self._show()

    def _take_health(self, note: HealthNote) -> None:
        detail = {"part": note.part, "level": str(note.level), "detail": note.detail}
        self._log.post("health", self._now_ns(), detail)
        self._alarms = self._alarms - {note.part} | ({note.part} if note.level is HealthLevel.ALARM else set())
        self._show()

    def _unblock(self, now_ns: int) -> None:
        self._condition(Event.STORAGE_OK, now_ns)
        if self._camera is StateKind.RUNNING:
            self._condition(Event.KEYFRAME, now_ns)
        elif self._camera in _BROKEN:
            self._condition(Event.CAMERA_FAILED, now_ns)

    def _condition(self, event: Event, at_ns: int) -> None:
        self._obey(self._core.condition(event, at_ns))

    def _footage(self, at_ns: int) -> bool:
        """Whether a clip opened now would hold a picture: the camera runs or starts, or the ring has some."""
        if self._core.state is not State.FAULT:
            return True
        newest_ns = self._ring.stats().newest_pts_ns
        return newest_ns is not None and newest_ns >= at_ns - self._ring.window_ns

    def _obey(self, orders: list[Command]) -> None:
        for order in orders:
            match order:
                case commands.OpenClip():
                    self._open(order)
                case commands.AddTrigger() | commands.AddBookmark() | commands.EndClip():
                    self._pass_on(order)
                case commands.LogPress():
                    detail = {"source": order.source, "outcome": str(order.outcome)}
                    self._log.post("press", order.at_ns, detail, urgent=True)
                case commands.Refuse():
                    self._refuse(order)
                case commands.Signal():
                    self._panel.signal(Signal(order.kind))
                case commands.StateChanged():
                    _log.info("state %s", order.state)
                    self._show()

    def _pass_on(self, order: commands.AddTrigger | commands.AddBookmark | commands.EndClip) -> None:
        """Tell the clip that gestures mean."""
        assert self._clip is not None  # the table opens one before it says any of these
        match order:
            case commands.AddTrigger():
                self._clip.add_trigger(order.source, order.edge_ns)
            case commands.AddBookmark():
                self._clip.bookmark(order.at_ns)
            case commands.EndClip():
                self._clip.end(order.ended, order.stop_ns)
                self._clip = None

    def _open(self, order: commands.OpenClip) -> None:
        cursor = self._ring.open_cursor(order.edge_ns)
        self._gate.open(order.edge_ns)
        self._progress = None
        self._edge_ns = order.edge_ns
        self._clip = self._start_clip(order.source, order.edge_ns, cursor)
        self._unfinished.append(self._clip)

    def _refuse(self, order: commands.Refuse) -> None:
        """Log first, then answer: in light, sound and vibration, within a second even if storage is gone."""
        reason = refusal_reason(order.state, self._storage, self._battery, self._trouble)
        _log.warning("press refused: %s", reason)
        logged = self._log.post("refusal", order.at_ns, {"source": order.source, "reason": reason}, urgent=True)
        answered = threading.Lock()

        def answer(_: object = None) -> None:
            if answered.acquire(blocking=False):
                self._panel.signal(Signal.REFUSED)

        logged.add_done_callback(answer)
        timer = threading.Timer(_REFUSAL_WAIT_S, answer)
        timer.daemon = True
        timer.start()

    def _show(self) -> None:
        minutes = self._minutes_left()
        self._panel.show(
            indicator(
                self._core.state,
                battery_low=self._battery is not None and self._battery.low,
                storage_low=minutes is not None and minutes < self._low_minutes,
                docked=self._docked,
                attention=bool(self._alarms),
            )
        )

    def _minutes_left(self) -> float | None:
        if self._storage is None:
            return None
        stats = self._ring.stats()
        rate = stats.held_bytes * 1e9 / stats.held_ns if stats.held_ns else 0.0
        return self._storage.minutes_left(storage_rate(rate))

    def _snapshot(self) -> RecorderStatus:
        progress = self._progress
        return RecorderStatus(
            state=self._core.state,
            clip=progress.clip if progress else None,
            clips_ended=self._clips_ended,
            frames=progress.frames if progress else 0,
            caught_up=progress.caught_up if progress else False,
            free_bytes=self._storage.free_bytes if self._storage else None,
            minutes_left=self._minutes_left(),
        )

    def _publish(self) -> None:
        snapshot = self._snapshot()
        with self._status_lock:
            self._status = snapshot
