"""What the demo shows while it runs: a live picture on a terminal, a line now and then elsewhere."""

import itertools
import sys
from typing import Protocol

import msgspec

from device.controls.patterns import Line
from device.recording.machine import RECORDING_STATES
from device.recording.recorder import RecorderStatus
from host.bays import BayStatus
from preroll.demo.acts import WORDS, Act, Turn
from preroll.demo.messages import Message, said
from preroll.dock.view import bay_line

__all__ = ["LinesView", "MuteView", "Scene", "TerminalView", "View", "open_view"]

_MIB = 1024 * 1024
_LINE_EVERY_S = 5.0


class Scene(msgspec.Struct, frozen=True):
    """One look at everything there is: each part of the system has a field here and a panel in the picture."""

    elapsed_s: float
    act: Act | None
    turns: tuple[Turn, ...]
    window_s: float
    held_s: float
    held_bytes: int
    recorder: RecorderStatus
    lit: frozenset[Line]
    waits_s: float | None
    """Until the demo presses by itself, `None` if it doesn't wait."""
    bay: BayStatus | None
    """The dock's bay, `None` before the camera is put into it."""
    broker: str = ""
    """Which one, or that there is none."""
    messages: tuple[Message, ...] = ()
    """What a subscriber got so far."""


class View(Protocol):
    """Where scenes are shown."""

    def show(self, scene: Scene) -> None:
        """Show how things are now."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class MuteView:
    """A view for nobody."""

    def show(self, scene: Scene) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to leave."""


class LinesView:
    """A line on standard output for each act and each state of the camera, and every few seconds."""

    def __init__(self) -> None:
        self._acts = self._messages = 0
        self._state = self._broker = ""
        self._shown_s = -_LINE_EVERY_S

    def show(self, scene: Scene) -> None:
        """Print a line if there is something to say."""
        if scene.broker != self._broker:
            self._broker = scene.broker
            _print(f"{'':11}broker {scene.broker}")
        self._show_messages(scene)
        for turn in scene.turns[self._acts :]:
            _print(f"{turn.begin_s:6.1f} s  {turn.act:<8} {WORDS[turn.act]}")
            self._acts, self._shown_s = self._acts + 1, turn.begin_s
        state = self._state if scene.bay else scene.recorder.state
        if state == self._state and scene.elapsed_s - self._shown_s < _LINE_EVERY_S:
            return
        self._state, self._shown_s = state, scene.elapsed_s
        _print(f"{'':17} {bay_line(scene.bay) if scene.bay else _camera(scene)}")

    def close(self) -> None:
        """Nothing to leave."""

    def _show_messages(self, scene: Scene) -> None:
        """Print what came over MQTT; of a bay that moves bytes, the first and the last message of a step."""
        fresh = scene.messages[self._messages :]
        for message, following in itertools.zip_longest(fresh, fresh[1:]):
            if following is None or not _continues(message, following):
                _print(f"{message.at_s:6.1f} s  mqtt     {said(message)}")
        self._messages += len(fresh)


class TerminalView:
    """A picture that is drawn again and again in place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(auto_refresh=False, transient=False)
        self._live.start()

    def show(self, scene: Scene) -> None:
        """Draw the scene."""
        from preroll.demo.picture import draw

        self._live.update(draw(scene), refresh=True)

    def close(self) -> None:
        """Stop drawing."""
        self._live.stop()


def open_view() -> View:
    """Return the view that suits standard output."""
    return TerminalView() if sys.stdout.isatty() else LinesView()


def _continues(before: Message, after: Message) -> bool:
    """Whether a message is but the next look at the same step."""
    if (
        before.topic != after.topic
        or not isinstance(before.payload, dict)
        or not isinstance(after.payload, dict)
    ):
        return False
    step = before.payload.get("step")
    return step is not None and step == after.payload.get("step")


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # this is the demo's output


def _camera(scene: Scene) -> str:
    recording = scene.recorder.state in RECORDING_STATES
    clip = f", {scene.recorder.frames} frames on storage" if recording else ""
    return f"{scene.recorder.state}: {scene.held_s:.1f} s, {scene.held_bytes / _MIB:.1f} MiB in memory{clip}"
