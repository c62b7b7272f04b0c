"""`preroll dock status` for people: everything that an operator needs, a line each."""

from collections.abc import Iterator

from host.control import DockStatus
from preroll.dock.view import bay_line

__all__ = ["status_lines"]

_MIB = 1 << 20
_DIGEST_CHARACTERS = 16


def status_lines(status: DockStatus) -> list[str]:
    """Say how a dock stands."""
    return [
        *_store(status),
        *_custody(status),
        *_around(status),
        *(bay_line(bay) for bay in status.bays),
        *_queue(status),
        *(
            f"quarantine: {each.clip}{' (released)' if each.released else ''}: {'; '.join(each.reasons)}"
            for each in status.quarantine
        ),
        *(
            f"{each.utc} {each.kind} {each.device or ''} {each.clip or ''}: {each.detail}"
            f"{f' ({each.times} times)' if each.times > 1 else ''}"
            for each in status.notices
        ),
    ]


def _store(status: DockStatus) -> Iterator[str]:
    store = status.store
    free = "" if store.free_bytes is None else f", {store.free_bytes // _MIB} MiB free"
    of = "" if store.total_bytes is None else f" of {store.total_bytes // _MIB}"
    yield f"dock {status.dock}, store {store.store}: {store.state}{free}{of}"
    if store.state != "ready":
        yield f"  {store.detail}"
    if store.catalogue:
        yield f"  catalogue behind: {store.catalogue}"


def _custody(status: DockStatus) -> Iterator[str]:
    kept = status.custody.checkpoints
    head = (status.custody.head or "none")[:_DIGEST_CHARACTERS]
    last = f"checkpoint at {kept.entries}, {kept.utc}" if kept.utc else "no checkpoint yet"
    yield f"custody log: {status.custody_entries} entries, head {head}; {last}, {kept.since} since"
    if kept.error:
        yield f"  no checkpoint: {kept.error}"
    for copy in kept.copies:
        yield f"  copy in {copy.place}: up to {copy.entries}{f'; {copy.error}' if copy.error else ''}"


def _around(status: DockStatus) -> Iterator[str]:
    """What stands around the bays: hot plug, badge readers, the broker."""
    if status.hotplug != "udev":
        yield f"hot plug: bays are looked at in turn ({status.hotplug})"
    for badge in status.badges:
        waiting = f"{badge.waiting} waiting for a camera"
        yield f"badge reader {badge.reader}: {badge.error or waiting}"
    if status.broker is not None:
        detail = f", {status.broker.detail}" if status.broker.detail else ""
        lost = f", {status.broker.lost} events lost" if status.broker.lost else ""
        yield f"broker: {status.broker.phase}{detail}{lost}"


def _queue(status: DockStatus) -> Iterator[str]:
    """What is still to be taken, over all bays."""
    waiting = sum(bay.camera.waiting for bay in status.bays if bay.camera and not bay.queued)
    clips = waiting + sum(bay.queued for bay in status.bays)
    known = sum(bay.queued_bytes for bay in status.bays)
    yield f"queue: {clips} clips{f', {known // _MIB} MiB of them in sessions under way' if known else ''}"
