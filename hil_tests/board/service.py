"""A program left running on a board."""

import signal
import time
from collections.abc import Callable

from hil_tests.board.channel import Channel
from hil_tests.board.protocol import BoardError

__all__ = ["BoardService"]

_POLL_S = 0.01
_TAIL = 3000


class BoardService:
    """Started by the agent; `read_log` reads what it has printed."""

    def __init__(self, name: str, channel: Channel, read_log: Callable[[], str]) -> None:
        self.name = name
        self._channel = channel
        self._read_log = read_log

    @property
    def log(self) -> str:
        """What it printed since this start."""
        return self._read_log()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.name in self._channel.ended

    def wait_log(self, text: str, *, timeout_s: float = 60) -> None:
        """Wait until a text stands in the log; see `Service`."""
        give_up = time.monotonic() + timeout_s
        while text not in self.log:
            if self.ended and text not in self.log:
                raise BoardError(f"{self.name} ended without {text!r}:\n{self.log[-_TAIL:]}")
            if time.monotonic() > give_up:
                raise BoardError(f"{self.name} did not say {text!r} in {timeout_s:g} s:\n{self.log[-_TAIL:]}")
            time.sleep(_POLL_S)

    def signal(self, number: int) -> bool:
        """Signal it; `False` if it has ended."""
        return bool(self._channel.ask("signal", name=self.name, number=number)["sent"])

    def wait(self, *, timeout_s: float = 60) -> int:
        """Wait for its end; see `Service`."""
        try:
            self._channel.wait(lambda: self.ended, f"end of {self.name}", timeout_s)
        except BoardError as error:
            raise BoardError(f"{error}:\n{self.log[-_TAIL:]}") from error
        return self._channel.ended[self.name]

    def stop(self, *, timeout_s: float = 60) -> int:
        """Send SIGTERM and wait; returns its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s=timeout_s)
