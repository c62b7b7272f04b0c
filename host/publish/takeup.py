"""What to do with the retained topics of an earlier run: show again, leave, or clear. No I/O, no clock."""

import msgspec

from host.publish.errors import PayloadError
from host.publish.payloads import CameraPayload, decode_payload, encode_payload
from host.publish.topics import Topics, parse_topic

__all__ = ["Estate"]


class Estate(msgspec.Struct, frozen=True):
    """The dock as it is configured now: its topics, its bays, the cameras that are no more."""

    topics: Topics
    bays: frozenset[str]
    retired: frozenset[str]

    def take_up(self, topic: str, kept: bytes | None) -> bytes | None:
        """Say what a topic of an earlier run is to say: a payload, empty to clear it, `None` to leave it.

        A topic of another site, dock or prefix is a ghost, so are bays and cameras that are no more. A camera
        is shown again as it was last seen, in no bay until it is found in one.
        """
        place = parse_topic(self.topics.prefix, topic)
        if place is None or (place.site, place.dock) != (self.topics.site, self.topics.dock):
            return b""
        if place.kind == "camera":
            if place.name in self.retired or kept is None:
                return b""
            return _undocked(kept)
        if place.kind == "bay":
            return None if place.name in self.bays else b""
        return None


def _undocked(kept: bytes) -> bytes:
    try:
        return encode_payload(msgspec.structs.replace(decode_payload(kept, CameraPayload), bay=None))
    except PayloadError:
        return b""  # of another version; the camera's next docking shows it again
