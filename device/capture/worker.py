"""The one thread of a source that runs by itself: started, stopped, and never silent about its end."""

import threading
from collections.abc import Callable

from device.capture.pacing import CaptureClock
from device.capture.source import CaptureError, SourceState, StateKind, StateListener

__all__ = ["SourceThread"]


class SourceThread:
    """Runs `body(stop)` in a thread until it returns, which it has to do soon after `stop` is set.

    A `CaptureError` out of `body` ends the run and is reported as `FAILED`. Any other error (of the sink) is
    reported as well and goes on to `threading.excepthook`: nothing fails unseen.
    """

    def __init__(self, name: str, clock: CaptureClock) -> None:
        self._name = name
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._thread is not None

    def start(self, body: Callable[[threading.Event], None], on_state: StateListener) -> None:
        """Start the thread.

        Raises:
            CaptureError: it runs already.
        """
        if self._thread is not None:
            raise CaptureError(f"{self._name} runs already", remedy="stop it first")
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(body, on_state), name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the body to return and wait for it; harmless if nothing runs."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, body: Callable[[threading.Event], None], on_state: StateListener) -> None:
        kind, detail = StateKind.FAILED, "the source ended by an error of the program; see the log"
        try:
            body(self._stop)
            kind, detail = StateKind.ENDED, ""
        except CaptureError as error:
            detail = str(error)
        finally:
            on_state(SourceState(kind, detail, self._clock.now_ns()))
