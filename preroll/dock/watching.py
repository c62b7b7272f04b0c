"""Watching a site: what comes over MQTT goes into the picture, and the picture to a terminal or a program."""

import sys
import time
from collections.abc import Callable, Iterator

import click
import msgspec

from evidence.errors import ExplainedError
from host.publish import ReplayRequest, Topics, encode_payload
from host.watch import (
    Down,
    Feed,
    Heard,
    Refused,
    SitePicture,
    Up,
    Watched,
    alarms,
    ask,
    hear,
)
from preroll.dock.site import printable, site_lines

__all__ = ["Seen", "WatchError", "follow", "once_only"]

_POLL_S = 0.25
_DRAW_S = 0.2
_QUIET_S = 1.0


class WatchError(ExplainedError):
    """Nothing can be watched."""


class Seen:
    """The picture so far, and how the connection stands."""

    def __init__(self, feed: Feed, picture: SitePicture, broker: str, *, replay: bool) -> None:
        self._feed = feed
        self.picture = picture
        self._broker = broker
        self._replay = replay
        self.connection = f"connecting to {broker}"
        self.connected = False
        self._ever = False

    def look(self, timeout_s: float) -> Iterator[Heard]:
        """Wait for what comes, take it into the picture, and yield what changed something.

        Raises:
            WatchError: the first connection failed.
        """
        for heard in self._feed.poll(timeout_s):
            before = self.picture, self.connection
            match heard:
                case Up():
                    self.connected = self._ever = True
                    self.connection = self._broker
                case Down(reason=reason):
                    self.connected = False
                    self.connection = f"{self._broker}: {reason}; trying again"
                    if not self._ever:
                        raise WatchError(f"the broker {self._broker}: {reason}")
                case Refused(reason=reason):
                    self._replay = False
                    self.picture = msgspec.structs.replace(self.picture, replay_refused=reason)
                case Watched(topic=topic, payload=payload, retained=retained):
                    now_ns = time.monotonic_ns()
                    self.picture = hear(self.picture, topic, payload, now_ns, retained=retained)
            if (self.picture, self.connection) != before:
                yield heard
        if self.connected:
            self.picture, requests = ask(self.picture, time.monotonic_ns())
            self._ask(requests if self._replay else ())

    def _ask(self, requests: tuple[tuple[str, ReplayRequest], ...]) -> None:
        for dock, request in requests:
            topics = Topics(self.picture.prefix, self.picture.site, dock)
            self._feed.publish(topics.replay, encode_payload(request))


def once_only(seen: Seen, wait_s: float, *, as_json: bool) -> None:
    """Take what the broker keeps: until nothing has come for a second."""
    end_s = time.monotonic() + wait_s
    quiet_s: float | None = None
    while (now_s := time.monotonic()) < end_s and (quiet_s is None or now_s < quiet_s):
        came = list(seen.look(min(_POLL_S, end_s - now_s)))
        if seen.connected and (came or quiet_s is None):
            quiet_s = time.monotonic() + _QUIET_S
    if not seen.connected:
        raise WatchError(f"{seen.connection.removesuffix('; trying again')}: no answer in {wait_s:g} s")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_whole(seen.picture)), indent=2).decode())
        return
    for line in site_lines(seen.picture):
        click.echo(line)


def follow(seen: Seen, *, as_json: bool) -> None:
    """Show changes until somebody ends it."""
    if as_json:
        _follow_lines(seen, lambda heard: click.echo(_json_line(heard)))
    elif sys.stdout.isatty():
        _follow_picture(seen)
    else:
        _follow_plain(seen)


def _follow_lines(seen: Seen, say: Callable[[Heard], object]) -> None:
    while True:
        for heard in seen.look(_POLL_S):
            say(heard)
        sys.stdout.flush()


def _follow_plain(seen: Seen) -> None:
    """Print each line of the picture that is new."""
    said: frozenset[str] = frozenset()
    connection = ""
    while True:
        for _ in seen.look(_POLL_S):
            continue
        lines = tuple(site_lines(seen.picture)) if seen.picture.docks else ()
        if seen.connection != connection:
            connection = seen.connection
            click.echo(printable(f"broker {connection}"))
        for line in lines:
            if line not in said:
                click.echo(line)
        said = frozenset(lines)


def _follow_picture(seen: Seen) -> None:
    from rich.live import Live

    from preroll.dock.site import draw_site

    with Live(auto_refresh=False, screen=True) as live:
        drawn_s = 0.0
        while True:
            for _ in seen.look(_POLL_S):
                continue
            if time.monotonic() - drawn_s >= _DRAW_S:
                drawn_s = time.monotonic()
                live.update(draw_site(seen.picture, seen.connection), refresh=True)


def _json_line(heard: Heard) -> str:
    """Write what was heard as one object: `connection`, or `topic` with `payload` as it came."""
    match heard:
        case Watched(topic=topic, payload=payload, retained=retained):
            body = {"topic": topic, "retained": retained, "payload": _json(payload)}
        case Down(reason=reason):
            body = {"connection": "down", "reason": reason}
        case Refused(topic=topic, reason=reason):
            body = {"refused": topic, "reason": reason}
        case _:
            body = {"connection": "up"}
    return msgspec.json.encode(body).decode()


def _json(payload: bytes) -> object:
    try:
        return msgspec.json.decode(payload) if payload else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # it is counted as unreadable


def _whole(picture: SitePicture) -> dict[str, object]:
    return {"picture": picture, "cameras": picture.cameras, "alarms": alarms(picture)}
