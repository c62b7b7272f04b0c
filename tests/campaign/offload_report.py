"""The offload campaign's report: what each cut cost, where each side was killed, one large clip each way."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from tests.campaign.offload_cable import Kind
from tests.campaign.offload_campaign import SEED, Cut, StepKill, Volume
from tests.campaign.offload_rig import UNSYNCED_LIMIT_BYTES
from tests.campaign.report import build, machine, table

__all__ = ["write_offload_report"]

_CUTS = (
    "way, what happened",
    "cuts",
    "processes killed",
    "fetched again, median",
    "p99",
    "worst",
    "share of the bound, worst",
)
_STEPS = ("side", "steps", "killed twice", "killed once", "not come by")
_VOLUMES = ("way", "bytes", "seconds", "MB/s", "digests")
_TEXT = """\
# Offload campaign

A camera's dock port on a real vault and a dock's agent ran in processes of their own, with a cable between
them: TCP through a relay, or two pseudo-terminals that both ends open through pyserial. One clip after the
other was put into the vault. What died was started again; nothing else was done by hand.

- Command: `make long` (`pytest -m long tests/campaign/test_offload_cuts.py`); seed {seed}
- Build: {build}
- Machine: {machine}

Checked at each death, and at the end of each clip: the camera has all files of the clip, or a good tombstone; a
receipt that is on the camera is the one that lies in the store, beside a copy that `evidence.check` finds
authentic; a receipt in the store has its custody entry; there is at most one copy, and nothing in quarantine.
At the end: one verified copy, one trail (`clip_stored`, `receipt_accepted`), one receipt, the tombstone on both
sides, nothing in `partial/`; and, over all, a custody log that verifies from its first entry.

## Cut at a random byte

{cuts} cuts, one a clip of {size_mib:.1f} MiB, with a sync point each {interval_mib:.1f} MiB. *Fetched again*
counts bytes of ciphertext that the agent's writer wrote more than once. Bound: the clip's longest sync interval
and {unsynced_mib:.0f} MiB. *Unsynced bytes lost*: the agent was killed, and what it had not synced of the
partial file was replaced by zeros or stale bytes of the same length, or cut off ({power_cuts} times there was
any).

{cut_table}

## Killed at each named step

By SIGKILL right before the step, and again at the same step in the next run. *Once*: the next run does not come
by that step again, because it was done. The dock's steps are those of `host/offload/machine.py` and
`host/store/steps.py`, the camera's those of a receipt and a release in `evidence/steps.py`.

{step_table}

## One large clip

From the clip's arrival in the vault to its tombstone in the store.

{volume_table}
"""


def write_offload_report(
    path: Path,
    cuts: Sequence[Cut],
    steps: Sequence[StepKill],
    volumes: Sequence[Volume],
    sizes: tuple[int, int],
) -> None:
    """Write the report; `sizes` are those of a clip and of its intervals, in bytes."""
    rows = []
    for way in sorted({cut.way for cut in cuts}):
        mine = [cut for cut in cuts if cut.way == way]
        rows += [_cuts(f"{way}, {kind}", [cut for cut in mine if cut.fault.kind is kind]) for kind in Kind]
        rows.append(_cuts(f"{way}, all", mine))
    sides = sorted({kill.side for kill in steps})
    text = _TEXT.format(
        seed=SEED,
        build=build(),
        machine=machine(),
        cuts=len(cuts),
        size_mib=sizes[0] / (1 << 20),
        interval_mib=sizes[1] / (1 << 20),
        unsynced_mib=UNSYNCED_LIMIT_BYTES / (1 << 20),
        power_cuts=sum(cut.delivery.lost_bytes > 0 for cut in cuts),
        cut_table=table(_CUTS, rows),
        step_table=table(
            _STEPS, [_steps(side, [kill for kill in steps if kill.side == side]) for side in sides]
        ),
        volume_table=table(_VOLUMES, [_volume(each) for each in volumes]),
    )
    path.write_text(text, encoding="utf-8")


def _cuts(name: str, cuts: Sequence[Cut]) -> list[str]:
    again = sorted(cut.delivery.again_bytes for cut in cuts)
    if not again:
        return [name, "0", *["none"] * 5]
    p99 = again[-(-len(again) * 99 // 100) - 1]
    shown = (f"{value / (1 << 20):.2f} MiB" for value in (statistics.median(again), p99, again[-1]))
    worst = max(cut.delivery.again_bytes / cut.bound_bytes for cut in cuts)
    return [name, str(len(cuts)), str(sum(cut.delivery.deaths for cut in cuts)), *shown, f"{worst:.2f}"]


def _steps(side: str, kills: Sequence[StepKill]) -> list[str]:
    counts = [sum(kill.delivery.deaths == deaths for kill in kills) for deaths in (2, 1, 0)]
    return [side, str(len(kills)), *map(str, counts)]


def _volume(volume: Volume) -> list[str]:
    same = "equal" if volume.sent_sha256 == volume.stored_sha256 else "DIFFERENT"
    rate = volume.size_bytes / volume.seconds / 1e6
    return [volume.way, str(volume.size_bytes), f"{volume.seconds:.1f}", f"{rate:.1f}", same]
