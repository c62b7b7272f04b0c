"""The watch over a camera: stalls, restarts with back-off, gaps by timestamps. No I/O, no clock, no thread.

The owner tells what happened and when (`begin`, `picture`, `truncated`, `broke`, `tick`, `halt`) and does what
the returned `Step` says. For cameras without reordered frames: presentation order is decode order. Not
thread-safe; an owner that calls from two threads holds a lock.
"""

import enum
from typing import NamedTuple

import msgspec

from device.capture.source import SourceState, StateKind
from evidence.frames import GapCause, Span

__all__ = ["TABLE", "CameraCall", "Row", "Step", "Watch", "WatchEvent", "WatchLimits", "WatchState"]

_NS_PER_S = 1_000_000_000


class WatchState(enum.StrEnum):
    """Where the camera is."""

    IDLE = "idle"
    STARTING = "starting"  # opened, no keyframe yet
    RUNNING = "running"
    RESYNC = "resync"  # a frame was truncated: nothing can be decoded up to the next keyframe
    WAITING = "waiting"  # closed, to be opened again after the back-off


class WatchEvent(enum.StrEnum):
    """What can happen to it."""

    BEGIN = "begin"
    KEYFRAME = "keyframe"
    PICTURE = "picture"  # a frame that is no keyframe
    TRUNCATED = "truncated"
    OVERDUE = "overdue"  # no frame for the stall limit
    BROKE = "broke"  # an error was raised
    DUE = "due"  # the back-off is over
    HALT = "halt"


class CameraCall(enum.StrEnum):
    """What the owner is to do with the camera."""

    OPEN = "open"
    CLOSE = "close"
    FORCE_KEYFRAME = "force_keyframe"


class Row(NamedTuple):
    """One transition: where to, what to do, what to report, whether the frame at hand is delivered."""

    state: WatchState
    call: CameraCall | None = None
    report: StateKind | None = None
    deliver: bool = False


_S, _E, _C = WatchState, WatchEvent, CameraCall
_STALLED = Row(_S.WAITING, _C.CLOSE, StateKind.STALLED)
_BROKEN = Row(_S.WAITING, _C.CLOSE, StateKind.FAILED)
_HALTED = Row(_S.IDLE, _C.CLOSE, StateKind.ENDED)

TABLE: dict[tuple[WatchState, WatchEvent], Row] = {
    (_S.IDLE, _E.BEGIN): Row(_S.STARTING, _C.OPEN),
    (_S.STARTING, _E.KEYFRAME): Row(_S.RUNNING, report=StateKind.RUNNING, deliver=True),
    (_S.STARTING, _E.TRUNCATED): Row(_S.STARTING, _C.FORCE_KEYFRAME),
    (_S.STARTING, _E.OVERDUE): _STALLED,
    (_S.STARTING, _E.BROKE): _BROKEN,
    (_S.STARTING, _E.HALT): _HALTED,
    (_S.RUNNING, _E.KEYFRAME): Row(_S.RUNNING, deliver=True),
    (_S.RUNNING, _E.PICTURE): Row(_S.RUNNING, deliver=True),
    (_S.RUNNING, _E.TRUNCATED): Row(_S.RESYNC, _C.FORCE_KEYFRAME),
    (_S.RUNNING, _E.OVERDUE): _STALLED,
    (_S.RUNNING, _E.BROKE): _BROKEN,
    (_S.RUNNING, _E.HALT): _HALTED,
    (_S.RESYNC, _E.KEYFRAME): Row(_S.RUNNING, deliver=True),
    (_S.RESYNC, _E.TRUNCATED): Row(_S.RESYNC, _C.FORCE_KEYFRAME),
    (_S.RESYNC, _E.OVERDUE): _STALLED,
    (_S.RESYNC, _E.BROKE): _BROKEN,
    (_S.RESYNC, _E.HALT): _HALTED,
    (_S.WAITING, _E.DUE): Row(_S.STARTING, _C.OPEN, StateKind.RESTARTING),
    (_S.WAITING, _E.HALT): Row(_S.IDLE, report=StateKind.ENDED),
}
"""What is not listed changes nothing: the frame at hand (if any) is discarded and counted."""

_GAP_CAUSES = {
    _E.TRUNCATED: GapCause.TRUNCATED,
    _E.OVERDUE: GapCause.CAMERA_STALLED,
    _E.BROKE: GapCause.CAMERA_RESTARTED,
}


class WatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a camera counts as stalled, and how long it is left alone before it is opened again.

    The first restart comes after `backoff_first_ns`, each further one after twice as long up to
    `backoff_most_ns`; `steady_ns` of running without a restart begins anew.
    """

    stall_ns: int = 2 * _NS_PER_S
    start_ns: int = 5 * _NS_PER_S
    backoff_first_ns: int = _NS_PER_S // 4
    backoff_most_ns: int = 30 * _NS_PER_S
    steady_ns: int = 30 * _NS_PER_S


class Step(msgspec.Struct, frozen=True):
    """What the owner is to do, in this order: record the gap, deliver the frame, call the camera, report."""

    deliver: bool = False
    gap: Span | None = None
    call: CameraCall | None = None
    report: SourceState | None = None


_NOTHING = Step()
_DELIVER = Step(deliver=True)


class Watch:
    """One camera under watch; `frame_ns` is the nominal duration of a frame.

    Counts `restarts` and `discarded` frames (undecodable, out of order, or from a camera already closed).
    """

    def __init__(self, frame_ns: int, limits: WatchLimits | None = None) -> None:
        self.state = WatchState.IDLE
        self.restarts = 0
        self.discarded = 0
        self._frame_ns = frame_ns
        self._limits = limits or WatchLimits()
        self._end_ns: int | None = None  # end of the last frame delivered
        self._cause: GapCause | None = None  # why the picture is missing since then, if it is
        self._progress_ns = 0
        self._entered_ns = 0
        self._failures = 0

    @property
    def due_ns(self) -> int | None:
        """When `tick` may next have something to say; `None` while idle."""
        if self.state is WatchState.IDLE:
            return None
        if self.state is WatchState.WAITING:
            return self._entered_ns + self._backoff_ns()
        if self.state is WatchState.STARTING:
            return self._entered_ns + self._limits.start_ns
        return self._progress_ns + self._limits.stall_ns

    def begin(self, now_ns: int) -> Step:
        """Start watching: the camera is to be opened."""
        if self.state is WatchState.IDLE:
            self._end_ns, self._cause, self._failures = None, None, 0
        return self._apply(WatchEvent.BEGIN, now_ns)

    def picture(self, pts_ns: int, keyframe: bool, now_ns: int) -> Step:
        """Judge a frame that arrived: deliver it or not, and what is missing before it."""
        self._progress_ns = now_ns
        row = TABLE.get((self.state, WatchEvent.KEYFRAME if keyframe else WatchEvent.PICTURE))
        if row is None or (self._end_ns is not None and pts_ns <= self._end_ns - self._frame_ns):
            self.discarded += 1
            return _NOTHING
        if self._failures and row.state is self.state and now_ns - self._entered_ns >= self._limits.steady_ns:
            self._failures = 0
        gap = self._gap_before(pts_ns)
        self._end_ns, self._cause = pts_ns + self._frame_ns, None
        if gap is None and row.state is self.state:
            return _DELIVER
        return self._enter(row, now_ns, gap=gap)

    def truncated(self, now_ns: int) -> Step:
        """Take note of a frame that did not fit the encoder's buffer: no picture up to the next keyframe."""
        self._progress_ns = now_ns
        self.discarded += 1
        return self._apply(WatchEvent.TRUNCATED, now_ns)

    def broke(self, now_ns: int, detail: str) -> Step:
        """Take note of an error of the camera, while opening or later: it is to be closed and opened again."""
        return self._apply(WatchEvent.BROKE, now_ns, detail)

    def tick(self, now_ns: int) -> Step:
        """Look at the time: a stall noticed, a back-off over."""
        due_ns = self.due_ns
        if due_ns is None or now_ns < due_ns:
            return _NOTHING
        if self.state is WatchState.WAITING:
            self.restarts += 1
            return self._apply(WatchEvent.DUE, now_ns, f"attempt {self._failures}")
        silent_ns = now_ns - (self._entered_ns if self.state is WatchState.STARTING else self._progress_ns)
        return self._apply(WatchEvent.OVERDUE, now_ns, f"no picture for {silent_ns / _NS_PER_S:.1f} s")

    def halt(self, now_ns: int) -> Step:
        """Stop watching; picture that is missing up to now is a gap."""
        gap = None if self._cause is None else self._gap_before(now_ns)
        row = TABLE.get((self.state, WatchEvent.HALT))
        return _NOTHING if row is None else self._enter(row, now_ns, gap=gap)

    def _apply(self, event: WatchEvent, now_ns: int, detail: str = "") -> Step:
        row = TABLE.get((self.state, event))
        if row is None:
            return _NOTHING
        if event in _GAP_CAUSES and self._cause in {None, GapCause.TRUNCATED}:
            self._cause = _GAP_CAUSES[
                event
            ]  # the first cause names a gap; a failing camera outdoes one bad frame
        return self._enter(row, now_ns, detail=detail)

    def _enter(self, row: Row, now_ns: int, *, gap: Span | None = None, detail: str = "") -> Step:
        if row.state is not self.state:
            self._entered_ns = now_ns
            self._failures += row.state is WatchState.WAITING
        self.state = row.state
        report = None if row.report is None else SourceState(row.report, detail, now_ns)
        return Step(deliver=row.deliver, gap=gap, call=row.call, report=report)

    def _gap_before(self, pts_ns: int) -> Span | None:
        if self._end_ns is None or pts_ns <= self._end_ns:
            return None
        missing_ns = pts_ns - self._end_ns
        cause = self._cause
        if cause is None and 2 * missing_ns > self._frame_ns:
            stalled = missing_ns >= self._limits.stall_ns
            cause = GapCause.CAMERA_STALLED if stalled else GapCause.CAMERA_DROPPED
        return None if cause is None else Span(self._end_ns, pts_ns, cause)

    def _backoff_ns(self) -> int:
        doublings = min(max(self._failures - 1, 0), 30)
        return min(self._limits.backoff_first_ns << doublings, self._limits.backoff_most_ns)
