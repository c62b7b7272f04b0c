"""Numbers of cameras: which are accounted for, which are missing, which were given twice.

Within (device, epoch) numbers count up from 1 by one. A number is accounted for by a clip, by a tombstone with
a store's good receipt, or by a signed record of its disposal (docs/formats.md, "Numbering"). Facts in, accounts
out: nothing here reads a file. Sizes grow with what is held, never with the numbers that a document claims.
"""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

__all__ = ["Account", "Fact", "Fork", "HeadFact", "Place", "Range", "absent_generations", "account"]

Range = tuple[int, int]
"""Numbers from the first to the last, both included."""
_PREVAIL = ("here", "elsewhere", "disposed", "unproven")


class Place(msgspec.Struct, frozen=True, order=True):
    """Whose numbers; `generation` counts the epochs of a device."""

    device: str
    generation: int
    epoch: str


class Fact(msgspec.Struct, frozen=True):
    """What one thing says of one number.

    `kind` is `here` for an authentic clip, `elsewhere` for a tombstone whose receipt is by a store that is
    not looked at, `disposed` for a record of disposal, `unproven` for what claims a number without proof, and
    `known` for what proves that a number was given without accounting for it. Digests are `None` where the
    thing does not say them.
    """

    place: Place
    number: int
    kind: str
    source: str
    start_sha256: str | None = None
    previous_start: str | None = None
    manifest_sha256: str | None = None


class HeadFact(msgspec.Struct, frozen=True):
    """How far a camera's signed head says that its numbers have come; `utc` is the camera's word."""

    place: Place
    number: int
    start_sha256: str | None
    utc: str | None
    source: str


class Fork(msgspec.Struct, frozen=True):
    """One number that was given twice, and what shows it."""

    number: int
    what: str
    sources: tuple[str, ...]


class Account(msgspec.Struct, frozen=True):
    """The numbers of one (device, epoch), from 1 to `last`."""

    place: Place
    last: int
    head: HeadFact | None
    here: tuple[Range, ...]
    elsewhere: tuple[Range, ...]
    disposed: tuple[Range, ...]
    unproven: tuple[Range, ...]
    missing: tuple[Range, ...]
    forks: tuple[Fork, ...]


def account(facts: Iterable[Fact], heads: Iterable[HeadFact]) -> tuple[Account, ...]:
    """Give account of each (device, epoch) that the facts or heads speak of, in their order."""
    by_place: dict[Place, list[Fact]] = defaultdict(list)
    heads_by_place: dict[Place, list[HeadFact]] = defaultdict(list)
    for fact in facts:
        by_place[fact.place].append(fact)
    for head in heads:
        heads_by_place[head.place].append(head)
    return tuple(
        _account(place, by_place[place], heads_by_place[place])
        for place in sorted({*by_place, *heads_by_place})
    )


def absent_generations(accounts: Iterable[Account]) -> dict[str, tuple[Range, ...]]:
    """Return, for each device, the generations below the highest that nothing speaks of.

    No defect: another store may have them. But a whole epoch that is gone shows nowhere else.
    """
    found: dict[str, list[int]] = defaultdict(list)
    for each in accounts:
        found[each.place.device].append(each.place.generation)
    absent = {device: _between(sorted(set(held)), max(held)) for device, held in found.items()}
    return {device: ranges for device, ranges in absent.items() if ranges}


def _account(place: Place, facts: list[Fact], heads: list[HeadFact]) -> Account:
    kinds: dict[int, str] = {}
    for kind in reversed(_PREVAIL):
        kinds.update({fact.number: kind for fact in facts if fact.kind == kind})
    head = max(heads, key=lambda each: each.number, default=None)
    last = max(head.number if head else 0, max((fact.number for fact in facts), default=0))
    sorted_by_kind = {
        kind: _ranges(sorted(number for number, found in kinds.items() if found == kind)) for kind in _PREVAIL
    }
    return Account(
        place=place,
        last=last,
        head=head,
        here=sorted_by_kind["here"],
        elsewhere=sorted_by_kind["elsewhere"],
        disposed=sorted_by_kind["disposed"],
        unproven=sorted_by_kind["unproven"],
        missing=_between(sorted(kinds), last),
        forks=_forks(facts, heads),
    )


def _forks(facts: list[Fact], heads: list[HeadFact]) -> tuple[Fork, ...]:
    """Find numbers of which two different line 0, or two different manifests, are attested."""
    starts: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    manifests: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for fact in facts:
        if fact.kind == "unproven":
            continue  # anybody could have put it there
        if fact.start_sha256:
            starts[fact.number][fact.start_sha256].append(fact.source)
        if fact.previous_start:
            starts[fact.number - 1][fact.previous_start].append(f"{fact.source} (the start before it)")
        if fact.manifest_sha256:
            manifests[fact.number][fact.manifest_sha256].append(fact.source)
    for head in heads:
        if head.start_sha256:
            starts[head.number][head.start_sha256].append(head.source)
    return (*_doubled(starts, "line 0"), *_doubled(manifests, "manifests"))


def _doubled(found: dict[int, dict[str, list[str]]], what: str) -> list[Fork]:
    return [
        Fork(number, f"two different {what}", tuple(sources[0] for sources in digests.values()))
        for number, digests in sorted(found.items())
        if len(digests) > 1
    ]


def _ranges(numbers: list[int]) -> tuple[Range, ...]:
    ranges: list[Range] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return tuple(ranges)


def _between(numbers: list[int], last: int) -> tuple[Range, ...]:
    """Return the numbers from 1 to `last` that are not in a sorted list."""
    missing: list[Range] = []
    expected = 1
    for number in (*numbers, last + 1):
        if number > expected:
            missing.append((expected, number - 1))
        expected = number + 1
    return tuple(missing)
