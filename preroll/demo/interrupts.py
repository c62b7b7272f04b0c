"""Ctrl-C, once: the first one ends the demo in good order, and those that follow cannot break that order."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["join", "one_interrupt"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def one_interrupt() -> Iterator[None]:
    """Let the first SIGINT or SIGTERM raise `KeyboardInterrupt`, and ignore all others; in the main thread."""
    caught = False

    def handle(_number: int, _frame: object) -> None:
        nonlocal caught
        if not caught:
            caught = True
            raise KeyboardInterrupt

    saved = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in saved.items():
            signal.signal(number, handler)


def join(thread: threading.Thread) -> None:
    """Wait until a thread has ended, whatever comes between; an interrupt is passed on afterwards."""
    interrupt: KeyboardInterrupt | None = None
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
