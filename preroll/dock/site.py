"""A site on a terminal: docks, bays with bars where clips move, cameras, alarms; as lines or as a picture.

What comes over MQTT was written elsewhere: nothing of it reaches the terminal but what can be printed.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from host.bays.status import BayState
from host.publish import BayPayload, DockState
from host.watch import Alarm, DockPicture, SitePicture, SpokenCamera, alarms

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["draw_site", "printable", "site_lines"]

_MIB = 1 << 20
_BAR = 16
_ALARMS = 8
_EVENTS = 5
_STYLES = {
    BayState.EMPTY: "dim",
    BayState.CHARGING: "cyan",
    BayState.OFFLOADING: "yellow",
    BayState.READY: "green",
    BayState.FAULT: "bold red",
}


def printable(text: str) -> str:
    """Return a text with a dot for what cannot be printed: no escape sequence gets through."""
    return "".join(each if each.isprintable() else "·" for each in text)


def site_lines(picture: SitePicture) -> Iterator[str]:
    """Yield the whole picture as plain lines."""
    yield f"site {picture.site}: {len(picture.docks)} docks, {len(picture.cameras)} cameras"
    for dock in picture.docks.values():
        yield f"dock {dock.dock}: {_standing(dock)}"
        yield from (f"  bay {bay.bay}: {_bay(bay)}" for bay in dock.bays.values())
    for spoken in picture.cameras:
        yield f"camera {spoken.camera.device}: {', '.join(_camera(spoken))}"
    for alarm in alarms(picture):
        yield f"ALARM {_alarm(alarm)}"
    if picture.unreadable:
        yield printable(f"{picture.unreadable} messages could not be read, the last: {picture.last_unreadable}")
    if picture.replay_refused:
        yield printable(f"no replay: {picture.replay_refused}")


def draw_site(picture: SitePicture, broker: str) -> "RenderableType":
    """Return the picture for rich; `broker` says how the connection stands."""
    from rich.console import Group
    from rich.text import Text

    head = f"site {picture.site}   {len(picture.docks)} docks   {len(picture.cameras)} cameras   {broker}"
    parts: list[RenderableType] = [Text(printable(head), style="bold")]
    parts += [_dock_table(dock) for dock in picture.docks.values()]
    parts += [_camera_table(picture)] if picture.cameras else []
    wrong = alarms(picture)
    style = "red" if wrong else "green"
    parts.append(Text(f"{len(wrong) or 'no'} alarms", style=f"bold {style}"))
    parts += [Text(_alarm(each), style="red", no_wrap=True, overflow="ellipsis") for each in wrong[:_ALARMS]]
    parts += [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in _events(picture)]
    return Group(*parts)


def _dock_table(dock: DockPicture) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=printable(f"{dock.dock}: {_standing(dock)}"), title_justify="left", expand=True, show_header=False
    )
    table.add_column("bay", width=6)
    table.add_column("state", width=11)
    table.add_column("bar", width=_BAR + 18)
    table.add_column("text", ratio=1, no_wrap=True, overflow="ellipsis")
    for bay in dock.bays.values():
        text = " ".join(each for each in (bay.device, bay.clip, bay.step, bay.detail) if each)
        style = _STYLES[bay.state] if dock.online else "dim"
        table.add_row(bay.bay, Text(bay.state.value, style=style), _bar(bay), printable(text))
    return table


def _camera_table(picture: SitePicture) -> "Table":
    from rich.table import Table

    table = Table(expand=True, show_header=False, title="cameras", title_justify="left")
    for spoken in picture.cameras:
        table.add_row(spoken.camera.device, *map(printable, _camera(spoken)))
    return table


def _events(picture: SitePicture) -> list[str]:
    told = [event for dock in picture.docks.values() for event in dock.events]
    told.sort(key=lambda each: each.utc)
    lines = (
        f"{each.utc} {each.dock} {each.number} {each.kind} {each.device or ''} {each.clip or ''}"
        for each in told[-_EVENTS:]
    )
    return [printable(line).rstrip() for line in lines]


def _standing(dock: DockPicture) -> str:
    state = "nothing said yet" if dock.state is None else dock.state.state.value
    since = f" since {dock.state.utc}" if dock.state and dock.state.state is DockState.STOPPED else ""
    store = dock.info.store if dock.info else None
    space = "" if store is None else f", store {store.state}"
    if store is not None and store.free_bytes is not None:
        space += f", {store.free_bytes // _MIB} MiB free"
    return printable(f"{state}{since}{space}")


def _bay(bay: BayPayload) -> str:
    parts = [bay.state.value, bay.device]
    if bay.clip:
        parts.append(f"{bay.clip} {bay.step} {bay.done_bytes // _MIB} of {bay.clip_bytes // _MIB} MiB")
    parts.append(bay.detail)
    return printable(", ".join(each for each in parts if each))


def _bar(bay: BayPayload) -> str:
    if not bay.clip or not bay.clip_bytes:
        return ""
    full = min(_BAR, bay.done_bytes * _BAR // bay.clip_bytes)
    return f"{'█' * full}{'░' * (_BAR - full)} {bay.done_bytes // _MIB}/{bay.clip_bytes // _MIB} MiB"


def _camera(spoken: SpokenCamera) -> list[str]:
    camera = spoken.camera
    where = f"{spoken.dock} bay {camera.bay}" if camera.bay else f"out, last in {spoken.dock}"
    battery = "battery ?" if camera.battery_percent is None else f"battery {camera.battery_percent} %"
    missing = f", {camera.missing} missing" if camera.missing else ""
    return [where, battery, f"{camera.waiting} waiting{missing}", camera.wearer or "", f"seen {camera.utc}"]


def _alarm(alarm: Alarm) -> str:
    return printable(f"{alarm.utc or 'now':27} {alarm.dock} {alarm.what}: {alarm.detail}")
