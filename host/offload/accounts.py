"""Which numbers of a camera are accounted for, in the eyes of one store (`evidence.numbering` has the rules).

The store is read once, at the start; what is taken from then on is added.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from evidence.documents import Disposal, Head, Manifest
from evidence.numbering import Account, Fact, HeadFact, Place, account
from host.store import EvidenceStore, StoredClip

__all__ = ["Accounts", "Completeness"]


class Completeness(msgspec.Struct, frozen=True):
    """One epoch of one camera: numbers up to `last`; `waiting` are still on the camera, `missing` nowhere.

    `log_index` is the last line of the camera's event log then: with the generation it says as of when this is.
    """

    device: str
    epoch: str
    generation: int
    last: int
    held: int
    waiting: tuple[int, ...]
    missing: tuple[tuple[int, int], ...]
    forks: tuple[str, ...]
    log_index: int = 0


class Accounts:
    """Facts by device. Thread-safe."""

    def __init__(self, store: EvidenceStore) -> None:
        """Read clips and tombstones.

        Raises:
            StorageError: the store cannot be read.
        """
        self._store = store
        self._lock = threading.Lock()
        self._facts: dict[str, dict[tuple[str, str], Fact]] = defaultdict(dict)
        self._stones: dict[str, dict[int, str]] = defaultdict(dict)
        for stored in store.clips():
            if isinstance(stored, StoredClip):
                self.add(stored)
        for manifest, by in store.tombstones():
            self.add_tombstone(manifest, by)

    def add(self, stored: StoredClip) -> None:
        """Count a clip that is in its place."""
        fact = Fact(
            place=Place(stored.key.device, stored.generation, stored.epoch),
            number=stored.number,
            kind="here",
            source=stored.key.clip,
            start_sha256=stored.start_sha256,
            previous_start=stored.previous_start,
            manifest_sha256=stored.key.manifest_sha256,
        )
        with self._lock:
            self._facts[stored.key.device][("clip", stored.key.manifest_sha256)] = fact

    def add_tombstone(self, manifest: Manifest, by: str) -> None:
        """Count a tombstone; one whose receipt is of this very store accounts for nothing by itself."""
        fact = Fact(
            place=Place(manifest.device, manifest.generation, manifest.epoch),
            number=manifest.number,
            kind="known" if by == self._store.store_id else "elsewhere",
            source=f"tombstone {manifest.clip}",
            start_sha256=manifest.start_sha256,
            previous_start=manifest.start.previous_start,
        )
        with self._lock:
            self._facts[manifest.device][("tombstone", manifest.clip)] = fact
            self._stones[manifest.device][manifest.number] = manifest.clip

    def has_tombstone(self, device: str, clip: str) -> bool:
        """Whether it was kept."""
        with self._lock:
            return ("tombstone", clip) in self._facts[device]

    def tombstones_known_up_to(self, device: str) -> str | None:
        """Return the last clip up to which no tombstone can be new: those of all numbers before it are here."""
        with self._lock:
            stones = self._stones[device]
            number = 0
            while number + 1 in stones:
                number += 1
            single = len({fact.place for fact in self._facts[device].values()}) == 1
            return stones[number] if number and single else None

    def completeness(self, head: Head, on_camera: Iterable[tuple[str, int]]) -> Completeness:
        """Give account of the epoch of a head; `on_camera` are epochs and numbers that the camera lists.

        Raises:
            StorageError: the records of disposal cannot be read.
        """
        with self._lock:
            facts = list(self._facts[head.device].values())
        facts += [_disposed(each) for each in self._store.disposals() if each.device == head.device]
        place = Place(head.device, head.generation, head.epoch)
        shown = HeadFact(place, head.number, head.start_sha256, head.utc, "head")
        found = next(each for each in account(facts, [shown]) if each.place == place)
        accounted = {
            number
            for first, last in (*found.here, *found.elsewhere, *found.disposed)
            for number in range(first, last + 1)
        }
        waiting = {number for epoch, number in on_camera if epoch == head.epoch} - accounted
        missing = _without(found, accounted | waiting)
        return Completeness(
            device=head.device,
            epoch=head.epoch,
            generation=head.generation,
            last=found.last,
            held=sum(last - first + 1 for first, last in found.here),
            waiting=tuple(sorted(waiting)),
            missing=missing,
            forks=tuple(f"{fork.what} for number {fork.number}" for fork in found.forks),
            log_index=head.log.index if head.log else 0,
        )


def _without(found: Account, accounted: set[int]) -> tuple[tuple[int, int], ...]:
    """Return ranges from 1 to the last number that are in none of the numbers; their count is that of ours."""
    missing: list[tuple[int, int]] = []
    expected = 1
    for number in (*sorted(each for each in accounted if each <= found.last), found.last + 1):
        if number > expected:
            missing.append((expected, number - 1))
        expected = number + 1
    return tuple(missing)


def _disposed(record: Disposal) -> Fact:
    place = Place(record.device, record.generation, record.epoch)
    return Fact(
        place, record.number, "disposed", f"disposal {record.clip}", manifest_sha256=record.manifest_sha256
    )
