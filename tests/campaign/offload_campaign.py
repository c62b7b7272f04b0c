"""The offload campaigns: cuts at random bytes, kills at each named step, one large clip."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from evidence.steps import RECEIPT_STEPS as CAMERA_RECEIPT_STEPS
from evidence.steps import RELEASE_STEPS
from host.offload import Step
from host.offload.machine import ENDINGS
from host.store.steps import FETCH_STEPS, PUBLISH_STEPS, RECEIPT_STEPS
from tests.campaign.offload_cable import Direction, Fault, Kind
from tests.campaign.offload_clips import make_clips
from tests.campaign.offload_processes import Death
from tests.campaign.offload_rig import UNSYNCED_LIMIT_BYTES, Delivery, open_rig
from tests.device.dockport.dockbench import Agency

__all__ = [
    "CAMERA_DEATHS",
    "DOCK_DEATHS",
    "SEED",
    "Cut",
    "StepKill",
    "Volume",
    "run_cuts",
    "run_steps",
    "run_volume",
]

SEED = 20261122
_MIB = 1 << 20
_TO_CAMERA_SHARE = 0.2
_MOST_BYTES = {Direction.TO_DOCK: 5000, Direction.TO_CAMERA: 60}  # a request there is some 200 bytes
_FIRST_CLIP_ONLY = ("make-directory device", "sync-directory clips")
"""Steps that a store takes for the first clip of a camera alone; each has a camera and a store of its own."""
_UNUSUAL = (Step.SALVAGE, Step.SET_APART)


class Cut(msgspec.Struct, frozen=True):
    """One fault and what it cost; `bound_bytes` is one sync interval and what may be unsynced."""

    way: str
    fault: Fault
    delivery: Delivery
    bound_bytes: int


class StepKill(msgspec.Struct, frozen=True):
    """One step at which a side was to die twice in a row; `deaths` says how often it came by."""

    side: str
    death: Death
    delivery: Delivery


class Volume(msgspec.Struct, frozen=True):
    """One large clip; digests of both ends."""

    way: str
    size_bytes: int
    seconds: float
    sent_sha256: str
    stored_sha256: str


def _deaths(names: Iterable[str]) -> tuple[Death, ...]:
    """Number steps that have the same name."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(Death(name, seen[name]))
    return tuple(found)


DOCK_DEATHS = (
    *(Death(f"offload: {step}") for step in Step if step not in ENDINGS and step not in _UNUSUAL),
    *_deaths((*FETCH_STEPS, *PUBLISH_STEPS, *RECEIPT_STEPS, "append custody.jsonl", "sync custody.jsonl")),
)
"""The last two are the entry that the camera has the receipt."""
CAMERA_DEATHS = _deaths((*CAMERA_RECEIPT_STEPS, *RELEASE_STEPS))


def run_cuts(
    directory: Path,
    agency: Agency,
    *,
    serial: bool,
    cuts: int,
    size_bytes: int,
    interval_bytes: int,
    part: int = 0,
) -> list[Cut]:
    """Deliver a clip undisturbed, then one for each cut, which strikes at a random byte, seeded by `part`."""
    directory.mkdir()
    way = "serial" if serial else "TCP"
    rng = random.Random(f"{SEED} {way} {part}")
    keys = agency.directory / "camera"
    clips = make_clips(
        directory / "vault", keys, count=cuts + 1, size_bytes=size_bytes, interval_bytes=interval_bytes
    )
    kinds = [kind for _ in range(cuts) for kind in Kind][:cuts]
    rng.shuffle(kinds)
    found = []
    with open_rig(directory, agency, serial=serial, seed=SEED) as rig:
        rig.deliver(clips[0])
        span = dict(rig.cable.passed)
        for kind, clip in zip(kinds, clips[1:], strict=True):
            way_back = kind is not Kind.POWER_CUT and rng.random() < _TO_CAMERA_SHARE
            direction = Direction.TO_CAMERA if way_back else Direction.TO_DOCK
            count = rng.randint(1, _MOST_BYTES[direction])
            fault = Fault(kind, direction, rng.randrange(span[direction]), count)
            bound = clip.interval_bytes + UNSYNCED_LIMIT_BYTES
            found.append(Cut(way, fault, rig.deliver(clip, fault), bound))
    return found


def run_steps(directory: Path, agency: Agency, side: str, deaths: Sequence[Death]) -> list[StepKill]:
    """Deliver a clip for each step; the side dies there, and again in its next run."""
    directory.mkdir()
    alone = [death for death in deaths if side == "dock" and death.step in _FIRST_CLIP_ONLY]
    others = [death for death in deaths if death not in alone]
    found = []
    for number, some in enumerate([others, *([death] for death in alone)]):
        found += _run_steps(directory / str(number), agency, side, some)
    return found


def _run_steps(directory: Path, agency: Agency, side: str, deaths: Sequence[Death]) -> list[StepKill]:
    directory.mkdir()
    keys = agency.directory / "camera"
    clips = make_clips(directory / "vault", keys, count=len(deaths), size_bytes=250_000, interval_bytes=100_000)
    found = []
    with open_rig(directory, agency, serial=False, seed=SEED) as rig:
        for death, clip in zip(deaths, clips, strict=True):
            twice = (death, death)
            delivery = rig.deliver(clip, agent=twice) if side == "dock" else rig.deliver(clip, camera=twice)
            found.append(StepKill(side, death, delivery))
    return found


def run_volume(directory: Path, agency: Agency, *, serial: bool, size_bytes: int, patience_s: float) -> Volume:
    """Deliver one large clip and measure both ends."""
    directory.mkdir()
    (clip,) = make_clips(
        directory / "vault",
        agency.directory / "camera",
        count=1,
        size_bytes=size_bytes,
        interval_bytes=4 * _MIB,
    )
    sent = clip.measure()
    with open_rig(directory, agency, serial=serial, patience_s=patience_s) as rig:
        began_s = time.monotonic()
        rig.deliver(clip)
        seconds = time.monotonic() - began_s
        stored = rig.digest(clip)
    return Volume("serial" if serial else "TCP", clip.size_bytes, seconds, sent, stored)
