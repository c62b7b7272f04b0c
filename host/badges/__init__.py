"""Badge readers: who shows a badge gets a camera for a shift."""

from host.badges.desk import BadgeDesk, BadgeStatus, Post
from host.badges.errors import BadgeError
from host.badges.machine import Aim, Claim, Claims, Movement
from host.badges.readers import BadgeReader, DeviceReader, FakeReader, keyboard_reader, line_reader, reader_of
from host.badges.roster import Roster

__all__ = [
    "Aim",
    "BadgeDesk",
    "BadgeError",
    "BadgeReader",
    "BadgeStatus",
    "Claim",
    "Claims",
    "DeviceReader",
    "FakeReader",
    "Movement",
    "Post",
    "Roster",
    "keyboard_reader",
    "line_reader",
    "reader_of",
]
