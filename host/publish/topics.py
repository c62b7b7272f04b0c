"""Where messages go: the topics of one dock, each part held against a grammar (docs/mqtt.md).

Parts come from the configuration and from cameras. One that holds a slash would add a level, a plus or a number
sign would be a wildcard, a dollar sign in front is the broker's own: none of them is in the grammar.
"""

import re

import msgspec

from host.publish.errors import TopicError

__all__ = ["PART_PATTERN", "PREFIX_PATTERN", "Kind", "Place", "Topics", "parse_topic"]

PART_PATTERN = r"\A[A-Za-z0-9._-]{1,64}\Z"
"""One level: site, dock, bay, camera."""
PREFIX_PATTERN = r"\A[A-Za-z0-9._-]{1,32}(/[A-Za-z0-9._-]{1,32}){0,3}\Z"
"""One to four levels."""
_PART = re.compile(PART_PATTERN)
_PREFIX = re.compile(PREFIX_PATTERN)
_SINGLE = ("state", "info", "event", "replay")
_NAMED = ("bay", "camera")
Kind = str


class Place(msgspec.Struct, frozen=True):
    """What a topic names: `kind` is its fixed word; `name` a bay's or a camera's, else empty."""

    site: str
    dock: str
    kind: Kind
    name: str = ""


class Topics(msgspec.Struct, frozen=True):
    """The topics of one dock."""

    prefix: str
    site: str
    dock: str

    def __post_init__(self) -> None:
        """Hold the parts against their grammar."""
        if not _PREFIX.fullmatch(self.prefix):
            raise TopicError("the prefix of topics", expected=PREFIX_PATTERN, found=ascii(self.prefix[:80]))
        _part("site", self.site)
        _part("dock", self.dock)

    @property
    def root(self) -> str:
        """What all topics of the dock begin with, without the last slash."""
        return f"{self.prefix}/{self.site}/{self.dock}"

    @property
    def state(self) -> str:
        """Retained: online, stopped, offline."""
        return f"{self.root}/state"

    @property
    def info(self) -> str:
        """Retained: version, bays, store, outbox."""
        return f"{self.root}/info"

    @property
    def event(self) -> str:
        """Not retained: numbered events."""
        return f"{self.root}/event"

    @property
    def replay(self) -> str:
        """Requests of subscribers."""
        return f"{self.root}/replay"

    def bay(self, name: str) -> str:
        """Retained: one bay.

        Raises:
            TopicError: the name is not one level.
        """
        return f"{self.root}/bay/{_part('bay', name)}"

    def camera(self, device: str) -> str:
        """Retained: one camera.

        Raises:
            TopicError: the id is not one level.
        """
        return f"{self.root}/camera/{_part('camera', device)}"

    def everywhere(self, device: str) -> str:
        """Return the filter for what all docks of all sites say of a camera.

        Raises:
            TopicError: the id is not one level.
        """
        return f"{self.prefix}/+/+/camera/{_part('camera', device)}"


def parse_topic(prefix: str, topic: str) -> Place | None:
    """Read a topic below a prefix; `None` if it is none of ours."""
    head = f"{prefix}/"
    if not topic.startswith(head):
        return None
    parts = topic[len(head) :].split("/")
    if not all(_PART.fullmatch(each) for each in parts):
        return None
    match parts:
        case [site, dock, kind] if kind in _SINGLE:
            return Place(site, dock, kind)
        case [site, dock, kind, name] if kind in _NAMED:
            return Place(site, dock, kind, name)
        case _:
            return None


def _part(what: str, value: str) -> str:
    if not _PART.fullmatch(value):
        raise TopicError(
            f"a topic's part for a {what}",
            expected="1 to 64 of A-Z a-z 0-9 . _ -",
            found=ascii(value[:80]),
        )
    return value
