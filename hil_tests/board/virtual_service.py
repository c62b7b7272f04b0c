"""A program left running on a virtual board."""

import signal
import time
from pathlib import Path

from hil_tests.board.channel import Channel
from hil_tests.board.protocol import BoardError

__all__ = ["VirtualService"]

_POLL_S = 0.01
_TAIL = 3000


class VirtualService:
    """Its log is a file of the host, written through by the board: it is whole also after a power cut."""

    def __init__(self, name: str, channel: Channel, log: Path, begin: int) -> None:
        self.name = name
        self._channel = channel
        self._log = log
        self._begin = begin

    @property
    def log(self) -> str:
        """What it printed since this start."""
        return self._log.read_bytes()[self._begin :].decode("utf-8", "replace")

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
