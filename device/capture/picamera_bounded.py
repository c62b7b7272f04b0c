"""A call that may never return, and an answer all the same."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from device.capture.source import CaptureError

__all__ = ["call_bounded"]

_T = TypeVar("_T")


class _Call(Generic[_T]):
    """The call in its own thread; exactly one of the two threads gets the result."""

    def __init__(self, call: Callable[[], _T], late: Callable[[_T], None]) -> None:
        self.result: list[_T] = []
        self.error: CaptureError | None = None
        self._call = call
        self._late = late
        self._settled = threading.Lock()
        self._abandoned = False

    def run(self) -> None:
        try:
            result = self._call()
        except CaptureError as error:
            self.error = error
            return
        with self._settled:
            abandoned = self._abandoned
            if not abandoned:
                self.result.append(result)
        if abandoned:
            self._late(result)

    def abandon(self) -> bool:
        """Give the call up; `False` if its result has come after all."""
        with self._settled:
            self._abandoned = not self.result
            return self._abandoned


def call_bounded(call: Callable[[], _T], *, name: str, limit_s: float, late: Callable[[_T], None]) -> _T:
    """Return what `call` returns.

    A driver that hangs in the kernel can't be interrupted: after `limit_s` its thread is left behind, and what
    it still returns some day goes to `late`.

    Raises:
        CaptureError: `call` raised it, or did not return in time, or failed with an error of another kind
            (which Python's hook for threads has then reported).
    """
    pending = _Call(call, late)
    thread = threading.Thread(target=pending.run, name=name, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive() and pending.abandon():
        limit = f"an answer within {limit_s:g} s"
        raise CaptureError(f"{name} hangs", expected=limit, remedy="restart the service, or the machine")
    if pending.error is not None:
        raise pending.error
    if not pending.result:
        raise CaptureError(f"{name} failed", found="an error that nobody foresaw", remedy="see the log")
    return pending.result[0]
