"""The last watch over the picture: a source that says it runs, and gives no frames.

Cameras have a watch of their own, which is faster and knows gaps (device/capture/stall.py). This one is for
what that one cannot see: a source whose own thread hangs. It says so, so that the lights show a fault, and
lets the source be stopped and started again, each time a little later. It never gives up and never ends the
process.
"""

import logging
import threading
from collections.abc import Callable

import msgspec

from device.capture.picamera_bounded import call_bounded
from device.capture.source import CaptureError, FrameSink, FrameSource, SourceState, StateKind

__all__ = ["PictureCore", "PictureWatch"]

_log = logging.getLogger(__name__)
_NS_PER_S = 1_000_000_000
_OPEN_LIMIT_NS = 90 * _NS_PER_S
"""A camera that has said nothing yet is being opened: importing its stack alone takes seconds."""
_BACKOFF_MOST_NS = 120 * _NS_PER_S
_STOP_LIMIT_S = 10.0


class _Verdict(msgspec.Struct, frozen=True):
    """What follows from a look: a state to report, and whether to start the source again."""

    report: SourceState | None = None
    restart: bool = False


class PictureCore:
    """Frames' times in, verdicts out; no clock, no thread."""

    def __init__(self, silent_ns: int, began_ns: int) -> None:
        self._silent_ns = silent_ns
        self._newest_ns = began_ns
        self._kind: StateKind | None = None
        self._silent_since_ns: int | None = None
        self._restart_ns = 0
        self._tries = 0

    def heard(self, kind: StateKind) -> None:
        """Take what the source says of itself."""
        self._kind = kind

    def progress_ns(self, now_ns: int) -> int:
        """Return when the picture last was as it should be: frames came, or their absence is known."""
        if self._silent_since_ns is not None or self._kind not in {None, StateKind.RUNNING}:
            return now_ns
        return now_ns if self._kind is None else self._newest_ns

    def look(self, newest_ns: int | None, now_ns: int) -> _Verdict:
        """Judge by the newest frame that there is."""
        if newest_ns is not None and newest_ns > self._newest_ns:
            self._newest_ns = newest_ns
            if self._silent_since_ns is None:
                return _Verdict()
            self._silent_since_ns, self._tries = None, 0
            return _Verdict(SourceState(StateKind.RUNNING, "frames come again", now_ns))
        if self._silent_since_ns is not None:
            return self._again(now_ns)
        limit_ns = max(self._silent_ns, _OPEN_LIMIT_NS) if self._kind is None else self._silent_ns
        if self._kind not in {None, StateKind.RUNNING} or now_ns - self._newest_ns <= limit_ns:
            return _Verdict()
        self._silent_since_ns = now_ns
        self._restart_ns = now_ns
        silent_s = (now_ns - self._newest_ns) / _NS_PER_S
        return _Verdict(SourceState(StateKind.FAILED, f"no frame for {silent_s:.1f} s", now_ns), restart=True)

    def _again(self, now_ns: int) -> _Verdict:
        wait_ns = min(self._silent_ns << min(self._tries, 20), _BACKOFF_MOST_NS)
        if now_ns - self._restart_ns < wait_ns:
            return _Verdict()
        self._restart_ns = now_ns
        self._tries += 1
        return _Verdict(SourceState(StateKind.RESTARTING, f"attempt {self._tries + 1}", now_ns), restart=True)


class PictureWatch:
    """The core with a source: `look` is called about once a second by the health thread; it never waits."""

    def __init__(
        self,
        source: FrameSource,
        sink: FrameSink,
        post: Callable[[SourceState], None],
        *,
        silent_ns: int,
        began_ns: int,
    ) -> None:
        self._source = source
        self._sink = sink
        self._post = post
        self._core = PictureCore(silent_ns, began_ns)
        self._lock = threading.Lock()
        self._restarting: threading.Thread | None = None

    def heard(self, state: SourceState) -> None:
        """Pass on what the source says; from any thread."""
        with self._lock:
            self._core.heard(state.kind)
        self._post(state)

    def progress_ns(self, now_ns: int) -> int:
        """As `PictureCore.progress_ns`; from any thread."""
        with self._lock:
            return self._core.progress_ns(now_ns)

    def start(self) -> None:
        """Start the source.

        Raises:
            CaptureError: it cannot be opened.
        """
        self._source.start(self._sink, self.heard)

    def stop(self) -> None:
        """Stop the source, if it lets itself be stopped within some seconds.

        Raises:
            CaptureError: it hangs; its thread is left behind.
        """
        call_bounded(
            self._source.stop, name=f"stopping {self._source.name}", limit_s=_STOP_LIMIT_S, late=lambda _: None
        )

    def look(self, newest_ns: int | None, now_ns: int) -> None:
        """Look once."""
        with self._lock:
            verdict = self._core.look(newest_ns, now_ns)
        if verdict.report is not None:
            self._post(verdict.report)
        if verdict.restart and (self._restarting is None or not self._restarting.is_alive()):
            self._restarting = threading.Thread(target=self._restart, name="source-restart", daemon=True)
            self._restarting.start()

    def _restart(self) -> None:
        try:
            self._source.stop()  # may hang: then this thread does, and no other is started
            self._source.start(self._sink, self.heard)
        except CaptureError as error:
            _log.error("camera: %s", error)
