"""A site as subscribers see it: a subscription that comes back by itself, and the picture made of it."""

from host.watch.feed import Down, Feed, Heard, Refused, Up, Watched
from host.watch.numbers import Numbers
from host.watch.picture import ALARM_KINDS, Alarm, DockPicture, SitePicture, SpokenCamera, alarms, empty_site
from host.watch.reducer import ask, hear

__all__ = [
    "ALARM_KINDS",
    "Alarm",
    "DockPicture",
    "Down",
    "Feed",
    "Heard",
    "Numbers",
    "Refused",
    "SitePicture",
    "SpokenCamera",
    "Up",
    "Watched",
    "alarms",
    "ask",
    "empty_site",
    "hear",
]
