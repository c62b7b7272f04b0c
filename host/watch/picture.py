"""A site as one picture: docks, bays, cameras, what happened last, what is wrong. Frozen; no I/O, no clock."""

from collections.abc import Iterator, Mapping

import msgspec

from host.bays.status import BayState
from host.publish.payloads import (
    BayPayload,
    CameraPayload,
    DockState,
    EventPayload,
    InfoPayload,
    StatePayload,
)
from host.watch.numbers import Numbers

__all__ = ["ALARM_KINDS", "Alarm", "DockPicture", "SitePicture", "SpokenCamera", "alarms", "empty_site"]

ALARM_KINDS = frozenset(
    {
        "camera_alarm",
        "certificate_expired",
        "clip_missing",
        "clip_quarantined",
        "clock_jumped",
        "events_dropped",
        "fault",
        "fork",
        "integrity_alarm",
    }
)
"""Events that somebody has to look after."""
_ALARMS_SHOWN = 20


class DockPicture(msgspec.Struct, frozen=True):
    """One dock, as its topics say; `events` are the last ones, the oldest first."""

    dock: str
    state: StatePayload | None = None
    info: InfoPayload | None = None
    bays: Mapping[str, BayPayload] = {}
    cameras: Mapping[str, CameraPayload] = {}
    events: tuple[EventPayload, ...] = ()
    numbers: Numbers = Numbers()

    @property
    def online(self) -> bool:
        """Whether what is shown is true now."""
        return self.state is not None and self.state.state is DockState.ONLINE


class SpokenCamera(msgspec.Struct, frozen=True):
    """A camera, and the dock that speaks for it."""

    dock: str
    camera: CameraPayload


class SitePicture(msgspec.Struct, frozen=True):
    """Everything below one site. `unreadable` counts messages that are not of their format."""

    prefix: str
    site: str
    docks: Mapping[str, DockPicture] = {}
    unreadable: int = 0
    last_unreadable: str = ""
    replay_refused: str = ""

    @property
    def cameras(self) -> tuple[SpokenCamera, ...]:
        """All cameras by their ids; of several docks' words the greatest rank counts (docs/mqtt.md)."""
        best: dict[str, SpokenCamera] = {}
        for dock in self.docks.values():
            for device, camera in dock.cameras.items():
                known = best.get(device)
                if known is None or camera.rank > known.camera.rank:
                    best[device] = SpokenCamera(dock.dock, camera)
        return tuple(best[device] for device in sorted(best))


class Alarm(msgspec.Struct, frozen=True):
    """What somebody has to look after; `utc` is `None` where it is so now and nobody said since when."""

    utc: str | None
    dock: str
    what: str
    detail: str


def empty_site(prefix: str, site: str) -> SitePicture:
    """Return the picture before the first message."""
    return SitePicture(prefix, site)


def alarms(picture: SitePicture) -> tuple[Alarm, ...]:
    """Return what is wrong: what is so now first, then the latest events that say so."""
    lasting = [alarm for dock in picture.docks.values() for alarm in _lasting(dock)]
    told = [
        Alarm(
            event.utc, dock.dock, event.kind, " ".join(filter(None, (event.device, event.clip, event.detail)))
        )
        for dock in picture.docks.values()
        for event in dock.events
        if event.kind in ALARM_KINDS
    ]
    told.sort(key=lambda each: each.utc or "", reverse=True)
    return (*lasting, *told[:_ALARMS_SHOWN])


def _lasting(dock: DockPicture) -> Iterator[Alarm]:
    if dock.state is not None and dock.state.state is DockState.OFFLINE:
        yield Alarm(None, dock.dock, "offline", "the dock is not reached; what is shown of it is its last word")
    store = dock.info.store if dock.info else None
    if store is not None and store.state != "ready":
        yield Alarm(None, dock.dock, f"store {store.state}", store.detail)
    for bay in dock.bays.values():
        if bay.state is BayState.FAULT:
            yield Alarm(
                bay.utc, dock.dock, f"bay {bay.bay} fault", " ".join(filter(None, (bay.device, bay.detail)))
            )
    if dock.numbers.missed:
        ranges = ", ".join(f"{first}-{last}" for first, last in dock.numbers.missing[:4])
        yield Alarm(None, dock.dock, "events missed", f"{dock.numbers.missed}: {ranges}")
    if dock.numbers.lost:
        yield Alarm(None, dock.dock, "events lost", f"{dock.numbers.lost} are no longer held by the dock")
