"""A scene of the demo as a picture for a terminal: the acts, and a panel for each part of the system."""

from typing import TYPE_CHECKING

from device.controls.patterns import Line
from device.recording.machine import RECORDING_STATES
from host.bays import BayState
from preroll.demo.acts import WORDS, Act
from preroll.demo.messages import said
from preroll.demo.view import Scene

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["WIDTH", "draw"]

WIDTH = 92
_MIB = 1024 * 1024
_BAR = 40
_MESSAGES = 6


def draw(scene: Scene) -> "RenderableType":
    """Return a scene as a renderable of rich, `WIDTH` columns wide."""
    from rich.console import Group
    from rich.panel import Panel

    panels = (("camera", _camera(scene)), ("dock", _dock(scene)), ("MQTT", _messages(scene)))
    return Group(
        _acts(scene),
        *(Panel(content, title=name, title_align="left", width=WIDTH) for name, content in panels),
    )


def _acts(scene: Scene) -> "RenderableType":
    from rich.text import Text

    ended = {turn.act for turn in scene.turns if turn.end_s is not None}
    line = Text(f" {scene.elapsed_s:5.1f} s  ")
    for act in Act:
        mark, style = ("✓", "green") if act in ended else ("·", "dim")
        if act is scene.act:
            mark, style = "▶", "bold"
        line.append(f" {mark} {act}", style=style)
    return line.append(f"\n          {WORDS[scene.act] if scene.act else 'the end'}", style="cyan")


def _camera(scene: Scene) -> "RenderableType":
    from rich.text import Text

    status = scene.recorder
    recording = status.state in RECORDING_STATES
    share = min(1.0, scene.held_s / scene.window_s) if scene.window_s else 1.0
    ring = _bar(share).append(
        f"  {scene.held_s:.1f} of {scene.window_s:.0f} s, {scene.held_bytes / _MIB:.1f} MiB"
    )
    left = "?" if status.minutes_left is None else f"{status.minutes_left:,.0f} min left"
    return _rows(
        ("ring", ring),
        ("state", Text(str(status.state), style="bold red" if recording else "bold")),
        ("lights", _lights(scene.lit)),
        ("clip", f"{status.clip or '-'}  {status.frames} frames on storage"),
        ("storage", left),
        ("", Text(_hint(scene, recording=recording), style="cyan")),
    )


def _dock(scene: Scene) -> "RenderableType":
    from rich.text import Text

    bay = scene.bay
    if bay is None:
        return _rows(("bay 1", Text(BayState.EMPTY, style="dim")), ("clip", "-"), ("taken", "-"))
    done_bytes = bay.done_bytes if bay.clip else bay.clip_bytes  # what is not counted are the smaller files
    taken = _bar(done_bytes / bay.clip_bytes if bay.clip_bytes else 0.0)
    taken.append(f"  {done_bytes / _MIB:.1f} of {bay.clip_bytes / _MIB:.1f} MiB")
    style = "bold red" if bay.state is BayState.FAULT else "bold"
    return _rows(
        ("bay 1", Text(f"{bay.state}  {bay.device or ''}  {bay.detail}".rstrip(), style=style)),
        ("clip", f"{bay.clip}  {bay.step or ''}" if bay.clip else f"{bay.stored} stored"),
        ("taken", taken),
    )


def _messages(scene: Scene) -> "RenderableType":
    """Show the last messages that a subscriber got, one line each."""
    from rich.text import Text

    lines = [f"{each.at_s:6.1f} s  {said(each)}" for each in scene.messages[-_MESSAGES:]]
    title = f"{scene.broker}; {len(scene.messages)} messages"
    body = Text("\n".join([title, *lines, *[""] * (_MESSAGES - len(lines))]), no_wrap=True, overflow="ellipsis")
    body.stylize("dim", 0, len(title))
    return body


def _rows(*rows: tuple[str, "RenderableType"]) -> "RenderableType":
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=7)
    for name, value in rows:
        table.add_row(name, value)
    return table


def _bar(share: float) -> "Text":
    from rich.text import Text

    full = round(min(1.0, share) * _BAR)
    return Text("█" * full, style="green").append("░" * (_BAR - full), style="dim")


def _lights(lit: frozenset[Line]) -> "RenderableType":
    from rich.text import Text

    light = Text("● ", style={True: "red", False: "dim"}[Line.RED in lit])
    light.append("● ", style="green" if Line.GREEN in lit else "dim")
    light.append("buzz " if Line.BUZZER in lit else "     ", style="yellow")
    light.append("vibrate" if Line.VIBRATION in lit else "", style="yellow")
    return light


def _hint(scene: Scene, *, recording: bool) -> str:
    if scene.bay is not None:
        return "in its dock"
    if recording:
        return "hold the space bar for 3 s to stop; a short press is a bookmark"
    if scene.waits_s is not None:
        return f"the space bar is the button; it presses itself in {scene.waits_s:.0f} s"
    return "the space bar is the button"
