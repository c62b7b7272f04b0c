"""Which clips of a camera are to be taken, and in which order."""

from collections.abc import Iterable, Sequence

from docklink.errors import ProtocolError
from docklink.messages import ClipEntry, ClipState
from host.offload.station import Docking, Station
from host.store import ClipKey, StoreError, clip_key

__all__ = ["list_clips", "queue_of"]

_MOST_CLIPS = 100_000


def list_clips(entries: Iterable[ClipEntry]) -> tuple[ClipEntry, ...]:
    """Take a camera's list; one without end, or out of order, is no list.

    Raises:
        ProtocolError: it is not.
    """
    found: list[ClipEntry] = []
    for entry in entries:
        if len(found) == _MOST_CLIPS:
            raise ProtocolError("a list of clips without end", expected=f"at most {_MOST_CLIPS}")
        if found and found[-1].epoch == entry.epoch and found[-1].number >= entry.number:
            raise ProtocolError("a list of clips out of order", found=entry.clip)
        found.append(entry)
    return tuple(found)


def queue_of(
    entries: Sequence[ClipEntry], station: Station, docking: Docking
) -> list[tuple[ClipEntry, ClipKey]]:
    """Return what there is to do, most urgent first: bookmarked, then oldest; what breaks sessions comes last.

    Sealed clips all, releasable ones whose receipt is ours and was not noted as accepted. A clip of another
    device is no clip of this camera: announced, and not touched.
    """
    found = []
    for entry in entries:
        if not entry.state.readable or entry.manifest_sha256 is None:
            continue
        try:
            key = clip_key(docking.device, entry.clip, entry.manifest_sha256)
        except StoreError as error:
            station.announce("integrity_alarm", docking.device, f"the camera lists a clip of another: {error}")
            continue
        if docking.leaves(entry.clip):
            station.announce("fault", key, "every session breaks here; it is left until the next docking")
            continue
        if entry.state is ClipState.SEALED or _unconfirmed(key, station):
            found.append((entry, key))
    return sorted(found, key=lambda each: (docking.breaks[each[0].clip], not each[0].urgent, each[0].number))


def _unconfirmed(key: ClipKey, station: Station) -> bool:
    return not station.is_confirmed(key) and station.store.find(key) is not None
