"""What the recorder needs of the rest of the camera: lights, clips being written, the sound's gate."""

from collections.abc import Callable
from typing import Protocol

from device.buffer.cursor import Cursor
from device.controls.patterns import IndicatorState, Signal
from evidence.documents.fields import Ended

__all__ = ["ClipHandle", "Gate", "Panel", "StartClip"]


class Panel(Protocol):
    """What the recorder asks of the controls."""

    def show(self, state: IndicatorState) -> None:
        """Show a state."""

    def signal(self, kind: Signal) -> None:
        """Give a one-shot signal."""

    def renew(self, until_ns: int) -> None:
        """Keep the recording light alive."""


class ClipHandle(Protocol):
    """A clip that is being written by a thread of its own."""

    def bookmark(self, at_ns: int) -> None:
        """Note a bookmark."""

    def add_trigger(self, source: str, edge_ns: int) -> None:
        """Note a further trigger."""

    def end(self, ended: Ended, stop_ns: int) -> None:
        """End it; what was captured up to `stop_ns` is still written."""

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until it is sealed or has failed; whether it is."""


class Gate(Protocol):
    """Lets sound through to the ring while a clip is open."""

    def open(self, from_ns: int) -> None:
        """Let sound through from a time on."""

    def close(self) -> None:
        """Keep it back again."""


StartClip = Callable[[str, int, Cursor], ClipHandle]
"""Starts the writer of a clip: trigger source, edge, cursor."""
