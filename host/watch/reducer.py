"""Messages in, picture out: pure functions. Time is an argument; nothing here subscribes or publishes.

A dock's word counts by its topic alone: what a payload says of another dock, bay or camera is unreadable. Of
sessions the greater counts, so that the late will of an earlier one changes nothing.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from host.publish.errors import PayloadError
from host.publish.payloads import (
    BayPayload,
    CameraPayload,
    EventPayload,
    InfoPayload,
    ReplayRequest,
    StatePayload,
    decode_payload,
)
from host.publish.topics import Place, parse_topic
from host.watch.numbers import heard, promised, wanted
from host.watch.picture import DockPicture, SitePicture

__all__ = ["ask", "hear"]

_EVENTS_KEPT = 100
_IGNORED = ("replay",)
_change = msgspec.structs.replace
_Entry = TypeVar("_Entry")


def hear(
    picture: SitePicture, topic: str, payload: bytes, now_ns: int, *, retained: bool = False
) -> SitePicture:
    """Return the picture after a message; the same one if it says nothing new. An empty payload clears."""
    place = parse_topic(picture.prefix, topic)
    if place is None or place.site != picture.site or place.kind in _IGNORED:
        return picture
    before = picture.docks.get(place.dock, DockPicture(place.dock))
    try:
        after = _hear(before, place, payload, now_ns, retained=retained) if payload else _clear(before, place)
    except PayloadError as error:
        return _change(picture, unreadable=picture.unreadable + 1, last_unreadable=f"{topic}: {error}"[:300])
    if after == before:
        return picture
    docks = {**picture.docks, place.dock: after}
    if after == DockPicture(place.dock):
        del docks[place.dock]
    return _change(picture, docks=dict(sorted(docks.items())))


def ask(picture: SitePicture, now_ns: int) -> tuple[SitePicture, tuple[tuple[str, ReplayRequest], ...]]:
    """Return the requests for a replay that are due, by their docks."""
    docks, requests = dict(picture.docks), []
    for dock in picture.docks.values():
        numbers, gap = wanted(dock.numbers, now_ns)
        if numbers != dock.numbers:
            docks[dock.dock] = _change(dock, numbers=numbers)
        if gap is not None:
            requests.append((dock.dock, ReplayRequest(series=numbers.series, first=gap[0], last=gap[1])))
    return (picture if docks == picture.docks else _change(picture, docks=docks)), tuple(requests)


def _hear(dock: DockPicture, place: Place, payload: bytes, now_ns: int, *, retained: bool) -> DockPicture:
    match place.kind:
        case "state":
            return _state(dock, decode_payload(payload, StatePayload))
        case "info":
            info = decode_payload(payload, InfoPayload)
            _own(place.dock, info.dock)
            numbers = promised(dock.numbers, info.events, now_ns, retained=retained)
            return _change(dock, info=info, numbers=numbers)
        case "bay":
            bay = decode_payload(payload, BayPayload)
            _own(place.name, bay.bay)
            return _change(dock, bays=_with(dock.bays, place.name, bay))
        case "camera":
            camera = decode_payload(payload, CameraPayload)
            _own(place.name, camera.device)
            return _change(dock, cameras=_with(dock.cameras, place.name, camera))
        case _:
            return _event(dock, decode_payload(payload, EventPayload))


def _state(dock: DockPicture, state: StatePayload) -> DockPicture:
    _own(dock.dock, state.dock)
    if dock.state is not None and state.session < dock.state.session:
        return dock
    return _change(dock, state=state)


def _event(dock: DockPicture, event: EventPayload) -> DockPicture:
    _own(dock.dock, event.dock)
    known = any((each.series, each.number) == (event.series, event.number) for each in dock.events)
    if not known:
        events = (*dock.events, event)
        if dock.events and dock.events[-1].series == event.series:
            events = tuple(sorted(events, key=lambda each: (each.series == event.series, each.number)))
        dock = _change(dock, events=events[-_EVENTS_KEPT:])
    return _change(dock, numbers=heard(dock.numbers, event.series, event.number))


def _clear(dock: DockPicture, place: Place) -> DockPicture:
    match place.kind:
        case "state":
            return _change(dock, state=None)
        case "info":
            return _change(dock, info=None)
        case "bay":
            return _change(dock, bays={name: each for name, each in dock.bays.items() if name != place.name})
        case "camera":
            cameras = {device: each for device, each in dock.cameras.items() if device != place.name}
            return _change(dock, cameras=cameras)
        case _:
            return dock


def _with(entries: Mapping[str, _Entry], name: str, entry: _Entry) -> dict[str, _Entry]:
    return dict(sorted({**entries, name: entry}.items()))


def _own(name: str, said: str) -> None:
    if name != said:
        raise PayloadError("a message of another", expected=name, found=ascii(said))
