"""What the demo shows while it runs: a live view on a terminal, a line now and then elsewhere."""

import sys
from typing import TYPE_CHECKING, Protocol

import msgspec

from device.controls.patterns import Line
from device.recording.machine import RECORDING_STATES
from device.recording.recorder import RecorderStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["LinesView", "Scene", "TerminalView", "View", "draw", "open_view"]

_MIB = 1024 * 1024
_BAR = 40
_LINE_EVERY_S = 5.0


class Scene(msgspec.Struct, frozen=True):
    """One look at the camera."""

    elapsed_s: float
    window_s: float
    held_s: float
    held_bytes: int
    recorder: RecorderStatus
    lit: frozenset[Line]
    waits_s: float | None
    """Until the demo presses by itself, `None` if it doesn't wait."""


class View(Protocol):
    """Where scenes are shown."""

    def show(self, scene: Scene) -> None:
        """Show how things are now."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class LinesView:
    """A line on standard output when the state changes, and every few seconds."""

    def __init__(self) -> None:
        self._state = ""
        self._shown_s = -_LINE_EVERY_S

    def show(self, scene: Scene) -> None:
        """Print a line if there is something to say."""
        if scene.recorder.state == self._state and scene.elapsed_s - self._shown_s < _LINE_EVERY_S:
            return
        self._state, self._shown_s = scene.recorder.state, scene.elapsed_s
        recording = scene.recorder.state in RECORDING_STATES
        clip = f"  {scene.recorder.frames} frames on storage" if recording else ""
        print(  # noqa: T201  # this is the demo's output
            f"{scene.elapsed_s:6.1f} s  {scene.recorder.state:<13}"
            f" ring {scene.held_s:5.1f} s, {scene.held_bytes / _MIB:5.1f} MiB{clip}",
            flush=True,
        )

    def close(self) -> None:
        """Nothing to leave."""


class TerminalView:
    """A picture of the camera that is drawn again and again in place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(auto_refresh=False, transient=False)
        self._live.start()

    def show(self, scene: Scene) -> None:
        """Draw the scene."""
        self._live.update(draw(scene), refresh=True)

    def close(self) -> None:
        """Stop drawing."""
        self._live.stop()


def open_view() -> View:
    """Return the view that suits standard output."""
    return TerminalView() if sys.stdout.isatty() else LinesView()


def draw(scene: Scene) -> "RenderableType":
    """Return a scene as a panel of rich."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    status = scene.recorder
    recording = status.state in RECORDING_STATES
    share = min(1.0, scene.held_s / scene.window_s) if scene.window_s else 1.0
    bar = Text("█" * round(share * _BAR), style="green")
    bar.append("░" * (_BAR - round(share * _BAR)), style="dim")
    bar.append(f"  {scene.held_s:.1f} of {scene.window_s:.0f} s, {scene.held_bytes / _MIB:.1f} MiB")
    table = Table.grid(padding=(0, 2))
    table.add_row("ring", bar)
    table.add_row("state", Text(str(status.state), style="bold red" if recording else "bold"))
    table.add_row("lights", _lights(scene.lit))
    table.add_row("clip", f"{status.clip or '-'}  {status.frames} frames on storage")
    left = "?" if status.minutes_left is None else f"{status.minutes_left:,.0f} min left"
    table.add_row("storage", left)
    table.add_row("", Text(_hint(scene, recording=recording), style="cyan"))
    return Panel(table, title="Preroll", subtitle=f"{scene.elapsed_s:.0f} s", width=92)


def _lights(lit: frozenset[Line]) -> "RenderableType":
    from rich.text import Text

    light = Text("● ", style={True: "red", False: "dim"}[Line.RED in lit])
    light.append("● ", style="green" if Line.GREEN in lit else "dim")
    light.append("buzz " if Line.BUZZER in lit else "     ", style="yellow")
    light.append("vibrate" if Line.VIBRATION in lit else "", style="yellow")
    return light


def _hint(scene: Scene, *, recording: bool) -> str:
    if recording:
        return "hold the space bar for 3 s to stop; a short press is a bookmark"
    if scene.waits_s is not None:
        return f"the space bar is the button; it presses itself in {scene.waits_s:.0f} s"
    return "the space bar is the button"
