"""Which cameras this dock speaks for: one that was seen later elsewhere is no longer ours. No I/O, no clock."""

from host.publish.errors import PayloadError
from host.publish.payloads import CameraPayload, decode_payload
from host.publish.topics import Topics, parse_topic

__all__ = ["CameraClaims"]


class CameraClaims:
    """What this dock says of cameras, to hold it against what others say."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._claims: dict[str, CameraPayload] = {}

    def filters(self) -> tuple[str, ...]:
        """Return where others would speak of the same cameras."""
        return tuple(self._topics.everywhere(device) for device in self._claims)

    def changed(self, topic: str, payload: bytes) -> str | None:
        """Take what this dock says now; returns the filter to subscribe to, or to leave, if that changes."""
        place = parse_topic(self._topics.prefix, topic)
        if place is None or (place.site, place.dock, place.kind) != (
            self._topics.site,
            self._topics.dock,
            "camera",
        ):
            return None
        known = place.name in self._claims
        if payload:
            self._claims[place.name] = decode_payload(payload, CameraPayload)
        else:
            self._claims.pop(place.name, None)
        return self._topics.everywhere(place.name) if known != bool(payload) else None

    def heard(self, topic: str, payload: bytes) -> str | None:
        """Take what another dock says; returns our topic if it has to be cleared.

        Nothing is cleared while the camera is in one of our bays. Of equal `as_of` a docked camera counts more.
        """
        place = parse_topic(self._topics.prefix, topic)
        if (
            place is None
            or place.kind != "camera"
            or (place.site, place.dock)
            == (
                self._topics.site,
                self._topics.dock,
            )
        ):
            return None
        ours = self._claims.get(place.name)
        if ours is None or ours.bay is not None:
            return None
        try:
            theirs = decode_payload(payload, CameraPayload)
        except PayloadError:
            return None  # cleared there, or nonsense: nothing that would be later
        if theirs.device != place.name or theirs.rank[:2] <= ours.rank[:2]:
            return None
        del self._claims[place.name]
        return self._topics.camera(place.name)
