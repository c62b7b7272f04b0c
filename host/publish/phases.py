"""How a dock stands to its broker, as a table; no I/O, no clock.

phase        event                      next
idle         start                      connecting
connecting   connected                  greeting     (subscribes: what is retained comes first)
greeting     subscribed                 online       (birth, then everything retained)
online       stop                       closing      (what is on its way, then `stopped`)
closing      settled, out of time       stopped
connecting, greeting, online
             lost, out of time          waiting
waiting      due                        connecting
greeting, online
             twin                       yielded      (a greater session: publishes nothing any more)
greeting, online
             outlived                   waiting      (a greater session that has stopped: ours becomes greater)
any          stop                       stopped
"""

import enum
from typing import Final

import msgspec

__all__ = ["TABLE", "Event", "Phase", "Timing", "next_phase"]

_S = 1_000_000_000


class Phase(enum.StrEnum):
    """Where the publisher stands."""

    IDLE = "idle"
    WAITING = "waiting"
    CONNECTING = "connecting"
    GREETING = "greeting"
    ONLINE = "online"
    CLOSING = "closing"
    YIELDED = "yielded"
    STOPPED = "stopped"


class Event(enum.Enum):
    """What can change that."""

    START = enum.auto()
    DUE = enum.auto()
    CONNECTED = enum.auto()
    SUBSCRIBED = enum.auto()
    LOST = enum.auto()
    TWIN = enum.auto()
    OUTLIVED = enum.auto()
    STOP = enum.auto()
    SETTLED = enum.auto()


TABLE: Final = {
    (Phase.IDLE, Event.START): Phase.CONNECTING,
    (Phase.IDLE, Event.STOP): Phase.STOPPED,
    (Phase.WAITING, Event.DUE): Phase.CONNECTING,
    (Phase.WAITING, Event.STOP): Phase.STOPPED,
    (Phase.CONNECTING, Event.CONNECTED): Phase.GREETING,
    (Phase.CONNECTING, Event.LOST): Phase.WAITING,
    (Phase.GREETING, Event.SUBSCRIBED): Phase.ONLINE,
    (Phase.GREETING, Event.LOST): Phase.WAITING,
    (Phase.GREETING, Event.TWIN): Phase.YIELDED,
    (Phase.GREETING, Event.OUTLIVED): Phase.WAITING,
    (Phase.ONLINE, Event.LOST): Phase.WAITING,
    (Phase.ONLINE, Event.TWIN): Phase.YIELDED,
    (Phase.ONLINE, Event.OUTLIVED): Phase.WAITING,
    (Phase.ONLINE, Event.STOP): Phase.CLOSING,
    (Phase.CLOSING, Event.SETTLED): Phase.STOPPED,
    (Phase.CLOSING, Event.LOST): Phase.STOPPED,
    (Phase.CLOSING, Event.TWIN): Phase.STOPPED,
    (Phase.YIELDED, Event.STOP): Phase.STOPPED,
}
"""What is not in the table changes nothing."""


class Timing(msgspec.Struct, frozen=True):
    """Nanoseconds and bounds; the defaults are for the field, tests are in more of a hurry."""

    connect_ns: int = 10 * _S
    grace_ns: int = _S // 2
    retry_first_ns: int = _S
    retry_longest_ns: int = 60 * _S
    stable_ns: int = 30 * _S
    refused_first_ns: int = 15 * _S
    refused_longest_ns: int = 300 * _S
    answer_ns: int = 10 * _S
    progress_ns: int = _S
    taken_again_ns: int = 60 * _S
    replay_pause_ns: int = 2 * _S
    close_ns: int = 3 * _S
    window: int = 16
    replay_most: int = 1_000


def next_phase(phase: Phase, event: Event) -> Phase:
    """Look it up."""
    return TABLE.get((phase, event), phase)
