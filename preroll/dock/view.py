"""The dock on a terminal: a line a bay, a bar where a clip moves; or a line of JSON for every change."""

import sys
import threading
from collections.abc import Callable, Sequence

from host.bays.status import BayState, BayStatus

__all__ = ["bay_line", "follow"]

_EVERY_S = 0.25
_MIB = 1 << 20


def bay_line(bay: BayStatus) -> str:
    """Say in one line how a bay stands."""
    parts = [f"bay {bay.bay}: {bay.state.value}"]
    if bay.device:
        parts.append(bay.device)
    if bay.state is BayState.OFFLOADING and bay.clip:
        parts.append(f"{bay.clip} {bay.step} {bay.done_bytes // _MIB} of {bay.clip_bytes // _MIB} MiB")
        parts += [f"{bay.queued} in this session"] if bay.queued > 1 else []
    if bay.camera:
        battery = bay.camera.battery_percent
        parts.append(f"{bay.camera.waiting} waiting")
        parts += [f"battery {battery} %"] if battery is not None else []
        parts += [f"{bay.camera.wearer}"] if bay.camera.wearer else []
        parts += [f"configuration {bay.camera.config}"] if bay.camera.config else []
        parts += [f"{each.part} {each.level}: {each.detail}" for each in bay.camera.health]
    if bay.detail:
        parts.append(bay.detail)
    return ", ".join(parts)


def follow(bays: Callable[[], Sequence[BayStatus]], done: threading.Event, *, as_json: bool) -> None:
    """Show bays until `done`."""
    if as_json:
        _follow_json(bays, done)
    else:
        _follow_bars(bays, done)


def _follow_json(bays: Callable[[], Sequence[BayStatus]], done: threading.Event) -> None:
    import msgspec

    shown: dict[str, bytes] = {}
    while not done.wait(_EVERY_S):
        for bay in bays():
            line = msgspec.json.encode(bay)
            if shown.get(bay.bay) != line:
                shown[bay.bay] = line
                sys.stdout.write(line.decode() + "\n")
                sys.stdout.flush()


def _follow_bars(bays: Callable[[], Sequence[BayStatus]], done: threading.Event) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    from rich.table import Column

    words = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # they give way, not the bar
    columns = (
        BarColumn(bar_width=16),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.description}", table_column=words),
    )
    with Progress(*columns, expand=True) as bars:
        tasks = {bay.bay: bars.add_task(bay_line(bay), total=None) for bay in bays()}
        clips: dict[str, str | None] = {}
        while not done.wait(_EVERY_S):
            for bay in bays():
                if clips.get(bay.bay) != bay.clip:
                    clips[bay.bay] = bay.clip
                    bars.reset(tasks[bay.bay])
                bars.update(
                    tasks[bay.bay],
                    description=bay_line(bay),
                    completed=bay.done_bytes if bay.clip else 0,
                    total=(bay.clip_bytes if bay.clip else 0) or 1,
                )
